//! How a cache is set up: plain values that a configuration file can hold.

use crate::{BackendChoice, ByteSize, Durability, Error, OnDamage, Result};
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, time::Duration};

/// The whole configuration of a cache. Durations are milliseconds, with a fraction if need be, and sizes are strings such as `"10GiB"` (or plain counts
/// of bytes) in serialised form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The cache's directory; made where it is missing, with mode 0700.
    pub dir: PathBuf,
    /// Bytes on disk, a hard limit.
    pub capacity: ByteSize,
    /// Length of a log segment; `None` derives it: about 512 segments of 4 MiB to 1 GiB each, in a cache of less than 2 GiB
    /// fewer or shorter ones, down to 1 MiB, and at least 8. A directory keeps the size it was made with.
    #[serde(default)]
    pub segment_size: Option<ByteSize>,
    /// Which backend to use.
    #[serde(default)]
    pub backend: BackendChoice,
    /// What an insert waits for unless it says otherwise.
    #[serde(default)]
    pub durability: Durability,
    /// How long an entry is fresh unless its insert says otherwise; `None`: for ever.
    #[serde(default, with = "millis::option", rename = "default_ttl_ms")]
    pub default_ttl: Option<Duration>,
    /// How long after its expiry reclaim still keeps an entry for readers that allow stale ones.
    #[serde(default, with = "millis", rename = "stale_window_ms")]
    pub stale_window: Duration,
    /// Largest body; `None`: half of the capacity, which is also the upper bound.
    #[serde(default)]
    pub max_entry_size: Option<ByteSize>,
    /// Memory for records that wait to be written.
    #[serde(default = "default_write_buffer")]
    pub write_buffer: ByteSize,
    /// How long a record may wait in memory before it is written.
    #[serde(default = "default_flush_interval", with = "millis", rename = "flush_interval_ms")]
    pub flush_interval: Duration,
    /// The cache does not grow while the file system has less than this left.
    #[serde(default = "default_min_free_space")]
    pub min_free_space: ByteSize,
    /// Bytes written to the log per byte inserted, at most, over time; from 1, where nothing is moved but from what a cache starts
    /// with, to 1000, where evictions follow the order of use exactly, whatever that writes.
    #[serde(default = "default_max_write_amplification")]
    pub max_write_amplification: f64,
    /// What to do about a superblock that does not read.
    #[serde(default)]
    pub on_damage: OnDamage,
    /// Read past the page cache (`O_DIRECT`), so that the memory is left to others: every get is a read of the device then,
    /// also of what was read a moment ago. Each open file takes two descriptors. Written pages are dropped once they are
    /// synced. Linux only, and only where the file system has such reads: refused elsewhere.
    #[serde(default)]
    pub direct_io: bool,
}

/// Shortest and longest segment that may be asked for.
const SEGMENT_SIZES: std::ops::RangeInclusive<u64> = 4096..=1 << 30;
/// More segments than this do not fit into the index's 14 bits with room for short ones.
const MAX_SEGMENTS: u64 = 8192;
/// Fewer segments than this leave reclaim no room to work.
const MIN_SEGMENTS: u64 = 8;

impl Config {
    /// A configuration with the defaults.
    pub fn new(dir: impl Into<PathBuf>, capacity: ByteSize) -> Self {
        Self {
            dir: dir.into(),
            capacity,
            segment_size: None,
            backend: BackendChoice::default(),
            durability: Durability::default(),
            default_ttl: None,
            stale_window: Duration::ZERO,
            max_entry_size: None,
            write_buffer: default_write_buffer(),
            flush_interval: default_flush_interval(),
            min_free_space: default_min_free_space(),
            max_write_amplification: default_max_write_amplification(),
            on_damage: OnDamage::default(),
            direct_io: false,
        }
    }

    /// The segment size asked for, or the one derived from the capacity, in bytes.
    pub fn segment_bytes(&self) -> u64 {
        self.segment_size.map_or_else(
            || {
                let of = |count: u64| (self.capacity.bytes() / count).next_power_of_two();
                // Each segment costs a file, three syncs and an unlink, however short it is.
                of(512).max(of(128).min(4 << 20)).clamp(1 << 20, 1 << 30)
            },
            ByteSize::bytes,
        )
    }

    /// The largest body allowed, in bytes.
    pub fn max_entry_bytes(&self) -> u64 {
        let half = self.capacity.bytes() / 2;
        self.max_entry_size.map_or(half, |m| m.bytes().min(half))
    }

