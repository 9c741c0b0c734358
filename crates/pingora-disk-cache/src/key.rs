//! Names: of entries, of what a purge by prefix sees.
//!
//! **Invariant**: an entry's name is made of what a purge is given, and of nothing else: Pingora purges with a
//! [`CompactCacheKey`](pingora_cache::key::CompactCacheKey), which has hashes and the user tag.

use bytes::Bytes;
use disk_cache::MAX_LABEL_LEN;
use pingora_cache::key::{CacheHashKey, CacheKey};

/// What a purge by prefix sees of an entry, where the bytes that were hashed into the key are not what it should see.
///
/// ```
/// use pingora_cache::CacheKey;
/// use pingora_disk_cache::Label;
/// // Framed, so that ("ab", "c") and ("a", "bc") differ: no prefix that a person would type.
/// let mut key = CacheKey::new(b"\x0cexample.com\x00\x06/a.jpg".to_vec(), "");
/// key.extensions.insert(Label::new("example.com/a.jpg"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(Bytes);

impl Label {
    /// A label of these bytes, the first 8 KiB of them.
    pub fn new(label: impl Into<Bytes>) -> Self {
        let mut label = label.into();
        label.truncate(MAX_LABEL_LEN);
        Self(label)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// That of a key: its own, or else the bytes that are hashed.
    pub(crate) fn of(key: &CacheKey) -> Bytes {
        let own = key.extensions.get::<Self>().map(|label| label.0.clone());
        own.unwrap_or_else(|| Self::new(key.primary_key().to_vec()).0)
    }
}

/// The name of an entry: the user tag is the namespace, so that tenants never share an entry and can be purged and
/// counted one by one; the primary hash is the path, so that all variants can be purged at once.
pub(crate) fn entry_key(key: &impl CacheHashKey) -> disk_cache::CacheKey {
    let primary = disk_cache::CacheKey::new(key.user_tag(), key.primary_bin());
    match key.variance_bin() {
        Some(variance) => primary.with_variant(variance),
        None => primary,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_what_a_purge_is_given_of_it_name_the_same_entry() {
        let mut key = CacheKey::new("example.com/a.jpg", "tenant");
        assert_eq!(entry_key(&key), entry_key(&key.to_compact()));
        key.set_variance_key([7; 16]);
        assert_eq!(entry_key(&key), entry_key(&key.to_compact()));
    }

    #[test]
    fn another_url_variant_or_tenant_is_another_entry() {
        let key = CacheKey::new("example.com/a.jpg", "tenant");
        let mut variant = key.clone();
        variant.set_variance_key([7; 16]);
        let others = [
            CacheKey::new("example.com/b.jpg", "tenant"),
            CacheKey::new("example.com/a.jpg", "other"),
            variant,
        ];
        for other in others {
            assert_ne!(entry_key(&other), entry_key(&key), "{other:?}");
        }
    }

    #[test]
    fn the_label_is_what_was_hashed_unless_the_key_has_its_own() {
        let mut key = CacheKey::new("example.com/a.jpg", "");
        assert_eq!(Label::of(&key), "example.com/a.jpg");
        key.extensions.insert(Label::new("its own"));
        assert_eq!(Label::of(&key), "its own");
    }

    #[test]
    fn a_label_that_is_too_long_is_cut_and_not_lost() {
        let long = CacheKey::new(vec![b'x'; MAX_LABEL_LEN + 1], "");
        assert_eq!(Label::of(&long).len(), MAX_LABEL_LEN);
    }
}
