//! How a purge scope becomes 64 bits.
//!
//! **Invariants**: SipHash-1-3 under a secret key, over a kind and length-prefixed parts in a fixed byte order: the same
//! after a restart and on any machine, and nobody outside can make two scopes meet.

use siphasher::sip::SipHasher13;
use std::hash::Hasher;

const ALL: u8 = 0;
const NAMESPACE: u8 = 1;
const PATH: u8 = 2;
const TAG: u8 = 3;

pub(crate) struct ScopeHasher {
    keyed: SipHasher13,
    all: u64,
}

impl ScopeHasher {
    pub(crate) fn new(key: &[u8; 16]) -> Self {
        let keyed = SipHasher13::new_with_key(key);
        Self { all: hash(keyed, ALL, &[]), keyed }
    }

    pub(crate) fn all(&self) -> u64 {
        self.all
    }

    pub(crate) fn namespace(&self, namespace: &[u8]) -> u64 {
        hash(self.keyed, NAMESPACE, &[namespace])
    }

    pub(crate) fn path(&self, namespace: &[u8], path: &[u8]) -> u64 {
        hash(self.keyed, PATH, &[namespace, path])
    }

    pub(crate) fn tag(&self, tag: &[u8]) -> u64 {
        hash(self.keyed, TAG, &[tag])
    }
}

/// Says nothing of the key, which is a secret.
impl std::fmt::Debug for ScopeHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScopeHasher")
    }
}

fn hash(mut state: SipHasher13, kind: u8, parts: &[&[u8]]) -> u64 {
    // `write` alone: the other verbs of `Hasher` write in the machine's byte order.
    state.write(&[kind]);
    for part in parts {
        state.write(&(part.len() as u64).to_le_bytes());
        state.write(part);
    }
    state.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_stay_what_they_are_on_disk() {
        let h = ScopeHasher::new(&[7; 16]);
        let now = [h.all(), h.namespace(b"n"), h.path(b"n", b"p"), h.tag(b"t")];
        // From an implementation of SipHash-1-3 of its own, in Python.
        assert_eq!(
            now,
            [0xE235_F23C_724C_D027, 0x44D2_D77A_A23B_1D43, 0x69DF_54E9_1AC6_0DDD, 0xA74E_BFA9_A186_61DC]
        );
    }

    #[test]
    fn kinds_parts_and_keys_do_not_meet() {
        let h = ScopeHasher::new(&[7; 16]);
        let other = ScopeHasher::new(&[8; 16]);
        let all = [
            h.all(),
            other.all(),
            h.namespace(b""),
            h.namespace(b"ab"),
            h.tag(b"ab"),
            h.path(b"ab", b"c"),
            h.path(b"a", b"bc"),
            h.path(b"", b""),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(!all[..i].contains(a), "scope {i}");
        }
    }
}
