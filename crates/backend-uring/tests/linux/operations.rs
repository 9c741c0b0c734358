//! What reads, writes and syncs on rings do beyond the suite.

use crate::common;

use backend_tokio::DiskFile;
use backend_uring::{UringBackend, UringOptions};
use bytes::{Bytes, BytesMut};
use cache_core::{BackendKind, DiskBackend, OpenMode, aligned_buf};
use common::{Rig, pipe, put, tests, until};
use std::{
    fs::File,
    io::{self, Read},
    os::fd::AsRawFd,
    path::Path,
    process::ExitCode,
    sync::Arc,
};

pub(crate) fn main() -> ExitCode {
    let arguments = libtest_mimic::Arguments::from_args();
    let trials = tests![
        a_new_backend_runs_on_rings
        counts_tell_what_the_rings_completed
        operations_that_fail_are_not_counted
        page_cache_reads_do_not_touch_the_rings
        a_short_read_is_continued
        the_end_of_a_pipe_ends_a_read
        a_short_write_is_continued
        a_read_keeps_what_the_buffer_held_when_it_fails
        a_read_of_a_directory_gives_its_errno
        a_write_to_a_read_only_handle_gives_its_errno
        a_write_to_a_full_device_gives_its_errno
        a_sync_of_a_pipe_gives_its_errno
        forty_mebibytes_come_back
        a_direct_file_is_read_to_its_odd_end
        one_file_is_written_by_four_rings_at_once
        the_probe_leaves_nothing_behind
        a_missing_directory_fails_the_probe_by_its_name
        a_file_as_the_directory_fails_the_probe
        options_out_of_range_are_made_to_fit
    ];
    libtest_mimic::run(&arguments, common::needing_io_uring(trials)).exit_code()
}

fn a_new_backend_runs_on_rings() {
    let rig = Rig::new(3, 8);
    assert_eq!((rig.backend.kind(), rig.backend.fallback_reason()), (BackendKind::IoUring, None));
    assert_eq!(rig.backend.io_counts().rings, 3);
}

fn counts_tell_what_the_rings_completed() {
    let rig = Rig::new(2, 8);
    let file = rig.file(b"0123456789");
    for _ in 0..5 {
        rig.read(&file, 10, 0).expect("read");
    }
    for _ in 0..3 {
        rig.run(rig.backend.write_at(&file, vec![Bytes::from_static(b"x")], 0)).expect("written");
    }
    rig.run(rig.backend.sync_data(&file)).expect("synced");
    rig.run(rig.backend.len(&file)).expect("not on a ring");
    let counts = rig.backend.io_counts();
    assert_eq!((counts.ring_reads, counts.ring_writes, counts.ring_syncs), (5, 3, 1));
    rig.backend.shutdown();
    rig.read(&file, 10, 0).expect("read elsewhere");
    let counts = rig.backend.io_counts();
    assert_eq!((counts.rings, counts.ring_reads), (0, 5), "what was counted stays");
}

fn operations_that_fail_are_not_counted() {
    let rig = Rig::new(1, 8);
    let file = rig.run(rig.backend.open(rig.dir.path(), OpenMode::READ)).expect("a directory opens");
    rig.read(&file, 10, 0).expect_err("a directory");
    rig.run(rig.backend.write_at(&file, vec![Bytes::from_static(b"x")], 0)).expect_err("a directory");
    let counts = rig.backend.io_counts();
    assert_eq!((counts.ring_reads, counts.ring_writes), (0, 0));
}

fn page_cache_reads_do_not_touch_the_rings() {
    let rig = Rig::new(1, 8);
    let file = rig.file(b"0123456789");
    // A page may be busy for a moment.
    until("the page cache has it", || {
        let mut buf = BytesMut::new();
        let read = rig.backend.try_read_cached(&file, &mut buf, 10, 0).expect("read");
        assert_eq!(buf, b"0123456789"[..read]);
        read == 10
    });
    assert_eq!(rig.backend.io_counts().ring_reads, 0);
}

fn a_short_read_is_continued() {
    // Pieces that were put in one after another, without a look at whether they were taken, were there in one: a read that
    // stopped half way was taken for whole, and nobody noticed.
    let rig = Rig::new(1, 8);
    let (reader, writer) = pipe();
    let reading = rig.reading(&reader, 10);
    for piece in [&b"012"[..], b"3456"] {
        put(&writer, piece);
        until("the piece is taken", || waiting_in(&writer) == 0);
    }
    put(&writer, b"789 and more");
    let read = rig.run(reading).expect("no panic").expect("read");
    assert_eq!(read, &b"0123456789"[..]);
    assert_eq!(rig.read(&reader, 9, 0).expect("the rest"), &b" and more"[..]);
}

