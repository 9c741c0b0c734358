//! What is there after a restart, clean or not.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::match_wild_err_arm,
    reason = "a test may panic, print its seed and box nothing"
)]

use cache_core::{Cache, Durability, InsertOptions, RecoverySource};
use store_testkit::{body, disk, key, open, peek};

#[tokio::test]
async fn an_insert_is_found_again_before_and_after_a_clean_close() {
    let disk = disk();
    let engine = open(&disk).await;
    for n in 0..20 {
        engine.insert(&key(n), body(n, 1, 700)).await.unwrap();
    }
    for n in 0..20 {
        assert_eq!(peek(&engine, &key(n)).await, Some(body(n, 1, 700)));
    }
    engine.close().await.unwrap();
    let engine = open(&disk).await;
    let report = engine.recovery_report();
    assert_eq!((report.source, report.entries), (RecoverySource::Snapshot, 20));
    for n in 0..20 {
        assert_eq!(peek(&engine, &key(n)).await, Some(body(n, 1, 700)));
    }
    engine.check_invariants().unwrap();
}

#[tokio::test]
async fn what_was_written_survives_a_kill() {
    let disk = disk();
    let engine = open(&disk).await;
    for n in 0..20 {
        let options = InsertOptions::new().durability(Durability::Written);
        engine.insert_with(&key(n), body(n, 1, 700), options).await.unwrap();
    }
    let disk = disk.kill();
    let engine = open(&disk).await;
    let report = engine.recovery_report();
    assert_eq!((report.source, report.entries), (RecoverySource::Log, 20));
    for n in 0..20 {
        assert_eq!(peek(&engine, &key(n)).await, Some(body(n, 1, 700)));
    }
}

#[tokio::test]
async fn a_full_cache_keeps_the_most_recent_within_its_quota() {
    let disk = disk();
    let engine = open(&disk).await;
    for n in 0..2000 {
        engine.insert(&key(n), body(n, 1, 700)).await.unwrap();
        let stats = engine.stats();
        assert!(stats.disk_bytes <= stats.capacity, "{stats:?}");
    }
    let stats = engine.stats();
    assert!(stats.evictions > 0 && stats.entries > 100, "{stats:?}");
    engine.check_invariants().unwrap();
    assert_eq!(peek(&engine, &key(1999)).await, Some(body(1999, 1, 700)));
    assert_eq!(peek(&engine, &key(0)).await, None);
    engine.close().await.unwrap();
    let engine = open(&disk).await;
    assert_eq!(peek(&engine, &key(1999)).await, Some(body(1999, 1, 700)));
}

#[tokio::test]
async fn large_bodies_live_out_of_line_and_survive_a_restart() {
    let disk = disk();
    let engine = open(&disk).await;
    for n in 0..5 {
        engine.insert(&key(n), body(n, 1, 10_000)).await.unwrap();
    }
    assert_eq!(peek(&engine, &key(3)).await, Some(body(3, 1, 10_000)));
    engine.remove(&key(3)).await.unwrap();
    assert_eq!(peek(&engine, &key(3)).await, None);
    engine.flush().await.unwrap();
    let disk = disk.kill();
    let engine = open(&disk).await;
    for n in [0, 1, 2, 4] {
        assert_eq!(peek(&engine, &key(n)).await, Some(body(n, 1, 10_000)));
    }
    assert_eq!(peek(&engine, &key(3)).await, None);
}

#[tokio::test]
async fn a_clear_leaves_nothing_and_gives_the_space_back() {
    let disk = disk();
    let engine = open(&disk).await;
    for n in 0..200 {
        engine.insert(&key(n), body(n, 1, 700)).await.unwrap();
    }
    let before = engine.stats().disk_bytes;
    engine.clear().await.unwrap();
    let stats = engine.stats();
    assert_eq!((stats.entries, stats.live_bytes), (0, 0));
    assert!(stats.disk_bytes < before);
    let engine2 = open(&disk.kill()).await;
    assert_eq!(engine2.stats().entries, 0);
}
