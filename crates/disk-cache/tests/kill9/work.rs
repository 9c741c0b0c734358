//! What the killed process does: operations drawn at random, each told to the parent when it begins and when it is done.

use bytes::Bytes;
use cache_testkit::Rng;
use disk_cache::{
    BackendChoice, ByteSize, CacheKey, DiskCache, Durability, Error, Expiry, InsertOptions, PurgeScope,
};
use std::{io::Write, path::Path, time::Duration};

pub(crate) const KEYS: u64 = 10;
pub(crate) const CAPACITY: u64 = 2 << 20;
/// Heads the lines that are meant for the parent.
pub(crate) const PREFIX: &str = "kill9 ";
/// Longer than any operation on any machine takes.
const FOREVER: Duration = Duration::from_secs(60);

/// What the child does, and how it says so in one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Insert { key: u64, len: usize, level: Durability },
    Remove { key: u64, level: Durability },
    Meta { key: u64 },
    Purge { namespace: u64 },
    Flush,
}

impl Verb {
    fn random(rng: &mut Rng) -> Self {
        let key = rng.below(KEYS);
        let level = [Durability::Buffered, Durability::Written, Durability::Synced][rng.below(3) as usize];
        match rng.below(20) {
            0..=11 => Self::Insert { key, len: rng.below(1500) as usize, level },
            12..=13 => Self::Insert { key, len: 2100 + rng.below(6000) as usize, level },
            14..=15 => Self::Remove { key, level },
            16..=17 => Self::Meta { key },
            18 => Self::Purge { namespace: rng.below(2) },
            _ => Self::Flush,
        }
    }

    fn say(self) -> String {
        let number = |level| level as u8;
        match self {
            Self::Insert { key, len, level } => format!("insert {key} {len} {}", number(level)),
            Self::Remove { key, level } => format!("remove {key} {}", number(level)),
            Self::Meta { key } => format!("meta {key}"),
            Self::Purge { namespace } => format!("purge {namespace}"),
            Self::Flush => "flush".to_owned(),
        }
    }

    pub(crate) fn hear(words: &[&str]) -> Option<Self> {
        let number = |n: usize| words.get(n).and_then(|w| w.parse::<u64>().ok());
        let level = |n| match number(n)? {
            0 => Some(Durability::Buffered),
            1 => Some(Durability::Written),
            _ => Some(Durability::Synced),
        };
        Some(match *words.first()? {
            "insert" => Self::Insert { key: number(1)?, len: number(2)? as usize, level: level(3)? },
            "remove" => Self::Remove { key: number(1)?, level: level(2)? },
            "meta" => Self::Meta { key: number(1)? },
            "purge" => Self::Purge { namespace: number(1)? },
            "flush" => Self::Flush,
            _ => return None,
        })
    }
}

pub(crate) fn key(n: u64) -> CacheKey {
    CacheKey::new(namespace(n % 2), format!("path-{n}"))
}

pub(crate) fn namespace(n: u64) -> String {
    format!("namespace-{n}")
}

pub(crate) fn meta(serial: u64) -> Bytes {
    format!("meta {serial}").into()
}

/// Every eight bytes tell the operation that stored them.
pub(crate) fn body(serial: u64, len: usize) -> Bytes {
    serial.to_le_bytes().iter().copied().cycle().take(len).collect::<Vec<_>>().into()
}

pub(crate) async fn open(dir: &Path, backend: BackendChoice) -> Result<DiskCache, Error> {
    DiskCache::builder(dir)
        .capacity(ByteSize::bytes_of(CAPACITY))
        .segment_size(ByteSize::kib(16))
        .write_buffer(ByteSize::kib(64))
        .min_free_space(ByteSize::bytes_of(0))
        .flush_interval(Duration::from_millis(2))
        .max_write_amplification(100.0)
        .backend(backend)
        .open()
        .await
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// One write of one line: nothing of it is left in this process.
fn tell(line: &str) {
    std::io::stdout().lock().write_all(format!("{PREFIX}{line}\n").as_bytes()).unwrap();
}

/// The child: works until it is killed.
pub(crate) fn child(dir: &Path) -> ! {
    let number = |name| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let (mut rng, first) = (Rng::new(number("DISK_CACHE_KILL9_SEED")), number("DISK_CACHE_KILL9_SERIAL"));
    runtime().block_on(async {
        tell("opening");
        let cache = open(dir, choice(&std::env::var("DISK_CACHE_BACKEND").unwrap())).await.unwrap();
        tell("opened");
        for serial in first.. {
            let verb = Verb::random(&mut rng);
            tell(&format!("begin {serial} {}", verb.say()));
            let Ok(did) = tokio::time::timeout(FOREVER, perform(&cache, serial, verb)).await else {
                panic!("{verb:?} waits for ever: {:?}", cache.stats());
            };
            tell(&format!("done {serial} {did}"));
            let stats = cache.stats();
            if stats.evictions + stats.early_evictions > 0 {
                tell("evicted");
            }
        }
    });
    unreachable!("serials do not end")
}

/// Whether it did something.
async fn perform(cache: &DiskCache, serial: u64, verb: Verb) -> bool {
    match verb {
        Verb::Insert { key: n, len, level } => {
            let options = InsertOptions::new().meta(meta(serial)).durability(level);
            cache.insert_with(&key(n), body(serial, len), options).await.unwrap();
        }
        Verb::Remove { key: n, level } => {
            cache.remove_with(&key(n), level).await.unwrap();
        }
        Verb::Meta { key: n } => {
            return cache.update_meta(&key(n), meta(serial), Expiry::Never).await.unwrap();
        }
        Verb::Purge { namespace: n } => {
            cache.purge(PurgeScope::Namespace(namespace(n).into())).await.unwrap();
        }
        Verb::Flush => cache.flush().await.unwrap(),
    }
    true
}

pub(crate) fn name(backend: BackendChoice) -> &'static str {
    if backend == BackendChoice::IoUring { "io-uring" } else { "tokio" }
}

pub(crate) fn choice(name: &str) -> BackendChoice {
    if name == "io-uring" { BackendChoice::IoUring } else { BackendChoice::Tokio }
}
