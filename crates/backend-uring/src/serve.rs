//! One request on a ring, from the first submission to the answer.

use crate::{
    flight::{Flight, Flights},
    parts::Parts,
    request::Op,
    retry::Retry,
    shared::{Lane, Shared},
    submit::submit,
};
use backend_tokio::DiskFile;
use bytes::{Bytes, BytesMut};
use cache_core::BufResult;
use io_uring::{
    opcode,
    types::{Fd, FsyncFlags},
};
use std::{
    io,
    os::fd::AsRawFd,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// One operation moves at most this much, as the kernel's own limit is (`MAX_RW_COUNT`).
const MAX_LEN: usize = 0x7fff_f000;

/// Sectors of every disk are multiples of this; a direct read whose count is none can only have met the end of the file.
const SECTOR: u64 = 512;

/// What a ring's tasks have in common.
pub(crate) struct Local {
    pub(crate) shared: Arc<Shared>,
    pub(crate) lane: Arc<Lane>,
    pub(crate) flights: Rc<Flights>,
}

/// Ends the use of the rings where a task panics: tokio keeps such a panic to itself, and the ring may be out of order.
struct Alarm<'a>(&'a Shared);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fall_back("an operation on an io_uring thread panicked".to_owned());
        }
    }
}

/// Performs a request and answers it. An answer whose caller is gone is dropped with its buffer.
pub(crate) async fn serve(file: Arc<DiskFile>, op: Op, flight: Flight, local: Rc<Local>) {
    let _alarm = Alarm(&local.shared);
    let count = |counter: &AtomicU64, ok: bool| {
        counter.fetch_add(u64::from(ok), Ordering::Relaxed);
    };
    match op {
        // Nobody is there to read for; a read that was not submitted may as well not happen.
        Op::Read { answer, .. } if answer.is_closed() => {}
        Op::Read { buf, len, offset, answer } => {
            let done = read(file, buf, len, offset, flight).await;
            count(&local.lane.reads, done.0.is_ok());
            drop(answer.send(Ok(done)));
        }
        Op::Write { bufs, offset, answer } => {
            let done = write(file, bufs, offset, flight).await;
            count(&local.lane.writes, done.is_ok());
            drop(answer.send(Ok(done)));
        }
        Op::Sync { answer } => {
            let done = sync(file, flight).await;
            count(&local.lane.syncs, done.is_ok());
            drop(answer.send(Ok(done)));
        }
        Op::Panic { answer: _answer } => panic!("planted in an operation"),
    }
}

/// Appends `len` bytes at `offset` to the buffer, fewer only at the end of the file.
pub(crate) async fn read(
    file: Arc<DiskFile>,
    mut buf: BytesMut,
    len: usize,
    offset: u64,
    mut flight: Flight,
) -> BufResult {
    buf.reserve(len);
    let (mut done, mut retry) = (0, Retry::default());
    while done < len {
        let at = offset + done as u64;
        // Asking again from the middle of a sector would be refused on a file that bypasses the page cache.
        if file.is_direct() && done > 0 && !at.is_multiple_of(SECTOR) {
            break;
        }
        let want = (len - done).min(MAX_LEN) as u32;
        let place = buf.spare_capacity_mut().as_mut_ptr().cast();
        let entry = opcode::Read::new(Fd(file.as_raw_fd()), place, want).offset(at).build();
        // SAFETY: `place` is the start of spare capacity of at least `want` bytes in `buf`, which the operation owns
        // together with the file; nobody else has either buffer.
        let (result, data) = unsafe { submit((file.clone(), buf, flight), entry) }.await;
        (_, buf, flight) = data;
        match result {
            Ok(0) => break,
            Ok(n) => {
                let have = buf.len();
                // SAFETY: the kernel initialised the `n` <= `want` bytes right behind the `have` that were.
                unsafe { buf.set_len(have + n) };
                done += n;
                retry.progress();
            }
            Err(e) => {
                if let Err(e) = retry.after(e).await {
                    return (Err(e), buf);
                }
            }
        }
    }
    (Ok(done), buf)
}

/// Writes all buffers one after another from `offset` on.
pub(crate) async fn write(
    file: Arc<DiskFile>,
    bufs: Vec<Bytes>,
    mut offset: u64,
    mut flight: Flight,
) -> io::Result<()> {
    let (mut parts, mut retry) = (Parts::new(bufs), Retry::default());
    while !parts.is_done() {
        let next = parts.next();
        let entry = opcode::Writev::new(Fd(file.as_raw_fd()), next.as_ptr(), next.len() as u32)
            .offset(offset)
            .build();
        // SAFETY: the vectors and the bytes they point to are on the heap and owned by `parts`, which the operation owns
        // together with the file; both are only read.
        let (result, data) = unsafe { submit((file.clone(), parts, flight), entry) }.await;
        (_, parts, flight) = data;
        match result {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                parts.advance(n);
                offset += n as u64;
                retry.progress();
            }
            Err(e) => retry.after(e).await?,
        }
    }
    Ok(())
}

/// Syncs the file's data. Only an interruption is tried again, as the standard library does it: a sync that reports
/// anything else has had its chance to report it, and the next one would say that all is well.
pub(crate) async fn sync(file: Arc<DiskFile>, mut flight: Flight) -> io::Result<()> {
    loop {
        let entry = opcode::Fsync::new(Fd(file.as_raw_fd())).flags(FsyncFlags::DATASYNC).build();
        // SAFETY: the operation points to nothing, and owns the file.
        let (result, data) = unsafe { submit((file.clone(), flight), entry) }.await;
        (_, flight) = data;
        match result {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map(|_| ()),
        }
    }
}
