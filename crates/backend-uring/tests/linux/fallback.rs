//! What happens when a ring's thread dies. One test after another: they count the warnings of the process.

use crate::common;

use backend_uring::Sabotage;
use bytes::{Bytes, BytesMut};
use cache_core::{BackendKind, DiskBackend};
use common::{Rig, pipe, put, tests, until};
use futures_util::FutureExt;
use std::{
    io::{self, Write as _},
    process::ExitCode,
    sync::{Arc, Mutex},
};

pub(crate) fn main() -> ExitCode {
    let mut arguments = libtest_mimic::Arguments::from_args();
    arguments.test_threads = Some(1);
    tracing_subscriber::fmt().with_ansi(false).with_writer(|| Log).init();
    // The panics here are planted.
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.to_string();
        if !text.contains("planted") {
            drop(writeln!(io::stderr(), "{text}"));
        }
    }));
    let trials = tests![
        a_thread_that_panics_moves_the_backend_to_blocking_threads
        an_operation_that_panics_is_lost_and_moves_the_backend
        the_warning_is_given_once
        what_is_in_flight_on_a_dying_ring_is_still_answered
        what_waits_for_a_place_is_done_elsewhere
        every_request_around_a_death_gets_a_right_answer
        a_death_while_all_verbs_are_busy_loses_no_write
        the_other_rings_finish_what_they_have
        a_broken_backend_shuts_down
        a_healthy_backend_gives_no_warning
    ];
    libtest_mimic::run(&arguments, common::needing_io_uring(trials)).exit_code()
}

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn warnings() -> usize {
    let lines = String::from_utf8_lossy(&LINES.lock().expect("not poisoned")).into_owned();
    lines.lines().filter(|line| line.contains("WARN")).count()
}

fn break_thread(rig: &Rig, ring: usize) {
    let file = rig.file(b"");
    rig.run(rig.backend.sabotage(Sabotage::Thread(ring), &file)).expect("told");
    until("the death is noticed", || rig.backend.fallback_reason().is_some());
}

fn a_thread_that_panics_moves_the_backend_to_blocking_threads() {
    let rig = Rig::new(2, 8);
    let file = rig.file(b"0123456789");
    rig.read(&file, 10, 0).expect("on a ring");
    break_thread(&rig, 1);
    assert_eq!((rig.backend.kind(), rig.backend.io_counts().rings), (BackendKind::Tokio, 0));
    let reason = rig.backend.fallback_reason().expect("a reason");
    assert!(reason.contains("thread 1 panicked: planted"), "{reason}");
    rig.run(rig.backend.write_at(&file, vec![Bytes::from_static(b"ab")], 0)).expect("written");
    rig.run(rig.backend.sync_data(&file)).expect("synced");
    assert_eq!(rig.read(&file, 10, 0).expect("read"), &b"ab23456789"[..]);
    assert_eq!(rig.backend.io_counts().ring_reads, 1);
}

fn an_operation_that_panics_is_lost_and_moves_the_backend() {
    let rig = Rig::new(2, 8);
    let file = rig.file(b"0123456789");
    let lost = rig.run(rig.backend.sabotage(Sabotage::Operation, &file)).expect_err("nobody knows");
    assert!(lost.to_string().contains("unknown"), "{lost}");
    until("the death is noticed", || rig.backend.kind() == BackendKind::Tokio);
    assert!(rig.backend.fallback_reason().is_some_and(|reason| reason.contains("panicked")));
    assert_eq!(rig.read(&file, 10, 0).expect("read"), &b"0123456789"[..]);
}

fn the_warning_is_given_once() {
    let before = warnings();
    let rig = Rig::new(2, 8);
    break_thread(&rig, 0);
    until("the warning is written", || warnings() > before);
    let file = rig.file(b"0123456789");
    for _ in 0..20 {
        rig.run(rig.backend.sabotage(Sabotage::Operation, &file)).expect("no ring does it any more");
        rig.read(&file, 10, 0).expect("read");
    }
    rig.backend.shutdown();
    assert_eq!(warnings(), before + 1);
}

