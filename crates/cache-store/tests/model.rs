//! Random operations against the naive model, on files in memory and on real ones.
//!
//! `DISK_CACHE_CASES` sets how many cases of up to 100 steps, `DISK_CACHE_SEED` which; a failing case is made smaller.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::match_wild_err_arm,
    reason = "a test may panic, print its seed and box nothing"
)]

use backend_tokio::TokioBackend;
use bytes::Bytes;
use cache_core::{
    Cache, CacheKey, Config, DiskBackend, Durability, EntryId, Error, Expiry, GetOptions, InsertOptions,
    Inserted, ManualClock, PurgeMode, PurgeScope,
};
use cache_store::Engine;
use cache_testkit::{Loss, MemoryBackend, Model, Seen, Stored, on_all_cores, tried};
use proptest::{
    prelude::*,
    test_runner::{Config as Cases, RngAlgorithm, TestRng, TestRunner},
};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};
use store_testkit::{DIR, body, disk, from_env, in_time, paused, peek_stale, tiny};
use tokio::runtime::{Handle, Runtime};

const KEYS: u8 = 12;

#[derive(Clone, Debug)]
enum Step {
    Insert { key: u8, len: u16, level: u8, ttl: Option<u8>, tag: bool, label: bool },
    Get { key: u8 },
    Range { key: u8, from: u16, len: u16 },
    Remove { key: u8, level: u8 },
    RemoveEntry { key: u8, right: bool },
    Meta { key: u8, ttl: Option<u8> },
    Expire { key: u8 },
    Purge { scope: u8, key: u8, expire: bool },
    Clear,
    Flush,
    Clock { forward: bool, seconds: u8 },
    Reopen,
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    let (key, level) = (|| 0..KEYS, || 0..3u8);
    let ttl = || proptest::option::weighted(0.3, 0..20u8);
    prop_oneof![
        12 => (key(), 0..1536u16, level(), ttl(), any::<bool>(), any::<bool>())
            .prop_map(|(key, len, level, ttl, tag, label)| Step::Insert { key, len, level, ttl, tag, label }),
        4 => key().prop_map(|key| Step::Get { key }),
        2 => (key(), 0..1600u16, 0..900u16).prop_map(|(key, from, len)| Step::Range { key, from, len }),
        2 => (key(), level()).prop_map(|(key, level)| Step::Remove { key, level }),
        2 => (key(), any::<bool>()).prop_map(|(key, right)| Step::RemoveEntry { key, right }),
        3 => (key(), ttl()).prop_map(|(key, ttl)| Step::Meta { key, ttl }),
        1 => key().prop_map(|key| Step::Expire { key }),
        2 => (0..5u8, key(), any::<bool>()).prop_map(|(scope, key, expire)| Step::Purge { scope, key, expire }),
        1 => Just(Step::Clear),
        1 => Just(Step::Flush),
        1 => (any::<bool>(), 0..30u8).prop_map(|(forward, seconds)| Step::Clock { forward, seconds }),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
    ]
}

fn key(n: u8) -> CacheKey {
    CacheKey::new(["a", "b"][usize::from(n % 2)], format!("path-{}", n / 4))
        .with_variant(format!("v{}", n / 2 % 2))
}

fn label(n: u8) -> Bytes {
    format!("label-{}", n % 3).into()
}

fn scope(kind: u8, n: u8) -> PurgeScope {
    let key = key(n);
    let namespace = Bytes::copy_from_slice(key.namespace());
    match kind {
        0 => PurgeScope::Namespace(namespace),
        1 => PurgeScope::Path { namespace, path: Bytes::copy_from_slice(key.path()) },
        2 => PurgeScope::Prefix { namespace, prefix: label(n) },
        3 => PurgeScope::Prefix { namespace, prefix: "path-1".into() },
        _ => PurgeScope::Tag("tagged".into()),
    }
}

fn level(n: u8) -> Durability {
    [Durability::Buffered, Durability::Written, Durability::Synced][usize::from(n)]
}

