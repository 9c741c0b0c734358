//! What an insert or a get may ask for.

use crate::{Durability, Error, Expiry, Result};
use bytes::Bytes;

/// Longest meta in bytes.
pub const MAX_META_LEN: usize = 64 << 10;
/// Longest label in bytes.
pub const MAX_LABEL_LEN: usize = 8 << 10;
/// Longest tag in bytes.
pub const MAX_TAG_LEN: usize = 256;
/// Most tags of one entry.
pub const MAX_TAGS: usize = 64;

/// What goes with an insert.
///
/// ```
/// use cache_core::{Durability, Expiry, InsertOptions};
/// use std::time::Duration;
/// let options = InsertOptions::new()
///     .meta("content-type: text/plain")
///     .expiry(Expiry::After(Duration::from_secs(60)))
///     .tag("product-17")
///     .durability(Durability::Synced);
/// assert!(options.validate().is_ok());
/// ```
#[derive(Clone, Debug, Default)]
pub struct InsertOptions {
    meta: Bytes,
    expiry: Expiry,
    tags: Vec<Bytes>,
    label: Option<Bytes>,
    durability: Option<Durability>,
    shed_under_pressure: bool,
}

impl InsertOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opaque bytes that come back with the hit; at most [`MAX_META_LEN`].
    pub fn meta(mut self, meta: impl Into<Bytes>) -> Self {
        self.meta = meta.into();
        self
    }

    /// When the entry turns stale.
    pub fn expiry(mut self, expiry: Expiry) -> Self {
        self.expiry = expiry;
        self
    }

    /// One more tag to purge by; at most [`MAX_TAGS`] of [`MAX_TAG_LEN`] bytes.
    pub fn tag(mut self, tag: impl Into<Bytes>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// What a purge by prefix sees instead of the path, where the key itself is a hash; at most [`MAX_LABEL_LEN`].
    pub fn label(mut self, label: impl Into<Bytes>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// What the insert waits for; the cache's default unless set.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// Give up with [`crate::Inserted::Shed`] where the write queue is full, rather than wait. The older value of the key is
    /// removed all the same, and a large body waits for the room that it makes by evicting others: both take their time on a
    /// device that is behind.
    pub fn shed_under_pressure(mut self, shed: bool) -> Self {
        self.shed_under_pressure = shed;
        self
    }

    /// The meta.
    pub fn get_meta(&self) -> &Bytes {
        &self.meta
    }

    /// The expiry.
    pub fn get_expiry(&self) -> Expiry {
        self.expiry
    }

    /// The tags.
    pub fn get_tags(&self) -> &[Bytes] {
        &self.tags
    }

    /// The label.
    pub fn get_label(&self) -> Option<&Bytes> {
        self.label.as_ref()
    }

    /// The durability, where one was set.
    pub fn get_durability(&self) -> Option<Durability> {
        self.durability
    }

    /// Whether to shed.
    pub fn sheds_under_pressure(&self) -> bool {
        self.shed_under_pressure
    }

    /// Checks the limits.
    ///
    /// # Errors
    /// [`Error::TooLarge`] naming the part.
    pub fn validate(&self) -> Result<()> {
        check("the meta", self.meta.len(), MAX_META_LEN)?;
        check("the label", self.label.as_ref().map_or(0, Bytes::len), MAX_LABEL_LEN)?;
        check("the list of tags", self.tags.len(), MAX_TAGS)?;
        self.tags.iter().try_for_each(|t| check("a tag", t.len(), MAX_TAG_LEN))
    }
}

fn check(what: &'static str, len: usize, max: usize) -> Result<()> {
    if len > max { Err(Error::TooLarge { what, len: len as u64, max: max as u64 }) } else { Ok(()) }
}

/// How to look a key up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetOptions {
    allow_stale: bool,
    peek: bool,
}

impl GetOptions {
    /// The defaults: fresh entries only, and a hit counts as a use.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a stale entry is a hit.
    pub fn allow_stale(mut self, allow: bool) -> Self {
        self.allow_stale = allow;
        self
    }

    /// Whether to leave the entry's place in the order of use as it is.
    pub fn peek(mut self, peek: bool) -> Self {
        self.peek = peek;
        self
    }

    /// Whether stale entries are hits.
    pub fn allows_stale(self) -> bool {
        self.allow_stale
    }

    /// Whether this look-up leaves no trace.
    pub fn peeks(self) -> bool {
        self.peek
    }
}
