//! Operations by hand on tokio-uring's driver, so that one file serves every ring.
//!
//! tokio-uring's own `File` belongs to one ring; a cache would need a descriptor per ring and file.

use io_uring::{cqueue, opcode, squeue};
use std::{io, marker::PhantomData};
use tokio_uring::{OneshotOutputTransform, UnsubmittedOneshot};

/// Hands the data back with the operation's result.
struct Completion<D>(PhantomData<fn(D)>);

impl<D> OneshotOutputTransform for Completion<D> {
    type Output = (io::Result<usize>, D);
    type StoredData = D;

    fn transform_oneshot_output(self, data: D, entry: cqueue::Entry) -> Self::Output {
        let result = entry.result();
        (usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result)), data)
    }
}

/// Performs one operation on the ring of this thread, with all that it needs in `data`. Where the future is dropped the
/// driver keeps `data` until the completion.
///
/// # Safety
/// Everything that `entry` points to is owned by `data`, on the heap, so that it stays in its place when `data` moves and
/// is not freed before `data` is dropped; what the kernel writes to is not accessed otherwise meanwhile. A descriptor in
/// `entry` stays open as long as `data` lives.
pub(crate) async unsafe fn submit<D: Unpin + 'static>(
    data: D,
    entry: squeue::Entry,
) -> (io::Result<usize>, D) {
    UnsubmittedOneshot::new(data, Completion(PhantomData), entry).submit().await
}

/// Performs an operation that does nothing. When it is done, everything that was pushed before it has been submitted.
pub(crate) async fn nothing() {
    // SAFETY: a no-op points to nothing and has no descriptor.
    unsafe { submit((), opcode::Nop::new().build()) }.await.0.ok();
}
