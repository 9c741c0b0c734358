//! The bytes of an entry: already here, or to be read piece by piece.
//!
//! **Invariants**: a reader never gives a byte that was not verified, and never an end that the body does not have: a body
//! whose source fails ends in an error. Readers are owned, so that they can sit in a struct and outlive the entry.

use crate::{Error, Result};
use bytes::{Bytes, BytesMut};
use std::{
    fmt,
    future::Future,
    ops::Range,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

/// A boxed future, where a trait object needs one.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A body that is not in memory.
pub trait BodySource: Send + Sync + 'static {
    /// Length in bytes; `None` while it is still being written.
    fn len(&self) -> Option<u64>;

    /// Whether the body is known to be empty.
    fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// A non-empty, verified prefix of `range`; waits for the writer where there is one. Empty only at the body's end.
    fn read(&self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>>;

    /// All of `range`, verified, in one piece.
    fn read_all(&self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        Box::pin(async move {
            let mut all = BytesMut::new();
            let mut at = range.start;
            while at < range.end {
                let piece = self.read(at..range.end).await?;
                if piece.is_empty() {
                    return Err(Error::InvalidRange { start: range.start, end: range.end, len: at });
                }
                at += piece.len() as u64;
                all.extend_from_slice(&piece);
            }
            Ok(all.freeze())
        })
    }
}

/// A small body is already here, so that the hot path makes no dynamic call; a large or growing one is a source.
#[derive(Clone)]
pub enum Body {
    /// The whole body.
    Inline(Bytes),
    /// Read on demand.
    Source(Arc<dyn BodySource>),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(b) => write!(f, "Inline({} bytes)", b.len()),
            Self::Source(s) => write!(f, "Source({:?} bytes)", s.len()),
        }
    }
}

impl Body {
    /// Length in bytes; `None` while it is still being written.
    pub fn len(&self) -> Option<u64> {
        match self {
            Self::Inline(b) => Some(b.len() as u64),
            Self::Source(s) => s.len(),
        }
    }

    /// Whether the body is known to be empty.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// All of `range` in one piece.
    ///
    /// # Errors
    /// [`Error::InvalidRange`] where it is not inside the body; those of the source.
    pub async fn read_all(&self, range: Range<u64>) -> Result<Bytes> {
        self.check(range.start, range.end)?;
        match self {
            Self::Inline(b) => Ok(b.slice(range.start as usize..range.end as usize)),
            Self::Source(s) => s.read_all(range).await,
        }
    }

    fn check(&self, start: u64, end: u64) -> Result<()> {
        match self.len() {
            Some(len) if start > end || end > len => Err(Error::InvalidRange { start, end, len }),
            None if start > end => Err(Error::InvalidRange { start, end, len: 0 }),
            _ => Ok(()),
        }
    }
}

/// Reads a body in pieces, from anywhere, again and again.
#[derive(Clone, Debug)]
pub struct BodyReader {
    body: Body,
    at: u64,
    end: Option<u64>,
}

impl BodyReader {
    /// A reader at the start of `body`.
    pub fn new(body: Body) -> Self {
        Self { body, at: 0, end: None }
    }

    /// Length of the whole body in bytes; `None` while it grows.
    pub fn len(&self) -> Option<u64> {
        self.body.len()
    }

    /// Whether the body is known to be empty.
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// Where the next piece begins, in bytes from the body's start.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Goes to `start`, to stop before `end` (the body's end if `None`). No I/O; allowed at any time.
    ///
    /// # Errors
    /// [`Error::InvalidRange`] where it is not inside the body; the reader stays where it was.
    pub fn seek(&mut self, start: u64, end: Option<u64>) -> Result<()> {
        self.body.check(start, end.or(self.body.len()).unwrap_or(u64::MAX))?;
        (self.at, self.end) = (start, end);
        Ok(())
    }

    /// The next piece, never empty; `None` at the end.
    ///
    /// # Errors
    /// A device that does not read, a piece that does not verify, a writer that gave up; [`Error::InvalidRange`] where a
    /// body that was growing turns out to end before the range does.
    ///
    /// # Cancellation
    /// Safe: the reader moves on only when the piece is returned.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let len = self.body.len();
        let end = self.end.or(len).unwrap_or(u64::MAX);
        if let Some(len) = len
            && self.at.max(end) > len
        {
            // The body grew while the range was chosen, and ended before it.
            return Err(Error::InvalidRange { start: self.at, end: end.max(self.at), len });
        }
        if self.at >= end {
            return Ok(None);
        }
        let piece = match &self.body {
            Body::Inline(b) => b.slice(self.at as usize..(end as usize).min(b.len())),
            Body::Source(s) => s.read(self.at..end).await?,
        };
        if let (true, Some(end)) = (piece.is_empty(), self.end) {
            return Err(Error::InvalidRange { start: self.at, end, len: self.at });
        }
        self.at += piece.len() as u64;
        Ok((!piece.is_empty()).then_some(piece))
    }

    /// The rest as a stream.
    pub fn into_stream(self) -> BodyStream {
        BodyStream { reader: Some(self), step: None }
    }
}

type Step = (BodyReader, Result<Option<Bytes>>);

/// The pieces of a body as a `Stream`. An error is its last item.
pub struct BodyStream {
    reader: Option<BodyReader>,
    // The mutex is never locked: it makes the boxed future `Sync`, and `&mut self` reaches through it.
    step: Option<Mutex<BoxFuture<'static, Step>>>,
}

impl fmt::Debug for BodyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyStream").field("reader", &self.reader).finish_non_exhaustive()
    }
}

impl futures_core::Stream for BodyStream {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.step.is_none() {
            let Some(mut reader) = this.reader.take() else { return Poll::Ready(None) };
            this.step = Some(Mutex::new(Box::pin(async move {
                let next = reader.next().await;
                (reader, next)
            })));
        }
        let Some(step) = this.step.as_mut() else { return Poll::Ready(None) };
        let step = step.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Poll::Ready((reader, item)) = step.as_mut().poll(cx) else { return Poll::Pending };
        this.step = None;
        if matches!(item, Ok(Some(_))) {
            this.reader = Some(reader);
        }
        Poll::Ready(item.transpose())
    }
}
