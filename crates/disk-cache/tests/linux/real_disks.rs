//! File systems that lose their power, turn read-only, or lie on a device that fills up, under a cache at work.
//!
//! What was acknowledged as synced is there after the next mount; nothing else than what the model permits is. The oracle is in
//! this process, which goes on; the file system's own pages are gone.
//!
//! Where the device fills up, the kernel itself answers syncs with success whose bytes are gone after the next mount (seen with
//! a bare loop of writes and syncs to a preallocated file, ext4 on 6.18). So nothing is promised there but that errors are
//! told, and that what is found was once stored under its key.
//!
//! `DISK_CACHE_POWER_CUTS` sets how many cuts each file system and backend gets, and without it there are none: loop devices and
//! mounts are nothing that a plain `cargo test` may touch. `DISK_CACHE_SEED` sets the workloads.

use crate::{
    common::{self, Skip},
    mount::{Disk, Journal, own_mounts, run},
};
use bytes::Bytes;
use cache_testkit::{Loss, Model, Rng, Seen, Stored, Ticket, tried};
use disk_cache::{
    BackendChoice, ByteSize, CacheKey, DiskCache, Durability, Error, Expiry, GetOptions, InsertOptions,
    PurgeMode, PurgeScope,
};
use libtest_mimic::{Arguments, Completion, Trial};
use std::{
    collections::HashSet,
    fs,
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

const KEYS: u64 = 10;
/// More than all versions of a run take: a miss is a loss.
const CAPACITY: u64 = 8 << 20;

/// What happens to the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disaster {
    PowerCut,
    ReadOnly,
    DeviceFull,
}