    /// Checks every value against its bounds.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] naming the field, what is wrong and what would do.
    pub fn validate(&self) -> Result<()> {
        let no = |field, reason| Err(Error::InvalidConfig { field, reason });
        let segment = self.segment_bytes();
        if !SEGMENT_SIZES.contains(&segment) || !segment.is_multiple_of(4096) {
            return no(
                "segment_size",
                format!("{segment} bytes: it must be a multiple of 4 KiB between 4 KiB and 1 GiB"),
            );
        }
        let capacity = self.capacity.bytes();
        if capacity < MIN_SEGMENTS * segment {
            return no(
                "capacity",
                format!(
                    "{} is too small: at least {MIN_SEGMENTS} segments of {} are needed, that is {}",
                    self.capacity,
                    ByteSize::bytes_of(segment),
                    ByteSize::bytes_of(MIN_SEGMENTS * segment)
                ),
            );
        }
        if capacity / segment > MAX_SEGMENTS && segment == *SEGMENT_SIZES.end() {
            let most = ByteSize::bytes_of(MAX_SEGMENTS * segment);
            return no(
                "capacity",
                format!("{} is too large: at most {most} fit into one cache", self.capacity),
            );
        }
        if capacity / segment > MAX_SEGMENTS {
            return no(
                "segment_size",
                format!(
                    "{} makes more than {MAX_SEGMENTS} segments of a capacity of {}: choose a larger one",
                    ByteSize::bytes_of(segment),
                    self.capacity
                ),
            );
        }
        if self.max_entry_size.is_some_and(|m| m.bytes() == 0 || m.bytes() > capacity / 2) {
            return no(
                "max_entry_size",
                format!("it must be between 1 byte and half of the capacity, {}", capacity / 2),
            );
        }
        if !(4096..=1 << 30).contains(&self.write_buffer.bytes()) {
            return no("write_buffer", format!("{} is not between 4 KiB and 1 GiB", self.write_buffer));
        }
        if self.flush_interval.is_zero() || self.flush_interval > Duration::from_secs(60) {
            return no("flush_interval", format!("{:?} is not between 1 ns and 60 s", self.flush_interval));
        }
        if !self.max_write_amplification.is_finite()
            || !(1.0..=1000.0).contains(&self.max_write_amplification)
        {
            return no(
                "max_write_amplification",
                format!("{} is not between 1 and 1000", self.max_write_amplification),
            );
        }
        Ok(())
    }
}

fn default_write_buffer() -> ByteSize {
    ByteSize::mib(16)
}
fn default_flush_interval() -> Duration {
    Duration::from_millis(10)
}
fn default_min_free_space() -> ByteSize {
    ByteSize::mib(256)
}
fn default_max_write_amplification() -> f64 {
    3.0
}

/// A duration as milliseconds, with a fraction where it has one.
mod millis {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
    use std::time::Duration;

    /// Whole numbers stay whole, so that they are exact and read well.
    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Millis {
        Whole(u64),
        Fraction(f64),
    }

    impl From<Duration> for Millis {
        fn from(d: Duration) -> Self {
            if d.subsec_nanos().is_multiple_of(1_000_000) {
                Self::Whole(u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
            } else {
                Self::Fraction(d.as_secs_f64() * 1e3)
            }
        }
    }

    impl TryFrom<Millis> for Duration {
        type Error = std::time::TryFromFloatSecsError;

        fn try_from(millis: Millis) -> Result<Self, Self::Error> {
            match millis {
                Millis::Whole(n) => Ok(Self::from_millis(n)),
                Millis::Fraction(n) => Self::try_from_secs_f64(n / 1e3),
            }
        }
    }

    pub(super) fn serialize<S: Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
        Millis::from(*d).serialize(s)
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        Millis::deserialize(d)?.try_into().map_err(D::Error::custom)
    }

    pub(super) mod option {
        use super::{Deserialize, Deserializer, Duration, Millis, Serialize, Serializer};
        use serde::de::Error as _;

        #[expect(clippy::ref_option, reason = "the shape that serde asks for")]
        pub(in super::super) fn serialize<S: Serializer>(
            d: &Option<Duration>,
            s: S,
        ) -> Result<S::Ok, S::Error> {
            d.map(Millis::from).serialize(s)
        }
        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            d: D,
        ) -> Result<Option<Duration>, D::Error> {
            let millis = Option::<Millis>::deserialize(d)?;
            millis.map(|m| m.try_into().map_err(D::Error::custom)).transpose()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_derived_segment_size_gives_about_512_segments_within_its_bounds_and_fewer_where_they_were_short() {
        let of = |c| Config::new("d", c).segment_bytes();
        assert_eq!(of(ByteSize::mib(8)), 1 << 20);
        assert_eq!(of(ByteSize::mib(128)), 1 << 20);
        assert_eq!(of(ByteSize::mib(200)), 2 << 20);
        assert_eq!(of(ByteSize::gib(1)), 4 << 20);
        assert_eq!(of(ByteSize::gib(2)), 4 << 20);
        assert_eq!(of(ByteSize::gib(10)), 32 << 20);
        assert_eq!(of(ByteSize::gib(4096)), 1 << 30);
    }

    #[test]
    fn each_value_out_of_bounds_is_refused_by_name() {
        let field = |change: fn(&mut Config)| {
            let mut c = Config::new("d", ByteSize::gib(1));
            change(&mut c);
            match c.validate() {
                Err(Error::InvalidConfig { field, .. }) => field,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(field(|c| c.capacity = ByteSize::mib(7)), "capacity");
        assert_eq!(field(|c| c.capacity = ByteSize::gib(9 << 10)), "capacity");
        assert_eq!(field(|c| c.segment_size = Some(ByteSize::bytes_of(5000))), "segment_size");
        assert_eq!(field(|c| c.segment_size = Some(ByteSize::kib(4))), "segment_size");
        assert_eq!(field(|c| c.max_entry_size = Some(ByteSize::gib(1))), "max_entry_size");
        assert_eq!(field(|c| c.write_buffer = ByteSize::bytes_of(1)), "write_buffer");
        assert_eq!(field(|c| c.flush_interval = Duration::ZERO), "flush_interval");
        assert_eq!(field(|c| c.max_write_amplification = f64::NAN), "max_write_amplification");
        assert!(Config::new("d", ByteSize::mib(8)).validate().is_ok());
    }
}
