//! The bytes of a body that is being written, as its readers see them: the end in memory, what lies before it in a file.
//!
//! **Invariants**: a byte is readable from the moment it was taken to the end of the last reader; what is read from the file
//! is verified; an end is shown only to readers of a whole body. Memory holds what is not in the file yet. Where nothing goes
//! to a file any more, memory is given back as the slowest reader moves on.

use crate::{
    fairness::let_others_run,
    format::object::CHUNK,
    object::{FilePart, ObjectSource},
    sync::Mutex,
};
use bytes::{Bytes, BytesMut};
use cache_core::{BodySource, BoxFuture, DiskBackend, Error, GrowingBody, Result};
use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
    pin::pin,
    sync::Arc,
};
use tokio::sync::Notify;

/// Pieces shorter than this are copied and put together: a small slice would pin a network buffer.
const SMALL: usize = 16 << 10;

/// What the writer came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Whole,
    Aborted,
}

/// A body on its way.
pub(crate) struct Growth<B: DiskBackend> {
    state: Mutex<State<B>>,
    /// There are more bytes, or an end.
    grown: Notify,
    /// A reader moved on or went.
    drained: Notify,
}

struct State<B: DiskBackend> {
    /// Bytes taken so far.
    len: u64,
    /// What is in memory, each piece with its place.
    tail: VecDeque<(u64, Bytes)>,
    /// Where that begins.
    tail_at: u64,
    /// Bytes that can be read from the file.
    on_disk: u64,
    checksums: BytesMut,
    file: Option<FilePart<B>>,
    /// A reader of what was in the file some time ago, shared by those that have fallen behind.
    source: Option<(u64, Arc<ObjectSource<B>>)>,
    end: End,
    /// Where each reader will read next; `u64::MAX` for a follower whose readers have taken over.
    readers: HashMap<u64, u64>,
    next_reader: u64,
}

/// What readers leave in memory of a body that goes to no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Little,
    /// Too much, for one that is here.
    HeldAt(u64),
    /// Nobody reads.
    Unread,
}

impl<B: DiskBackend> Growth<B> {
    pub(crate) fn new() -> Arc<Self> {
        let state = State {
            len: 0,
            tail: VecDeque::new(),
            tail_at: 0,
            on_disk: 0,
            checksums: BytesMut::new(),
            file: None,
            source: None,
            end: End::Open,
            readers: HashMap::new(),
            next_reader: 0,
        };
        Arc::new(Self { state: Mutex::new(state), grown: Notify::new(), drained: Notify::new() })
    }

    /// Bytes taken so far.
    pub(crate) fn taken(&self) -> u64 {
        self.state.lock().len
    }

    /// Bytes that are in memory.
    pub(crate) fn in_memory(&self) -> u64 {
        let state = self.state.lock();
        state.len - state.tail_at
    }

    /// Takes more bytes, and shows them.
    pub(crate) fn push(&self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        let at = state.len;
        state.len += piece.len() as u64;
        let piece = if piece.len() < SMALL { Bytes::copy_from_slice(&piece) } else { piece };
        state.tail.push_back((at, piece));
        // Many tiny pieces become few: each byte is copied once for each doubling.
        while let Some(n) = state.tail.len().checked_sub(2)
            && let (Some((at, a)), Some((_, b))) = (state.tail.get(n), state.tail.get(n + 1))
            && a.len() <= b.len()
            && b.len() < SMALL
        {
            let joined = (*at, Bytes::from([&a[..], &b[..]].concat()));
            state.tail.truncate(n);
            state.tail.push_back(joined);
        }
        drop(state);
        self.grown.notify_waiters();
    }

    /// The bytes that go to the file next, and where: whole chunks, or all.
    pub(crate) fn unwritten(&self, all: bool) -> (u64, Vec<Bytes>, u64) {
        let state = self.state.lock();
        let have = state.len - state.tail_at;
        let mut left = if all { have } else { have / CHUNK * CHUNK };
        let total = left;
        let mut pieces = Vec::new();
        for (_, piece) in &state.tail {
            if left == 0 {
                break;
            }
            let take = (piece.len() as u64).min(left);
            pieces.push(piece.slice(..take as usize));
            left -= take;
        }
        (state.tail_at, pieces, total)
    }

