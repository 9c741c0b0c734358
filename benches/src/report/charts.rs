//! Which charts there are, each from the rows it needs.

use super::svg::{Axis, Line, bars, lines};
use crate::{
    candidate::{Outcome, QUANTILES},
    saved::Saved,
};

/// A chart and what it shows.
pub(super) struct Chart {
    pub(super) row: &'static str,
    pub(super) file: &'static str,
    pub(super) title: &'static str,
    pub(super) svg: String,
}

/// Those that can be drawn from what was measured.
pub(super) fn of(rows: &[Saved]) -> Vec<Chart> {
    let mut charts = Vec::new();
    let mut add = |row: &'static str, file, title, draw: &dyn Fn(&str, &[Outcome]) -> String| {
        if let Some(saved) = rows.iter().find(|saved| saved.row == row) {
            charts.push(Chart { row, file, title, svg: draw(title, &saved.outcomes) });
        }
    };
    let hits = |o: &Outcome| o.hits_per_s;
    let mib = |o: &Outcome| o.bytes_per_s / f64::from(1 << 20);
    add("warm-get", "warm-get", "Warm gets of 4 KiB", &|t, o| bars(t, "hits/s", &each(o, hits)));
    add("warm-get", "warm-latency", "Warm gets: latency", &latencies);
    add("cold-get", "cold-get", "Cold gets of 4 KiB", &|t, o| bars(t, "hits/s", &each(o, hits)));
    add("cold-get", "cold-latency", "Cold gets: latency", &latencies);
    add("insert-synced", "insert", "Inserts of 4 KiB until all is written", &|t, o| {
        bars(t, "MiB/s", &each(o, mib))
    });
    add("get-or-insert", "get-or-insert", "Get or insert, zipf 0.9, room for half", &|t, o| {
        bars(t, "requests/s", &each(o, |o| o.ops_per_s))
    });
    add("10mib", "large", "Bodies of 10 MiB", &|t, o| bars(t, "MiB/s", &each(o, mib)));
    add("backends", "backends", "4 KiB reads at the trait, by number of tasks", &|t, o| {
        bars(t, "reads/s", &each(o, hits))
    });
    add("scaling", "scaling", "Gets over tasks", &|t, o| {
        curves(t, o, ("tasks", true), ("hits/s", true), hits)
    });
    add("growth", "growth", "Operations over entries in the cache, bodies of 100 bytes", &|t, o| {
        curves(t, o, ("entries", true), ("operations/s", true), |o| o.ops_per_s)
    });
    for (scans, file, title) in [
        (false, "hit-ratio", "Hit ratio over skew, sizes heavy-tailed"),
        (true, "hit-ratio-scans", "The same with a fifth of the requests in scans"),
    ] {
        add("hit-ratio", file, title, &|t, outcomes| {
            let these: Vec<_> =
                outcomes.iter().filter(|o| o.row.ends_with("scans") == scans).cloned().collect();
            curves(t, &these, ("zipf exponent", false), ("hit ratio", false), hit_ratio)
        });
    }
    charts
}

fn hit_ratio(outcome: &Outcome) -> f64 {
    outcome.findings.iter().find(|f| f.figure == "hit ratio").map_or(f64::NAN, |f| f.ours)
}

fn each(outcomes: &[Outcome], figure: impl Fn(&Outcome) -> f64) -> Vec<(String, f64)> {
    let several = outcomes.iter().any(|o| o.row != outcomes[0].row);
    let name = |o: &Outcome| if several { format!("{} {}", o.row, o.named()) } else { o.named() };
    outcomes.iter().map(|o| (name(o), figure(o))).collect()
}

/// A line for each row and variant.
fn curves(
    title: &str,
    outcomes: &[Outcome],
    (x, x_log): (&str, bool),
    (y, y_log): (&str, bool),
    figure: impl Fn(&Outcome) -> f64,
) -> String {
    let several = outcomes.iter().any(|o| o.row != outcomes[0].row);
    let mut all: Vec<Line> = Vec::new();
    for outcome in outcomes {
        let Some(at) = &outcome.at else { continue };
        let name =
            if several { format!("{} {}", outcome.row, outcome.variant) } else { outcome.variant.clone() };
        let point = (at.value, figure(outcome));
        match all.iter_mut().find(|line| line.name == name) {
            Some(line) => line.points.push(point),
            None => all.push(Line { name, points: vec![point] }),
        }
    }
    lines(title, Axis { label: x, log: x_log }, Axis { label: y, log: y_log }, &all)
}

/// Latency over the share of operations that take longer, so that the tail has the room.
fn latencies(title: &str, outcomes: &[Outcome]) -> String {
    let measured = outcomes.iter().filter(|o| o.latency_us.iter().any(|&us| us > 0.0));
    let all: Vec<_> = measured
        .map(|o| Line {
            name: format!("{} {}", o.row, o.variant),
            points: QUANTILES
                .iter()
                .zip(o.latency_us)
                .map(|(q, us)| (1.0 / (1.0 - q), us.max(0.01)))
                .collect(),
        })
        .collect();
    let x = Axis { label: "one operation in so many takes longer", log: true };
    lines(title, x, Axis { label: "us", log: true }, &all)
}
