//! Memory that a body of any length takes. A process of its own, one case at a time: what else runs would be counted too.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::match_wild_err_arm,
    reason = "a test may panic, print, box nothing and read from top to bottom"
)]

mod common;

use common::{Ctx, body, key};
use disk_cache::{ByteSize, InsertOptions};
use libtest_mimic::Arguments;
use std::process::ExitCode;

/// Length of the body.
const MIB: u64 = 1 << 10;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    common::run(arguments, cases! { a_stream_of_a_gibibyte_takes_little_memory })
}

/// Bytes of this process in memory, those of mapped files left out; `None` where the platform does not tell.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
}

async fn a_stream_of_a_gibibyte_takes_little_memory(ctx: Ctx) -> common::Verdict {
    let Some(_) = resident() else {
        return Err(common::Skip("/proc/self/status does not tell the memory in use".to_owned()));
    };
    let cache = ctx
        .builder()
        .capacity(ByteSize::mib(2 * MIB + 96))
        .segment_size(ByteSize::mib(4))
        .open()
        .await
        .unwrap();
    let piece = body(1, 1, 1 << 20);
    let mut writer = cache.writer(&key(1), InsertOptions::new()).await.unwrap();
    let late = writer.follow();
    let mut along = writer.follow().reader();
    let reading = tokio::spawn(async move {
        let mut len = 0;
        while let Some(piece) = along.next().await.unwrap() {
            len += piece.len();
        }
        len
    });
    // Write buffers, a segment's worth of what is in flight, and a wide margin for the allocator.
    let limit = resident().unwrap() + (64 << 20);
    for _ in 0..MIB {
        writer.write(piece.clone()).await.unwrap();
        assert!(resident().unwrap() < limit, "{} MiB", resident().unwrap() >> 20);
    }
    writer.commit().await.unwrap();
    assert_eq!(reading.await.unwrap() as u64, MIB << 20);
    let mut late = late.reader();
    let mut at = 0;
    while let Some(part) = late.next().await.unwrap() {
        // Every mebibyte is the same one.
        let from = at % piece.len();
        let first = part.len().min(piece.len() - from);
        assert!(part[..first] == piece[from..from + first] && part[first..] == piece[..part.len() - first]);
        at += part.len();
        assert!(resident().unwrap() < limit, "{} MiB", resident().unwrap() >> 20);
    }
    assert_eq!(at as u64, MIB << 20);
    Ok(())
}
