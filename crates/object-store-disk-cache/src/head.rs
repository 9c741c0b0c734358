//! What is known of an object besides its bytes.
//!
//! **Invariant**: two bodies of one location and length never have the same identity.

use crate::Freshness;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use object_store::{Attribute, AttributeValue, Attributes, GetResult, ObjectMeta, path::Path};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, time::Duration};

#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) meta: ObjectMeta,
    pub(crate) attributes: Attributes,
    /// What tells the object's bytes from others of the same length that lay at its location.
    pub(crate) identity: String,
    /// For how long.
    pub(crate) believed: Duration,
}

/// A head as it is stored. The location is in the key.
#[derive(Serialize, Deserialize)]
struct Stored {
    size: u64,
    last_modified: DateTime<Utc>,
    e_tag: Option<String>,
    version: Option<String>,
    attributes: Vec<(Name, String)>,
    identity: String,
    believed: Duration,
}

/// The name of an attribute.
#[derive(Serialize, Deserialize)]
enum Name {
    ContentDisposition,
    ContentEncoding,
    ContentLanguage,
    ContentType,
    CacheControl,
    StorageClass,
    Metadata(String),
}

impl Head {
    /// That of an object as the store tells of it; `None` where nothing would tell it from another.
    pub(crate) fn of(answer: GetResult, freshness: Freshness) -> Option<Self> {
        let identity = identity(&answer.meta, freshness)?;
        let believed = freshness.age();
        Some(Self { meta: answer.meta, attributes: answer.attributes, identity, believed })
    }

    /// The bytes to store; `None` where an attribute is of a kind that is not known here.
    pub(crate) fn encode(&self) -> Option<Bytes> {
        let attributes =
            self.attributes.iter().map(|(name, value)| Some((Name::of(name)?, value.to_string())));
        let stored = Stored {
            size: self.meta.size,
            last_modified: self.meta.last_modified,
            e_tag: self.meta.e_tag.clone(),
            version: self.meta.version.clone(),
            attributes: attributes.collect::<Option<_>>()?,
            identity: self.identity.clone(),
            believed: self.believed,
        };
        serde_json::to_vec(&stored).ok().map(Bytes::from)
    }

    /// # Errors
    /// Bytes that no head was encoded to.
    pub(crate) fn decode(location: &Path, bytes: &[u8]) -> serde_json::Result<Self> {
        let stored: Stored = serde_json::from_slice(bytes)?;
        let meta = ObjectMeta {
            location: location.clone(),
            last_modified: stored.last_modified,
            size: stored.size,
            e_tag: stored.e_tag,
            version: stored.version,
        };
        let attributes = stored.attributes.into_iter();
        let attributes =
            attributes.map(|(name, value)| (Attribute::from(name), AttributeValue::from(value))).collect();
        Ok(Self { meta, attributes, identity: stored.identity, believed: stored.believed })
    }

    /// Whether bytes that came with this meta are the object's.
    pub(crate) fn is_of(&self, meta: &ObjectMeta, freshness: Freshness) -> bool {
        meta.size == self.meta.size && identity(meta, freshness).as_deref() == Some(&self.identity)
    }

    /// What a request for the object's bytes may ask to match.
    pub(crate) fn strong_e_tag(&self) -> Option<&str> {
        strong(&self.meta)
    }
}

/// The strong `ETag`; of an object that is written once, also a weak one, or else its date.
fn identity(meta: &ObjectMeta, freshness: Freshness) -> Option<String> {
    let once = || {
        (freshness == Freshness::Immutable)
            .then(|| meta.e_tag.clone().unwrap_or_else(|| meta.last_modified.to_rfc3339()))
    };
    strong(meta).map(str::to_owned).or_else(once)
}

/// A weak `ETag` may be that of other bytes, too.
fn strong(meta: &ObjectMeta) -> Option<&str> {
    meta.e_tag.as_deref().filter(|tag| !tag.starts_with("W/"))
}

impl Name {
    fn of(attribute: &Attribute) -> Option<Self> {
        Some(match attribute {
            Attribute::ContentDisposition => Self::ContentDisposition,
            Attribute::ContentEncoding => Self::ContentEncoding,
            Attribute::ContentLanguage => Self::ContentLanguage,
            Attribute::ContentType => Self::ContentType,
            Attribute::CacheControl => Self::CacheControl,
            Attribute::StorageClass => Self::StorageClass,
            Attribute::Metadata(key) => Self::Metadata(key.to_string()),
            _ => return None,
        })
    }
}

impl From<Name> for Attribute {
    fn from(name: Name) -> Self {
        match name {
            Name::ContentDisposition => Self::ContentDisposition,
            Name::ContentEncoding => Self::ContentEncoding,
            Name::ContentLanguage => Self::ContentLanguage,
            Name::ContentType => Self::ContentType,
            Name::CacheControl => Self::CacheControl,
            Name::StorageClass => Self::StorageClass,
            Name::Metadata(key) => Self::Metadata(Cow::Owned(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(e_tag: Option<&str>) -> ObjectMeta {
        ObjectMeta {
            location: Path::from("a/b"),
            last_modified: DateTime::from_timestamp(1_700_000_000, 123_456_789).expect("a date"),
            size: 7,
            e_tag: e_tag.map(str::to_owned),
            version: Some("3".to_owned()),
        }
    }

    #[test]
    fn a_head_is_read_back_as_it_was_stored() {
        let kinds = [
            Attribute::ContentDisposition,
            Attribute::ContentEncoding,
            Attribute::ContentLanguage,
            Attribute::ContentType,
            Attribute::CacheControl,
            Attribute::StorageClass,
            Attribute::Metadata("a key".into()),
        ];
        let attributes = kinds.into_iter().map(|kind| (kind, "a value")).collect();
        let (identity, believed) = ("\"x\"".to_owned(), Duration::MAX);
        let head = Head { meta: meta(Some("\"x\"")), attributes, identity, believed };
        let bytes = head.encode().expect("attributes that are known");
        let back = Head::decode(&head.meta.location, &bytes).expect("it reads");
        assert_eq!(back.meta, head.meta);
        assert_eq!(back.attributes, head.attributes);
        assert_eq!((back.identity, back.believed), (head.identity, head.believed));
    }

    #[test]
    fn only_a_strong_e_tag_names_the_bytes_of_an_object_that_may_change() {
        for freshness in [Freshness::EveryTime, Freshness::MaxAge(Duration::from_secs(1))] {
            assert_eq!(identity(&meta(Some("\"x\"")), freshness).as_deref(), Some("\"x\""));
            assert_eq!(identity(&meta(Some("W/\"x\"")), freshness), None);
            assert_eq!(identity(&meta(None), freshness), None);
        }
        assert_eq!(identity(&meta(Some("W/\"x\"")), Freshness::Immutable).as_deref(), Some("W/\"x\""));
        assert!(
            identity(&meta(None), Freshness::Immutable).expect("its date").starts_with("2023-11-14T22:13:20")
        );
    }
}
