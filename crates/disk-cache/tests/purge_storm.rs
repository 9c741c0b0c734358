//! A hundred thousand purges while fills run: those of keys, prefixes and tags, each of which hits one entry that is there and,
//! with luck, one that is on its way.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::items_after_statements,
    clippy::match_wild_err_arm,
    reason = "a test may panic, print, box nothing and read from top to bottom"
)]

mod common;

use common::{Ctx, body, get};
use disk_cache::{ByteSize, CacheKey, DiskCache, EntryWriter, InsertOptions, Inserted, PurgeScope, Result};
use libtest_mimic::Arguments;
use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Instant,
};
use tokio::task::JoinSet;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each wants all of the machine: side by side they would only take longer.
    arguments.test_threads = Some(1);
    let cases = cases! { every_purge_of_a_storm_holds_against_the_fills_that_run_also_after_a_crash };
    common::run(arguments, cases)
}

const PURGES: u64 = 100_000;
/// Purges under way at a time, which share syncs.
const PURGERS: u64 = 2048;
const FILLERS: u64 = 4;
/// Writes that begin before the storm and end after it, of each way to purge.
const HELD: u64 = 20;
/// Entries that no purge means.
const SPARED: u64 = 500;

/// What an origin has: one object a purge, which changes when it is purged. `n % 3` says how that is done.
struct Origin {
    changed: Vec<AtomicBool>,
    /// The purge has been acknowledged.
    purged: Vec<AtomicBool>,
}

impl Origin {
    fn new() -> Self {
        let all = || (0..PURGES).map(|_| AtomicBool::new(false)).collect();
        Self { changed: all(), purged: all() }
    }

    /// The body it has now.
    fn body(&self, n: u64) -> bytes::Bytes {
        body(n, self.changed[n as usize].load(SeqCst).into(), 64)
    }

    /// Changes one and purges it.
    async fn purge(&self, cache: &DiskCache, n: u64) {
        self.changed[n as usize].store(true, SeqCst);
        match n % 3 {
            0 => drop(cache.remove(&key(n)).await.unwrap()),
            1 => cache
                .purge(PurgeScope::Prefix { namespace: "1".into(), prefix: prefix(n).into() })
                .await
                .unwrap(),
            _ => cache.purge(PurgeScope::Tag(tag(n).into())).await.unwrap(),
        }
        self.purged[n as usize].store(true, SeqCst);
    }

    /// Gets one, from itself where the cache has it not, and sees that nothing purged came back.
    async fn get(self: &Arc<Self>, cache: &DiskCache, n: u64) {
        let purged = self.purged[n as usize].load(SeqCst);
        let (key, origin) = (key(n), self.clone());
        let fetched = cache.get_or_fetch(&key, move |fill| async move {
            let body = origin.body(n);
            tokio::task::yield_now().await; // On its way.
            let mut writer = fill.begin(options(n)).await?;
            writer.write(body).await?;
            writer.commit().await
        });
        let got = fetched.await.unwrap().bytes().await.unwrap().expect("it is stored or read along");
        assert!(got == body(n, 1, 64) || !purged && got == body(n, 0, 64), "{n}, purged: {purged}");
    }
}

/// Those that are purged by key, prefix and tag lie in the namespaces `0`, `1` and `2`.
fn key(n: u64) -> CacheKey {
    CacheKey::new((n % 3).to_string(), format!("{}an object", prefix(n)))
}

fn prefix(n: u64) -> String {
    format!("{n}/")
}

fn tag(n: u64) -> String {
    format!("tag {n}")
}

fn options(n: u64) -> InsertOptions {
    InsertOptions::new().tag(tag(n))
}

fn spared(n: u64) -> CacheKey {
    CacheKey::new("spared", n.to_string())
}

/// A write that has begun.
async fn begun(cache: &DiskCache, key: &CacheKey, n: u64) -> Result<EntryWriter> {
    let mut writer = cache.writer(key, options(n)).await?;
    writer.write(body(n, 0, 64)).await?;
    Ok(writer)
}

async fn every_purge_of_a_storm_holds_against_the_fills_that_run_also_after_a_crash(ctx: Ctx) {
    let open = async |ctx: &Ctx| {
        let builder = ctx.builder().capacity(ByteSize::mib(256)).segment_size(ByteSize::mib(1));
        builder.open().await.unwrap()
    };
    let cache = open(&ctx).await;
    let origin = Arc::new(Origin::new());
    for n in 0..PURGES {
        cache.insert_with(&key(n), origin.body(n), options(n)).await.unwrap();
    }
    for n in 0..SPARED {
        cache.insert_with(&spared(n), body(n, 0, 64), InsertOptions::new().tag("spared")).await.unwrap();
    }
    let mut held = Vec::new();
    for n in 0..3 * HELD {
        held.push(begun(&cache, &key(n), n).await.unwrap());
    }
    let held_beside = begun(&cache, &spared(SPARED), PURGES).await.unwrap();

    let begun = Instant::now();
    storm(&cache, &origin).await;
    println!("{PURGES} purges in {:.1} s", begun.elapsed().as_secs_f64());

    for writer in held {
        assert_eq!(writer.commit().await.unwrap(), Inserted::Superseded);
    }
    assert!(matches!(held_beside.commit().await.unwrap(), Inserted::Stored { .. }));
    assert_eq!(cache.stats().evictions, 0, "there is room for all: what is missed is missed for a purge");
    nothing_purged_is_there(&cache).await;
    cache.flush().await.unwrap();
    nothing_purged_is_there(&open(&ctx.crash("after the storm")).await).await;
}

/// All purges, and gets of what is being purged all the while.
async fn storm(cache: &DiskCache, origin: &Arc<Origin>) {
    let next = Arc::new(AtomicU64::new(0));
    let mut purgers = JoinSet::new();
    for _ in 0..PURGERS {
        let (cache, origin, next) = (cache.clone(), origin.clone(), next.clone());
        purgers.spawn(async move {
            loop {
                let n = next.fetch_add(1, SeqCst);
                if n >= PURGES {
                    return;
                }
                origin.purge(&cache, n).await;
            }
        });
    }
    let mut fillers = JoinSet::new();
    for filler in 0..FILLERS {
        let (cache, origin, next) = (cache.clone(), origin.clone(), next.clone());
        fillers.spawn(async move {
            let mut step = filler;
            loop {
                // Around where the purges are, some before them, some after; never what is held, to wait for it.
                let at = next.load(SeqCst);
                if at >= PURGES {
                    return;
                }
                let n = (at + step % (2 * PURGERS)).saturating_sub(PURGERS);
                origin.get(&cache, n.clamp(3 * HELD, PURGES - 1)).await;
                step += FILLERS;
            }
        });
    }
    purgers.join_all().await;
    fillers.join_all().await;
}

/// What is there is what the origin has since the purge; what no purge meant is there.
async fn nothing_purged_is_there(cache: &DiskCache) {
    for n in 0..PURGES {
        let found = get(cache, &key(n)).await;
        assert!(found.is_none() || found == Some(body(n, 1, 64)), "{n} came back");
    }
    for n in 0..SPARED {
        assert_eq!(get(cache, &spared(n)).await, Some(body(n, 0, 64)), "{n} went with others");
    }
}
