//! Opening and closing the cache as part of a Pingora server.

use crate::DiskCacheStorage;
use async_trait::async_trait;
use disk_cache::{Builder, DiskCache, Error};
use log::{error, info, warn};
use pingora_core::{
    server::ShutdownWatch,
    services::{ServiceReadyNotifier, background::BackgroundService},
};
use std::{sync::OnceLock, time::Duration};

/// How long a failed open waits to be tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Opens a cache when the server starts its services, which is after a daemon forks, and closes it when the server shuts
/// down, so that the next open is fast.
///
/// While the directory is in use by another process, or the disk refuses, the server runs without the cache and the open is
/// tried again every second. So a process that takes over from an older one (`--upgrade`) has the cache as soon as the older one
/// begins to shut down; what that one still serves then goes on without it.
///
/// ```no_run
/// use disk_cache::{ByteSize, DiskCache};
/// use pingora_core::{server::Server, services::background::background_service};
/// use pingora_disk_cache::{DiskCacheService, DiskCacheStorage};
/// use std::sync::OnceLock;
///
/// static STORAGE: OnceLock<DiskCacheStorage> = OnceLock::new();
///
/// let mut server = Server::new(None).unwrap();
/// let builder = DiskCache::builder("/var/cache/proxy").capacity(ByteSize::gib(10));
/// let opened = server.add_service(background_service("disk cache", DiskCacheService::new(&STORAGE, builder)));
/// // let proxy = server.add_service(http_proxy_service(...)); proxy.add_dependency(opened);
/// server.run_forever();
/// ```
#[derive(Clone, Debug)]
pub struct DiskCacheService {
    storage: &'static OnceLock<DiskCacheStorage>,
    builder: Builder,
    make: fn(DiskCache) -> DiskCacheStorage,
}

impl DiskCacheService {
    /// A service that opens a cache and sets `storage`.
    pub fn new(storage: &'static OnceLock<DiskCacheStorage>, builder: Builder) -> Self {
        Self { storage, builder, make: DiskCacheStorage::new }
    }

    /// How the storage is made of the cache, where [`DiskCacheStorage::new`] does not do.
    pub fn made_by(mut self, make: fn(DiskCache) -> DiskCacheStorage) -> Self {
        self.make = make;
        self
    }

    /// Opens the cache, again and again where that may help. Says that it is ready after the first attempt: who depends on it
    /// does not wait for a disk.
    async fn open(&self, ready: ServiceReadyNotifier) -> Option<DiskCache> {
        let mut ready = Some(ready);
        loop {
            match self.builder.clone().open().await {
                Ok(cache) => {
                    info!("the disk cache is open: {:?}", cache.recovery_report());
                    // Before those that depend on it start.
                    let first = self.storage.set((self.make)(cache.clone())).is_ok();
                    drop(ready);
                    if !first {
                        error!("the disk cache's place is taken: one service for each");
                        return None;
                    }
                    return Some(cache);
                }
                Err(again @ (Error::Locked { .. } | Error::Io { .. } | Error::StorageFull { .. })) => {
                    if ready.take().is_some() {
                        warn!("without the disk cache until it opens: {again}");
                    }
                }
                Err(for_good) => {
                    error!("without the disk cache: {for_good}");
                    return None;
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

#[async_trait]
impl BackgroundService for DiskCacheService {
    async fn start_with_ready_notifier(&self, mut shutdown: ShutdownWatch, ready: ServiceReadyNotifier) {
        let cache = tokio::select! {
            cache = self.open(ready) => cache,
            // An open that is dropped leaves the directory as good as it was.
            _ = shutdown.changed() => None,
        };
        let Some(cache) = cache else { return };
        if !*shutdown.borrow() {
            // An error says that the server is gone, which is a shutdown too.
            drop(shutdown.changed().await);
        }
        match cache.close().await {
            Ok(()) => info!("the disk cache is closed"),
            Err(failed) => error!("closing the disk cache: {failed}"),
        }
    }
}
