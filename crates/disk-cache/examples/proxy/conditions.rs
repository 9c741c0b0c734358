//! What a client asks of a response beside the resource: only if it changed, only some of its bytes.
//!
//! These fields are the proxy's to answer. They are taken out of the request before the cache and the origin see it, so
//! that what is fetched and stored is always the whole response.

use crate::{
    range::{self, Ranged},
    selection::Selection,
};
use http::{
    HeaderMap, StatusCode,
    header::{self, HeaderName},
};
use std::{ops::Range, time::SystemTime};

/// Preconditions and range of a GET or HEAD.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions {
    none_match: Option<String>,
    modified_since: Option<SystemTime>,
    range: Option<String>,
    if_range: Option<String>,
}

impl Conditions {
    /// Takes the fields out of a request's header, which has one line a field.
    pub(crate) fn take(headers: &mut HeaderMap) -> Self {
        let mut take =
            |name: HeaderName| headers.remove(name).and_then(|v| v.to_str().ok().map(str::to_owned));
        Self {
            none_match: take(header::IF_NONE_MATCH),
            modified_since: take(header::IF_MODIFIED_SINCE).and_then(|v| httpdate::parse_http_date(&v).ok()),
            range: take(header::RANGE),
            if_range: take(header::IF_RANGE),
        }
    }

    /// Whether only some bytes are asked for.
    pub(crate) fn wants_range(&self) -> bool {
        self.range.is_some()
    }

    /// The same without the range: for HEAD, which has no bytes to choose from.
    pub(crate) fn without_range(mut self) -> Self {
        self.range = None;
        self
    }

    /// What of a response of `len` bytes answers the request. Only a 200 has parts and can be unmodified.
    pub(crate) fn select(&self, status: StatusCode, headers: &HeaderMap, len: u64) -> Selection {
        if status != StatusCode::OK {
            return Selection::Whole;
        }
        if self.not_modified(headers) {
            return Selection::NotModified;
        }
        match &self.range {
            Some(field) if self.range_applies(headers) => match range::parse(field, len) {
                Ranged::Whole => Selection::Whole,
                Ranged::Part(range) => Selection::Part(range),
                Ranged::Unsatisfiable => Selection::Unsatisfiable,
            },
            _ => Selection::Whole,
        }
    }

    /// The bytes that are asked for, where that can be told without the length of the body.
    pub(crate) fn bounded_range(&self, status: StatusCode, headers: &HeaderMap) -> Option<Range<u64>> {
        let range = range::bounded(self.range.as_deref()?)?;
        (status == StatusCode::OK && self.range_applies(headers)).then_some(range)
    }

    fn not_modified(&self, headers: &HeaderMap) -> bool {
        if let Some(field) = &self.none_match {
            return field.trim() == "*" || etag(headers).is_some_and(|tag| any_tag_is(field, tag));
        }
        match (self.modified_since, last_modified(headers)) {
            (Some(since), Some(modified)) => modified <= since,
            _ => false,
        }
    }

    fn range_applies(&self, headers: &HeaderMap) -> bool {
        let Some(field) = self.if_range.as_deref().map(str::trim) else { return true };
        if field.starts_with('"') {
            return etag(headers) == Some(field);
        }
        // A weak tag is no date either, and so never applies: bytes of two weakly equal bodies do not fit together.
        let date = httpdate::parse_http_date(field).ok();
        date.is_some() && date == last_modified(headers)
    }
}

fn etag(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::ETAG).and_then(|v| v.to_str().ok()).map(str::trim)
}

fn last_modified(headers: &HeaderMap) -> Option<SystemTime> {
    headers
        .get(header::LAST_MODIFIED)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| httpdate::parse_http_date(v).ok())
}

/// Whether a list of tags has `tag`, by weak comparison. Tags may contain commas.
fn any_tag_is(list: &str, tag: &str) -> bool {
    let opaque = tag.trim_start_matches("W/");
    let mut rest = list;
    while let Some(open) = rest.find('"') {
        let Some(len) = rest[open + 1..].find('"') else { return false };
        let close = open + 1 + len;
        if &rest[open..=close] == opaque {
            return true;
        }
        rest = &rest[close + 1..];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn select(request: &[(HeaderName, &'static str)]) -> Selection {
        let fields = |lines: &[(HeaderName, &'static str)]| -> HeaderMap {
            lines.iter().map(|(n, v)| (n.clone(), HeaderValue::from_static(v))).collect()
        };
        let response = fields(&[(header::ETAG, "\"a,b\""), (header::LAST_MODIFIED, MODIFIED)]);
        Conditions::take(&mut fields(request)).select(StatusCode::OK, &response, 10)
    }

    #[test]
    fn a_tag_in_the_list_means_not_modified() {
        for list in ["\"a,b\"", "W/\"a,b\"", "\"x\", W/\"y\" ,\"a,b\"", "*"] {
            assert_eq!(select(&[(header::IF_NONE_MATCH, list)]), Selection::NotModified, "{list}");
        }
        for list in ["\"a\", \"b\"", "a,b", "\"a,b", ""] {
            assert_eq!(select(&[(header::IF_NONE_MATCH, list)]), Selection::Whole, "{list}");
        }
    }

    #[test]
    fn a_date_counts_only_where_no_tag_was_given() {
        assert_eq!(select(&[(header::IF_MODIFIED_SINCE, MODIFIED)]), Selection::NotModified);
        assert_eq!(select(&[(header::IF_MODIFIED_SINCE, BEFORE)]), Selection::Whole);
        assert_eq!(select(&[(header::IF_MODIFIED_SINCE, "yesterday")]), Selection::Whole);
        let both = [(header::IF_MODIFIED_SINCE, MODIFIED), (header::IF_NONE_MATCH, "\"other\"")];
        assert_eq!(select(&both), Selection::Whole);
    }

    #[test]
    fn a_range_applies_to_the_response_it_was_meant_for() {
        let with = |validator| select(&[(header::RANGE, "bytes=2-3"), (header::IF_RANGE, validator)]);
        for validator in ["\"a,b\"", MODIFIED] {
            assert_eq!(with(validator), Selection::Part(2..4), "{validator}");
        }
        for validator in ["\"other\"", "W/\"a,b\"", BEFORE, ""] {
            assert_eq!(with(validator), Selection::Whole, "{validator}");
        }
    }
}
