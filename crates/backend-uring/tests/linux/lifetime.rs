//! Who owns what for how long: callers that go, rings that are full, backends that end.

use crate::common;

use bytes::{Bytes, BytesMut};
use cache_core::{BackendKind, DiskBackend};
use common::{Rig, pipe, put, tests, until};
use futures_util::FutureExt;
use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

pub(crate) fn main() -> ExitCode {
    let arguments = libtest_mimic::Arguments::from_args();
    let trials = tests![
        a_dropped_read_keeps_its_file_and_buffer_until_the_kernel_is_done
        a_dropped_write_goes_on
        a_read_whose_caller_is_gone_before_it_starts_is_left_out
        no_more_than_the_depth_is_in_flight
        a_ring_that_is_full_does_not_hold_up_the_other
        a_caller_that_gives_up_waiting_takes_no_place
        shutdown_waits_for_what_is_in_flight
        after_shutdown_the_portable_backend_answers
        shutdown_may_be_called_twice_and_at_once
        dropping_the_backend_in_async_code_waits_for_nothing
        a_dropped_backend_still_finishes_what_is_in_flight
        what_waits_for_a_place_at_shutdown_is_done_elsewhere
    ];
    libtest_mimic::run(&arguments, common::needing_io_uring(trials)).exit_code()
}

fn a_dropped_read_keeps_its_file_and_buffer_until_the_kernel_is_done() {
    let rig = Rig::new(1, 8);
    let (reader, writer) = pipe();
    let weak = Arc::downgrade(&reader);
    let reading = rig.run(async {
        rig.backend.read_at(&reader, BytesMut::with_capacity(1 << 16), 1 << 16, 0).now_or_never()
    });
    assert!(reading.is_none(), "the pipe is empty");
    // Its read is on the ring once a later request has been answered: the channel keeps their order. But the caller is
    // gone already, so it may have been left out instead.
    let file = rig.file(b"later");
    rig.read(&file, 5, 0).expect("read");
    drop(reader);
    let taken = vec![0xEEu8; 1 << 16];
    let _unread = std::io::Write::write(&mut &writer, &vec![7; 1 << 15]);
    drop(writer);
    until("the operation has let go of the file", || weak.upgrade().is_none());
    assert!(taken.iter().all(|&byte| byte == 0xEE), "a late read wrote into freed memory");
}

fn a_dropped_write_goes_on() {
    let rig = Rig::new(1, 8);
    let file = rig.file(b"before");
    let bufs = vec![Bytes::from_static(b"after!")];
    drop(rig.run(async { rig.backend.write_at(&file, bufs, 0).now_or_never() }));
    rig.backend.shutdown();
    assert_eq!(rig.read(&file, 10, 0).expect("read"), &b"after!"[..]);
    assert_eq!(rig.backend.io_counts().ring_writes, 1);
}

fn a_read_whose_caller_is_gone_before_it_starts_is_left_out() {
    // One place, taken by a read of an empty pipe: nothing behind it is even handed over.
    let rig = Rig::new(1, 1);
    let (reader, writer) = pipe();
    let mut blocking = Box::pin(rig.backend.read_at(&reader, BytesMut::new(), 1, 0));
    let file = rig.file(b"0123456789");
    // The first look gives it the place.
    rig.run(async { assert!((&mut blocking).now_or_never().is_none()) });
    for _ in 0..100 {
        let gone = rig.run(async { rig.backend.read_at(&file, BytesMut::new(), 10, 0).now_or_never() });
        assert!(gone.is_none());
    }
    put(&writer, b"x");
    assert_eq!(rig.run(blocking).0.expect("read"), 1);
    assert_eq!(rig.read(&file, 10, 0).expect("read").len(), 10);
    assert_eq!(rig.backend.io_counts().ring_reads, 2);
}

fn no_more_than_the_depth_is_in_flight() {
    let rig = Rig::new(1, 3);
    let pipes: Vec<_> = (0..3).map(|_| pipe()).collect();
    let mut blocked: Vec<_> = pipes
        .iter()
        .map(|(reader, _)| Box::pin(rig.backend.read_at(reader, BytesMut::new(), 1, 0)))
        .collect();
    let file = rig.file(b"0123456789");
    let mut waiting = Box::pin(rig.backend.read_at(&file, BytesMut::new(), 10, 0));
    rig.run(async {
        for read in &mut blocked {
            assert!(read.now_or_never().is_none());
        }
        for _ in 0..100 {
            assert!((&mut waiting).now_or_never().is_none(), "there is no fourth place");
            tokio::task::yield_now().await;
        }
        put(&pipes[1].1, b"x");
        assert_eq!(blocked.remove(1).await.0.expect("read"), 1);
        assert_eq!(waiting.await.0.expect("it has a place now"), 10);
        assert!(blocked.iter_mut().all(|read| read.now_or_never().is_none()));
        for (_, writer) in &pipes {
            put(writer, b"x");
        }
    });
}

fn a_ring_that_is_full_does_not_hold_up_the_other() {
    let rig = Rig::new(2, 1);
    let (reader, writer) = pipe();
    let mut blocked = Box::pin(rig.backend.read_at(&reader, BytesMut::new(), 1, 0));
    let file = rig.file(b"0123456789");
    rig.run(async {
        assert!((&mut blocked).now_or_never().is_none());
        for _ in 0..100 {
            assert_eq!(rig.backend.read_at(&file, BytesMut::new(), 10, 0).await.0.expect("read"), 10);
        }
        put(&writer, b"x");
        assert_eq!(blocked.await.0.expect("read"), 1);
    });
}