    /// `len` more bytes are in the file, with these checksums; memory lets go of them.
    pub(crate) fn written(&self, len: u64, checksums: &[u8]) {
        let mut state = self.state.lock();
        state.checksums.extend_from_slice(checksums);
        state.on_disk += len;
        let to = state.on_disk;
        state.cut_to(to);
    }

    pub(crate) fn in_file(&self, part: FilePart<B>) {
        self.state.lock().file = Some(part);
    }

    /// All checksums so far.
    pub(crate) fn checksums(&self) -> Bytes {
        Bytes::copy_from_slice(&self.state.lock().checksums)
    }

    /// All bytes, where none went to a file.
    pub(crate) fn whole(&self) -> Bytes {
        let state = self.state.lock();
        match state.tail.front() {
            Some((_, only)) if state.tail.len() == 1 => only.clone(),
            _ => {
                let mut all = BytesMut::with_capacity(state.len as usize);
                state.tail.iter().for_each(|(_, piece)| all.extend_from_slice(piece));
                all.freeze()
            }
        }
    }

    /// Lets go of what every reader has read, where nothing goes to a file any more. Those that were [`cut`](Self::cut) off
    /// do not count.
    pub(crate) fn trim(&self, window: u64) -> Left {
        let mut state = self.state.lock();
        let whole_from = if state.tail_at > state.on_disk { state.tail_at } else { 0 };
        let Some(slowest) = state.readers.values().copied().filter(|at| *at >= whole_from).min() else {
            return Left::Unread;
        };
        let to = slowest.min(state.len);
        state.cut_to(to);
        match slowest {
            u64::MAX => Left::Unread,
            _ if state.len - state.tail_at <= window => Left::Little,
            slowest => Left::HeldAt(slowest),
        }
    }

    /// Lets go of all but `window` bytes, read or not.
    pub(crate) fn cut(&self, window: u64) {
        let mut state = self.state.lock();
        let to = state.len.saturating_sub(window);
        state.cut_to(to);
    }

    /// Wakes when a reader moves on or goes.
    pub(crate) fn drained(&self) -> tokio::sync::futures::Notified<'_> {
        self.drained.notified()
    }

    /// The body is whole: its readers see its end, except those that bytes before it were not kept for.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock();
        if state.end == End::Open {
            state.end = End::Whole;
        }
        drop(state);
        self.grown.notify_waiters();
    }

    /// The writer gave up, unless the body is whole already.
    pub(crate) fn abort(&self) {
        let mut state = self.state.lock();
        if state.end == End::Open {
            state.end = End::Aborted;
            state.tail.clear();
            state.tail_at = state.len;
        }
        drop(state);
        self.grown.notify_waiters();
        self.drained.notify_waiters();
    }
}

impl<B: DiskBackend> State<B> {
    /// Drops from memory what lies before `to`.
    fn cut_to(&mut self, to: u64) {
        while let Some((at, piece)) = self.tail.front_mut() {
            let end = *at + piece.len() as u64;
            if end > to {
                if to > *at {
                    // A slice keeps the whole piece alive; it goes soon.
                    *piece = piece.slice((to - *at) as usize..);
                    *at = to;
                }
                break;
            }
            self.tail.pop_front();
        }
        self.tail_at = self.tail_at.max(to.min(self.len));
    }

    /// The piece at `at`, which is in memory.
    fn piece(&self, at: u64, end: u64) -> Bytes {
        let n = self.tail.partition_point(|(from, _)| *from <= at).saturating_sub(1);
        let Some((from, piece)) = self.tail.get(n) else { return Bytes::new() };
        let take = end.min(from + piece.len() as u64);
        piece.slice((at - from) as usize..(take - from) as usize)
    }

