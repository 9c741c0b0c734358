//! The runner that the facade's suites share: every case runs over every backend, in an empty directory of its own.
//!
//! A case is an `async fn(Ctx)`; it fails by a panic. Where `io_uring` does not open, each of its cases is reported as
//! ignored, by name and with the reason, never as passed; with `DISK_CACHE_REQUIRE_IO_URING=1` that is a failure. A case that
//! needs what a machine may deny (root, say) returns `Result<(), Skip>` and is ignored in the same way.
#![allow(dead_code, reason = "not every suite uses all of it")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::needless_pass_by_value,
    clippy::items_after_statements,
    clippy::single_match_else,
    clippy::unchecked_time_subtraction,
    reason = "a test fails by a panic, and reads from top to bottom"
)]

use bytes::Bytes;
use disk_cache::{
    BackendChoice, Builder, ByteSize, CacheKey, DiskCache, Durability, Error, GetOptions, Hit, InsertOptions,
    Inserted, ManualClock,
};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::{
    collections::BTreeMap,
    fs,
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    process::ExitCode,
    sync::{Arc, OnceLock},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Why a case cannot run here.
pub(crate) struct Skip(pub(crate) String);

/// What a case came to, short of a panic.
pub(crate) type Verdict = Result<(), Skip>;

/// What a case may return.
pub(crate) trait Ends {
    fn verdict(self) -> Verdict;
}

impl Ends for () {
    fn verdict(self) -> Verdict {
        Ok(())
    }
}

impl Ends for Verdict {
    fn verdict(self) -> Verdict {
        self
    }
}

/// One test; made by [`cases!`](crate::cases).
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(Ctx) -> Pin<Box<dyn Future<Output = Verdict> + Send>>,
}

/// A list of cases of async functions under their own names.
#[macro_export]
macro_rules! cases {
    ($($name:ident)*) => {
        &[$($crate::common::Case {
            name: stringify!($name),
            run: |ctx| Box::pin(async move { $crate::common::Ends::verdict($name(ctx).await) }),
        },)*]
    };
}

/// What a case works with.
#[derive(Clone)]
pub(crate) struct Ctx {
    pub(crate) backend: BackendChoice,
    /// An empty directory; `dir` is a name in it that is not there yet.
    pub(crate) base: PathBuf,
    pub(crate) dir: PathBuf,
    /// Stands at a moment in 2033 until it is moved.
    pub(crate) clock: Arc<ManualClock>,
}

/// Bytes of a segment of [`Ctx::builder`]; bodies over an eighth of it go out of line.
pub(crate) const SEGMENT: u64 = 64 << 10;
/// A body of this length is out of line.
pub(crate) const LARGE: usize = 100_000;

impl Ctx {
    /// A cache of 32 segments of 64 KiB.
    pub(crate) fn builder(&self) -> Builder {
        self.builder_at(&self.dir)
    }

    pub(crate) fn builder_at(&self, dir: &Path) -> Builder {
        DiskCache::builder(dir)
            .backend(self.backend)
            .capacity(ByteSize::bytes_of(32 * SEGMENT))
            .segment_size(ByteSize::bytes_of(SEGMENT))
            .write_buffer(ByteSize::kib(256))
            .min_free_space(ByteSize::default())
            .clock(self.clock.clone())
    }

    pub(crate) async fn open(&self) -> DiskCache {
        self.builder().open().await.unwrap()
    }

    /// What a crash right now would leave: a copy of the directory under another name. Flush first what is to be in it.
    ///
    /// The cache goes on meanwhile, and files copied one after the other may never have been there together. So the copy is
    /// compared when it is done: where no file has changed since, all of it is what was there at that moment.
    pub(crate) fn crash(&self, name: &str) -> Ctx {
        let to = self.base.join(name);
        let begun = Instant::now();
        loop {
            copy_dir(&self.dir, &to);
            if contents(&self.dir) == contents(&to) {
                return Ctx { dir: to, ..self.clone() };
            }
            assert!(begun.elapsed() < PATIENCE, "the directory never stands still");
            fs::remove_dir_all(&to).unwrap();
        }
    }