/// A kind of disk that sessions follow each other on.
trait Machine {
    type Backend: DiskBackend;
    fn runtime(&self) -> Runtime;
    fn backend(&self, handle: &Handle) -> Self::Backend;
    fn config(&self) -> Config;
    /// The process was killed.
    fn kill(&mut self);
    /// Bytes of all files in blocks.
    async fn used(&self) -> u64;
}

struct InMemory(MemoryBackend);

impl Machine for InMemory {
    type Backend = MemoryBackend;
    fn runtime(&self) -> Runtime {
        paused()
    }
    fn backend(&self, _: &Handle) -> MemoryBackend {
        self.0.clone()
    }
    fn config(&self) -> Config {
        tiny(16)
    }
    fn kill(&mut self) {
        self.0 = self.0.kill();
    }
    async fn used(&self) -> u64 {
        let mut used = 0;
        for dir in [Path::new(DIR).join("segments"), Path::new(DIR).join("objects"), DIR.into()] {
            let files = self.0.list(&dir).await.unwrap_or_default();
            used += files.iter().map(|file| file.len.next_multiple_of(4096)).sum::<u64>();
        }
        used
    }
}

struct OnDisk(tempfile::TempDir);

impl Machine for OnDisk {
    type Backend = TokioBackend;
    fn runtime(&self) -> Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }
    fn backend(&self, handle: &Handle) -> TokioBackend {
        TokioBackend::new(handle.clone())
    }
    fn config(&self) -> Config {
        let mut config = tiny(16);
        config.dir = self.0.path().join("cache");
        config
    }
    fn kill(&mut self) {}
    async fn used(&self) -> u64 {
        0
    }
}

/// What outlives a session.
struct World {
    model: Model,
    clock: Arc<ManualClock>,
    now_ms: u64,
    /// The latest that the clock ever showed: reclaim drops what has expired, and the clock may go back after that.
    latest_ms: u64,
    serial: u64,
    excused: bool,
    first_ids: Vec<Option<EntryId>>,
}

fn run<M: Machine>(mut machine: M, steps: &[Step]) -> Result<(), String> {
    let now_ms = 1_000_000;
    let clock = Arc::new(ManualClock::new(UNIX_EPOCH + Duration::from_millis(now_ms)));
    let first_ids = vec![None; usize::from(KEYS)];
    let mut world =
        World { model: Model::new(), clock, now_ms, latest_ms: now_ms, serial: 0, excused: false, first_ids };
    let mut rest = steps;
    let mut loss = Loss::Nothing;
    loop {
        let runtime = machine.runtime();
        let end = runtime.block_on(async {
            let backend = machine.backend(&Handle::current());
            let opened = Engine::open(machine.config(), world.clock.clone(), backend, Handle::current());
            let engine = in_time("an open", opened).await.map_err(|e| e.to_string())?;
            world.look(&engine, loss).await?;
            while let Some((now, later)) = rest.split_first() {
                rest = later;
                match now {
                    Step::Kill => return Ok::<_, String>(Some(Loss::Kill)),
                    Step::Reopen => {
                        in_time("a close", engine.close()).await.map_err(|e| e.to_string())?;
                        world.model.flushed(0);
                        return Ok(Some(Loss::PowerCut));
                    }
                    step => world.act(&engine, step).await.map_err(|e| format!("{step:?}: {e}"))?,
                }
                world.look(&engine, Loss::Nothing).await.map_err(|e| format!("after {now:?}: {e}"))?;
                let (used, capacity) = (machine.used().await, engine.stats().capacity);
                if used > capacity + 8192 {
                    return Err(format!("{used} bytes on disk after {now:?}"));
                }
            }
            Ok(None)
        })?;
        drop(runtime);
        let Some(end) = end else { return Ok(()) };
        if end == Loss::Kill {
            machine.kill();
        }
        loss = end;
    }
}