fn a_caller_that_gives_up_waiting_takes_no_place() {
    let rig = Rig::new(1, 1);
    let (reader, writer) = pipe();
    let file = rig.file(b"0123456789");
    rig.run(async {
        let mut blocked = Box::pin(rig.backend.read_at(&reader, BytesMut::new(), 1, 0));
        assert!((&mut blocked).now_or_never().is_none());
        let mut waiting: Vec<_> =
            (0..10).map(|_| Box::pin(rig.backend.read_at(&file, BytesMut::new(), 10, 0))).collect();
        assert!(waiting.iter_mut().all(|read| read.now_or_never().is_none()));
        drop(waiting);
        put(&writer, b"x");
        assert_eq!(blocked.await.0.expect("read"), 1);
        assert_eq!(rig.backend.read_at(&file, BytesMut::new(), 10, 0).await.0.expect("read"), 10);
    });
    assert_eq!(rig.backend.io_counts().ring_reads, 2);
}

fn shutdown_waits_for_what_is_in_flight() {
    let rig = Rig::new(2, 8);
    let (reader, writer) = pipe();
    let mut blocked = Box::pin(rig.backend.read_at(&reader, BytesMut::new(), 5, 0));
    rig.run(async { assert!((&mut blocked).now_or_never().is_none()) });
    let (backend, over) = (rig.backend.clone(), Arc::new(AtomicBool::new(false)));
    let told = over.clone();
    let ending = std::thread::spawn(move || {
        backend.shutdown();
        told.store(true, Ordering::SeqCst);
    });
    until("the shutdown has begun", || rig.backend.fallback_reason().is_some());
    put(&writer, b"012");
    for _ in 0..1000 {
        std::thread::yield_now();
    }
    assert!(!over.load(Ordering::SeqCst), "two bytes are still to come");
    put(&writer, b"34");
    let (read, buf) = rig.run(blocked);
    assert_eq!((read.expect("it ended as it should"), &buf[..]), (5, &b"01234"[..]));
    ending.join().expect("no panic");
}

fn after_shutdown_the_portable_backend_answers() {
    let rig = Rig::new(2, 8);
    let file = rig.file(b"0123456789");
    rig.backend.shutdown();
    assert_eq!(rig.backend.kind(), BackendKind::Tokio);
    assert_eq!(rig.backend.fallback_reason().as_deref(), Some("the rings were shut down"));
    rig.run(rig.backend.write_at(&file, vec![Bytes::from_static(b"ab")], 0)).expect("written");
    rig.run(rig.backend.sync_data(&file)).expect("synced");
    assert_eq!(rig.read(&file, 10, 0).expect("read"), &b"ab23456789"[..]);
}

fn shutdown_may_be_called_twice_and_at_once() {
    let rig = Rig::new(2, 8);
    let file = rig.file(b"0123456789");
    let reads: Vec<_> = (0..500).map(|_| rig.reading(&file, 10)).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| rig.backend.shutdown());
        }
    });
    rig.backend.shutdown();
    for read in reads {
        assert_eq!(rig.run(read).expect("no panic").expect("on a ring or not"), &b"0123456789"[..]);
    }
}

fn dropping_the_backend_in_async_code_waits_for_nothing() {
    let Rig { backend, runtime, dir } = Rig::new(2, 8);
    let (reader, writer) = pipe();
    runtime.block_on(async {
        assert!(backend.read_at(&reader, BytesMut::new(), 5, 0).now_or_never().is_none());
        // Here it would wait for ever if it waited: the pipe stays empty.
        drop(backend);
    });
    drop((writer, dir));
}

fn a_dropped_backend_still_finishes_what_is_in_flight() {
    let Rig { backend, runtime, dir } = Rig::new(1, 8);
    let path = dir.path().join("file");
    runtime.block_on(async {
        let file = backend.open(&path, cache_core::OpenMode::CREATE_NEW).await.expect("made");
        let weak = Arc::downgrade(&file);
        for i in 0..8u64 {
            drop(backend.write_at(&file, vec![Bytes::from(vec![7; 1 << 20])], i << 20).now_or_never());
        }
        drop((file, backend));
        until("the writes have let go of the file", || weak.upgrade().is_none());
    });
    let bytes = std::fs::read(&path).expect("read");
    assert!(bytes.len() == 8 << 20 && bytes.iter().all(|&byte| byte == 7), "{} bytes", bytes.len());
}

fn what_waits_for_a_place_at_shutdown_is_done_elsewhere() {
    let rig = Rig::new(1, 1);
    let (reader, writer) = pipe();
    let file = rig.file(b"0123456789");
    let mut blocked = Box::pin(rig.backend.read_at(&reader, BytesMut::new(), 1, 0));
    let mut waiting = Box::pin(rig.backend.read_at(&file, BytesMut::from(&b"head:"[..]), 10, 0));
    rig.run(async {
        assert!((&mut blocked).now_or_never().is_none());
        assert!((&mut waiting).now_or_never().is_none());
    });
    let backend = rig.backend.clone();
    let ending = std::thread::spawn(move || backend.shutdown());
    let (read, buf) = rig.run(waiting);
    assert_eq!((read.expect("read elsewhere"), &buf[..]), (10, &b"head:0123456789"[..]));
    put(&writer, b"x");
    assert_eq!(rig.run(blocked).0.expect("read"), 1);
    ending.join().expect("no panic");
}
