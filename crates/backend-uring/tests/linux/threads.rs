//! What the ring threads cost and leave behind. One test after another: they look at the whole process.
#![allow(clippy::print_stdout, reason = "the figure is worth a look")]

use crate::common;

use bytes::BytesMut;
use cache_core::DiskBackend;
use common::{Rig, tests, until};
use std::{
    collections::BTreeMap,
    process::ExitCode,
    time::{Duration, Instant},
};

pub(crate) fn main() -> ExitCode {
    let mut arguments = libtest_mimic::Arguments::from_args();
    arguments.test_threads = Some(1);
    let trials = tests![
        ring_threads_have_a_name
        ring_threads_end_with_the_backend
        an_idle_ring_takes_no_processor_time
        opening_and_closing_leaks_no_descriptor
        a_steady_stream_of_requests_delays_none
    ];
    libtest_mimic::run(&arguments, common::needing_io_uring(trials)).exit_code()
}

/// The ring threads there are, and how often each was on a processor.
fn ring_threads() -> BTreeMap<String, u64> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("listed").flatten();
    tasks
        .filter_map(|task| {
            let comm = std::fs::read_to_string(task.path().join("comm")).ok()?;
            // Run time in ns, waiting time, and the count of times it ran.
            let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            let runs = stat.split_whitespace().nth(2)?.parse().ok()?;
            comm.starts_with("disk-cache-ring").then(|| (task.path().display().to_string(), runs))
        })
        .collect()
}

fn ring_threads_have_a_name() {
    let rig = Rig::new(3, 8);
    assert_eq!(ring_threads().len(), 3);
    drop(rig);
    until("the threads have ended", || ring_threads().is_empty());
}

fn ring_threads_end_with_the_backend() {
    let rig = Rig::new(2, 8);
    let file = rig.file(b"0123456789");
    rig.read(&file, 10, 0).expect("read");
    rig.backend.shutdown();
    assert_eq!(ring_threads().len(), 0, "shutdown has waited for them");
    let rig = Rig::new(2, 8);
    drop(rig);
    until("the threads have ended", || ring_threads().is_empty());
}

fn an_idle_ring_takes_no_processor_time() {
    let rig = Rig::new(2, 8);
    let file = rig.file(b"0123456789");
    rig.read(&file, 10, 0).expect("read");
    // Not to wait for anything, but to see that nothing happens meanwhile. The first pause lets what the read left behind
    // settle.
    let quiet = || std::thread::sleep(Duration::from_millis(500));
    quiet();
    let before = ring_threads();
    quiet();
    for (thread, runs) in ring_threads() {
        assert!(runs - before[&thread] <= 2, "{thread} ran {} times", runs - before[&thread]);
    }
}

fn opening_and_closing_leaks_no_descriptor() {
    let descriptors = || std::fs::read_dir("/proc/self/fd").expect("listed").count();
    let open_and_close = || {
        let rig = Rig::new(2, 8);
        let file = rig.file(b"0123456789");
        rig.read(&file, 10, 0).expect("read");
        rig.backend.shutdown();
    };
    open_and_close();
    let before = descriptors();
    for _ in 0..50 {
        open_and_close();
    }
    assert_eq!(descriptors(), before);
    assert_eq!(ring_threads().len(), 0);
}

/// Tokio flushes a ring's queue only before it parks, and it does not park while requests keep waking it. With a stream
/// that never pauses, a request must not wait until the queue is full or the stream ends.
fn a_steady_stream_of_requests_delays_none() {
    let rig = Rig::new(1, 255);
    let file = rig.file(&[7; 4096]);
    let (stream, end) = (Duration::from_millis(500), Instant::now() + Duration::from_millis(500));
    let worst = rig.run(async {
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let (backend, file) = (rig.backend.clone(), file.clone());
                tokio::spawn(async move {
                    let (mut worst, mut buf) = (Duration::ZERO, BytesMut::with_capacity(4096));
                    while Instant::now() < end {
                        let start = Instant::now();
                        buf.clear();
                        let (read, back) = backend.read_at(&file, buf, 4096, 0).await;
                        assert_eq!(read.expect("read"), 4096);
                        (worst, buf) = (worst.max(start.elapsed()), back);
                    }
                    worst
                })
            })
            .collect();
        let mut worst = Duration::ZERO;
        for task in tasks {
            worst = worst.max(task.await.expect("no panic"));
        }
        worst
    });
    let reads = rig.backend.io_counts().ring_reads;
    println!("{reads} reads, the slowest took {worst:?}");
    assert!(reads > 100 && worst < stream, "{reads} reads, the slowest took {worst:?}");
}