    /// The backend the other way round, for what two backends share.
    pub(crate) fn with_backend(&self, backend: BackendChoice) -> Ctx {
        Ctx { backend, ..self.clone() }
    }

    pub(crate) fn segment_files(&self) -> Vec<PathBuf> {
        names(&self.dir.join("segments"))
    }

    pub(crate) fn object_files(&self) -> Vec<PathBuf> {
        names(&self.dir.join("objects"))
    }

    pub(crate) fn snapshot(&self) -> PathBuf {
        self.dir.join("index.snapshot")
    }

    pub(crate) fn superblock(&self) -> PathBuf {
        self.dir.join("CACHE")
    }
}

/// A case that takes longer than this hangs, on a slow disk beside other work too.
const PATIENCE: Duration = Duration::from_secs(600);

/// The files of a directory, sorted.
pub(crate) fn names(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    all.sort();
    all
}

pub(crate) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for path in names(from) {
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_dir(&path, &target);
            continue;
        }
        match fs::copy(&path, target) {
            // Renamed or unlinked by the cache meanwhile.
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => panic!("{}: {e}", path.display()),
            _ => {}
        }
    }
}

/// Every file below a directory, by its name from there on, with its bytes; directories have none.
pub(crate) fn contents(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut all = BTreeMap::new();
    for path in names(dir) {
        let name = PathBuf::from(path.file_name().unwrap());
        if path.is_dir() {
            all.extend(contents(&path).into_iter().map(|(below, bytes)| (name.join(below), bytes)));
            all.insert(name, None);
        } else if let Ok(bytes) = fs::read(&path) {
            // Else the cache has unlinked it since it was listed.
            all.insert(name, Some(bytes));
        }
    }
    all
}

/// Inverts one byte of a file.
pub(crate) fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0xff;
    fs::write(path, bytes).unwrap();
}

pub(crate) fn key(n: u64) -> CacheKey {
    CacheKey::new("ns", format!("path-{n}"))
}

/// A body that tells whose it is in every 16 bytes.
pub(crate) fn body(n: u64, version: u64, len: usize) -> Bytes {
    let pattern = [n.to_le_bytes(), version.to_le_bytes()].concat();
    pattern.iter().copied().cycle().take(len).collect::<Vec<u8>>().into()
}

/// The whole body under a key, by a plain get.
pub(crate) async fn get(cache: &DiskCache, key: &CacheKey) -> Option<Bytes> {
    let hit = cache.get(key).await.unwrap()?;
    Some(hit.bytes().await.unwrap())
}

/// The whole body under a key, without counting as a use, stale or not.
pub(crate) async fn peek(cache: &DiskCache, key: &CacheKey) -> Option<Bytes> {
    let hit = find_stale(cache, key).await?;
    Some(hit.bytes().await.unwrap())
}

/// The entry under a key, stale or not, without counting as a use.
pub(crate) async fn find_stale(cache: &DiskCache, key: &CacheKey) -> Option<Hit> {
    cache.get_with(key, GetOptions::new().allow_stale(true).peek(true)).await.unwrap()
}

/// The hit of a key that must be there.
pub(crate) async fn hit(cache: &DiskCache, key: &CacheKey) -> Hit {
    cache.get(key).await.unwrap().expect("a hit")
}

pub(crate) fn synced() -> InsertOptions {
    InsertOptions::new().durability(Durability::Synced)
}

/// The id of an insert that went well.
pub(crate) fn id(inserted: &Inserted) -> disk_cache::EntryId {
    match inserted {
        Inserted::Stored { id, .. } => *id,
        other => panic!("{other:?}"),
    }
}

