//! Damage to a directory at rest: bits, cuts, blocks, files lost, moved, of another cache, of an older time.
//!
//! Every state opens, or is refused with a typed error where the superblock is what was damaged. A get is a miss, a typed
//! error, or a version that was once stored under exactly that key; where every segment has its footer, never an older
//! one, unless the end of the log itself is what was damaged: that cannot be told from a log that ended there.
//!
//! `DISK_CACHE_DAMAGES` sets how many damaged directories are looked at, `DISK_CACHE_SEED` which.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::match_wild_err_arm,
    reason = "a test may panic, print its seed and box nothing"
)]

use bytes::{Bytes, BytesMut};
use cache_core::{
    Cache, CacheKey, Config, DiskBackend, Durability, EntryId, Error, Expiry, GetOptions, InsertOptions,
    OpenMode, SystemClock,
};
use cache_store::Engine;
use cache_testkit::{MemoryBackend, Rng, Seen, on_all_cores, tried};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};
use store_testkit::{DIR, body, disk, from_env, in_time, key, paused, peek_stale, tiny};
use tokio::runtime::Handle;

const KEYS: u64 = 6;
const BLOCK: usize = 512;

type Engine_ = Engine<MemoryBackend>;
type Files = BTreeMap<PathBuf, Bytes>;

fn config() -> Config {
    tiny(32)
}

async fn open(disk: &MemoryBackend) -> Result<Engine_, Error> {
    Engine::open(config(), Arc::new(SystemClock), disk.clone(), Handle::current()).await
}

/// All that a hit tells.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    seen: Seen,
    id: EntryId,
    created_at: SystemTime,
    expires_at: Option<SystemTime>,
}

/// A directory, all that was ever stored under each key, and what is stored now.
struct Fixture {
    name: &'static str,
    files: Files,
    ever: Vec<Vec<Held>>,
    now: Vec<Option<Held>>,
    /// Whether every segment has its footer.
    sealed: bool,
    /// What its files were at some earlier time.
    earlier: Files,
}

/// What a history leaves, closed or killed.
fn fixture(name: &'static str, sealed: bool, snapshot: bool) -> Fixture {
    let disk = disk();
    let keys: Vec<CacheKey> = (0..KEYS).map(key).collect();
    let mut ever = vec![Vec::new(); KEYS as usize];
    let mut earlier = Files::new();
    let now = paused().block_on(async {
        let engine = open(&disk).await.unwrap();
        for round in 1..=6 {
            for n in 0..KEYS {
                let (len, synced) = (if n < 2 { 700 } else { 250 }, Durability::Synced);
                let options = InsertOptions::new().meta(format!("meta {round}")).durability(synced);
                engine.insert_with(&key(n), body(n, round, len), options).await.unwrap();
                ever[n as usize].push(seen(&engine, &keys[n as usize]).await.unwrap().unwrap());
            }
            engine.update_meta(&key(3), format!("later {round}").into(), Expiry::Never).await.unwrap();
            ever[3].push(seen(&engine, &keys[3]).await.unwrap().unwrap());
            engine.remove(&key(4)).await.unwrap();
            if round == 3 {
                earlier = files(&disk).await;
            }
        }
        let mut now = Vec::new();
        for key in &keys {
            now.push(seen(&engine, key).await.unwrap());
        }
        engine.flush().await.unwrap();
        if sealed {
            engine.close().await.unwrap();
        }
        now
    });
    let mut files = paused().block_on(files(&disk));
    if !snapshot {
        files.remove(&Path::new(DIR).join("index.snapshot"));
    }
    assert_eq!(files.contains_key(&Path::new(DIR).join("index.snapshot")), sealed && snapshot);
    Fixture { name, files, ever, now, sealed, earlier }
}

async fn seen(engine: &Engine_, key: &CacheKey) -> Result<Option<Held>, Error> {
    let Some(seen) = in_time("a get", peek_stale(engine, key)).await? else { return Ok(None) };
    let options = GetOptions::new().peek(true).allow_stale(true);
    let Some(hit) = in_time("a get", engine.get_with(key, options)).await? else { return Ok(None) };
    Ok(Some(Held { seen, id: hit.id(), created_at: hit.created_at(), expires_at: hit.expires_at() }))
}

/// Every file of the cache with its bytes, but for the lock.
async fn files(disk: &MemoryBackend) -> Files {
    let mut all = Files::new();
    for dir in [Path::new(DIR).to_owned(), Path::new(DIR).join("segments"), Path::new(DIR).join("objects")] {
        for found in disk.list(&dir).await.unwrap() {
            let Ok(file) = disk.open(&found.path, OpenMode::READ).await else { continue };
            let (read, bytes) = disk.read_at(&file, BytesMut::new(), found.len as usize, 0).await;
            read.unwrap();
            all.insert(found.path, bytes.freeze());
        }
    }
    all.remove(&Path::new(DIR).join("LOCK"));
    all
}

