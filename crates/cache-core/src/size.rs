//! Counts of bytes that read well.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// A count of bytes that parses from and prints as `"10GiB"`. Powers of 1024; `"10GB"` means powers of 1000.
///
/// ```
/// use cache_core::ByteSize;
/// assert_eq!("1.5GiB".parse(), Ok(ByteSize::mib(1536)));
/// assert_eq!(ByteSize::gib(10).to_string(), "10GiB");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

impl ByteSize {
    /// So many bytes.
    pub const fn bytes_of(n: u64) -> Self {
        Self(n)
    }
    /// So many KiB. Saturates.
    pub const fn kib(n: u64) -> Self {
        Self(n.saturating_mul(1 << 10))
    }
    /// So many MiB. Saturates.
    pub const fn mib(n: u64) -> Self {
        Self(n.saturating_mul(1 << 20))
    }
    /// So many GiB. Saturates.
    pub const fn gib(n: u64) -> Self {
        Self(n.saturating_mul(1 << 30))
    }
    /// The count.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, size) = UNITS
            .iter()
            .take(4)
            .find(|(_, size)| self.0 >= *size && self.0.is_multiple_of(*size))
            .unwrap_or(&UNITS[8]);
        write!(f, "{}{unit}", self.0 / size)
    }
}

/// What a string must look like to be a [`ByteSize`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a size: write a number and B, KiB, MiB, GiB, TiB, KB, MB, GB or TB, as in 10GiB")]
pub struct ParseByteSizeError(String);

impl FromStr for ByteSize {
    type Err = ParseByteSizeError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || ParseByteSizeError(s.to_owned());
        let text = s.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim();
        let size = if unit.is_empty() {
            1
        } else {
            let short = unit.len() == 1 && !unit.eq_ignore_ascii_case("b");
            UNITS
                .iter()
                .find(|(u, _)| {
                    u.eq_ignore_ascii_case(unit)
                        || short && u.ends_with("iB") && u[..1].eq_ignore_ascii_case(unit)
                })
                .ok_or_else(bad)?
                .1
        };
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(size).map(Self).ok_or_else(bad);
        }
        let bytes = number.parse::<f64>().map_err(|_| bad())? * size as f64;
        if !bytes.is_finite() || bytes < 0.0 || bytes >= u64::MAX as f64 {
            return Err(bad());
        }
        #[expect(clippy::cast_sign_loss, reason = "checked to be positive")]
        Ok(Self(bytes as u64))
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = ByteSize;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a count of bytes, or a string such as \"10GiB\"")
            }
            fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(n))
            }
            fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<ByteSize, E> {
                u64::try_from(n).map(ByteSize).map_err(E::custom)
            }
            fn visit_str<E: serde::de::Error>(self, s: &str) -> Result<ByteSize, E> {
                s.parse().map_err(E::custom)
            }
        }
        d.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_back_as_they_print() {
        for n in [0, 1, 1023, 1024, 1536, 1 << 20, 10 << 30, 1 << 40, u64::MAX] {
            let size = ByteSize(n);
            assert_eq!(size.to_string().parse(), Ok(size));
        }
    }

    #[test]
    fn units_are_read_in_any_case_and_short() {
        for text in ["10GiB", "10gib", "10 GiB", "10g", "10240MiB", "10737418240"] {
            assert_eq!(text.parse(), Ok(ByteSize::gib(10)), "{text}");
        }
        assert_eq!("2MB".parse(), Ok(ByteSize(2_000_000)));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "GiB", "-1", "10XB", "1e400", "99999999999TiB", "1.2.3KiB", "ten"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }
}