fn what_is_in_flight_on_a_dying_ring_is_still_answered() {
    let rig = Rig::new(1, 8);
    let (reader, writer) = pipe();
    let mut blocked = Box::pin(rig.backend.read_at(&reader, BytesMut::new(), 5, 0));
    rig.run(async { assert!((&mut blocked).now_or_never().is_none()) });
    // A later request has been answered, so the pipe's read is on the ring.
    let file = rig.file(b"0123456789");
    rig.read(&file, 10, 0).expect("read");
    break_thread(&rig, 0);
    put(&writer, b"01");
    put(&writer, b"234");
    let (read, buf) = rig.run(blocked);
    assert_eq!((read.expect("as if nothing had happened"), &buf[..]), (5, &b"01234"[..]));
}

fn what_waits_for_a_place_is_done_elsewhere() {
    let rig = Rig::new(1, 1);
    let (reader, writer) = pipe();
    let file = rig.file(b"0123456789");
    let mut blocked = Box::pin(rig.backend.read_at(&reader, BytesMut::new(), 1, 0));
    let mut waiting = Box::pin(rig.backend.read_at(&file, BytesMut::from(&b"head:"[..]), 10, 0));
    rig.run(async {
        assert!((&mut blocked).now_or_never().is_none());
        assert!((&mut waiting).now_or_never().is_none());
    });
    break_thread(&rig, 0);
    let (read, buf) = rig.run(waiting);
    assert_eq!((read.expect("read elsewhere"), &buf[..]), (10, &b"head:0123456789"[..]));
    put(&writer, b"x");
    assert_eq!(rig.run(blocked).0.expect("read"), 1);
}

fn every_request_around_a_death_gets_a_right_answer() {
    for round in 0..20 {
        let rig = Rig::new(2, 4);
        let file = rig.file(b"0123456789");
        let reads: Vec<_> = (0..200).map(|_| rig.reading(&file, 10)).collect();
        rig.run(rig.backend.sabotage(Sabotage::Thread(round % 2), &file)).expect("told");
        let later: Vec<_> = (0..200).map(|_| rig.reading(&file, 10)).collect();
        for read in reads.into_iter().chain(later) {
            let read = rig.run(read).expect("no panic").expect("on a ring or elsewhere");
            assert_eq!(read, &b"0123456789"[..]);
        }
    }
}

fn a_death_while_all_verbs_are_busy_loses_no_write() {
    for _ in 0..10 {
        let rig = Rig::new(2, 4);
        let file = rig.file(b"");
        let write = |i: u64| {
            let (backend, file) = (rig.backend.clone(), file.clone());
            rig.runtime.spawn(async move {
                backend.write_at(&file, vec![Bytes::from(vec![i as u8 + 1; 512])], i * 512).await?;
                backend.sync_data(&file).await
            })
        };
        let writes: Vec<_> = (0..100).map(write).collect();
        rig.run(rig.backend.sabotage(Sabotage::Thread(0), &file)).expect("told");
        for done in writes {
            rig.run(done).expect("no panic").expect("written and synced");
        }
        let all = rig.read(&file, 100 * 512, 0).expect("read");
        assert!(all.chunks(512).zip(1..).all(|(block, i)| block == [i; 512]) && all.len() == 100 * 512);
    }
}

fn the_other_rings_finish_what_they_have() {
    let rig = Rig::new(2, 1);
    let pipes = [pipe(), pipe()];
    let mut blocked: Vec<_> = pipes
        .iter()
        .map(|(reader, _)| Box::pin(rig.backend.read_at(reader, BytesMut::new(), 1, 0)))
        .collect();
    rig.run(async { assert!(blocked.iter_mut().all(|read| read.now_or_never().is_none())) });
    break_thread(&rig, 0);
    for (_, writer) in &pipes {
        put(writer, b"x");
    }
    for read in blocked {
        // The one whose ring died may not have reached the kernel; then it was done elsewhere.
        assert_eq!(rig.run(read).0.expect("read"), 1);
    }
}

fn a_broken_backend_shuts_down() {
    let rig = Rig::new(2, 8);
    break_thread(&rig, 0);
    let reason = rig.backend.fallback_reason();
    rig.backend.shutdown();
    assert_eq!(rig.backend.fallback_reason(), reason, "the first reason stays");
    let weak = Arc::downgrade(&rig.backend);
    drop(rig);
    assert!(weak.upgrade().is_none());
}

fn a_healthy_backend_gives_no_warning() {
    let before = warnings();
    let rig = Rig::new(2, 8);
    let file = rig.file(b"0123456789");
    rig.read(&file, 10, 0).expect("read");
    rig.backend.shutdown();
    drop(rig);
    assert_eq!(warnings(), before);
}
