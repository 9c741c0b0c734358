//! What the portable backend gives on Linux beyond the suite. Where the build's file system lacks something, the tests that
//! need it are ignored, by name and with the reason.

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(target_os = "linux")]
mod linux {
    use backend_tokio::{DiskFile, TokioBackend};
    use bytes::{Bytes, BytesMut};
    use cache_core::{Advice, BackendKind, DiskBackend, IoCounts, OpenMode, aligned_buf};
    use futures_util::FutureExt;
    use libtest_mimic::Trial;
    use std::{
        fs::{self, File},
        future::Future,
        io,
        os::{
            fd::{FromRawFd, OwnedFd},
            unix::fs::{MetadataExt, PermissionsExt},
        },
        path::Path,
        process::ExitCode,
        sync::{Arc, mpsc},
    };
    use tempfile::TempDir;
    use tokio::runtime::{Builder, Runtime};

    macro_rules! tests {
        ($($name:ident)*) => {
            vec![$(Trial::test(stringify!($name), || { $name(&Rig::new()); Ok(()) }),)*]
        };
    }

    pub(super) fn main() -> ExitCode {
        let arguments = libtest_mimic::Arguments::from_args();
        let mut trials = tests![
            it_calls_itself_tokio_and_counts_no_rings
            a_new_directory_and_its_parents_are_the_owners_alone
            a_new_file_is_the_owners_alone
            a_reservation_takes_room_on_the_disk
            a_write_to_a_full_device_gives_its_errno
            a_read_of_a_directory_gives_its_errno
            a_write_to_a_read_only_handle_gives_its_errno
            a_sync_of_a_pipe_gives_its_errno
            a_read_of_a_pipe_gives_its_errno_and_the_buffer_back
            opening_through_a_file_is_not_a_directory
            a_directory_cannot_be_removed_as_a_file
            list_leaves_out_what_vanishes_meanwhile
            list_gives_names_that_are_no_text
            free_space_is_what_an_ordinary_user_has
            a_lock_is_seen_by_another_backend
            a_dropped_future_detaches_its_operation
            a_file_closes_when_its_last_clone_and_operation_are_gone
            a_busy_pool_delays_operations_and_loses_none
            hints_go_to_a_pool_that_is_gone_without_harm
            advice_that_a_file_does_not_take_is_no_error
            a_file_system_without_such_reads_is_asked_once_per_file
        ];
        trials.extend(needing(
            direct_reason(),
            tests![
                a_direct_file_is_read_to_its_odd_end
                a_direct_file_is_never_read_from_the_page_cache
                a_direct_write_that_is_not_aligned_gives_its_errno
            ],
        ));
        trials.extend(needing(
            nowait_reason(),
            tests![
                cached_bytes_are_read_without_a_thread
                bytes_that_left_the_page_cache_are_not_waited_for
                a_cached_read_across_the_end_is_short
            ],
        ));
        trials.extend(needing(
            memory_reason(),
            tests![
                a_reservation_too_large_is_refused_and_leaves_no_file
                a_reservation_too_large_leaves_the_old_file
            ],
        ));
        libtest_mimic::run(&arguments, trials).exit_code()
    }

    /// Ignores tests for a reason, if there is one.
    fn needing(reason: Option<String>, trials: Vec<Trial>) -> Vec<Trial> {
        let Some(reason) = reason else { return trials };
        trials.into_iter().map(|t| t.with_ignored_flag(true).with_kind(reason.clone())).collect()
    }

    fn direct_reason() -> Option<String> {
        let rig = Rig::new();
        let mode = OpenMode { direct: true, ..OpenMode::CREATE_NEW };
        rig.run(rig.backend.open(&rig.path("probe"), mode))
            .err()
            .map(|e| format!("no direct files here: {e}"))
    }

    fn nowait_reason() -> Option<String> {
        let rig = Rig::new();
        let file = rig.file("probe", &[7; 4096]);
        let read = rig.backend.try_read_cached(&file, &mut BytesMut::new(), 4096, 0).expect("never an error");
        (read == 0).then(|| "this file system does not read without waiting".to_owned())
    }

    /// A reservation beyond what is free is only refused when all that is free has been taken, and meanwhile the whole machine
    /// has a full disk. A file system in memory refuses one beyond its size at once.
    const MEMORY: &str = "/dev/shm";
    const TOO_LARGE: u64 = 1 << 50;

