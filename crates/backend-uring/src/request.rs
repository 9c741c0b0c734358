//! What a caller asks of a ring, and how it is told.

use backend_tokio::DiskFile;
use bytes::{Bytes, BytesMut};
use cache_core::BufResult;
use std::{io, sync::Arc};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// How an operation ended: its result, or all that was given for it because it never reached the kernel. A sender that is
/// dropped instead means that nobody knows.
pub(crate) type Answer<T, Given> = Result<T, Given>;

/// One operation.
pub(crate) enum Op {
    Read {
        buf: BytesMut,
        len: usize,
        offset: u64,
        answer: oneshot::Sender<Answer<BufResult, BytesMut>>,
    },
    Write {
        bufs: Vec<Bytes>,
        offset: u64,
        answer: oneshot::Sender<Answer<io::Result<()>, Vec<Bytes>>>,
    },
    Sync {
        answer: oneshot::Sender<Answer<io::Result<()>, ()>>,
    },
    /// Panics where an operation would be performed: for tests.
    Panic {
        answer: oneshot::Sender<Answer<io::Result<()>, ()>>,
    },
}

/// An operation with its file and its place among those allowed at once.
pub(crate) struct Request {
    pub(crate) file: Arc<DiskFile>,
    pub(crate) op: Op,
    pub(crate) slot: OwnedSemaphorePermit,
}

/// What a ring's thread is told.
pub(crate) enum Message {
    Request(Request),
    /// No more requests are taken; what is in flight is waited for.
    Stop,
    /// Panics in the thread itself: for tests.
    Panic,
}

impl Message {
    /// Tells the caller that nothing was done.
    pub(crate) fn hand_back(self) {
        let Self::Request(Request { op, .. }) = self else { return };
        // A caller that is gone needs nothing back.
        match op {
            Op::Read { buf, answer, .. } => drop(answer.send(Err(buf))),
            Op::Write { bufs, answer, .. } => drop(answer.send(Err(bufs))),
            Op::Sync { answer } | Op::Panic { answer } => drop(answer.send(Err(()))),
        }
    }
}
