//! `Range: bytes=...`, of which one range is honoured.

use std::ops::Range;

/// What a `Range` field asks of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ranged {
    /// The field does not apply, or asks for several ranges: the whole body is a correct answer.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Bytes that the body does not have.
    Unsatisfiable,
}

/// Reads a `Range` field for a body of `len` bytes (RFC 9110, 14.1.2).
pub(crate) fn parse(field: &str, len: u64) -> Ranged {
    read(field, len).unwrap_or(Ranged::Whole)
}

/// The range of a field that names both its first and its last byte: it can be told from a body whose length is not known.
pub(crate) fn bounded(field: &str) -> Option<Range<u64>> {
    match parse(field, u64::MAX) {
        // The others reach to the end, wherever that is.
        Ranged::Part(range) if range.end < u64::MAX => Some(range),
        _ => None,
    }
}

fn read(field: &str, len: u64) -> Option<Ranged> {
    let (unit, set) = field.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    let range = match (first.trim(), last.trim()) {
        ("", suffix) => len.saturating_sub(number(suffix)?)..len,
        (first, "") => number(first)?..len,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            first..len.min(last.saturating_add(1))
        }
    };
    Some(if range.start < range.end { Ranged::Part(range) } else { Ranged::Unsatisfiable })
}

/// A number; one too large for any body is the largest there is.
fn number(digits: &str) -> Option<u64> {
    let valid = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    valid.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_inside_the_body_is_a_part() {
        for (field, part) in [
            ("bytes=0-0", 0..1),
            ("bytes=2-5", 2..6),
            ("Bytes = 2-5", 2..6),
            ("bytes=4-", 4..10),
            ("bytes=-3", 7..10),
            ("bytes=-99", 0..10),
            ("bytes=8-99", 8..10),
            ("bytes=0-99999999999999999999999", 0..10),
        ] {
            assert_eq!(parse(field, 10), Ranged::Part(part), "{field}");
        }
    }

    #[test]
    fn a_range_past_the_end_is_unsatisfiable() {
        for field in ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(parse(field, 10), Ranged::Unsatisfiable, "{field}");
        }
        assert_eq!(parse("bytes=0-0", 0), Ranged::Unsatisfiable);
        assert_eq!(parse("bytes=-1", 0), Ranged::Unsatisfiable);
    }

    #[test]
    fn a_range_is_bounded_where_it_names_both_ends() {
        assert_eq!(bounded("bytes=2-5"), Some(2..6));
        for field in ["bytes=2-", "bytes=-2", "bytes=0-99999999999999999999999", "bytes=0-1,4-5", "bytes=5-2"]
        {
            assert_eq!(bounded(field), None, "{field}");
        }
    }

    #[test]
    fn what_is_no_single_range_means_the_whole_body() {
        for field in ["", "bytes", "bytes=", "bytes=-", "bytes=5-2", "bytes=a-b", "bytes=+1-2", "items=0-1"] {
            assert_eq!(parse(field, 10), Ranged::Whole, "{field}");
        }
        assert_eq!(parse("bytes=0-1,4-5", 10), Ranged::Whole);
    }
}
