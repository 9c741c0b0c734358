//! What a purge by tag sees.

use bytes::Bytes;
use http::HeaderName;
use pingora_cache::CacheMeta;

/// The tags that a response has in a header, between spaces or commas.
pub(crate) fn tags<'a>(
    meta: &'a CacheMeta,
    header: Option<&HeaderName>,
) -> impl Iterator<Item = Bytes> + use<'a> {
    let lines = header.map(|name| meta.headers().get_all(name).iter());
    let words = lines.into_iter().flatten().flat_map(|line| line.as_bytes().split(|b| b" ,\t".contains(b)));
    words.filter(|word| !word.is_empty()).map(Bytes::copy_from_slice)
}

/// Whether two versions of a response have the same tags, in any order.
pub(crate) fn same(a: &CacheMeta, b: &CacheMeta, header: Option<&HeaderName>) -> bool {
    let sorted = |meta| {
        let mut all: Vec<_> = tags(meta, header).collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    sorted(a) == sorted(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pingora_http::ResponseHeader;
    use std::time::SystemTime;

    const NAME: HeaderName = HeaderName::from_static("surrogate-key");

    fn with(lines: &[&str]) -> CacheMeta {
        let mut header = ResponseHeader::build(200, None).expect("a status");
        for line in lines {
            header.append_header(NAME, *line).expect("a header");
        }
        CacheMeta::new(SystemTime::now(), SystemTime::now(), 0, 0, header)
    }

    #[test]
    fn tags_stand_between_spaces_or_commas_on_any_number_of_lines() {
        let meta = with(&["news  product-17", "sport,weather, "]);
        let found: Vec<_> = tags(&meta, Some(&NAME)).collect();
        assert_eq!(found, ["news", "product-17", "sport", "weather"]);
        assert_eq!(tags(&meta, None).count(), 0);
    }

    #[test]
    fn the_same_tags_in_another_order_are_the_same() {
        assert!(same(&with(&["a b"]), &with(&["b", "a a"]), Some(&NAME)));
        assert!(!same(&with(&["a b"]), &with(&["a"]), Some(&NAME)));
    }
}