    fn memory_reason() -> Option<String> {
        match rustix::fs::statfs(MEMORY) {
            Ok(of) if of.f_type == libc::TMPFS_MAGIC && (1..TOO_LARGE / 4096).contains(&of.f_blocks) => None,
            Ok(_) => Some(format!("{MEMORY} is no file system in memory with a size")),
            Err(e) => Some(format!("{MEMORY}: {e}")),
        }
    }

    struct Rig {
        backend: TokioBackend,
        runtime: Runtime,
        dir: TempDir,
    }

    impl Rig {
        fn new() -> Self {
            Self::with_threads(16)
        }

        fn in_memory() -> Self {
            Self { dir: tempfile::tempdir_in(MEMORY).expect("a directory for the test"), ..Self::new() }
        }

        fn with_threads(count: usize) -> Self {
            let runtime = Builder::new_multi_thread().worker_threads(2).max_blocking_threads(count).build();
            let runtime = runtime.expect("a runtime");
            Self {
                backend: TokioBackend::new(runtime.handle().clone()),
                runtime,
                dir: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for the test"),
            }
        }

        fn run<T>(&self, future: impl Future<Output = T>) -> T {
            self.runtime.block_on(future)
        }

        fn path(&self, name: &str) -> std::path::PathBuf {
            self.dir.path().join(name)
        }

        fn file(&self, name: &str, bytes: &[u8]) -> Arc<DiskFile> {
            fs::write(self.path(name), bytes).expect("written");
            self.run(self.backend.open(&self.path(name), OpenMode::WRITE)).expect("opened")
        }

        fn read(&self, file: &Arc<DiskFile>, len: usize) -> io::Result<BytesMut> {
            let (read, buf) = self.run(self.backend.read_at(file, BytesMut::new(), len, 0));
            read.map(|_| buf)
        }

        /// What the page cache has of a short file. A page may be busy for a moment, so it is asked more than once.
        fn cached(&self, file: &Arc<DiskFile>, len: usize, offset: u64) -> BytesMut {
            let ask = |_| {
                let mut buf = BytesMut::from(&b"head"[..]);
                let read = self.backend.try_read_cached(file, &mut buf, len, offset).expect("read");
                assert!(buf.starts_with(b"head") && buf.len() == 4 + read);
                buf.split_off(4)
            };
            (0..100).map(ask).max_by_key(BytesMut::len).unwrap_or_default()
        }

        fn write(&self, file: &Arc<DiskFile>, bytes: &'static [u8], offset: u64) -> io::Result<()> {
            self.run(self.backend.write_at(file, vec![Bytes::from_static(bytes)], offset))
        }
    }

    fn pipe() -> [Arc<DiskFile>; 2] {
        let mut fds = [0; 2];
        // SAFETY: the array has room for both descriptors.
        assert_eq!(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
        // SAFETY: both are open and owned by nobody else.
        fds.map(|fd| Arc::new(DiskFile::new(unsafe { OwnedFd::from_raw_fd(fd) }.into(), false)))
    }

    fn errno<T>(result: io::Result<T>) -> i32 {
        result.map(|_| ()).expect_err("it must fail").raw_os_error().expect("an errno")
    }

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o777
    }

    fn it_calls_itself_tokio_and_counts_no_rings(rig: &Rig) {
        let file = rig.file("file", b"0123456789");
        rig.read(&file, 10).expect("read");
        assert_eq!((rig.backend.kind(), rig.backend.fallback_reason()), (BackendKind::Tokio, None));
        assert_eq!(rig.backend.io_counts(), IoCounts::default());
    }

    fn a_new_directory_and_its_parents_are_the_owners_alone(rig: &Rig) {
        let deep = rig.path("a").join("b");
        rig.run(rig.backend.create_dir(&deep)).expect("made");
        assert_eq!((mode_of(&rig.path("a")), mode_of(&deep)), (0o700, 0o700));
        fs::set_permissions(&deep, fs::Permissions::from_mode(0o755)).expect("set");
        rig.run(rig.backend.create_dir(&deep)).expect("there");
        assert_eq!(mode_of(&deep), 0o755, "what is there stays as it is");
    }

    fn a_new_file_is_the_owners_alone(rig: &Rig) {
        for (name, mode) in
            [("new", OpenMode::CREATE_NEW), ("maybe", OpenMode { create: true, ..OpenMode::READ })]
        {
            rig.run(rig.backend.open(&rig.path(name), mode)).expect("made");
            assert_eq!(mode_of(&rig.path(name)), 0o600);
        }
    }