/// A disk that holds these files.
async fn disk_of(files: &Files) -> MemoryBackend {
    let disk = disk();
    for dir in [DIR, "/cache/segments", "/cache/objects"] {
        disk.create_dir(Path::new(dir)).await.unwrap();
    }
    for (path, bytes) in files {
        let file = disk.open(path, OpenMode::CREATE_NEW).await.unwrap();
        disk.write_at(&file, vec![bytes.clone()], 0).await.unwrap();
    }
    disk
}

/// What was done to which file.
struct Damage {
    what: String,
    files: Files,
    /// What is not what it was.
    damaged: Vec<PathBuf>,
    /// A single bit, which a footer tells from the end of a log.
    one_bit: bool,
}

impl Fixture {
    /// The files with one of them changed.
    fn changed(&self, path: &Path, what: &str, change: impl FnOnce(&mut Vec<u8>)) -> Damage {
        let mut files = self.files.clone();
        let mut bytes = files[path].to_vec();
        change(&mut bytes);
        files.insert(path.to_owned(), bytes.into());
        Damage {
            what: format!("{}: {what}", path.display()),
            files,
            damaged: vec![path.to_owned()],
            one_bit: false,
        }
    }

    /// Opens what is left and looks at everything.
    fn check(&self, damage: &Damage) {
        let of_superblock = damage.damaged.iter().any(|path| path.ends_with("CACHE"));
        let last = self.files.keys().filter(|path| is_segment(path)).max().unwrap();
        let at_the_end =
            !damage.one_bit && damage.damaged.iter().any(|path| is_segment(path) && path == last);
        let newest_only = self.sealed && !at_the_end;
        paused().block_on(async {
            let disk = disk_of(&damage.files).await;
            let fail = |wrong: String| -> ! { panic!("{}, {}: {wrong}", self.name, damage.what) };
            let engine = match in_time("an open", open(&disk)).await {
                Ok(engine) => engine,
                Err(Error::Corrupt { .. } | Error::UnsupportedFormat { .. }) if of_superblock => return,
                Err(error) => fail(format!("open: {error}")),
            };
            for n in 0..KEYS as usize {
                match seen(&engine, &key(n as u64)).await {
                    Ok(None) | Err(Error::Corrupt { .. }) => {}
                    Ok(held) if held == self.now[n] => {}
                    Ok(Some(held)) if !newest_only && self.ever[n].contains(&held) => {}
                    Ok(held) => fail(format!("key {n} gave {held:?}, it holds {:?}", self.now[n])),
                    Err(error) => fail(format!("key {n}: {error}")),
                }
            }
            if let Err(wrong) = engine.check_invariants() {
                fail(wrong);
            }
            let options = InsertOptions::new().durability(Durability::Synced);
            let inserted = in_time("an insert", engine.insert_with(&key(0), body(0, 99, 300), options)).await;
            if inserted.is_err()
                || seen(&engine, &key(0)).await.unwrap().map(|s| s.seen.body) != Some(body(0, 99, 300))
            {
                fail(format!("an insert after it: {inserted:?}"));
            }
        });
    }
}

fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "seg")
}

fn fixtures() -> [Fixture; 3] {
    [
        fixture("closed", true, true),
        fixture("closed, without the snapshot", true, false),
        fixture("killed", false, false),
    ]
}

/// How many cases each of the big tests has, and the seed.
fn budget() -> (u64, u64) {
    let seed = from_env("DISK_CACHE_SEED", 1);
    println!("seed {seed}");
    (from_env("DISK_CACHE_DAMAGES", 1_500), seed)
}

#[test]
fn a_flipped_bit_anywhere_gives_no_wrong_byte() {
    let (budget, seed) = budget();
    let fixtures = fixtures();
    // As many in each file: the small ones are all meaning.
    let files: usize = fixtures.iter().map(|f| f.files.len()).sum();
    let (each, mut rng, mut bits) = ((budget / 2 / files as u64).max(1), Rng::new(seed), Vec::new());
    for fixture in &fixtures {
        for (path, bytes) in &fixture.files {
            let all = bytes.len() as u64 * 8;
            // One of each stretch of that many: every bit where there are as many cases as bits.
            let stride = (all / each).max(1);
            for first in (0..all).step_by(stride as usize) {
                bits.push((fixture, path, (first + rng.below(stride)).min(all - 1)));
            }
        }
    }
    on_all_cores(bits.len() as u64, |n| {
        let (fixture, path, bit) = bits[n as usize];
        let flip = |bytes: &mut Vec<u8>| bytes[bit as usize / 8] ^= 1 << (bit % 8);
        let damage = fixture.changed(path, &format!("bit {bit}"), flip);
        fixture.check(&Damage { one_bit: true, ..damage });
    });
    let cases = bits.len() as u64;
    tried(cases, "flipped bits");
}

