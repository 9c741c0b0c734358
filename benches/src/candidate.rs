//! What is compared: candidates that take turns, round after round, so that whatever else the machine does hits all alike.

use crate::{Result, measure::Measure};

/// Which figure of a candidate is divided by that of its reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Hits per second.
    Hits,
    /// Bytes per second.
    Bytes,
    /// Operations per second of CPU: what [`Figure::Hits`] would be, were the machine idle otherwise and all cores busy.
    Cpu,
}

impl Figure {
    fn of(self, measure: &Measure) -> f64 {
        match self {
            Self::Hits => measure.hits_per_s(),
            Self::Bytes => measure.bytes_per_s(),
            Self::Cpu => 1.0 / measure.cpu_us(),
        }
    }

    fn suffix(self) -> &'static str {
        if self == Self::Cpu { " by CPU" } else { "" }
    }
}

/// One thing to measure.
pub struct Candidate<'a> {
    row: &'static str,
    variant: String,
    against: Vec<(usize, Figure)>,
    round: Box<dyn FnMut() -> Result<Measure> + 'a>,
}

impl<'a> Candidate<'a> {
    /// A candidate whose `round` measures one stretch.
    pub fn new(
        row: &'static str,
        variant: impl Into<String>,
        round: impl FnMut() -> Result<Measure> + 'a,
    ) -> Self {
        Self { row, variant: variant.into(), against: Vec::new(), round: Box::new(round) }
    }

    /// Compares it with the candidate that stands at `reference` in its group.
    pub fn against(mut self, reference: usize, figure: Figure) -> Self {
        self.against.push((reference, figure));
        self
    }
}

/// The medians of a candidate's rounds.
#[derive(Debug)]
pub struct Outcome {
    /// Row of the table.
    pub row: &'static str,
    /// Backend, or what distinguishes it within the row.
    pub variant: String,
    /// Operations per second.
    pub ops_per_s: f64,
    /// Hits per second.
    pub hits_per_s: f64,
    /// Bytes of bodies per second.
    pub bytes_per_s: f64,
    /// Latency at 0.5, 0.95, 0.99 and 0.999, in microseconds.
    pub latency_us: [f64; 4],
    /// CPU per operation, in microseconds.
    pub cpu_us: f64,
    /// Resident memory of the process, in bytes.
    pub rss: f64,
    /// Ratios to references of the same round: the median, and what it is a ratio to.
    pub ratios: Vec<(f64, String)>,
    /// What the last round had to say.
    pub note: Option<String>,
}

/// Runs all candidates of a group in turn, `rounds` times.
///
/// # Errors
/// The first of a round.
pub fn compare(mut group: Vec<Candidate<'_>>, rounds: usize) -> Result<Vec<Outcome>> {
    let mut measures: Vec<Vec<Measure>> = group.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (candidate, measures) in group.iter_mut().zip(&mut measures) {
            let measure =
                (candidate.round)().map_err(|e| format!("{} {}: {e}", candidate.row, candidate.variant))?;
            measures.push(measure);
        }
    }
    let outcomes = group.iter().zip(&measures).map(|(candidate, own)| {
        let of = |figure: &dyn Fn(&Measure) -> f64| median(own.iter().map(figure));
        let ratios = candidate.against.iter().map(|&(reference, figure)| {
            let name = format!("{}{}", group[reference].row, figure.suffix());
            let pairs = own.iter().zip(&measures[reference]);
            (median(pairs.map(|(a, b)| figure.of(a) / figure.of(b))), name)
        });
        Outcome {
            row: candidate.row,
            variant: candidate.variant.clone(),
            ops_per_s: of(&Measure::ops_per_s),
            hits_per_s: of(&Measure::hits_per_s),
            bytes_per_s: of(&Measure::bytes_per_s),
            latency_us: [0.5, 0.95, 0.99, 0.999].map(|q| of(&|m| m.latency_us(q))),
            cpu_us: of(&Measure::cpu_us),
            rss: of(&|m| m.rss() as f64),
            ratios: ratios.collect(),
            note: own.last().and_then(|m| m.note().map(str::to_owned)),
        }
    });
    Ok(outcomes.collect())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match (values.get(values.len() / 2), values.len() % 2) {
        (None, _) => 0.0,
        (Some(&middle), 1) => middle,
        (Some(&middle), _) => f64::midpoint(values[values.len() / 2 - 1], middle),
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_the_middle_or_halfway_between_two() {
        assert!((median([3.0, 1.0, 2.0].into_iter()) - 2.0).abs() < 1e-9);
        assert!((median([4.0, 1.0, 2.0, 3.0].into_iter()) - 2.5).abs() < 1e-9);
    }
}
