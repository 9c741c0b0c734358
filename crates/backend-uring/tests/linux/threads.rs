//! What the ring threads cost and leave behind. One test after another: they look at the whole process.
#![allow(clippy::print_stdout, reason = "the figure is worth a look")]

use crate::common;

use bytes::BytesMut;
use cache_core::DiskBackend;
use common::{Rig, tests, until};
use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
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
    // It has waited for them; the kernel lists a thread a little longer than it lets others wait.
    until("the threads that shutdown waited for are listed no more", || ring_threads().is_empty());
    let rig = Rig::new(2, 8);
    drop(rig);
    until("the threads have ended", || ring_threads().is_empty());
}

fn an_idle_ring_takes_no_processor_time() {
    let rig = Rig::new(2, 8);
    let file = rig.file(b"0123456789");
    rig.read(&file, 10, 0).expect("read");
    // Not to wait for anything, but to see that nothing happens meanwhile. The first may see what the read left behind settle.
    let is_quiet = |_: &i32| {
        let before = ring_threads();
        std::thread::sleep(Duration::from_millis(500));
        ring_threads().iter().all(|(thread, runs)| before.get(thread) == Some(runs))
    };
    assert!((0..10).find(is_quiet).is_some(), "a ring runs again and again: {:?}", ring_threads());
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
    until("no thread is left", || ring_threads().is_empty());
}

/// Tokio flushes a ring's queue only before it parks, and it does not park while requests keep waking it. With a stream
/// that never pauses, a request must not wait until the queue is full or the stream ends.
fn a_steady_stream_of_requests_delays_none() {
    /// Of all tasks; a request that waits for the end of the stream sees nearly all of them go by.
    const READS: u64 = 200_000;
    let rig = Rig::new(1, 255);
    let file = rig.file(&[7; 4096]);
    let done = Arc::new(AtomicU64::new(0));
    let most = rig.run(async {
        let tasks: Vec<_> = (0..64)
            .map(|_| {
                let (backend, file, done) = (rig.backend.clone(), file.clone(), done.clone());
                tokio::spawn(async move {
                    let (mut most, mut buf) = (0, BytesMut::with_capacity(4096));
                    loop {
                        let begun = done.load(Ordering::Relaxed);
                        if begun >= READS {
                            return most;
                        }
                        buf.clear();
                        let (read, back) = backend.read_at(&file, buf, 4096, 0).await;
                        assert_eq!(read.expect("read"), 4096);
                        // Counted and not timed: a machine that stands still delays nobody.
                        (most, buf) = (most.max(done.fetch_add(1, Ordering::Relaxed) - begun), back);
                    }
                })
            })
            .collect();
        let mut most = 0;
        for task in tasks {
            most = most.max(task.await.expect("no panic"));
        }
        most
    });
    assert!(rig.backend.io_counts().ring_reads >= READS, "{:?}", rig.backend.io_counts());
    println!("{READS} reads, {most} others went by the slowest");
    assert!(most < READS / 2, "{most} others went by the slowest");
}
