//! What the index costs per entry: `cargo run --release -p cache-index --example index_memory [ENTRIES] [reserve]`.
//!
//! Fills an index and prints bytes per entry twice: as the operating system sees them (resident memory, Linux only) and as
//! the index counts them. `reserve` sizes the tables first, as an open from a snapshot does.
#![expect(clippy::print_stdout, reason = "printing is what this program is for")]

use cache_index::{Entry, Flags, Index, Position, SegmentId, Tag, Touch};
use std::{error::Error, hint::black_box, time::Instant};

const RECORD: u64 = 4 << 10;
const SEGMENT: u64 = 64 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let entries: u64 = args.next().map_or(Ok(10_000_000), |n| n.replace('_', "").parse())?;
    let index = Index::new(72);
    let per_segment = SEGMENT / RECORD;
    let segments = u32::try_from(entries / per_segment)? + 2;
    index.attach_all((1..segments).map(|n| (SegmentId::new(n), ())));
    let before = resident();
    if args.next().is_some_and(|a| a == "reserve") {
        index.reserve(entries);
    }

    let start = Instant::now();
    for n in 0..entries {
        let segment = SegmentId::new(1 + u32::try_from(n / per_segment)?);
        let entry = Entry {
            position: Position::new(segment, n % per_segment * RECORD),
            len: RECORD as u32,
            expires_ms: 1_700_000_000_000 + n,
            flags: Flags::default(),
            object: None,
        };
        index.publish(tag(n), entry);
    }
    report("publish", entries, start);
    let (after, counted) = (resident(), index.memory_bytes());
    if let (Some(before), Some(after)) = (before, after) {
        println!("resident  {:6.2} bytes per entry", after.saturating_sub(before) as f64 / entries as f64);
    }
    println!("counted   {:6.2} bytes per entry, {} entries", counted as f64 / entries as f64, index.len());

    let gets = entries.min(2_000_000);
    let start = Instant::now();
    for n in 0..gets {
        black_box(index.get(tag(n * 7 % entries), |e, ()| (Touch::Yes, e.position)));
    }
    report("get", gets, start);
    let start = Instant::now();
    for n in 0..gets {
        black_box(index.evict());
        let position = Position::new(SegmentId::new(1), n % per_segment * RECORD);
        let entry = Entry { position, len: 64, expires_ms: 0, flags: Flags::default(), object: None };
        index.publish(tag(entries + n), entry);
    }
    report("evict and publish", gets, start);
    let start = Instant::now();
    let mut count = 0;
    index.export(|_, _| count += 1);
    report("export", count, start);
    index.check_invariants()?;
    Ok(())
}

/// Mixes well enough to stand for the head of a SHA-256 (splitmix64).
fn tag(n: u64) -> Tag {
    let mut z = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    Tag(z ^ z >> 31)
}

fn report(what: &str, count: u64, start: Instant) {
    let each = start.elapsed().as_nanos() as f64 / count.max(1) as f64;
    println!("{what:<18} {each:6.0} ns each, {count} times");
}

/// Resident memory of this process in bytes.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
