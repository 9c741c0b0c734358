//! The table, row by row as they come in.
#![expect(clippy::print_stdout, reason = "printing the table is what the program is for")]

use crate::candidate::Outcome;

/// Prints the headings.
pub fn heading() {
    println!(
        "{:<14} {:<18} {:>11} {:>11} {:>8} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8}  ratio",
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
    let [p50, p95, p99, p999] = outcome.latency_us.map(us);
    let ratios: Vec<_> =
        outcome.ratios.iter().map(|(ratio, reference)| format!("{ratio:.2} of {reference}")).collect();
    let ratios = ratios.join(", ");
    println!(
        "{:<14} {:<18} {:>11} {:>11} {:>8.0} {p50:>9} {p95:>9} {p99:>9} {p999:>9} {:>8.2} {:>8.0}  {ratios}",
        outcome.row,
        outcome.variant,
        count(outcome.ops_per_s),
        count(outcome.hits_per_s),
        outcome.bytes_per_s / mib,
        outcome.cpu_us,
        outcome.rss / mib,
    );
    if let Some(note) = &outcome.note {
        println!("{:<14} {note}", "");
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