/// Waits for something that another thread brings about, and that nothing tells of.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE / 4, "still waiting until {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until nobody has the directory open, by waiting for its lock.
pub(crate) async fn unlocked(dir: &Path) {
    let lock = fs::File::open(dir.join("LOCK")).unwrap();
    tokio::task::spawn_blocking(move || lock.lock().unwrap()).await.unwrap();
}

/// Drops what the page cache holds of every file below a directory, where the platform and the file system do that.
pub(crate) fn forget_pages(dir: &Path) {
    for path in names(dir) {
        if path.is_dir() {
            forget_pages(&path);
            continue;
        }
        let file = fs::File::open(path).unwrap();
        file.sync_all().unwrap();
        #[cfg(target_os = "linux")]
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }
}

/// Where the clock of a case stands at first.
pub(crate) fn epoch() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(2_000_000_000)
}

fn context(backend: BackendChoice, base: PathBuf) -> Ctx {
    let clock = Arc::new(ManualClock::new(epoch()));
    Ctx { backend, dir: base.join("cache"), base, clock }
}

/// Why `io_uring` cannot be used here, if so.
pub(crate) fn no_io_uring() -> Option<&'static str> {
    static REASON: OnceLock<Option<String>> = OnceLock::new();
    let probe = || {
        let dir = directory();
        let ctx = context(BackendChoice::IoUring, dir.path().to_owned());
        match ctx.builder().open_blocking() {
            Err(Error::BackendUnavailable { reason, .. }) => Some(reason),
            // Anything else is for the cases to tell.
            _ => None,
        }
    };
    REASON.get_or_init(probe).as_deref()
}

/// What a case that is for `io_uring` comes to where that does not open: ignored, or failed if the run requires it.
pub(crate) fn without_io_uring() -> Option<Result<Completion, Failed>> {
    let reason = no_io_uring()?;
    if std::env::var_os("DISK_CACHE_REQUIRE_IO_URING").is_some_and(|v| v == "1") {
        return Some(Err(format!("io_uring is required and does not open: {reason}").into()));
    }
    Some(Ok(Completion::ignored_with(reason)))
}

/// An empty directory on the file system that the build uses.
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Runs the cases over both backends.
pub(crate) fn main(cases: &'static [Case]) -> ExitCode {
    run(Arguments::from_args(), cases)
}

/// [`main`], with arguments of its own.
pub(crate) fn run(arguments: Arguments, cases: &'static [Case]) -> ExitCode {
    cache_testkit::log_to_file();
    libtest_mimic::run(&arguments, trials(cases)).exit_code()
}

/// The cases over both backends.
pub(crate) fn trials(cases: &'static [Case]) -> Vec<Trial> {
    let both = [("tokio", BackendChoice::Tokio), ("io_uring", BackendChoice::IoUring)];
    let trials = both.into_iter().flat_map(|(prefix, backend)| {
        cases.iter().map(move |case| {
            Trial::ignorable_test(format!("{prefix}::{}", case.name), move || trial(case, backend))
        })
    });
    trials.collect()
}

fn trial(case: &Case, backend: BackendChoice) -> Result<Completion, Failed> {
    if backend == BackendChoice::IoUring
        && let Some(ended) = without_io_uring()
    {
        return ended;
    }
    let base = directory();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let verdict = runtime.block_on(async {
        // As a task, so that what it leaves behind is dropped on a worker and a panic is told.
        let running = tokio::spawn((case.run)(context(backend, base.path().to_owned())));
        tokio::time::timeout(PATIENCE, running).await
    });
    let Ok(verdict) = verdict else {
        // A runtime that hangs cannot be waited for.
        runtime.shutdown_background();
        return Err(format!("still running after {PATIENCE:?}").into());
    };
    match verdict {
        Ok(Ok(())) => Ok(Completion::Completed),
        Ok(Err(Skip(reason))) => Ok(Completion::ignored_with(reason)),
        Err(died) => {
            let panic = died.into_panic();
            let text = panic.downcast_ref::<String>().map(String::as_str);
            Err(text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked").into())
        }
    }
}
