//! The page's words and tables.

use super::charts::Chart;
use crate::{
    candidate::Outcome,
    finding::Finding,
    saved::Saved,
    table::{bound_text, short},
};

const HEAD: &str = "# What disk-cache does, beside what the machine allows and what its peers do\n\n\
    Written by `cargo xtask bench --report`, which measures every row and draws the charts anew; `cargo xtask bench ROW` prints one \
    row, `cargo xtask bench --list` names them. Nothing here is written by hand.\n\n";

const READING: &str = "## How to read it\n\n\
    - In a row the candidates take turns, round after round; figures are medians over the rounds, and a ratio is the \
      median of the ratios within each round. `least..most` is the spread over the rounds: where it is wide the machine was busy \
      with other things, and a ratio near its target proves little either way.\n\
    - Hits are counted, not calls. Bodies and keys are made before the clock starts, and are the same for all.\n\
    - Peers: [foyer](https://crates.io/crates/foyer) 0.22, its disk tier alone, through the page cache, with a queue that takes all \
      that comes and a caller that waits for its writes every 16 MiB (the memory that ours takes for writes), so that it drops as little as it can (what it dropped is in the \
      notes; it has no sync, so that its inserts end with one of its file system, as those of the other two do); \
      [cacache](https://crates.io/crates/cacache) 13; and a file for each entry with `tokio::fs`, written aside and renamed, which \
      verifies and bounds nothing. Only foyer keeps to a capacity. Each runs in a process of its own, which is stopped while others are \
      measured: foyer's io_uring engine polls without rest, in a thread that outlives its close (`top -H`). A row without foyer was \
      measured with `--no-peers`.\n\
    - Proxies: nginx with a worker for each processor, `sendfile`, `open_file_cache` and kept connections, its cache beside the others' \
      on the same disk; the client and the origin take their share of the same processors, so that `origin, no proxy` is what is left \
      of the machine without a proxy. CPU there is the client's; that of the proxy stands below the table.\n\
    - CPU is that of the whole process, a peer's and fio's their own.\n\n";

pub(super) fn page(rows: &[Saved], charts: &[Chart], folder: &str) -> String {
    let mut page = HEAD.to_owned();
    machines(&mut page, rows);
    targets(&mut page, rows);
    obstacles(&mut page, rows);
    slower(&mut page, rows);
    page.push_str(READING);
    for saved in rows {
        row(&mut page, saved, charts, folder);
    }
    page
}

/// A line at the end of the page.
macro_rules! put {
    ($page:expr, $($what:tt)*) => {{
        let line = format!($($what)*);
        $page.push_str(&line);
        $page.push('\n');
    }};
}

fn machines(page: &mut String, rows: &[Saved]) {
    let Some(last) = rows.iter().max_by_key(|saved| &saved.machine.date) else { return };
    let machine = &last.machine;
    put!(page, "| | |\n|---|---|");
    put!(page, "| processor | {} |\n| memory | {} |", machine.processor, machine.memory);
    put!(
        page,
        "| kernel | {} |\n| compiler | {} |\n| fio | {} |",
        machine.kernel,
        machine.rustc,
        machine.fio
    );
    let first = rows.iter().map(|saved| &saved.machine.date).min().unwrap_or(&machine.date);
    put!(page, "| rows measured (UTC) | {first} to {} |\n", machine.date);
    put!(page, "Each row names its commit and processor; the table above is that of the last one.\n");
}

fn findings(rows: &[Saved]) -> impl Iterator<Item = &Finding> {
    rows.iter().flat_map(|saved| &saved.outcomes).flat_map(|outcome| &outcome.findings)
}

fn targets(page: &mut String, rows: &[Saved]) {
    let all: Vec<_> = findings(rows).filter(|finding| finding.bound.is_some()).collect();
    let met = all.iter().filter(|finding| finding.met() == Some(true)).count();
    put!(page, "## Targets\n\n{met} of {} met in the kept run of each row.\n", all.len());
    put!(page, "| row | variant | figure | ours | reference | ratio or value | least..most | target | met |");
    put!(page, "|---|---|---|---|---|---|---|---|---|");
    for finding in all {
        let reference =
            finding.beside.as_ref().map_or("-".to_owned(), |b| format!("{} ({})", short(b.value), b.name));
        put!(
            page,
            "| {} | {} | {} | {} | {reference} | {} | {}..{} | {} | {} |",
            finding.row,
            finding.variant,
            finding.figure,
            short(finding.ours),
            short(finding.value),
            short(finding.least),
            short(finding.most),
            finding.bound.map_or_else(String::new, bound_text),
            if finding.met() == Some(true) { "yes" } else { "**no**" },
        );
    }
    page.push('\n');
}

