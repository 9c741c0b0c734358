//! Ids of segments that run out.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::match_wild_err_arm,
    reason = "a test may panic, print its seed and box nothing"
)]

use cache_core::{DiskBackend, Error, OpenMode, SystemClock};
use cache_store::Engine;
use cache_testkit::MemoryBackend;
use std::{path::Path, sync::Arc};
use store_testkit::{disk, open_with, tiny};
use tokio::runtime::Handle;

async fn refused(disk: &MemoryBackend) -> Error {
    let opened = Engine::open(tiny(32), Arc::new(SystemClock), disk.clone(), Handle::current()).await;
    opened.map(drop).unwrap_err()
}

async fn make(disk: &MemoryBackend, id: u32) {
    let path = format!("/cache/segments/{id:08x}.seg");
    disk.open(Path::new(&path), OpenMode::CREATE_NEW).await.unwrap();
}

#[tokio::test]
async fn a_log_that_has_used_up_its_ids_is_full_and_overwrites_nothing() {
    // The last id was given out again and again, and the segment that had it was removed each time.
    for last in [u32::MAX - 1, u32::MAX] {
        let disk = disk();
        open_with(&disk, tiny(32)).await.close().await.unwrap();
        make(&disk, last).await;
        for _ in 0..2 {
            let error = refused(&disk).await;
            assert!(matches!(&error, Error::StorageFull { reason, .. } if reason.contains("ids")), "{error}");
        }
        let kept = disk.list(Path::new("/cache/segments")).await.unwrap();
        assert_eq!(kept.iter().filter(|f| f.path.ends_with(format!("{last:08x}.seg"))).count(), 1);
    }
}
