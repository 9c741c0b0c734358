//! The table, row by row as they come in.
#![expect(clippy::print_stdout, reason = "printing the table is what the program is for")]

use crate::{
    candidate::Outcome,
    finding::{Bound, Finding},
};

/// Prints the headings.
pub fn heading() {
    println!(
        "{:<20} {:<20} {:>11} {:>11} {:>8} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8}  ratio",
        "row",
        "variant",
        "ops/s",
        "hits/s",
        "MiB/s",
        "p50 us",
        "p95 us",
        "p99 us",
        "p99.9 us",
        "CPU us",
        "RSS MiB"
    );
}

/// Prints one row.
pub fn row(outcome: &Outcome) {
    let mib = f64::from(1 << 20);
    let [_, _, p50, _, _, p95, p99, p999, _] = outcome.latency_us.map(us);
    let ratios = outcome.findings.iter().map(|finding| match &finding.beside {
        Some(beside) => format!("{} {:.2} of {}", finding.figure, finding.value, beside.name),
        None => format!("{} {:.3}", finding.figure, finding.value),
    });
    let ratios = ratios.collect::<Vec<_>>().join(", ");
    println!(
        "{:<20} {:<20} {:>11} {:>11} {:>8.0} {p50:>9} {p95:>9} {p99:>9} {p999:>9} {:>8.2} {:>8.0}  {ratios}",
        outcome.row,
        outcome.named(),
        count(outcome.ops_per_s),
        count(outcome.hits_per_s),
        outcome.bytes_per_s / mib,
        outcome.cpu_us,
        outcome.rss / mib,
    );
    if let Some(note) = &outcome.note {
        println!("{:<20} {note}", "");
    }
}

/// Prints what has a target: ours, the reference, the ratio with its least and most round, and whether the target is met.
pub fn targets(findings: &[Finding]) {
    if findings.iter().all(|finding| finding.bound.is_none()) {
        return;
    }
    println!(
        "\n{:<20} {:<20} {:<14} {:>13} {:>13} {:>9} {:<17} {:>10}  met  beside",
        "target of", "variant", "figure", "ours", "reference", "ratio", "  least..most", "target"
    );
    for finding in findings {
        let (Some(bound), Some(met)) = (finding.bound, finding.met()) else { continue };
        let (name, reference) =
            finding.beside.as_ref().map_or(("", "-".to_owned()), |b| (&b.name, short(b.value)));
        println!(
            "{:<20} {:<20} {:<14} {:>13} {reference:>13} {:>9} {:<17} {:>10}  {:<4} {name}",
            finding.row,
            finding.variant,
            finding.figure,
            short(finding.ours),
            short(finding.value),
            format!("{}..{}", short(finding.least), short(finding.most)),
            bound_text(bound),
            if met { "yes" } else { "NO" },
        );
    }
}

/// As it is read: `>= 0.7`.
pub fn bound_text(bound: Bound) -> String {
    match bound {
        Bound::AtLeast(least) => format!(">= {}", short(least)),
        Bound::AtMost(most) => format!("<= {}", short(most)),
    }
}

/// Three places below ten, none above a hundred.
pub fn short(n: f64) -> String {
    if n.is_nan() {
        "-".to_owned()
    } else if n.abs() >= 100.0 {
        count(n)
    } else if n.abs() >= 10.0 {
        format!("{n:.1}")
    } else {
        format!("{n:.3}").trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// Prints a line of text.
pub fn line(text: &str) {
    println!("{text}");
}

/// With commas, and a place after the point where there are few.
fn count(n: f64) -> String {
    if n < 100.0 {
        return format!("{n:.1}");
    }
    let digits = format!("{n:.0}");
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn us(n: f64) -> String {
    if n < 100.0 { format!("{n:.2}") } else { format!("{n:.0}") }
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(
            [count(7.0), count(700.0), count(7000.4), count(1_234_567.0)],
            ["7.0", "700", "7,000", "1,234,567"]
        );
    }
}