    fn a_reservation_takes_room_on_the_disk(rig: &Rig) {
        let mode = OpenMode { preallocate: Some(3 << 20), ..OpenMode::CREATE_NEW };
        let file = rig.run(rig.backend.open(&rig.path("file"), mode)).expect("made");
        let metadata = file.as_std().metadata().expect("metadata");
        assert_eq!(metadata.len(), 3 << 20);
        assert!(metadata.blocks() * 512 >= 3 << 20, "{} blocks are no reservation", metadata.blocks());
    }

    fn a_reservation_too_large_is_refused_and_leaves_no_file(_: &Rig) {
        let rig = Rig::in_memory();
        let mode = OpenMode { preallocate: Some(TOO_LARGE), ..OpenMode::CREATE_NEW };
        let refused = rig.run(rig.backend.open(&rig.path("file"), mode)).expect_err("there is no such room");
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull, "{refused}");
        assert_eq!(rig.run(rig.backend.list(rig.dir.path())).expect("listed"), []);
    }

    fn a_reservation_too_large_leaves_the_old_file(_: &Rig) {
        let rig = Rig::in_memory();
        rig.file("file", b"old");
        let mode = OpenMode { preallocate: Some(TOO_LARGE), ..OpenMode::WRITE };
        rig.run(rig.backend.open(&rig.path("file"), mode)).expect_err("there is no such room");
        assert_eq!(fs::read(rig.path("file")).expect("there"), b"old");
    }

    fn a_write_to_a_full_device_gives_its_errno(rig: &Rig) {
        let full = rig.run(rig.backend.open(Path::new("/dev/full"), OpenMode::WRITE)).expect("opened");
        let refused = rig.write(&full, b"lost", 0).expect_err("it is always full");
        assert_eq!(
            (refused.raw_os_error(), refused.kind()),
            (Some(libc::ENOSPC), io::ErrorKind::StorageFull)
        );
    }

    fn a_read_of_a_directory_gives_its_errno(rig: &Rig) {
        let dir = rig.run(rig.backend.open(rig.dir.path(), OpenMode::READ)).expect("a directory opens");
        assert_eq!(errno(rig.read(&dir, 10)), libc::EISDIR);
    }

    fn a_write_to_a_read_only_handle_gives_its_errno(rig: &Rig) {
        rig.file("file", b"kept");
        let file = rig.run(rig.backend.open(&rig.path("file"), OpenMode::READ)).expect("opened");
        assert_eq!(errno(rig.write(&file, b"lost", 0)), libc::EBADF);
    }

    fn a_sync_of_a_pipe_gives_its_errno(rig: &Rig) {
        let [reader, _writer] = pipe();
        assert_eq!(errno(rig.run(rig.backend.sync_data(&reader))), libc::EINVAL);
    }

    fn a_read_of_a_pipe_gives_its_errno_and_the_buffer_back(rig: &Rig) {
        let [reader, _writer] = pipe();
        let (read, buf) = rig.run(rig.backend.read_at(&reader, BytesMut::from(&b"head"[..]), 10, 0));
        assert_eq!((errno(read), &buf[..4]), (libc::ESPIPE, &b"head"[..]));
    }

    fn opening_through_a_file_is_not_a_directory(rig: &Rig) {
        rig.file("file", b"");
        let path = rig.path("file").join("below");
        assert_eq!(errno(rig.run(rig.backend.open(&path, OpenMode::CREATE_NEW))), libc::ENOTDIR);
        assert_eq!(errno(rig.run(rig.backend.sync_dir(&rig.path("file")))), libc::ENOTDIR);
    }

    fn a_directory_cannot_be_removed_as_a_file(rig: &Rig) {
        rig.run(rig.backend.create_dir(&rig.path("below"))).expect("made");
        rig.run(rig.backend.remove(&rig.path("below"))).expect_err("a directory");
        assert!(rig.path("below").is_dir());
    }

    fn list_leaves_out_what_vanishes_meanwhile(rig: &Rig) {
        let (stop, stopped) = mpsc::channel::<()>();
        let path = rig.path("fleeting");
        fs::write(rig.path("lasting"), b"x").expect("written");
        let churn = std::thread::spawn(move || {
            while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                // Empty: blocks freed a moment ago may not be there to be had again.
                File::create(&path).expect("made");
                fs::remove_file(&path).expect("removed");
            }
        });
        for _ in 0..2000 {
            let entries = rig.run(rig.backend.list(rig.dir.path())).expect("no error for a name that went");
            assert!(entries.iter().any(|entry| entry.path == rig.path("lasting") && entry.len == 1));
        }
        drop(stop);
        churn.join().expect("no panic");
    }

    fn list_gives_names_that_are_no_text(rig: &Rig) {
        use std::os::unix::ffi::OsStrExt;
        let path = rig.dir.path().join(std::ffi::OsStr::from_bytes(b"\xff\xfe"));
        fs::write(&path, b"12345").expect("written");
        let entries = rig.run(rig.backend.list(rig.dir.path())).expect("listed");
        assert_eq!(entries, [cache_core::DirEntry { path, len: 5 }]);
    }

    fn free_space_is_what_an_ordinary_user_has(rig: &Rig) {
        let free = rig.run(rig.backend.free_space(rig.dir.path())).expect("told").expect("known");
        let stat = rustix::fs::statvfs(rig.dir.path()).expect("statvfs");
        let (ours, all) = (stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize);
        // Others use the disk meanwhile.
        assert!(free <= all && free.abs_diff(ours) <= all / 20, "{free} of {all}, {ours} just now");
    }

    fn a_lock_is_seen_by_another_backend(rig: &Rig) {
        let file = rig.file("lock", b"");
        let other = TokioBackend::new(rig.runtime.handle().clone());
        let theirs = rig.run(other.open(&rig.path("lock"), OpenMode::WRITE)).expect("opened");
        assert!(rig.run(rig.backend.try_lock(&file)).expect("no error"));
        assert!(!rig.run(other.try_lock(&theirs)).expect("no error"));
        assert!(rig.run(rig.backend.try_lock(&file)).expect("whoever has it may ask again"));
        drop(file);
        assert!(rig.run(other.try_lock(&theirs)).expect("no error"));
    }

    fn a_dropped_future_detaches_its_operation(rig: &Rig) {
        let file = rig.file("file", b"before");
        let started = rig.run(async {
            rig.backend.write_at(&file, vec![Bytes::from_static(b"after!")], 0).now_or_never()
        });
        drop(started);

        let start = std::time::Instant::now();
        while fs::read(rig.path("file")).expect("there") != b"after!" {
            assert!(start.elapsed().as_secs() < 120, "the write never happened");
            std::thread::yield_now();
        }
    }

    fn a_file_closes_when_its_last_clone_and_operation_are_gone(rig: &Rig) {
        let file = rig.file("file", &vec![7; 1 << 16]);
        let weak = Arc::downgrade(&file);
        for _ in 0..16 {
            drop(rig.run(async { rig.backend.read_at(&file, BytesMut::new(), 1 << 16, 0).now_or_never() }));
        }
        drop(file);
        let start = std::time::Instant::now();
        while weak.upgrade().is_some() {
            assert!(start.elapsed().as_secs() < 120, "something keeps the file");
            std::thread::yield_now();
        }
    }

    fn a_busy_pool_delays_operations_and_loses_none(_: &Rig) {
        let rig = Rig::with_threads(1);
        let file = rig.file("file", b"");
        let (release, held) = mpsc::channel::<()>();
        let blocker = rig.runtime.spawn_blocking(move || held.recv());
        let write = |i: u64| {
            let (backend, file) = (rig.backend.clone(), file.clone());
            rig.runtime.spawn(async move {
                backend.write_at(&file, vec![Bytes::from(vec![i as u8; 100])], i * 100).await
            })
        };
        let writes: Vec<_> = (0..100).map(write).collect();
        assert_eq!(fs::metadata(rig.path("file")).expect("there").len(), 0, "the only thread is busy");
        release.send(()).expect("it waits");
        rig.run(blocker).expect("no panic").expect("released");
        for done in writes {
            rig.run(done).expect("no panic").expect("written");
        }
        let all = rig.read(&file, 20_000).expect("read");
        assert!(all.len() == 10_000 && all.chunks(100).zip(0u8..).all(|(block, i)| block == [i; 100]));
    }

    fn hints_go_to_a_pool_that_is_gone_without_harm(_: &Rig) {
        let rig = Rig::new();
        let file = rig.file("file", b"0123456789");
        let Rig { backend, runtime, dir } = rig;
        drop(runtime);
        for advice in [Advice::Random, Advice::DontNeed, Advice::StartWriteback] {
            backend.advise(&file, 0, 10, advice);
        }
        assert_eq!(fs::read(dir.path().join("file")).expect("there"), b"0123456789");
    }

    fn advice_that_a_file_does_not_take_is_no_error(rig: &Rig) {
        let [reader, _writer] = pipe();
        for advice in [Advice::Random, Advice::DontNeed, Advice::StartWriteback] {
            rig.backend.advise(&reader, 0, 10, advice);
            rig.backend.advise(&reader, u64::MAX, u64::MAX, advice);
        }
        let file = rig.file("file", b"0123456789");
        assert_eq!(rig.read(&file, 10).expect("the pool is well"), &b"0123456789"[..]);
    }

    fn a_file_system_without_such_reads_is_asked_once_per_file(rig: &Rig) {
        let status =
            rig.run(rig.backend.open(Path::new("/proc/self/status"), OpenMode::READ)).expect("opened");
        for _ in 0..3 {
            let mut buf = BytesMut::new();
            assert_eq!(rig.backend.try_read_cached(&status, &mut buf, 100, 0).expect("not an error"), 0);
        }
        assert!(rig.read(&status, 5).expect("read").starts_with(b"Name"));
        // What procfs said does not hold for a file elsewhere, where there are such reads.
        if nowait_reason().is_none() {
            let file = rig.file("file", b"0123456789");
            assert_eq!(rig.cached(&file, 10, 0).len(), 10);
        }
    }

    fn direct(rig: &Rig, bytes: &[u8]) -> Arc<DiskFile> {
        fs::write(rig.path("file"), bytes).expect("written");
        let mode = OpenMode { direct: true, ..OpenMode::WRITE };
        rig.run(rig.backend.open(&rig.path("file"), mode)).expect("opened")
    }

    fn a_direct_file_is_read_to_its_odd_end(rig: &Rig) {
        let bytes: Vec<u8> = (0..10_000u32).map(|i| (i % 251) as u8).collect();
        let file = direct(rig, &bytes);
        assert!(file.is_direct());
        let (read, buf) = rig.run(rig.backend.read_at(&file, aligned_buf(16_384, 4096), 16_384, 0));
        assert_eq!(read.expect("read"), 10_000);
        assert!(buf == bytes);
        let mut block = aligned_buf(4096, 4096);
        block.resize(4096, 9);
        rig.run(rig.backend.write_at(&file, vec![block.freeze()], 4096)).expect("written");
        assert_eq!(fs::read(rig.path("file")).expect("there")[4096..8192], [9; 4096]);
    }

    fn a_direct_file_is_never_read_from_the_page_cache(rig: &Rig) {
        let file = direct(rig, &[7; 4096]);
        let mut buf = aligned_buf(4096, 4096);
        assert_eq!(rig.backend.try_read_cached(&file, &mut buf, 4096, 0).expect("no error"), 0);
        assert!(buf.is_empty());
    }

    fn a_direct_write_that_is_not_aligned_gives_its_errno(rig: &Rig) {
        let file = direct(rig, &[7; 4096]);
        assert_eq!(errno(rig.write(&file, b"odd", 1)), libc::EINVAL);
        assert_eq!(fs::read(rig.path("file")).expect("there"), [7; 4096]);
    }

    fn cached_bytes_are_read_without_a_thread(_: &Rig) {
        // The pool's only thread is busy, so an answer can only come from the page cache.
        let rig = Rig::with_threads(1);
        let file = rig.file("file", &[7; 8192]);
        let (release, held) = mpsc::channel::<()>();
        let blocker = rig.runtime.spawn_blocking(move || held.recv());
        assert_eq!(rig.cached(&file, 8192, 0), [7; 8192][..]);
        release.send(()).expect("it waits");
        rig.run(blocker).expect("no panic").expect("released");
    }

    fn bytes_that_left_the_page_cache_are_not_waited_for(rig: &Rig) {
        let file = rig.file("file", &vec![7; 1 << 20]);
        rig.run(rig.backend.sync_data(&file)).expect("synced");
        // What the hint does is up to the kernel, so it is given until it shows, directly.
        rustix::fs::fadvise(
            File::open(rig.path("file")).expect("opened"),
            0,
            None,
            rustix::fs::Advice::DontNeed,
        )
        .expect("advised");
        let mut buf = BytesMut::new();
        let cached = rig.backend.try_read_cached(&file, &mut buf, 1 << 20, 0).expect("never an error");
        assert_eq!(cached, buf.len());
        let (read, buf) = rig.run(rig.backend.read_at(&file, buf, (1 << 20) - cached, cached as u64));
        assert_eq!(read.expect("the rest"), (1 << 20) - cached);
        assert!(buf.len() == 1 << 20 && buf.iter().all(|&byte| byte == 7));
    }

    fn a_cached_read_across_the_end_is_short(rig: &Rig) {
        let file = rig.file("file", b"0123456789");
        assert_eq!(rig.cached(&file, 100, 4), &b"456789"[..]);
        assert!(rig.cached(&file, 100, 10).is_empty());
    }
}
