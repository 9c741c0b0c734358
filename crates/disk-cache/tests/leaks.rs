//! What a process has open is the same however often a cache was opened and closed in it. A process of its own, one case at a
//! time: what else runs would be counted too.
//!
//! `DISK_CACHE_OPENS` sets how often.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    reason = "a test may panic, print, box nothing and read from top to bottom"
)]

mod common;

use common::{Ctx, LARGE, Skip, Verdict, body, get, key, until};
use libtest_mimic::Arguments;
use std::{fs, process::ExitCode};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    common::run(
        arguments,
        cases! {
            opens_and_closes_leave_no_descriptor_no_thread_and_no_file
            drops_without_a_close_leave_no_descriptor_and_no_thread
        },
    )
}

/// Descriptors and threads of this process.
fn held() -> Option<(usize, usize)> {
    let count = |of| Some(fs::read_dir(of).ok()?.count());
    Some((count("/proc/self/fd")?, count("/proc/self/task")?))
}

fn opens() -> u64 {
    std::env::var("DISK_CACHE_OPENS").ok().and_then(|n| n.parse().ok()).unwrap_or(30)
}

/// One life of a cache: a little of everything that opens files.
async fn live(ctx: &Ctx, n: u64, close: bool) {
    let cache = ctx.open().await;
    // Files of an earlier life, which this one has to open.
    for large in 7..10 {
        get(&cache, &key(large)).await;
    }
    cache.insert(&key(n % 7), body(n, 1, 500)).await.unwrap();
    cache.insert(&key(7 + n % 3), body(n, 1, LARGE)).await.unwrap();
    assert_eq!(get(&cache, &key(n % 7)).await, Some(body(n, 1, 500)));
    assert_eq!(get(&cache, &key(7 + n % 3)).await, Some(body(n, 1, LARGE)));
    if close {
        cache.close().await.unwrap();
    }
}

async fn opens_and_closes_leave_no_descriptor_no_thread_and_no_file(ctx: Ctx) -> Verdict {
    again_and_again(&ctx, true).await?;
    let temporary = |path: &std::path::PathBuf| path.extension().is_some_and(|e| e == "tmp");
    assert!(!common::names(&ctx.dir).iter().chain(&ctx.segment_files()).any(temporary));
    assert_eq!(ctx.object_files().len(), 3, "one for each large body that is there");
    Ok(())
}

async fn drops_without_a_close_leave_no_descriptor_and_no_thread(ctx: Ctx) -> Verdict {
    again_and_again(&ctx, false).await
}

async fn again_and_again(ctx: &Ctx, close: bool) -> Verdict {
    if held().is_none() {
        return Err(Skip("/proc/self does not tell what this process holds".to_owned()));
    }
    // The runtime's own threads come with the first ones.
    for n in 0..12 {
        live(ctx, n, close).await;
        common::unlocked(&ctx.dir).await;
    }
    let before = settled().await;
    for n in 0..opens() {
        live(ctx, n, close).await;
        common::unlocked(&ctx.dir).await;
    }
    let count = opens();
    until("nothing more is held than before", || {
        held().is_some_and(|(files, threads)| files <= before.0 && threads <= before.1 + 2)
    })
    .await;
    cache_testkit::tried(count, if close { "opens and closes" } else { "opens without a close" });
    Ok(())
}

/// What is held when nothing more ends by itself.
async fn settled() -> (usize, usize) {
    let mut least = held().unwrap();
    let begun = std::time::Instant::now();
    until("what the last one left is gone", || {
        let now = held().unwrap();
        least = (least.0.min(now.0), least.1.max(now.1));
        begun.elapsed() > std::time::Duration::from_millis(200)
    })
    .await;
    least
}