#[test]
fn a_cut_or_a_damaged_block_anywhere_gives_no_wrong_byte() {
    let (budget, seed) = budget();
    let fixtures = fixtures();
    on_all_cores(budget / 2, |n| {
        let mut rng = Rng::new(seed ^ 0xb10c).fork(n);
        let fixture = &fixtures[rng.below(3) as usize];
        let (path, bytes) = fixture.files.iter().nth(rng.below(fixture.files.len() as u64) as usize).unwrap();
        let len = bytes.len();
        let blocks = len.div_ceil(BLOCK) as u64;
        let (a, b) = (rng.below(blocks) as usize * BLOCK, rng.below(blocks) as usize * BLOCK);
        let size = BLOCK.min(len - a).min(len - b);
        let cut = rng.below(len as u64) as usize;
        let source = bytes.clone();
        let damage = match rng.below(6) {
            0 => fixture.changed(path, &format!("cut at {cut}"), |bytes| bytes.truncate(cut)),
            1 => fixture.changed(path, &format!("block at {a} zeroed"), |bytes| bytes[a..a + size].fill(0)),
            2 => fixture.changed(path, &format!("block at {a} twice, at {b} too"), |bytes| {
                bytes[b..b + size].copy_from_slice(&source[a..a + size]);
            }),
            3 => fixture.changed(path, &format!("blocks at {a} and {b} swapped"), |bytes| {
                bytes[b..b + size].copy_from_slice(&source[a..a + size]);
                bytes[a..a + size].copy_from_slice(&source[b..b + size]);
            }),
            4 => fixture.changed(path, &format!("{cut} bytes of rubbish behind it"), |bytes| {
                let mut more = vec![0; cut];
                rng.fill(&mut more);
                bytes.extend_from_slice(&more);
            }),
            _ => fixture.changed(path, &format!("rubbish from {a} on"), |bytes| rng.fill(&mut bytes[a..])),
        };
        fixture.check(&damage);
    });
    tried(budget / 2, "files cut, zeroed, doubled, swapped or overwritten in part");
}

#[test]
fn a_missing_file_gives_no_older_value() {
    let mut cases = 0;
    for fixture in fixtures() {
        for path in fixture.files.keys() {
            let mut files = fixture.files.clone();
            files.remove(path);
            let what = format!("{} missing", path.display());
            fixture.check(&Damage { what, files, damaged: vec![path.clone()], one_bit: false });
            cases += 1;
        }
    }
    tried(cases, "files missing");
}

#[test]
fn a_file_moved_to_any_other_name_gives_no_wrong_byte() {
    let mut cases = 0;
    for fixture in fixtures() {
        let paths: Vec<_> = fixture.files.keys().cloned().collect();
        let count = paths.iter().filter(|path| is_segment(path)).count();
        let next = Path::new(DIR).join(format!("segments/{:08x}.seg", count + 1));
        let far = Path::new(DIR).join("segments/000000f0.seg");
        assert!(!paths.contains(&next) && !paths.contains(&far));
        for from in &paths {
            for to in paths.iter().chain([&next, &far]) {
                for swap in [false, true] {
                    let mut files = fixture.files.clone();
                    let there = files.insert(to.clone(), files[from].clone());
                    if let (true, Some(there)) = (swap, there) {
                        files.insert(from.clone(), there);
                    }
                    let what = format!("{} as {}, swapped: {swap}", from.display(), to.display());
                    let damaged = if swap { vec![from.clone(), to.clone()] } else { vec![to.clone()] };
                    fixture.check(&Damage { what, files, damaged, one_bit: false });
                    cases += 1;
                }
            }
        }
    }
    tried(cases, "files under the name of another");
}

#[test]
fn a_file_of_another_cache_gives_no_wrong_byte() {
    let mut cases = 0;
    // The other cache has other bodies under the very same keys, at the very same places.
    let (mine, theirs) = (fixtures(), fixtures());
    for (mine, theirs) in mine.iter().zip(&theirs) {
        for (path, bytes) in mine.files.keys().filter_map(|path| Some((path, theirs.files.get(path)?))) {
            let mut files = mine.files.clone();
            files.insert(path.clone(), bytes.clone());
            let what = format!("{} of another cache", path.display());
            let foreign = Damage { what, files, damaged: vec![path.clone()], one_bit: false };
            mine.check(&foreign);
            if is_segment(path) {
                nothing_of(mine, &foreign, path);
            }
            cases += 1;
        }
    }
    tried(cases, "files of another cache");
}

/// What lies in one segment of another cache is not found: without the other segments, nothing is.
fn nothing_of(fixture: &Fixture, foreign: &Damage, path: &Path) {
    let mut files = foreign.files.clone();
    files.retain(|p, _| p == path || !is_segment(p));
    paused().block_on(async {
        let engine = open(&disk_of(&files).await).await.unwrap();
        let entries = engine.stats().entries;
        assert_eq!(entries, 0, "{}: {}", fixture.name, foreign.what);
    });
}

#[test]
fn a_file_of_an_older_time_gives_no_wrong_byte() {
    let mut cases = 0;
    for fixture in fixtures() {
        for (path, bytes) in &fixture.earlier {
            let mut files = fixture.files.clone();
            files.insert(path.clone(), bytes.clone());
            let what = format!("{} as it was before", path.display());
            fixture.check(&Damage { what, files, damaged: vec![path.clone()], one_bit: false });
            cases += 1;
        }
    }
    tried(cases, "files of an older time");
}