/// Bytes in a pipe that nobody has read.
fn waiting_in(pipe: &File) -> i32 {
    let mut bytes = 0;
    // SAFETY: the call writes one number to the pointer, which is valid for it.
    assert_eq!(unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut bytes) }, 0);
    bytes
}

fn the_end_of_a_pipe_ends_a_read() {
    let rig = Rig::new(1, 8);
    let (reader, writer) = pipe();
    let reading = rig.reading(&reader, 10);
    put(&writer, b"0123");
    drop(writer);
    assert_eq!(rig.run(reading).expect("no panic").expect("read"), &b"0123"[..]);
}

fn a_short_write_is_continued() {
    let rig = Rig::new(1, 8);
    let (reader, writer) = pipe();
    let bytes: Vec<u8> = (0..1_000_003u32).map(|i| (i % 251) as u8).collect();
    let expected = bytes.clone();
    let drained = std::thread::spawn(move || {
        let mut all = Vec::new();
        reader.as_std().try_clone().expect("cloned").read_to_end(&mut all).expect("drained");
        all
    });
    let writer = Arc::new(DiskFile::new(writer, false));
    let bytes = Bytes::from(bytes);
    let bufs = vec![bytes.slice(..10), bytes.slice(10..500_000), bytes.slice(500_000..)];
    rig.run(rig.backend.write_at(&writer, bufs, 0))
        .expect("a pipe holds less, so the write stops and goes on");
    // The ring's task drops its clone a little after the answer.
    drop(writer);
    rig.backend.shutdown();
    assert!(drained.join().expect("no panic") == expected);
}

fn a_read_keeps_what_the_buffer_held_when_it_fails() {
    let rig = Rig::new(1, 8);
    let dir = rig.run(rig.backend.open(rig.dir.path(), OpenMode::READ)).expect("a directory opens");
    let (read, buf) = rig.run(rig.backend.read_at(&dir, BytesMut::from(&b"head"[..]), 100, 0));
    read.expect_err("a directory");
    assert_eq!(&buf[..4], b"head");
}

fn a_read_of_a_directory_gives_its_errno() {
    let rig = Rig::new(1, 8);
    let dir = rig.run(rig.backend.open(rig.dir.path(), OpenMode::READ)).expect("a directory opens");
    assert_eq!(rig.read(&dir, 10, 0).expect_err("a directory").raw_os_error(), Some(libc::EISDIR));
}

fn a_write_to_a_read_only_handle_gives_its_errno() {
    let rig = Rig::new(1, 8);
    let path = rig.dir.path().join("file");
    std::fs::write(&path, b"kept").expect("written");
    let file = rig.run(rig.backend.open(&path, OpenMode::READ)).expect("opened");
    let refused = rig.run(rig.backend.write_at(&file, vec![Bytes::from_static(b"lost")], 0));
    assert_eq!(refused.expect_err("read only").raw_os_error(), Some(libc::EBADF));
    assert_eq!(std::fs::read(&path).expect("read"), b"kept");
}

fn a_write_to_a_full_device_gives_its_errno() {
    let rig = Rig::new(1, 8);
    let full = rig.run(rig.backend.open(Path::new("/dev/full"), OpenMode::WRITE)).expect("opened");
    let refused = rig.run(rig.backend.write_at(&full, vec![Bytes::from_static(b"lost")], 0));
    let refused = refused.expect_err("it is always full");
    assert_eq!((refused.raw_os_error(), refused.kind()), (Some(libc::ENOSPC), io::ErrorKind::StorageFull));
}

fn a_sync_of_a_pipe_gives_its_errno() {
    let rig = Rig::new(1, 8);
    let (reader, _writer) = pipe();
    let refused = rig.run(rig.backend.sync_data(&reader)).expect_err("nothing to sync");
    assert_eq!(refused.raw_os_error(), Some(libc::EINVAL));
}

