//! A cache is closed, or its last handle dropped, while tasks on several threads work on it: what was acknowledged is there for
//! the next one.
//!
//! `cache-store/tests/shutdown.rs` tries the orders one by one; here the threads, the backends and the file system are real.
//!
//! `DISK_CACHE_OPENS` sets how often.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    reason = "a test may panic, print, box nothing and read from top to bottom"
)]

mod common;

use cache_testkit::Rng;
use common::{Ctx, LARGE, body, get, key};
use disk_cache::{ByteSize, DiskCache, Durability, Error, InsertOptions};
use futures_util::{
    FutureExt,
    future::{BoxFuture, MaybeDone, maybe_done},
};
use std::{collections::BTreeMap, pin::Pin, process::ExitCode};
use tokio::{sync::mpsc, task::JoinSet};

/// Tasks, each with keys of its own.
const TASKS: u64 = 4;
const KEYS: u64 = 3;

fn main() -> ExitCode {
    common::main(cases! {
        a_close_under_load_keeps_all_that_was_acknowledged
        the_drop_of_the_last_handle_under_load_keeps_all_that_was_acknowledged
        an_open_that_is_dropped_leaves_the_directory_to_be_opened_again
    })
}

async fn a_close_under_load_keeps_all_that_was_acknowledged(ctx: Ctx) {
    again_and_again(&ctx, true).await;
}

async fn the_drop_of_the_last_handle_under_load_keeps_all_that_was_acknowledged(ctx: Ctx) {
    again_and_again(&ctx, false).await;
}

/// An engine that nobody took kept its lock, and its threads, until the process ended.
async fn an_open_that_is_dropped_leaves_the_directory_to_be_opened_again(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert(&key(1), body(1, 1, 100)).await.unwrap();
    cache.close().await.unwrap();
    for turns in (0..).map(|n| 1_u64 << n) {
        // Given up at any point of the open; in the end when it is open and nobody has taken it.
        drop(begun(&ctx, 8 * turns).await);
        nobody_has_it(&ctx).await;
        // An eighth of that was enough: so the one above was open.
        let mut opening = begun(&ctx, turns).await;
        opening.as_mut().now_or_never();
        if let Some(opened) = opening.as_mut().take_output() {
            let cache = opened.unwrap();
            assert_eq!(get(&cache, &key(1)).await, Some(body(1, 1, 100)));
            return cache.close().await.unwrap();
        }
        drop(opening);
        nobody_has_it(&ctx).await;
    }
}

type Opening = Pin<Box<MaybeDone<BoxFuture<'static, disk_cache::Result<DiskCache>>>>>;

/// An open that goes on by itself: looked at once, and so many turns ago.
async fn begun(ctx: &Ctx, turns: u64) -> Opening {
    let mut opening = Box::pin(maybe_done(ctx.builder().open().boxed()));
    opening.as_mut().now_or_never();
    give_way(turns).await;
    opening
}

async fn nobody_has_it(ctx: &Ctx) {
    let lock = std::fs::File::open(ctx.dir.join("LOCK")).unwrap();
    common::until("nobody has the directory", || lock.try_lock().is_ok()).await;
}

async fn give_way(turns: u64) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}

/// What a key holds: nothing, or the body of this version and length.
type Held = BTreeMap<u64, Option<(u64, usize)>>;

async fn again_and_again(ctx: &Ctx, close: bool) {
    let rounds = std::env::var("DISK_CACHE_OPENS").ok().and_then(|n| n.parse().ok()).unwrap_or(30);
    let (mut held, mut rng) = (Held::new(), Rng::new(1));
    for round in 1..=rounds {
        // So much room that nothing is evicted: a miss is a loss.
        let roomy = ctx.builder().capacity(ByteSize::mib(16)).max_write_amplification(100.0);
        let cache = roomy.open().await.unwrap();
        for (n, expected) in &held {
            let expected = expected.map(|(version, len)| body(*n, version, len));
            assert_eq!(get(&cache, &key(*n)).await, expected, "key {n} before round {round}");
        }
        let (said, mut heard) = mpsc::unbounded_channel();
        // Without a close each task ends by itself, and the last one drops the last handle.
        let calls = if close { u64::MAX } else { 2 + rng.below(8) };
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let (cache, said, rng) = (cache.clone(), said.clone(), Rng::new(rng.next_u64()));
            tasks.spawn(work(cache, task, round, calls, said, rng));
        }
        if close {
            for _ in 0..rng.below(20) {
                heard.recv().await.unwrap();
            }
            cache.close().await.unwrap();
        }
        drop(cache);
        while let Some(done) = tasks.join_next().await {
            held.extend(done.unwrap());
        }
        common::unlocked(&ctx.dir).await;
    }
    let what = if close { "closes under load" } else { "last handles dropped under load" };
    cache_testkit::tried(rounds, what);
}

/// Stores and removes until it has done so as often as it should, or the cache is closed; what its keys hold then.
async fn work(
    cache: DiskCache,
    task: u64,
    round: u64,
    calls: u64,
    said: mpsc::UnboundedSender<()>,
    mut rng: Rng,
) -> Held {
    let mut held = Held::new();
    for call in 0..calls {
        let n = task * KEYS + rng.below(KEYS);
        let level = [Durability::Buffered, Durability::Written, Durability::Synced][rng.below(3) as usize];
        let (version, len) = (round << 32 | call, if rng.chance(1, 6) { LARGE } else { 2000 });
        let (done, now) = if rng.chance(1, 5) {
            (cache.remove_with(&key(n), level).await.map(drop), None)
        } else {
            let options = InsertOptions::new().durability(level);
            let stored = cache.insert_with(&key(n), body(n, version, len), options).await;
            (stored.map(drop), Some((version, len)))
        };
        match done {
            Ok(()) => held.insert(n, now),
            // It did not happen.
            Err(Error::Closed) => break,
            Err(error) => panic!("{error}"),
        };
        // Nobody may listen any more.
        said.send(()).ok();
    }
    held
}
