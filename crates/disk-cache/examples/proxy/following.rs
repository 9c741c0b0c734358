//! Answers from bodies on their way.
//!
//! **Invariant**: an answer that ends well has all the bytes that it announced; a body that breaks off breaks the answer off.

use crate::{
    body::{self, Body, empty, full},
    job::Job,
    proxy::{Proxy, content_length},
    selection::Selection,
    verdict::Verdict,
};
use bytes::BytesMut;
use disk_cache::{BodyReader, Error, Follower};
use http::{Response, response};
use std::ops::Range;

/// A part of so many bytes is waited for where the length of the body is not known.
const MAX_WAITED_FOR: u64 = 256 << 10;

impl Proxy {
    /// Answers from a body on its way.
    pub(crate) async fn follow(
        &self,
        job: &Job,
        follower: &Follower,
        mut head: response::Parts,
        verdict: Verdict,
    ) -> Response<Body> {
        let mut reader = follower.reader();
        let Some(len) = content_length(&head).or_else(|| follower.len()) else {
            if job.conditions.select(head.status, &head.headers, 0) == Selection::NotModified {
                Selection::NotModified.apply_of_unknown(&mut head);
                return self.finish(head, empty(), verdict);
            }
            // What reaches to the end cannot be told from a body whose end is not known: all of it is a correct answer, and
            // better than one that waits for a long part.
            let range = job.conditions.bounded_range(head.status, &head.headers);
            let Some(range) = range.filter(|range| range.end - range.start <= MAX_WAITED_FOR) else {
                return self.finish(head, body::following(reader, None, true), verdict);
            };
            return self.follow_part(job, reader, range, head, verdict).await;
        };
        let range = job.conditions.select(head.status, &head.headers, len).apply(&mut head, len);
        let last = range.end == len;
        let end = if last { None } else { Some(range.end) };
        if range.is_empty() || reader.seek(range.start, end).is_err() {
            return self.finish(head, empty(), verdict);
        }
        self.finish(head, body::following(reader, Some(range.end), last), verdict)
    }

    /// Answers with a part of a body on its way whose length nobody knows, once all of the part is there.
    async fn follow_part(
        &self,
        job: &Job,
        mut reader: BodyReader,
        range: Range<u64>,
        mut head: response::Parts,
        verdict: Verdict,
    ) -> Response<Body> {
        let mut part = BytesMut::new();
        let end = match reader.seek(range.start, Some(range.end)) {
            Ok(()) => loop {
                match reader.next().await {
                    Ok(Some(piece)) => part.extend_from_slice(&piece),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            },
            Err(error) => Err(error),
        };
        match end {
            Ok(()) => drop(Selection::Part(range).apply_of_unknown(&mut head)),
            // The body ended before the part did: its length is known now.
            Err(Error::InvalidRange { len, .. }) => {
                job.conditions.select(head.status, &head.headers, len).apply(&mut head, len);
            }
            Err(error) => {
                tracing::debug!(%error, "a body on its way broke off");
                return self.failed(None, verdict);
            }
        }
        self.finish(head, full(part), verdict)
    }
}