impl World {
    /// Looks at every key, in every way that leaves no trace.
    async fn look<B: DiskBackend>(&mut self, engine: &Engine<B>, loss: Loss) -> Result<(), String> {
        for n in 0..KEYS {
            let key = key(n);
            let contained = engine.contains(&key);
            let plain =
                engine.get_with(&key, GetOptions::new().peek(true)).await.map_err(|e| e.to_string())?;
            let seen = peek_stale(engine, &key).await.map_err(|e| e.to_string())?;
            let stats = engine.stats();
            self.excused |= stats.evictions + stats.early_evictions > 0;
            let permitted = self.model.permitted(&key, loss, u64::MAX);
            let expired = |s: &Stored| s.expires_ms.is_some_and(|at| self.latest_ms >= at);
            let excused = self.excused || permitted.values.iter().any(expired);
            permitted.check(seen.as_ref(), self.now_ms, excused).map_err(|e| format!("{key:?}: {e}"))?;
            let fresh = seen.as_ref().is_some_and(|s| !s.stale);
            if plain.is_some() != fresh || contained && !fresh {
                return Err(format!(
                    "{key:?}: {seen:?}, a plain get {}, contained {contained}",
                    plain.is_some()
                ));
            }
            if loss != Loss::Nothing {
                self.model.settle(&key, loss, seen.as_ref(), excused);
            }
        }
        engine.check_invariants()?;
        let stats = engine.stats();
        if stats.disk_bytes > stats.capacity { Err(format!("over the quota: {stats:?}")) } else { Ok(()) }
    }

    fn expires(&self, ttl: Option<u8>) -> (Expiry, Option<u64>) {
        let after = |s: u8| Duration::from_secs(u64::from(s));
        let at = ttl.map(|s| self.now_ms + u64::from(s) * 1000);
        (ttl.map_or(Expiry::Never, |s| Expiry::After(after(s))), at)
    }

    async fn act<B: DiskBackend>(&mut self, engine: &Engine<B>, step: &Step) -> Result<(), Error> {
        self.serial += 1;
        let meta = Bytes::from(format!("meta {}", self.serial));
        match *step {
            Step::Insert { key: n, len, level: to, ttl, tag, label: labelled } => {
                let (expiry, expires_ms) = self.expires(ttl);
                let body = body(u64::from(n), self.serial, usize::from(len));
                let mut options =
                    InsertOptions::new().meta(meta.clone()).expiry(expiry).durability(level(to));
                let mut stored = Stored { body: body.clone(), meta, expires_ms, ..Stored::default() };
                stored.out_of_line = len > 512;
                if tag {
                    options = options.tag("tagged");
                    stored.tags.push("tagged".into());
                }
                if labelled {
                    options = options.label(label(n));
                    stored.label = Some(label(n));
                }
                let ticket = self.model.insert(0, &key(n), stored);
                let inserted = in_time("an insert", engine.insert_with(&key(n), body, options)).await;
                if let Err(Error::StorageFull { .. }) = inserted {
                    self.model.fail(ticket, 0);
                    return Ok(());
                }
                if let Inserted::Stored { id, .. } = inserted? {
                    self.first_ids[usize::from(n)].get_or_insert(id);
                }
                self.model.acknowledge(ticket, 0, level(to));
            }
            Step::Get { key: n } => drop(engine.get(&key(n)).await?),
            Step::Range { key: n, from, len } => {
                if let Some(hit) = engine.get(&key(n)).await? {
                    let all = hit.bytes().await?;
                    let range = u64::from(from)..u64::from(from) + u64::from(len);
                    let part = hit.read_range(range.clone()).await;
                    match all.get(range.start as usize..range.end as usize) {
                        Some(expected) => assert_eq!(part?, expected),
                        None => assert!(matches!(part, Err(Error::InvalidRange { .. })), "{part:?}"),
                    }
                }
            }
            Step::Remove { key: n, level: to } => {
                let ticket = self.model.remove(0, &key(n));
                in_time("a remove", engine.remove_with(&key(n), level(to))).await?;
                self.model.acknowledge(ticket, 0, level(to));
            }
            Step::RemoveEntry { key: n, right } => {
                let key = key(n);
                let held = engine.get_with(&key, GetOptions::new().peek(true).allow_stale(true)).await?;
                let held = held.map(|hit| hit.id());
                let target = if right { held } else { self.first_ids[usize::from(n)] };
                let Some(id) = target else { return Ok(()) };
                let removed = in_time("a remove", engine.remove_entry((&key, id))).await?;
                assert_eq!(removed, held.filter(|h| *h == id), "the entry that was there, if it was meant");
                if removed.is_some() {
                    let ticket = self.model.remove(0, &key);
                    self.model.acknowledge(ticket, 0, Durability::Synced);
                }
            }
            Step::Meta { key: n, ttl } => {
                let key = key(n);
                let Some(seen) = peek_stale(engine, &key).await? else {
                    assert!(!engine.update_meta(&key, meta, Expiry::Never).await?);
                    return Ok(());
                };
                let held = self.model.permitted(&key, Loss::Nothing, u64::MAX);
                if held.values.len() != 1 {
                    return Ok(());
                }
                let Seen { .. } = seen;
                let (expiry, expires_ms) = self.expires(ttl);
                let stored =
                    Stored { meta: meta.clone(), expires_ms, stale: false, ..held.values[0].clone() };
                let ticket = self.model.insert(0, &key, stored);
                if in_time("a new meta", engine.update_meta(&key, meta, expiry)).await? {
                    self.model.acknowledge(ticket, 0, Durability::Buffered);
                } else {
                    self.model.withdraw(ticket);
                }
            }
            Step::Expire { key: n } => {
                let ticket = self.model.expire(0, &key(n));
                in_time("an expire", engine.expire(&key(n))).await?;
                self.model.acknowledge(ticket, 0, Durability::Synced);
            }
            Step::Purge { scope: kind, key: n, expire } => {
                let mode = if expire { PurgeMode::Expire } else { PurgeMode::Remove };
                let ticket = self.model.purge(0, scope(kind, n), mode);
                in_time("a purge", engine.purge_with(scope(kind, n), mode)).await?;
                self.model.acknowledge(ticket, 0, Durability::Synced);
            }
            Step::Clear => {
                let ticket = self.model.purge(0, PurgeScope::All, PurgeMode::Remove);
                in_time("a clear", engine.clear()).await?;
                self.model.acknowledge(ticket, 0, Durability::Synced);
            }
            Step::Flush => {
                in_time("a flush", engine.flush()).await?;
                self.model.flushed(0);
            }
            Step::Clock { forward, seconds } => {
                let by = u64::from(seconds) * 1000;
                self.now_ms = if forward { self.now_ms + by } else { self.now_ms - by };
                self.latest_ms = self.latest_ms.max(self.now_ms);
                self.clock.set(UNIX_EPOCH + Duration::from_millis(self.now_ms));
            }
            Step::Reopen | Step::Kill => {}
        }
        Ok(())
    }
}

