//! What is compared: candidates that take turns, round after round, so that whatever else the machine does hits all alike.

use crate::{
    Result,
    finding::{Bound, Figure, Finding, median},
    measure::Measure,
    table::short,
};
use serde::{Deserialize, Serialize};

/// One thing to measure.
pub struct Candidate<'a> {
    row: &'static str,
    variant: String,
    held: Vec<Held>,
    at: Option<At>,
    round: Box<dyn FnMut() -> Result<Measure> + 'a>,
}

/// Which figure is held against which candidate of the group, if any, and what it has to be.
struct Held {
    reference: Option<usize>,
    figure: Figure,
    bound: Option<Bound>,
    why: Option<&'static str>,
}

impl<'a> Candidate<'a> {
    /// A candidate whose `round` measures one stretch.
    pub fn new(
        row: &'static str,
        variant: impl Into<String>,
        round: impl FnMut() -> Result<Measure> + 'a,
    ) -> Self {
        Self { row, variant: variant.into(), held: Vec::new(), at: None, round: Box::new(round) }
    }

    /// Where on an axis it stands: at so many tasks, entries, ...
    pub fn at(mut self, axis: &str, value: f64) -> Self {
        self.at = Some(At { axis: axis.to_owned(), value });
        self
    }

    /// Compares it with the candidate that stands at `reference` in its group.
    pub fn against(self, reference: usize, figure: Figure) -> Self {
        self.hold(Some(reference), figure, None)
    }

    /// The same with a target for the ratio.
    pub fn target(self, reference: usize, figure: Figure, bound: Bound) -> Self {
        self.hold(Some(reference), figure, Some(bound))
    }

    /// What stands in the way of the target named last, should it be missed: for the report. It says which figure of the run
    /// shows it, or which command does.
    pub fn because(mut self, why: &'static str) -> Self {
        if let Some(held) = self.held.last_mut() {
            held.why = Some(why);
        }
        self
    }

    /// A target for the figure itself.
    pub fn within(self, figure: Figure, bound: Bound) -> Self {
        self.hold(None, figure, Some(bound))
    }

    /// A figure to be shown beside the usual ones.
    pub fn shows(self, figure: Figure) -> Self {
        self.hold(None, figure, None)
    }

    fn named(&self) -> String {
        named(&self.variant, self.at.as_ref())
    }

    fn hold(mut self, reference: Option<usize>, figure: Figure, bound: Option<Bound>) -> Self {
        self.held.push(Held { reference, figure, bound, why: None });
        self
    }
}

/// A place on an axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct At {
    /// What the axis counts.
    pub axis: String,
    /// How much of it.
    pub value: f64,
}

/// A variant, and where on an axis it stands.
fn named(variant: &str, at: Option<&At>) -> String {
    match at {
        // Tasks are counted, and 16 of them are not 16.0.
        Some(At { axis, value }) if value.fract() == 0.0 && *value < 100.0 => {
            format!("{variant}, {value} {axis}")
        }
        Some(At { axis, value }) => format!("{variant}, {} {axis}", short(*value)),
        None => variant.to_owned(),
    }
}

/// At which shares latencies are kept.
pub const QUANTILES: [f64; 9] = [0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999];

/// The medians of a candidate's rounds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Row of the table.
    pub row: String,
    /// Backend, or what distinguishes it within the row.
    pub variant: String,
    /// Where on an axis, for curves.
    pub at: Option<At>,
    /// Operations per second.
    pub ops_per_s: f64,
    /// Hits per second.
    pub hits_per_s: f64,
    /// Bytes of bodies per second.
    pub bytes_per_s: f64,
    /// Latency at [`QUANTILES`], in microseconds; zeros where none was taken.
    pub latency_us: [f64; QUANTILES.len()],
    /// CPU per operation, in microseconds.
    pub cpu_us: f64,
    /// Resident memory of the process, in bytes.
    pub rss: f64,
    /// The fastest round by hits over the slowest.
    pub spread: f64,
    /// What it is held against.
    pub findings: Vec<Finding>,
    /// What the last round had to say.
    pub note: Option<String>,
}

impl Outcome {
    /// Its variant, and where on an axis it stands.
    pub fn named(&self) -> String {
        named(&self.variant, self.at.as_ref())
    }
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
    Ok((0..group.len()).map(|n| outcome(&group, &measures, n)).collect())
}

fn outcome(group: &[Candidate<'_>], measures: &[Vec<Measure>], n: usize) -> Outcome {
    let (candidate, own) = (&group[n], &measures[n]);
    let of = |figure: &dyn Fn(&Measure) -> f64| own.iter().map(figure).collect::<Vec<_>>();
    let findings = candidate.held.iter().map(|held| {
        let figure = |n: usize| measures[n].iter().map(|m| held.figure.of(m)).collect::<Vec<_>>();
        let beside = held.reference.map(|r| (format!("{} {}", group[r].row, group[r].named()), figure(r)));
        let beside = beside.as_ref().map(|(name, values)| (name.as_str(), values.as_slice()));
        let name = candidate.named();
        let names = (candidate.row, name.as_str(), held.figure.name());
        Finding::new(names, &figure(n), beside, held.bound).because(held.why)
    });
    let hits = of(&Measure::hits_per_s);
    let (least, most) = hits.iter().fold((f64::INFINITY, 0.0f64), |(l, m), &h| (l.min(h), m.max(h)));
    Outcome {
        row: candidate.row.to_owned(),
        variant: candidate.variant.clone(),
        at: candidate.at.clone(),
        ops_per_s: median(&of(&Measure::ops_per_s)),
        hits_per_s: median(&hits),
        bytes_per_s: median(&of(&Measure::bytes_per_s)),
        latency_us: QUANTILES.map(|q| median(&of(&|m| m.latency_us(q)))),
        cpu_us: median(&of(&Measure::cpu_us)),
        rss: median(&of(&|m| m.rss() as f64)),
        spread: if least > 0.0 { most / least } else { 1.0 },
        findings: findings.collect(),
        note: own.last().and_then(|m| m.note().map(str::to_owned)),
    }
}