/// What stands in the way of each target that was missed.
fn obstacles(page: &mut String, rows: &[Saved]) {
    let missed: Vec<_> = findings(rows).filter(|f| f.met() == Some(false)).collect();
    if missed.is_empty() {
        return;
    }
    put!(page, "## What stands in the way\n");
    for finding in missed {
        put!(
            page,
            "- {} {}, {} {} where {} is asked for: {}",
            finding.row,
            finding.variant,
            finding.figure,
            short(finding.value),
            finding.bound.map_or_else(String::new, bound_text),
            finding.why.as_deref().unwrap_or("**not explained where the row is defined**"),
        );
    }
    page.push('\n');
}

/// Where a peer or a simulated policy does better.
fn slower(page: &mut String, rows: &[Saved]) {
    put!(page, "## Where others are ahead\n");
    let more_is_better =
        |f: &&Finding| ["hits/s", "MiB/s", "requests/s", "hit ratio"].contains(&f.figure.as_str());
    let others = ["foyer", "cacache", "tokio::fs", "simulated", "plain files", "nginx"];
    let of_others =
        |f: &&Finding| f.beside.as_ref().is_some_and(|b| others.iter().any(|o| b.name.contains(o)));
    let behind: Vec<_> =
        findings(rows).filter(more_is_better).filter(of_others).filter(|f| f.value < 1.0).collect();
    if behind.is_empty() {
        put!(page, "Nowhere.\n");
        return;
    }
    for finding in behind {
        let beside = finding.beside.as_ref().map_or("", |b| b.name.as_str());
        put!(
            page,
            "- {} {}: {} {} of {beside} ({}..{})",
            finding.row,
            finding.variant,
            finding.figure,
            short(finding.value),
            short(finding.least),
            short(finding.most)
        );
    }
    page.push('\n');
}

fn row(page: &mut String, saved: &Saved, charts: &[Chart], folder: &str) {
    put!(page, "## {}\n", saved.row);
    let machine = &saved.machine;
    put!(
        page,
        "`cargo xtask bench {}`: {}. Measured {} at commit {} on {}.\n",
        saved.row,
        saved.setting,
        machine.date,
        machine.commit,
        machine.processor
    );
    for chart in charts.iter().filter(|chart| chart.row == saved.row) {
        put!(page, "![{}]({folder}/{}.svg)\n", chart.title, chart.file);
    }
    put!(
        page,
        "| | variant | ops/s | hits/s | MiB/s | p50 us | p95 us | p99 us | p99.9 us | CPU us | fastest / slowest round |"
    );
    put!(page, "|---|---|---|---|---|---|---|---|---|---|---|");
    for outcome in &saved.outcomes {
        line(page, outcome);
    }
    page.push('\n');
    let noted = saved.outcomes.iter().filter_map(|o| o.note.as_ref().map(|note| (o, note)));
    for (outcome, note) in noted {
        put!(page, "- {} {}: {note}", outcome.row, outcome.named());
    }
    for finding in saved.outcomes.iter().flat_map(|o| &o.findings).filter(|f| f.bound.is_none()) {
        let beside = finding.beside.as_ref().map_or_else(String::new, |b| format!(" of {}", b.name));
        put!(
            page,
            "- {} {}: {} {}{beside}",
            finding.row,
            finding.variant,
            finding.figure,
            short(finding.value)
        );
    }
    page.push('\n');
}

fn line(page: &mut String, o: &Outcome) {
    let [_, _, p50, _, _, p95, p99, p999, _] =
        o.latency_us.map(|us| if us > 0.0 { short(us) } else { "-".to_owned() });
    let figure = |value: f64| if value > 0.0 { short(value) } else { "-".to_owned() };
    put!(
        page,
        "| {} | {} | {} | {} | {} | {p50} | {p95} | {p99} | {p999} | {} | {} |",
        o.row,
        o.named(),
        figure(o.ops_per_s),
        figure(o.hits_per_s),
        figure(o.bytes_per_s / f64::from(1 << 20)),
        figure(o.cpu_us),
        short(o.spread),
    );
}
