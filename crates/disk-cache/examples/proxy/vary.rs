//! Which request headers choose among the variants of a URL.
//!
//! A URL whose responses have a `Vary` field has a list of names under its plain key, and each response under that key
//! with a variant made of the request's values for those names. The list only grows, so that responses of one URL that
//! name different fields are all found by one look at the list.

use crate::headers;
use http::{HeaderMap, HeaderName, header};
use serde::{Deserialize, Serialize};

/// Names of request headers, sorted, each once, in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VaryIndex(Vec<String>);

/// More names than any response has that is worth caching.
const MAX_NAMES: usize = 32;

impl VaryIndex {
    /// What a response's header names; `None` where it varies by what no header tells (`*`), or by too much.
    pub(crate) fn of(response: &HeaderMap) -> Option<Self> {
        let mut names = Vec::new();
        for name in headers::list(response, &header::VARY) {
            if name == "*" {
                return None;
            }
            names.push(HeaderName::from_bytes(name.as_bytes()).ok()?.as_str().to_owned());
        }
        Self::from_names(names)
    }

    /// Both lists in one; `None` where that is too much.
    pub(crate) fn union(&self, other: &Self) -> Option<Self> {
        Self::from_names(self.0.iter().chain(&other.0).cloned().collect())
    }

    /// Whether it names nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The request's values for the names, in one string of bytes; different values give different strings. A value
    /// contains no line break, and a header that is missing differs from an empty one.
    pub(crate) fn variant(&self, request: &HeaderMap) -> Vec<u8> {
        let mut variant = Vec::new();
        for name in &self.0 {
            variant.extend_from_slice(name.as_bytes());
            if let Some(value) = request.get(name) {
                variant.push(b':');
                variant.extend_from_slice(value.as_bytes());
            }
            variant.push(b'\n');
        }
        variant
    }

    fn from_names(mut names: Vec<String>) -> Option<Self> {
        names.sort_unstable();
        names.dedup();
        (names.len() <= MAX_NAMES).then_some(Self(names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn vary(value: &'static str) -> Option<VaryIndex> {
        VaryIndex::of(&HeaderMap::from_iter([(header::VARY, HeaderValue::from_static(value))]))
    }

    #[test]
    fn names_are_read_in_any_order_and_case() {
        assert_eq!(vary("Accept, accept-ENCODING"), vary("accept-encoding,,ACCEPT, accept"));
        assert_eq!(vary("accept, *"), None);
        assert_eq!(VaryIndex::of(&HeaderMap::new()), Some(VaryIndex::default()));
    }

    #[test]
    fn an_empty_header_is_another_variant_than_none() {
        let index = vary("accept").unwrap();
        let empty = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(""))]);
        assert_ne!(index.variant(&HeaderMap::new()), index.variant(&empty));
    }
}
