//! Pingora's metadata as the cache's.
//!
//! ```text
//! 0  1  version, 1
//! 1  4  length of the internal part, little-endian
//! 5     internal part: times and variance, in Pingora's encoding
//!       response header, in Pingora's encoding
//! ```
//!
//! **Invariants**: freshness is Pingora's to judge, from this metadata; the cache only adds that an entry was purged softly.
//! What the cache takes for the expiry is the end of the last window in which Pingora would serve the entry stale.

use bytes::Bytes;
use disk_cache::{EntryId, Expiry, Hit};
use pingora_cache::CacheMeta;
use pingora_error::{Error, ErrorType, Result};
use std::time::{Duration, SystemTime};

const VERSION: u8 = 1;
const HEAD: usize = 5;

/// # Errors
/// Those of Pingora's encoding.
pub(crate) fn encode(meta: &CacheMeta) -> Result<Bytes> {
    let (internal, header) = meta.serialize()?;
    let Ok(len) = u32::try_from(internal.len()) else { return malformed("too long") };
    let mut all = Vec::with_capacity(HEAD + internal.len() + header.len());
    all.push(VERSION);
    all.extend_from_slice(&len.to_le_bytes());
    all.extend_from_slice(&internal);
    all.extend_from_slice(&header);
    Ok(all.into())
}

/// # Errors
/// Another version than this one, of this layout or of Pingora's, wrote it.
pub(crate) fn decode(bytes: &[u8]) -> Result<CacheMeta> {
    let Some((&[VERSION, a, b, c, d], rest)) = bytes.split_first_chunk::<HEAD>() else {
        return malformed("not of a version known here");
    };
    match rest.split_at_checked(u32::from_le_bytes([a, b, c, d]) as usize) {
        Some((internal, header)) => CacheMeta::deserialize(internal, header),
        None => malformed("shorter than it says"),
    }
}

fn malformed<T>(how: &'static str) -> Result<T> {
    Error::e_explain(ErrorType::InternalError, format!("the metadata of a stored response is {how}"))
}

/// Until when the entry can be of use without the origin.
pub(crate) fn expiry(meta: &CacheMeta) -> Expiry {
    let window = meta.stale_while_revalidate_sec().max(meta.stale_if_error_sec());
    match meta.fresh_until().checked_add(Duration::from_secs(window.into())) {
        Some(end) => Expiry::At(end),
        None => Expiry::Never,
    }
}

/// Which entry a lookup found, and how: travels with the metadata to the revalidation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) id: EntryId,
    pub(crate) purged_softly: bool,
}

impl Seen {
    pub(crate) fn of(hit: &Hit) -> Self {
        let over = hit.expires_at().is_some_and(|end| end <= SystemTime::now());
        Self { id: hit.id(), purged_softly: hit.is_stale() && !over }
    }
}

/// Makes the metadata of an entry that the cache calls stale stale for Pingora too. When a soft purge of many entries came is
/// not known of each: the windows for serving it stale are taken to have begun when the response was last known to be good,
/// so that they are never longer than it allowed.
pub(crate) fn make_stale(meta: &mut CacheMeta) {
    let now = SystemTime::now();
    if meta.is_fresh(now) {
        let just_before = now.checked_sub(Duration::from_millis(1)).unwrap_or(SystemTime::UNIX_EPOCH);
        meta.expire_at(meta.updated().min(just_before));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pingora_http::ResponseHeader;

    fn meta(fresh: Duration, while_revalidate: u32, if_error: u32) -> CacheMeta {
        let mut header = ResponseHeader::build(200, None).expect("a status");
        header.append_header("etag", "\"1\"").expect("a header");
        let now = SystemTime::now();
        CacheMeta::new(now + fresh, now, while_revalidate, if_error, header)
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let mut meta = meta(Duration::from_secs(60), 5, 7);
        meta.set_variance([3; 16]);
        let back = decode(&encode(&meta).expect("encodes")).expect("decodes");
        assert_eq!(back.fresh_until(), meta.fresh_until());
        assert_eq!(back.variance(), meta.variance());
        assert_eq!((back.stale_while_revalidate_sec(), back.stale_if_error_sec()), (5, 7));
        assert_eq!(back.headers()["etag"], "\"1\"");
    }

    #[test]
    fn every_cut_and_another_version_are_errors() {
        let bytes = encode(&meta(Duration::ZERO, 0, 0)).expect("encodes").to_vec();
        for cut in 0..=HEAD {
            assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let mut other = bytes;
        other[0] = VERSION + 1;
        assert!(decode(&other).is_err());
    }

    #[test]
    fn an_entry_expires_when_its_last_window_ends() {
        let meta = meta(Duration::from_secs(60), 5, 7);
        assert_eq!(expiry(&meta), Expiry::At(meta.fresh_until() + Duration::from_secs(7)));
    }

    #[test]
    fn what_was_purged_softly_is_stale_and_its_windows_are_not_stretched() {
        let mut meta = meta(Duration::from_secs(60), 600, 0);
        make_stale(&mut meta);
        assert!(!meta.is_fresh(SystemTime::now()));
        assert!(meta.fresh_until() <= meta.updated());
        let stale = meta.fresh_until();
        make_stale(&mut meta);
        assert_eq!(meta.fresh_until(), stale, "the next lookup leaves it as it is");
    }
}