    /// A reader of what is in the file, as far as `at` at least.
    fn source(&mut self, at: u64) -> Option<Arc<ObjectSource<B>>> {
        if let Some((len, source)) = &self.source
            && at < *len
        {
            return Some(source.clone());
        }
        let checksums = Bytes::copy_from_slice(&self.checksums);
        let source = Arc::new(self.file.as_ref()?.source(self.on_disk, checksums));
        self.source = Some((self.on_disk, source.clone()));
        Some(source)
    }
}

/// A reader's place, known to the writer until it is dropped.
struct Cursor<B: DiskBackend> {
    growth: Arc<Growth<B>>,
    reader: u64,
}

impl<B: DiskBackend> Cursor<B> {
    fn new(growth: &Arc<Growth<B>>) -> Self {
        let mut state = growth.state.lock();
        let reader = state.next_reader;
        state.next_reader += 1;
        state.readers.insert(reader, 0);
        drop(state);
        Self { growth: growth.clone(), reader }
    }

    fn len(&self) -> Option<u64> {
        let state = self.growth.state.lock();
        (state.end == End::Whole).then_some(state.len)
    }
}

impl<B: DiskBackend> Drop for Cursor<B> {
    fn drop(&mut self) {
        self.growth.state.lock().readers.remove(&self.reader);
        self.growth.drained.notify_waiters();
    }
}

/// Keeps a body readable from its start until its first reader does that itself.
pub(crate) struct Following<B: DiskBackend>(Cursor<B>);

impl<B: DiskBackend> Following<B> {
    pub(crate) fn new(growth: &Arc<Growth<B>>) -> Self {
        Self(Cursor::new(growth))
    }
}

impl<B: DiskBackend> GrowingBody for Following<B> {
    fn len(&self) -> Option<u64> {
        self.0.len()
    }

    fn reader(&self) -> Arc<dyn BodySource> {
        let reader = Cursor::new(&self.0.growth);
        self.0.growth.state.lock().readers.insert(self.0.reader, u64::MAX);
        Arc::new(Follow(reader))
    }
}

/// One reader of a body that may still grow.
struct Follow<B: DiskBackend>(Cursor<B>);

/// Where the next bytes are.
enum Next<B: DiskBackend> {
    Memory(Bytes),
    File(Arc<ObjectSource<B>>),
    Wait,
}

impl<B: DiskBackend> Follow<B> {
    fn next(&self, range: &Range<u64>) -> Result<Next<B>> {
        let mut state = self.0.growth.state.lock();
        state.readers.insert(self.0.reader, range.start);
        let (at, len) = (range.start, state.len);
        match state.end {
            End::Aborted => return Err(Error::WriterAborted),
            End::Whole if at > len => return Err(Error::InvalidRange { start: at, end: range.end, len }),
            End::Whole if at == len => return Ok(Next::Memory(Bytes::new())),
            _ if at >= len => return Ok(Next::Wait),
            _ => {}
        }
        if at >= state.tail_at {
            return Ok(Next::Memory(state.piece(at, range.end.min(len))));
        }
        let source = if at < state.on_disk { state.source(at) } else { None };
        // Let go of before this reader came: it cannot be stored and nobody else needed it.
        source.map(Next::File).ok_or(Error::WriterAborted)
    }

    async fn read_on(&self, range: Range<u64>) -> Result<Bytes> {
        if range.start >= range.end {
            return Ok(Bytes::new());
        }
        let growth = &self.0.growth;
        loop {
            let mut grown = pin!(growth.grown.notified());
            grown.as_mut().enable();
            let next = self.next(&range);
            growth.drained.notify_waiters();
            match next? {
                Next::Memory(bytes) => {
                    let_others_run(0).await;
                    return Ok(bytes);
                }
                Next::File(source) => return source.read(range).await,
                Next::Wait => grown.await,
            }
        }
    }
}

impl<B: DiskBackend> BodySource for Follow<B> {
    fn len(&self) -> Option<u64> {
        self.0.len()
    }

    fn read(&self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        Box::pin(self.read_on(range))
    }
}
