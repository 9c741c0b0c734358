//! What a cache does where the system grants its process no more: files, descriptors, locked memory, memory.
//!
//! A limit is a whole process's: each case runs in a child, which is this program again.

use crate::common::{self, LARGE, SEGMENT, Skip, Verdict, body, get, key};
use cache_testkit::tried;
use disk_cache::{BackendChoice, Builder, ByteSize, DiskCache, Error, InsertOptions};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::{
    env,
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{self, Command, ExitCode},
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// What the child is to do.
const CASE: &str = "LIMITS_CASE";
const BACKEND: &str = "LIMITS_BACKEND";
/// Heads the reason why it cannot.
const SKIPPED: &str = "skipped: ";
/// Longer than any case takes by far.
const PATIENCE: Duration = Duration::from_secs(300);
/// An ordinary user.
const NOBODY: u32 = 65534;

type Case = (&'static str, fn(BackendChoice) -> Verdict);

const CASES: [Case; 4] = [
    ("a_directory_without_permission_is_refused", no_permission),
    ("descriptors_that_run_out_are_told_and_all_works_when_there_are_some", |backend| {
        descriptors(backend);
        Ok(())
    }),
    ("without_locked_memory_an_ordinary_user_opens_or_falls_back", locked_memory),
    ("a_stream_longer_than_the_memory_allowed_goes_through", |backend| {
        memory(backend);
        Ok(())
    }),
];
const BACKENDS: [(&str, BackendChoice); 2] =
    [("tokio", BackendChoice::Tokio), ("io_uring", BackendChoice::IoUring)];

pub(crate) fn main() -> ExitCode {
    if let (Ok(case), Ok(backend)) = (env::var(CASE), env::var(BACKEND)) {
        thread::spawn(|| {
            thread::sleep(PATIENCE);
            println!("it hangs");
            process::abort();
        });
        let (_, run) = CASES.into_iter().find(|(name, _)| *name == case).unwrap();
        let (_, backend) = BACKENDS.into_iter().find(|(name, _)| *name == backend).unwrap();
        if let Err(Skip(reason)) = run(backend) {
            println!("{SKIPPED}{reason}");
        }
        return ExitCode::SUCCESS;
    }
    let trials = BACKENDS.into_iter().flat_map(|(prefix, backend)| {
        CASES.map(|(name, _)| {
            Trial::ignorable_test(format!("{prefix}::{name}"), move || trial(name, prefix, backend))
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// Runs a case in a child, in an empty directory.
fn trial(case: &str, prefix: &str, backend: BackendChoice) -> Result<Completion, Failed> {
    if backend == BackendChoice::IoUring
        && let Some(ended) = common::without_io_uring()
    {
        return ended;
    }
    let base = common::directory();
    let mut child = Command::new(env::current_exe().unwrap());
    child.env(CASE, case).env(BACKEND, prefix).current_dir(base.path());
    let output = child.output().unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        return Err(format!("{}\n{said}{complained}", output.status).into());
    }
    if let Some(reason) = said.lines().find_map(|line| line.strip_prefix(SKIPPED)) {
        return Ok(Completion::ignored_with(reason));
    }
    print!("{said}");
    Ok(Completion::Completed)
}

fn builder(backend: BackendChoice) -> Builder {
    // Below the working directory: an ordinary user may not reach it by its whole name.
    DiskCache::builder("cache")
        .backend(backend)
        .capacity(ByteSize::bytes_of(32 * SEGMENT))
        .segment_size(ByteSize::bytes_of(SEGMENT))
        .min_free_space(ByteSize::default())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Sets both limits of this process.
fn limit(of: libc::__rlimit_resource_t, most: u64) {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: the call reads the limits at the pointer, which is valid for it.
    let done = unsafe { libc::setrlimit(of, &raw const limit) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

/// A figure of this process, in bytes.
fn status(line: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|l| l.strip_prefix(line)).unwrap();
    found.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Root may write it whatever its mode says.
fn no_permission(backend: BackendChoice) -> Verdict {
    become_ordinary()?;
    fs::create_dir("cache").unwrap();
    fs::set_permissions("cache", fs::Permissions::from_mode(0o500)).unwrap();
    let refused = runtime().block_on(builder(backend).open());
    assert!(matches!(refused, Err(Error::Io { .. } | Error::BackendUnavailable { .. })), "{refused:?}");
    fs::set_permissions("cache", fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(fs::read_dir("cache").unwrap().count(), 0, "something was made in it");
    tried(1, "directories without permission");
    Ok(())
}

/// Takes every descriptor there is, and each that is given back, until it is dropped.
struct Taker {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Taker {
    /// Returns once there is none left.
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (none_left, stopped) = (Arc::new(Barrier::new(2)), stop.clone());
        let first = none_left.clone();
        let thread = thread::spawn(move || {
            let (mut taken, mut first) = (Vec::new(), Some(first));
            while !stopped.load(Ordering::Relaxed) {
                match File::open("/dev/null") {
                    Ok(file) => taken.push(file),
                    Err(error) => {
                        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                        if let Some(first) = first.take() {
                            first.wait();
                        }
                        thread::yield_now();
                    }
                }
            }
        });
        none_left.wait();
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn descriptors(backend: BackendChoice) {
    let told = |error: &Error| match error {
        Error::Io { source, .. } => assert_eq!(source.raw_os_error(), Some(libc::EMFILE), "{error}"),
        // Nothing can be unlinked for good either.
        Error::StorageFull { .. } => {}
        other => panic!("{other}"),
    };
    runtime().block_on(async {
        let cache = builder(backend).open().await.unwrap();
        // Room for more files than the cache ever has open, all of it taken by others.
        limit(libc::RLIMIT_NOFILE, 256);
        // Each takes one for good, what the open has left behind too, and nothing is evicted that would give one back.
        let taken = Taker::start();
        let mut refusal = None;
        for n in 4000..4100 {
            refusal = cache.insert(&key(n), body(n, 1, LARGE)).await.err();
            if refusal.is_some() {
                break;
            }
        }
        told(&refusal.expect("an insert without a descriptor is refused"));
        drop(taken);
        // So many that reclaim is at work from here on.
        for n in (0..800).rev() {
            cache.insert(&key(n), body(n, 1, 3000)).await.unwrap();
        }
        // Again and again: what is evicted gives some back, which would do for all that follows.
        let taken = Taker::start();
        let mut refused = 1;
        for n in 1000..1300 {
            let len = if n % 3 == 0 { LARGE } else { 3000 };
            if let Err(error) = cache.insert(&key(n), body(n, 1, len)).await {
                told(&error);
                refused += 1;
            }
            match cache.get(&key(n)).await {
                Ok(None) => {}
                Ok(Some(hit)) => assert_eq!(hit.bytes().await.unwrap(), body(n, 1, len)),
                Err(error) => told(&error),
            }
        }
        let mut served = 0;
        for n in (0..1300).filter(|n| cache.contains(&key(*n))) {
            let len = if n >= 1000 && n % 3 == 0 { LARGE } else { 3000 };
            match cache.get(&key(n)).await {
                Ok(Some(hit)) => assert_eq!(hit.bytes().await.unwrap(), body(n, 1, len)),
                Ok(None) => assert!(!cache.contains(&key(n)), "what is there is served"),
                Err(error) => told(&error),
            }
            served += 1;
        }
        assert!(served > 0, "nothing is there any more");
        let second = DiskCache::builder("second").capacity(ByteSize::mib(8)).backend(backend).open().await;
        assert!(matches!(second, Err(Error::Io { .. } | Error::BackendUnavailable { .. })), "{second:?}");
        drop(taken);
        // The log turns over now: nothing that happened has stopped reclaim.
        for n in 2000..3000 {
            cache.insert(&key(n), body(n, 1, 3000)).await.unwrap();
            assert_eq!(get(&cache, &key(n)).await, Some(body(n, 1, 3000)));
        }
        cache.insert(&key(1), body(1, 2, LARGE)).await.unwrap();
        assert_eq!(get(&cache, &key(1)).await, Some(body(1, 2, LARGE)));
        cache.close().await.unwrap();
        tried(refused, "calls without a descriptor");
    });
}

fn locked_memory(backend: BackendChoice) -> Verdict {
    become_ordinary()?;
    limit(libc::RLIMIT_MEMLOCK, 0);
    runtime().block_on(async {
        let cache = match builder(backend).open().await {
            Err(Error::BackendUnavailable { reason, .. }) if backend == BackendChoice::IoUring => {
                println!("io_uring wants locked memory: {reason}");
                let cache = builder(BackendChoice::Auto).open().await.unwrap();
                assert!(cache.stats().fallback_reason.is_some(), "{:?}", cache.stats());
                cache
            }
            opened => opened.unwrap(),
        };
        for n in 0..100 {
            let len = if n % 10 == 0 { LARGE } else { 3000 };
            cache.insert(&key(n), body(n, 1, len)).await.unwrap();
            assert_eq!(get(&cache, &key(n)).await, Some(body(n, 1, len)));
        }
        tried(1, &format!("caches without locked memory, on {}", cache.stats().backend));
        cache.close().await.unwrap();
    });
    Ok(())
}

/// Gives up being root, who may lock whatever there is.
fn become_ordinary() -> Verdict {
    // SAFETY: takes nothing and gives a number.
    if unsafe { libc::geteuid() } != 0 {
        return Ok(());
    }
    std::os::unix::fs::chown(Path::new("."), Some(NOBODY), Some(NOBODY)).unwrap();
    // SAFETY: numbers, and a list of no groups. Nothing else runs in this process yet.
    let done = unsafe {
        libc::setgroups(0, std::ptr::null()) == 0 && libc::setgid(NOBODY) == 0 && libc::setuid(NOBODY) == 0
    };
    if done { Ok(()) } else { Err(Skip(format!("no ordinary user here: {}", io::Error::last_os_error()))) }
}

fn memory(backend: BackendChoice) {
    const MIB: u64 = 1 << 20;
    const BODIES: u64 = 8;
    runtime().block_on(async {
        let cache = builder(backend)
            .capacity(ByteSize::mib(160))
            .segment_size(ByteSize::mib(1))
            .open()
            .await
            .unwrap();
        // Threads and buffers that come with the first use.
        cache.insert(&key(0), body(0, 1, LARGE)).await.unwrap();
        assert_eq!(get(&cache, &key(0)).await, Some(body(0, 1, LARGE)));
        limit(libc::RLIMIT_DATA, status("VmData:") + 128 * MIB);
        let piece = body(1, 1, 1 << 20);
        for n in 1..=BODIES {
            let mut writer = cache.writer(&key(n), InsertOptions::new()).await.unwrap();
            for _ in 0..48 {
                writer.write(piece.clone()).await.unwrap();
            }
            writer.commit().await.unwrap();
            let mut reader = cache.get(&key(n)).await.unwrap().unwrap().reader();
            let mut len = 0;
            while let Some(part) = reader.next().await.unwrap() {
                len += part.len() as u64;
            }
            assert_eq!(len, 48 * MIB);
        }
        cache.close().await.unwrap();
        tried(BODIES * 48, "MiB streamed with 128 MiB of memory to take");
    });
}
