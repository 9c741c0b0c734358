//! What a row says: a figure of ours, the reference it is held against, their ratio round by round, and the target.

use crate::measure::Measure;
use serde::{Deserialize, Serialize};

/// A figure of a measured stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Hits per second.
    Hits,
    /// Bytes of bodies per second.
    Bytes,
    /// CPU time per operation.
    Cpu,
    /// Latency that 95 of 100 operations stay under.
    P95,
    /// Latency that 99 of 100 operations stay under.
    P99,
    /// What a row measures beside the usual, by its name.
    Value(&'static str),
}

impl Figure {
    /// Its value in a stretch.
    pub fn of(self, measure: &Measure) -> f64 {
        match self {
            Self::Hits => measure.hits_per_s(),
            Self::Bytes => measure.bytes_per_s() / f64::from(1 << 20),
            Self::Cpu => measure.cpu_us(),
            Self::P95 => measure.latency_us(0.95),
            Self::P99 => measure.latency_us(0.99),
            Self::Value(name) => measure.value(name),
        }
    }

    /// Its name with its unit.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hits => "hits/s",
            Self::Bytes => "MiB/s",
            Self::Cpu => "CPU us each",
            Self::P95 => "p95 us",
            Self::P99 => "p99 us",
            Self::Value(name) => name,
        }
    }
}

/// What a finding has to keep to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Bound {
    /// This much or more.
    AtLeast(f64),
    /// This much or less.
    AtMost(f64),
}

impl Bound {
    /// Whether a value keeps to it.
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }
}

/// What a finding stands beside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Beside {
    /// The reference's name.
    pub name: String,
    /// The same figure there: the median of its rounds.
    pub value: f64,
}

/// One figure of one candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The row.
    pub row: String,
    /// The candidate.
    pub variant: String,
    /// Which figure, with its unit.
    pub figure: String,
    /// Its median over the rounds.
    pub ours: f64,
    /// The reference, if there is one.
    pub beside: Option<Beside>,
    /// What is judged: the median of the rounds' ratios, or of the figure itself where there is no reference.
    pub value: f64,
    /// The least of the rounds.
    pub least: f64,
    /// The most of the rounds.
    pub most: f64,
    /// The target, if there is one.
    pub bound: Option<Bound>,
    /// What stands in the way where it is missed, with what shows it.
    #[serde(default)]
    pub why: Option<String>,
}

impl Finding {
    /// From the figure in each round, and the reference's in the same rounds.
    pub fn new(
        (row, variant, figure): (&str, &str, &str),
        ours: &[f64],
        beside: Option<(&str, &[f64])>,
        bound: Option<Bound>,
    ) -> Self {
        let judged: Vec<f64> = match beside {
            Some((_, theirs)) => ours.iter().zip(theirs).map(|(a, b)| a / b).collect(),
            None => ours.to_vec(),
        };
        Self {
            row: row.to_owned(),
            variant: variant.to_owned(),
            figure: figure.to_owned(),
            ours: median(ours),
            beside: beside.map(|(name, theirs)| Beside { name: name.to_owned(), value: median(theirs) }),
            value: median(&judged),
            least: judged.iter().copied().fold(f64::INFINITY, f64::min),
            most: judged.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            bound,
            why: None,
        }
    }

    /// The same with what stands in the way of its target.
    pub fn because(self, why: Option<&str>) -> Self {
        Self { why: why.map(str::to_owned), ..self }
    }

    /// Whether the target is met, where there is one.
    pub fn met(&self) -> Option<bool> {
        self.bound.map(|bound| bound.holds(self.value))
    }
}

/// The middle one, or halfway between the two in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    match (values.get(values.len() / 2), values.len() % 2) {
        (None, _) => 0.0,
        (Some(&middle), 1) => middle,
        (Some(&middle), _) => f64::midpoint(values[values.len() / 2 - 1], middle),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_halfway_between_two() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        // A slow second halved both: the ratio is the same.
        let beside = Some(("bare", [100.0, 50.0, 100.0].as_slice()));
        let found = Finding::new(("r", "v", "f"), &[70.0, 35.0, 70.0], beside, Some(Bound::AtLeast(0.7)));
        assert!((found.value - 0.7).abs() < 1e-9 && (found.least - found.most).abs() < 1e-9);
        let most = Finding::new(("r", "v", "f"), &[3.0], None, Some(Bound::AtMost(2.0)));
        assert_eq!(most.met(), Some(false));
    }
}