fn forty_mebibytes_come_back() {
    let rig = Rig::new(2, 8);
    let file = rig.file(b"");
    let bytes: Bytes = (0..40u32 << 18).flat_map(u32::to_le_bytes).collect::<Vec<_>>().into();
    rig.run(rig.backend.write_at(&file, vec![bytes.clone()], 0)).expect("written");
    rig.run(rig.backend.sync_data(&file)).expect("synced");
    assert!(rig.read(&file, bytes.len() + 1, 0).expect("read") == bytes);
}

fn a_direct_file_is_read_to_its_odd_end() {
    let rig = Rig::new(1, 8);
    let path = rig.dir.path().join("file");
    let bytes: Vec<u8> = (0..10_000u32).map(|i| (i % 251) as u8).collect();
    std::fs::write(&path, &bytes).expect("written");
    let mode = OpenMode { direct: true, ..OpenMode::WRITE };
    let file = rig.run(rig.backend.open(&path, mode)).expect("this file system has direct files");
    assert!(file.is_direct());
    let (read, buf) = rig.run(rig.backend.read_at(&file, aligned_buf(16_384, 4096), 16_384, 0));
    assert_eq!(read.expect("read"), 10_000);
    assert!(buf == bytes);
    let mut block = aligned_buf(4096, 4096);
    block.resize(4096, 9);
    rig.run(rig.backend.write_at(&file, vec![block.freeze()], 4096)).expect("written");
    assert_eq!(std::fs::read(&path).expect("read")[4096..8192], [9; 4096]);
    assert_eq!(rig.backend.try_read_cached(&file, &mut BytesMut::new(), 4096, 0).expect("no error"), 0);
}

fn one_file_is_written_by_four_rings_at_once() {
    let rig = Rig::new(4, 16);
    let file = rig.file(b"");
    let write = |i: u16| {
        let (backend, file) = (rig.backend.clone(), file.clone());
        let bytes = Bytes::from(i.to_le_bytes().repeat(512));
        rig.runtime.spawn(async move { backend.write_at(&file, vec![bytes], u64::from(i) * 1024).await })
    };
    let writes: Vec<_> = (0..2000).map(write).collect();
    for done in writes {
        rig.run(done).expect("no panic").expect("written");
    }
    let all = rig.read(&file, 2000 * 1024, 0).expect("read");
    for (i, block) in (0u16..).zip(all.chunks(1024)) {
        assert_eq!(block, i.to_le_bytes().repeat(512), "block {i}");
    }
    assert_eq!((all.len(), rig.backend.io_counts().ring_writes), (2000 * 1024, 2000));
}

fn the_probe_leaves_nothing_behind() {
    let rig = Rig::new(2, 8);
    assert_eq!(std::fs::read_dir(rig.dir.path()).expect("listed").count(), 0);
}

fn a_missing_directory_fails_the_probe_by_its_name() {
    let (runtime, dir) = (common::runtime(), common::directory());
    let opened =
        UringBackend::open(runtime.handle().clone(), UringOptions::default(), &dir.path().join("none"));
    let e = opened.expect_err("no directory");
    assert_eq!((e.step, e.source.kind()), (backend_uring::ProbeStep::File, io::ErrorKind::NotFound));
    assert!(e.to_string().contains("making a file"), "{e}");
}

fn a_file_as_the_directory_fails_the_probe() {
    let (runtime, dir) = (common::runtime(), common::directory());
    let path = dir.path().join("file");
    std::fs::write(&path, b"kept").expect("written");
    let opened = UringBackend::open(runtime.handle().clone(), UringOptions::default(), &path);
    let e = opened.expect_err("no directory");
    assert_eq!((e.step, e.source.raw_os_error()), (backend_uring::ProbeStep::File, Some(libc::ENOTDIR)));
    assert_eq!(std::fs::read(&path).expect("read"), b"kept");
}

fn options_out_of_range_are_made_to_fit() {
    let rig = Rig::new(0, 100_000);
    assert_eq!(rig.backend.io_counts().rings, 1);
    let file = rig.file(b"0123456789");
    let reads: Vec<_> = (0..1000).map(|_| rig.reading(&file, 10)).collect();
    for read in reads {
        assert_eq!(rig.run(read).expect("no panic").expect("read"), &b"0123456789"[..]);
    }
    let rig = Rig::new(1, 0);
    let file = rig.file(b"0123456789");
    assert_eq!(rig.read(&file, 10, 0).expect("read"), &b"0123456789"[..]);
}
