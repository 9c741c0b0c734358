//! Which part of a whole response is the answer.

use http::{
    HeaderValue, StatusCode,
    header::{self, HeaderName},
    response::Parts,
};
use std::ops::Range;

/// Which part of a whole response is the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// All of it.
    Whole,
    /// These bytes of its body: 206.
    Part(Range<u64>),
    /// Its header: 304.
    NotModified,
    /// Nothing, for its body does not have the bytes: 416.
    Unsatisfiable,
}

/// Fields about a body that a 304 does not carry.
const OF_THE_BODY: [HeaderName; 5] = [
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
];

impl Selection {
    /// Makes the head of the whole response, whose body has `len` bytes, that of the answer. Returns the bytes to send.
    pub(crate) fn apply(&self, head: &mut Parts, len: u64) -> Range<u64> {
        self.apply_of(head, len, &len.to_string())
    }

    /// The same for a body whose length is not known, as long as the answer does not depend on it.
    pub(crate) fn apply_of_unknown(&self, head: &mut Parts) -> Range<u64> {
        self.apply_of(head, 0, "*")
    }

    fn apply_of(&self, head: &mut Parts, len: u64, told: &str) -> Range<u64> {
        let mut set = |name: HeaderName, value: HeaderValue| drop(head.headers.insert(name, value));
        let has_parts = head.status == StatusCode::OK;
        let range = match self {
            Self::Whole => {
                if head.status != StatusCode::NO_CONTENT {
                    set(header::CONTENT_LENGTH, len.into());
                }
                0..len
            }
            Self::Part(range) => {
                head.status = StatusCode::PARTIAL_CONTENT;
                set(header::CONTENT_LENGTH, (range.end - range.start).into());
                set(header::CONTENT_RANGE, text(&format!("bytes {}-{}/{told}", range.start, range.end - 1)));
                range.clone()
            }
            Self::NotModified => {
                head.status = StatusCode::NOT_MODIFIED;
                for name in &OF_THE_BODY {
                    head.headers.remove(name);
                }
                return 0..0;
            }
            Self::Unsatisfiable => {
                head.status = StatusCode::RANGE_NOT_SATISFIABLE;
                set(header::CONTENT_LENGTH, 0.into());
                set(header::CONTENT_RANGE, text(&format!("bytes */{told}")));
                0..0
            }
        };
        if has_parts {
            head.headers.entry(header::ACCEPT_RANGES).or_insert(HeaderValue::from_static("bytes"));
        }
        range
    }
}

fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static("bytes"))
}