/// Cases that one generator makes: threads take turns of so many.
const TURN: u64 = 20;

fn check<M: Machine>(what: &str, cases: u64, machine: impl Fn() -> M + Sync) {
    let seed: u64 = from_env("DISK_CACHE_SEED", 1);
    let begun = Instant::now();
    println!("model, {what}: {cases} cases, seed {seed}");
    on_all_cores(cases.div_ceil(TURN), |turn| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&turn.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let cases = (cases - turn * TURN).min(TURN) as u32;
        let config = Cases { cases, failure_persistence: None, max_shrink_iters: 2000, ..Cases::default() };
        TestRunner::new_with_rng(config, rng)
            .run(&prop::collection::vec(step(), 1..100), |steps| {
                run(machine(), &steps).map_err(TestCaseError::fail)
            })
            .unwrap_or_else(|failed| panic!("seed {seed}: {failed}"));
    });
    println!("model, {what}: {cases} cases, seed {seed}, {:.1} s", begun.elapsed().as_secs_f64());
    tried(cases, &format!("histories of up to 100 operations {what}"));
}

#[test]
fn a_cache_in_memory_does_what_the_model_says() {
    check("in memory", from_env("DISK_CACHE_CASES", 300), || InMemory(disk()));
}

#[test]
fn a_cache_on_disk_does_what_the_model_says() {
    let base = env!("CARGO_TARGET_TMPDIR");
    check("on disk", from_env("DISK_CACHE_CASES", 40), || OnDisk(tempfile::tempdir_in(base).unwrap()));
}
