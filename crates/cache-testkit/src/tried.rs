//! What a test of many cases tried, in a line that `cargo xtask faults` adds up.

/// Says that so many cases of something were tried: `cases: 20000 crash states`. A plain test prints it under `--nocapture`.
#[expect(clippy::print_stdout, reason = "whoever started the test reads it there")]
pub fn tried(cases: u64, what: &str) {
    println!("cases: {cases} {what}");
}
