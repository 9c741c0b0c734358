//! What an entry is found by.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::OnceLock,
};

/// Longest key in bytes, in the canonical form.
pub const MAX_KEY_LEN: usize = 16 << 10;

/// SHA-256 of a key's canonical form.
pub type Digest = [u8; 32];

/// A namespace, a path and a variant. Bytes, not text: proxies have hashes and raw URLs.
///
/// One allocation holds the canonical form, the three parts each behind its length (`u32`, little-endian), so that
/// `("ab", "c")` and `("a", "bc")` differ. The digest is computed once and kept; clones made after that share it.
///
/// ```
/// use cache_core::CacheKey;
/// let key = CacheKey::new("bucket", "images/a.jpg").with_variant("gzip");
/// assert_eq!((key.namespace(), key.path(), key.variant()), (&b"bucket"[..], &b"images/a.jpg"[..], &b"gzip"[..]));
/// assert_ne!(key.digest(), CacheKey::new("bucket", "images/a.jpg").digest());
/// ```
#[derive(Clone)]
pub struct CacheKey {
    canonical: Bytes,
    digest: OnceLock<Digest>,
}

impl CacheKey {
    /// The key of a path in a namespace, without a variant. Keys longer than [`MAX_KEY_LEN`] are refused where they are
    /// used.
    pub fn new(namespace: impl AsRef<[u8]>, path: impl AsRef<[u8]>) -> Self {
        Self::of(namespace.as_ref(), path.as_ref(), b"")
    }

    /// The same key with this variant; the empty variant is none.
    pub fn with_variant(self, variant: impl AsRef<[u8]>) -> Self {
        Self::of(self.namespace(), self.path(), variant.as_ref())
    }

    /// The key that `canonical` spells, if it spells one exactly.
    pub fn from_canonical(canonical: Bytes) -> Option<Self> {
        let rest = canonical.as_ref();
        let (_, rest) = split_part(rest)?;
        let (_, rest) = split_part(rest)?;
        let (_, rest) = split_part(rest)?;
        rest.is_empty().then(|| Self { canonical, digest: OnceLock::new() })
    }

    /// The canonical form: what is hashed, stored and compared.
    pub fn as_bytes(&self) -> &[u8] {
        &self.canonical
    }

    /// The namespace.
    pub fn namespace(&self) -> &[u8] {
        self.part(0)
    }

    /// The path.
    pub fn path(&self) -> &[u8] {
        self.part(1)
    }

    /// The variant; empty where there is none.
    pub fn variant(&self) -> &[u8] {
        self.part(2)
    }

    /// SHA-256 of the canonical form, computed at the first call.
    pub fn digest(&self) -> &Digest {
        self.digest.get_or_init(|| Sha256::digest(&self.canonical).into())
    }

    fn of(namespace: &[u8], path: &[u8], variant: &[u8]) -> Self {
        let mut canonical = Vec::with_capacity(12 + namespace.len() + path.len() + variant.len());
        for part in [namespace, path, variant] {
            // A part of 4 GiB or more saturates here and is refused by its total length where the key is used.
            canonical.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
            canonical.extend_from_slice(part);
        }
        Self { canonical: canonical.into(), digest: OnceLock::new() }
    }

    fn part(&self, n: usize) -> &[u8] {
        let mut rest = self.canonical.as_ref();
        for _ in 0..n {
            rest = split_part(rest).map_or(&[], |(_, rest)| rest);
        }
        split_part(rest).map_or(&[], |(part, _)| part)
    }
}

fn split_part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*len) as usize)
}

/// A key in the empty namespace.
impl From<&str> for CacheKey {
    fn from(path: &str) -> Self {
        Self::new("", path)
    }
}

impl From<String> for CacheKey {
    fn from(path: String) -> Self {
        Self::new("", path)
    }
}

impl PartialEq for CacheKey {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

impl Eq for CacheKey {}

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canonical.hash(state);
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "CacheKey({:?}, {:?}, {:?})",
            self.namespace().escape_ascii().to_string(),
            self.path().escape_ascii().to_string(),
            self.variant().escape_ascii().to_string()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_never_run_into_each_other() {
        let a = CacheKey::new("ab", "c");
        let b = CacheKey::new("a", "bc");
        assert_ne!(a, b);
        assert_ne!(a.digest(), b.digest());
    }

    #[test]
    fn no_variant_is_the_empty_variant() {
        assert_eq!(CacheKey::new("n", "p"), CacheKey::new("n", "p").with_variant("gzip").with_variant(""));
    }

    #[test]
    fn a_plain_key_lies_in_the_empty_namespace() {
        let key = CacheKey::from("plain key");
        assert_eq!((key.namespace(), key.path()), (&b""[..], &b"plain key"[..]));
    }

    #[test]
    fn only_an_exact_canonical_form_is_read_back() {
        let key = CacheKey::new("n", "p").with_variant("v");
        let bytes = Bytes::copy_from_slice(key.as_bytes());
        assert_eq!(CacheKey::from_canonical(bytes.clone()), Some(key));
        for cut in 0..bytes.len() {
            assert_eq!(CacheKey::from_canonical(bytes.slice(..cut)), None);
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert_eq!(CacheKey::from_canonical(longer.into()), None);
    }
}
