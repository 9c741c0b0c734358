//! Purge scopes as bytes: a kind, then the parts, each behind its length (`u32`).

use super::fields::Fields;
use bytes::Bytes;
use cache_core::{MAX_META_LEN, PurgeScope};

const ALL: u8 = 0;
const NAMESPACE: u8 = 1;
const PATH: u8 = 2;
const PREFIX: u8 = 3;
const TAG: u8 = 4;

pub(crate) fn encode(scope: &PurgeScope) -> Vec<u8> {
    let of = |kind: u8, parts: &[&Bytes]| {
        let mut out = vec![kind];
        for part in parts {
            out.extend_from_slice(&(part.len() as u32).to_le_bytes());
            out.extend_from_slice(part);
        }
        out
    };
    match scope {
        PurgeScope::Namespace(namespace) => of(NAMESPACE, &[namespace]),
        PurgeScope::Path { namespace, path } => of(PATH, &[namespace, path]),
        PurgeScope::Prefix { namespace, prefix } => of(PREFIX, &[namespace, prefix]),
        PurgeScope::Tag(tag) => of(TAG, &[tag]),
        // `All` is the widest scope: what a scope unknown here means to whoever reads it back is purged as well.
        _ => of(ALL, &[]),
    }
}

pub(crate) fn decode(bytes: &[u8]) -> Option<PurgeScope> {
    if bytes.len() > MAX_META_LEN {
        return None;
    }
    let mut f = Fields::new(bytes);
    let kind = f.u8()?;
    let mut part = || {
        let len = f.u32()?;
        f.bytes(len as usize).map(Bytes::copy_from_slice)
    };
    let scope = match kind {
        ALL => PurgeScope::All,
        NAMESPACE => PurgeScope::Namespace(part()?),
        PATH => PurgeScope::Path { namespace: part()?, path: part()? },
        PREFIX => PurgeScope::Prefix { namespace: part()?, prefix: part()? },
        TAG => PurgeScope::Tag(part()?),
        _ => return None,
    };
    f.rest().is_empty().then_some(scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scope_reads_back_and_no_truncation_of_it_does() {
        let b = Bytes::from_static;
        for scope in [
            PurgeScope::All,
            PurgeScope::Namespace(b(b"n")),
            PurgeScope::Path { namespace: b(b"n"), path: b(b"") },
            PurgeScope::Prefix { namespace: b(b""), prefix: b(b"img/") },
            PurgeScope::Tag(b(b"t")),
        ] {
            let bytes = encode(&scope);
            assert_eq!(decode(&bytes), Some(scope));
            for len in 0..bytes.len() {
                assert_eq!(decode(&bytes[..len]), None);
            }
        }
    }
}
