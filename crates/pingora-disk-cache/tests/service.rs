//! The service that opens the cache and closes it.

use disk_cache::{ByteSize, DiskCache};
use pingora_core::services::{ServiceReadyNotifier, background::BackgroundService as _};
use pingora_disk_cache::{DiskCacheService, DiskCacheStorage};
use std::{path::Path, sync::OnceLock, time::Duration};
use tempfile::tempdir;
use tokio::{
    sync::watch::{Receiver, Sender, channel},
    task::JoinHandle,
};

/// A service under way, as a server runs it.
struct Running {
    storage: &'static OnceLock<DiskCacheStorage>,
    ready: Receiver<bool>,
    shutdown: Sender<bool>,
    task: JoinHandle<()>,
}

fn start(dir: &Path) -> Running {
    let storage: &'static OnceLock<DiskCacheStorage> = Box::leak(Box::default());
    let builder = DiskCache::builder(dir).capacity(ByteSize::mib(64)).min_free_space(ByteSize::mib(0));
    let service = DiskCacheService::new(storage, builder)
        .made_by(|cache| DiskCacheStorage::new(cache).tag_header(None));
    let (shutdown, watch) = channel(false);
    let (notifier, ready) = channel(false);
    let task = tokio::spawn(async move {
        service.start_with_ready_notifier(watch, ServiceReadyNotifier::new(notifier)).await;
    });
    Running { storage, ready, shutdown, task }
}

#[tokio::test]
async fn the_cache_is_there_when_the_service_is_ready_and_closed_when_it_ends() {
    let dir = tempdir().expect("a directory");
    let mut first = start(dir.path());
    first.ready.wait_for(|ready| *ready).await.expect("it is ready");
    let cache = first.storage.get().expect("it was set").cache();
    cache.insert(&"a".into(), "stored".into()).await.expect("an insert");
    first.shutdown.send(true).expect("it runs");
    first.task.await.expect("it ends");
    assert!(matches!(cache.insert(&"b".into(), "late".into()).await, Err(disk_cache::Error::Closed)));
    assert!(dir.path().join("index.snapshot").exists(), "written by a close");

    let mut second = start(dir.path());
    second.ready.wait_for(|ready| *ready).await.expect("it is ready");
    assert!(second.storage.get().expect("it was set").cache().contains(&"a".into()));
}

#[tokio::test]
async fn a_directory_in_use_is_waited_for_and_nobody_waits_for_that() {
    let dir = tempdir().expect("a directory");
    let mut older = start(dir.path());
    older.ready.wait_for(|ready| *ready).await.expect("it is ready");
    let mut newer = start(dir.path());
    newer.ready.wait_for(|ready| *ready).await.expect("it is ready, without the cache");
    assert!(newer.storage.get().is_none());
    older.shutdown.send(true).expect("it runs");
    older.task.await.expect("it ends");
    let opens = async {
        while newer.storage.get().is_none() {
            assert!(!newer.task.is_finished(), "it gave up");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), opens).await.expect("it opens");
    newer.shutdown.send(true).expect("it runs");
    newer.task.await.expect("it ends");
}

#[tokio::test]
async fn a_shutdown_ends_the_wait_for_a_directory_in_use() {
    let dir = tempdir().expect("a directory");
    let mut older = start(dir.path());
    older.ready.wait_for(|ready| *ready).await.expect("it is ready");
    let mut newer = start(dir.path());
    newer.ready.wait_for(|ready| *ready).await.expect("it is ready, without the cache");
    newer.shutdown.send(true).expect("it runs");
    newer.task.await.expect("it ends");
    assert!(newer.storage.get().is_none());
}

#[tokio::test]
async fn a_cache_that_can_never_open_leaves_the_server_without_it() {
    let dir = tempdir().expect("a directory");
    let mut first = start(dir.path());
    first.ready.wait_for(|ready| *ready).await.expect("it is ready");
    first.shutdown.send(true).expect("it runs");
    first.task.await.expect("it ends");
    std::fs::write(dir.path().join("CACHE"), b"no superblock").expect("a write");
    let mut second = start(dir.path());
    second.ready.wait_for(|ready| *ready).await.expect("it is ready, without the cache");
    second.task.await.expect("it ends");
    assert!(second.storage.get().is_none());
}
