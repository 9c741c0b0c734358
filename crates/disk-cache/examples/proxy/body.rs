//! Message bodies: one boxed type for what clients send, what origins answer and what the cache holds.

use bytes::Bytes;
use disk_cache::BodyReader;
use futures_util::{Stream, StreamExt as _, stream};
use http_body_util::{BodyExt as _, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::task::yield_now;

/// Whatever ends a body early.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body in either direction.
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// No bytes.
pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// Bytes at hand.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// The pieces of a stream. An error ends the body and with it the connection: a short body never looks whole.
pub(crate) fn streamed<S>(pieces: S) -> Body
where
    S: Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
{
    StreamBody::new(pieces.map(|piece| piece.map(Frame::data))).boxed_unsync()
}

/// A piece that was read already, then what the reader still has.
pub(crate) fn from_reader(first: Bytes, reader: BodyReader) -> Body {
    let rest = reader.into_stream().map(|piece| piece.map_err(BoxError::from));
    streamed(stream::iter([Ok(first)]).chain(rest))
}

/// What a reader of a body in flight gets from where it is to `end`. The last piece of a body whose length is known waits
/// until the body is whole and stored: a client that asks again finds it, and none is given a whole body that is not.
pub(crate) fn following(reader: BodyReader, end: Option<u64>, last: bool) -> Body {
    let begin = reader.position();
    let pieces = stream::unfold(Some((reader, begin)), move |state| async move {
        let (mut reader, before) = state?;
        let at = reader.position();
        if before == begin && at > begin {
            // All who wait get their first piece before anybody gets a second one.
            yield_now().await;
        }
        let piece = match reader.next().await {
            Ok(piece) => piece?,
            Err(error) => return Some((Err(BoxError::from(error)), None)),
        };
        if end != Some(reader.position()) {
            return Some((Ok(piece), Some((reader, at))));
        }
        if !last {
            return Some((Ok(piece), None));
        }
        let whole = match reader.next().await {
            Ok(None) => Ok(piece),
            Ok(Some(_)) => Err("the body is longer than it should be".into()),
            Err(error) => Err(error.into()),
        };
        Some((whole, None))
    });
    streamed(pieces)
}

/// The same body; `counter` grows by the bytes that go through.
pub(crate) fn counted(body: Body, counter: Arc<AtomicU64>) -> Body {
    body.map_frame(move |frame| {
        let len = frame.data_ref().map_or(0, Bytes::len) as u64;
        counter.fetch_add(len, Ordering::Relaxed);
        frame
    })
    .boxed_unsync()
}