pub(crate) fn main() -> ExitCode {
    let number = |name| std::env::var(name).ok().and_then(|n| n.parse().ok());
    let (asked, seed): (Option<u64>, u64) =
        (number("DISK_CACHE_POWER_CUTS"), number("DISK_CACHE_SEED").unwrap_or(1));
    let cuts = asked.unwrap_or(0);
    let mine = match asked {
        Some(_) => own_mounts(),
        None => Err("by cargo xtask faults real-power-cut failed-sync full-disk".to_owned()),
    };
    let few = (cuts / 8).max(1);
    let mut trials = Vec::new();
    for (name, kind, mib, disaster, times) in [
        ("a_power_cut_on_ext4_takes_nothing_that_was_synced", "ext4", 48, Disaster::PowerCut, cuts),
        ("a_power_cut_on_xfs_takes_nothing_that_was_synced", "xfs", 320, Disaster::PowerCut, cuts / 3 + 1),
        (
            "a_file_system_that_turns_read_only_is_told_and_keeps_what_was_synced",
            "ext4",
            48,
            Disaster::ReadOnly,
            few,
        ),
        (
            "a_sync_that_finds_its_device_full_is_told_and_gives_no_wrong_byte",
            "ext4",
            48,
            Disaster::DeviceFull,
            few,
        ),
    ] {
        for (prefix, backend) in [("tokio", BackendChoice::Tokio), ("io_uring", BackendChoice::IoUring)] {
            let mine = mine.clone();
            trials.push(Trial::ignorable_test(format!("{prefix}::{name}"), move || {
                if let (BackendChoice::IoUring, Some(reason)) = (backend, common::no_io_uring()) {
                    return Ok(Completion::ignored_with(reason));
                }
                if let Err(reason) = mine {
                    return Ok(Completion::ignored_with(reason));
                }
                match disasters(kind, mib, disaster, backend, times, seed) {
                    Ok(()) => Ok(Completion::Completed),
                    Err(Skip(reason)) => Ok(Completion::ignored_with(reason)),
                }
            }));
        }
    }
    cache_testkit::log_to_file();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Runs a cache into one disaster after the other.
fn disasters(
    kind: &'static str,
    mib: u64,
    disaster: Disaster,
    backend: BackendChoice,
    times: u64,
    seed: u64,
) -> Result<(), Skip> {
    let base = common::directory();
    let mut folder = base.path().to_owned();
    if disaster == Disaster::DeviceFull {
        // The image is a file of holes on a file system that fills up.
        folder = base.path().join("device");
        fs::create_dir(&folder).unwrap();
        run("mount", &["-t", "tmpfs", "-o", "size=96m", "tmpfs", folder.to_str().unwrap()])?;
    }
    let disk = Disk::make(&folder, kind, mib)?;
    let (mut rng, mut oracle) = (Rng::new(seed), Oracle::default());
    for n in 0..times {
        let before = oracle.serial;
        oracle.run_into(disaster, &disk, &folder, backend, &mut rng)?;
        disk.again(disaster != Disaster::PowerCut);
        let context = format!("{disaster:?} {n} on {kind}, seed {seed}");
        oracle.check(disaster, &disk.at.join("cache"), backend, &context);
        assert!(oracle.serial > before, "nothing was done");
    }
    // Blocks of an image that have their room already need no more: a full device is not always met.
    assert!(disaster != Disaster::ReadOnly || oracle.failures > 0, "nobody was told");
    drop(disk);
    if disaster == Disaster::DeviceFull {
        drop(run("umount", &["-l", folder.to_str().unwrap()]));
    }
    let what = match disaster {
        Disaster::PowerCut => format!("power cuts on {kind}"),
        Disaster::ReadOnly => "file systems turned read-only".to_owned(),
        Disaster::DeviceFull => "devices that filled up under a sync".to_owned(),
    };
    tried(times, &what);
    Ok(())
}

fn key(n: u64) -> CacheKey {
    CacheKey::new(format!("namespace-{}", n % 2), format!("path-{n}"))
}

fn meta(serial: u64) -> Bytes {
    format!("meta {serial}").into()
}

/// Every eight bytes tell the operation that stored them.
fn body(serial: u64, len: usize) -> Bytes {
    serial.to_le_bytes().iter().copied().cycle().take(len).collect::<Vec<_>>().into()
}

async fn open(dir: &Path, backend: BackendChoice) -> DiskCache {
    let builder = DiskCache::builder(dir)
        .capacity(ByteSize::bytes_of(CAPACITY))
        .segment_size(ByteSize::kib(64))
        .write_buffer(ByteSize::kib(256))
        .min_free_space(ByteSize::bytes_of(0))
        .flush_interval(Duration::from_millis(2))
        .max_write_amplification(100.0)
        .backend(backend);
    builder.open().await.unwrap_or_else(|error| panic!("open: {error}"))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// What was called, and what was promised.
#[derive(Default)]
struct Oracle {
    model: Model,
    serial: u64,
    evicted: bool,
    /// The calls since the last check, for a message that tells how it came.
    calls: Vec<String>,
    /// Every body that was ever to be stored under a key.
    ever: HashSet<(u64, Bytes)>,
    /// Whether a caller was told of a failure: what was only buffered then is lost, and later flushes go well without it.
    told: bool,
    /// How often that was.
    failures: u64,
    /// Set before the power goes: what returns from then on is not heard.
    deaf: Arc<AtomicBool>,
}

impl Oracle {
    /// A cache works until the disaster has come.
    fn run_into(
        &mut self,
        disaster: Disaster,
        disk: &Disk,
        folder: &Path,
        backend: BackendChoice,
        rng: &mut Rng,
    ) -> Result<(), Skip> {
        let (calls, after) = (rng.below(60), Duration::from_micros(rng.below(3000)));
        let journal = if rng.chance(1, 2) { Journal::Flushed } else { Journal::Lost };
        let (runtime, come) = (runtime(), Arc::new(AtomicBool::new(false)));
        let filler = folder.join("filler");
        let failed = runtime.block_on(async {
            let cache = open(&disk.at.join("cache"), backend).await;
            for _ in 0..calls {
                self.call(&cache, rng)
                    .await
                    .unwrap_or_else(|error| panic!("before anything failed: {error}"));
            }
            if disaster == Disaster::ReadOnly {
                // ext4 answers a sync that is under way at this moment with success, and loses what it was for (seen with a
                // bare loop of writes and syncs on 6.18). So there is none.
                cache.flush().await.unwrap();
                self.model.flushed(self.serial * 2 + 1);
                disk.turn_read_only()?;
                come.store(true, Ordering::Release);
            }
            std::thread::scope(|scope| {
                let (told, deaf, filler) = (come.clone(), self.deaf.clone(), filler.clone());
                let bringing = scope.spawn(move || {
                    // A moment within an operation, with luck.
                    std::thread::sleep(after);
                    let done = match disaster {
                        Disaster::PowerCut => {
                            // A sync that is under way while the file system goes down may be answered with success (seen
                            // with a bare loop of writes and syncs, on ext4 and xfs). Nobody hears what is said after the
                            // power is gone: from here on, what returns may have happened or not.
                            deaf.store(true, Ordering::SeqCst);
                            disk.cut(journal);
                            Ok(())
                        }
                        Disaster::ReadOnly => Ok(()),
                        Disaster::DeviceFull => fill(&filler),
                    };
                    told.store(true, Ordering::Release);
                    done
                });
                tokio::task::block_in_place(|| {
                    tokio::runtime::Handle::current().block_on(async {
                        let mut left = 2_000;
                        while left > 0 {
                            if self.call(&cache, rng).await.is_err() && come.load(Ordering::Acquire) {
                                left = left.min(5);
                            }
                            left -= 1;
                        }
                    });
                });
                bringing.join().unwrap()
            })?;
            self.note(&cache);
            // As a process that ends: whether it manages to say goodbye is of no matter.
            drop(tokio::time::timeout(Duration::from_secs(10), cache.close()).await);
            Ok(())
        });
        runtime.shutdown_timeout(Duration::from_secs(10));
        drop(fs::remove_file(filler));
        failed
    }

    /// One call, entered before and judged after it.
    async fn call(&mut self, cache: &DiskCache, rng: &mut Rng) -> Result<(), Error> {
        let seed = rng.clone();
        let done = self.perform(cache, rng).await;
        let (mut rng, serial) = (seed, self.serial);
        let (n, level, kind) = (rng.below(KEYS), rng.below(3), rng.below(20));
        self.calls.push(format!("{serial}: key {n}, durability {level}, kind {kind}: {done:?}"));
        done
    }

    async fn perform(&mut self, cache: &DiskCache, rng: &mut Rng) -> Result<(), Error> {
        self.serial += 1;
        let (serial, now, n) = (self.serial, self.serial * 2, rng.below(KEYS));
        let level = [Durability::Buffered, Durability::Written, Durability::Synced][rng.below(3) as usize];
        let (ticket, done, level): (Ticket, Result<bool, Error>, Durability) = match rng.below(20) {
            kind @ 0..=13 => {
                let len = if kind < 12 { rng.below(1500) } else { 9000 + rng.below(12_000) } as usize;
                let (body, meta) = (body(serial, len), meta(serial));
                let out_of_line = len > 8192;
                let stored =
                    Stored { body: body.clone(), meta: meta.clone(), out_of_line, ..Stored::default() };
                let ticket = self.model.insert(now, &key(n), stored);
                self.ever.insert((n, body.clone()));
                let options = InsertOptions::new().meta(meta).durability(level);
                (ticket, cache.insert_with(&key(n), body, options).await.map(|_| true), level)
            }
            14..=15 => {
                let ticket = self.model.remove(now, &key(n));
                (ticket, cache.remove_with(&key(n), level).await.map(|_| true), level)
            }
            16 => {
                let held = self.model.permitted(&key(n), Loss::Nothing, u64::MAX);
                if held.values.len() + usize::from(held.miss) > 1 {
                    return Ok(());
                }
                let Some(ticket) = self.model.update_meta(now, &key(n), meta(serial), None) else {
                    return Ok(());
                };
                let done = cache.update_meta(&key(n), meta(serial), Expiry::Never).await;
                (ticket, done, Durability::Buffered)
            }
            17 => {
                let scope = PurgeScope::Namespace(format!("namespace-{}", n % 2).into());
                let ticket = self.model.purge(now, scope.clone(), PurgeMode::Remove);
                (ticket, cache.purge(scope).await.map(|()| true), Durability::Synced)
            }
            18 => {
                // What is there is right whatever the device does; that it reads is not promised.
                if let Ok(seen) = look(cache, &key(n)).await {
                    let permitted = self.model.permitted(&key(n), Loss::Nothing, u64::MAX);
                    if let Err(wrong) = permitted.check(seen.as_ref(), 0, true) {
                        panic!("key {n} in this process: {wrong}");
                    }
                }
                return Ok(());
            }
            _ => {
                if let Err(error) = cache.flush().await {
                    self.told = true;
                    return Err(error);
                }
                if !self.deaf.load(Ordering::SeqCst) {
                    self.model.flushed(now + 1);
                }
                return Ok(());
            }
        };
        match done {
            Ok(_) if self.deaf.load(Ordering::SeqCst) => self.model.fail(ticket, now + 1),
            Ok(true) => self.model.acknowledge(ticket, now + 1, level),
            Ok(false) => self.model.withdraw(ticket),
            Err(error) => {
                self.model.fail(ticket, now + 1);
                self.told = true;
                return Err(error);
            }
        }
        Ok(())
    }

    fn note(&mut self, cache: &DiskCache) {
        let stats = cache.stats();
        self.evicted |= stats.evictions + stats.early_evictions > 0;
    }

    /// Opens what the disaster left and compares.
    fn check(&mut self, disaster: Disaster, dir: &Path, backend: BackendChoice, context: &str) {
        self.failures += u64::from(self.told);
        let runtime = runtime();
        self.deaf.store(false, Ordering::SeqCst);
        runtime.block_on(async {
            let cache = open(dir, backend).await;
            self.note(&cache);
            for n in 0..KEYS {
                let seen = match look(&cache, &key(n)).await {
                    Ok(seen) => seen,
                    // A large body whose sync went well and whose bytes are gone: found out, and said.
                    Err(Error::Corrupt { .. }) if disaster == Disaster::DeviceFull => continue,
                    Err(error) => panic!("{context}: key {n}: {error}"),
                };
                let permitted = self.model.permitted(&key(n), Loss::PowerCut, u64::MAX);
                if disaster == Disaster::DeviceFull {
                    let right = seen.as_ref().is_none_or(|seen| self.ever.contains(&(n, seen.body.clone())));
                    assert!(right, "{context}: key {n} gave what was never stored under it: {seen:?}");
                } else if let Err(wrong) = permitted.check(seen.as_ref(), 0, self.evicted || self.told) {
                    panic!("{context}: key {n}: {wrong}, after\n{}", self.calls.join("\n"));
                }
                self.model.settle(&key(n), Loss::PowerCut, seen.as_ref(), self.evicted || self.told);
            }
            self.calls.clear();
            self.told = false;
            cache.close().await.unwrap();
        });
        runtime.shutdown_timeout(Duration::from_secs(10));
        if disaster == Disaster::DeviceFull {
            // What it holds now is not what was promised: the next one begins anew.
            fs::remove_dir_all(dir).unwrap();
            self.model = Model::new();
            self.ever.clear();
        }
    }
}

async fn look(cache: &DiskCache, key: &CacheKey) -> Result<Option<Seen>, Error> {
    let Some(hit) = cache.get_with(key, GetOptions::new().peek(true).allow_stale(true)).await? else {
        return Ok(None);
    };
    let body = hit.bytes().await?;
    Ok(Some(Seen { body, meta: hit.meta().clone(), stale: hit.is_stale() }))
}

/// Takes all the room that is left around the image.
fn fill(filler: &Path) -> Result<(), Skip> {
    let full = fs::write(filler, vec![1; 128 << 20]);
    if full.is_ok() { Err(Skip("the device does not fill up".to_owned())) } else { Ok(()) }
}
