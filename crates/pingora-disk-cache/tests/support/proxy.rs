//! The example's proxy on a port of its own, in front of an origin, with a cache in a directory.

use crate::example::caching::CachingProxy;
use disk_cache::{Builder, ByteSize, DiskCache};
use pingora_core::{
    apps::ServerApp as _,
    protocols::{GetSocketDigest as _, SocketDigest, Stream, l4},
    server::configuration::ServerConf,
};
use pingora_disk_cache::DiskCacheStorage;
use pingora_proxy::http_proxy;
use std::{
    net::SocketAddr,
    os::fd::AsRawFd as _,
    path::Path,
    sync::{Arc, OnceLock},
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// Ends with the test; the cache is closed by [`Proxy::close`] only.
pub struct Proxy {
    pub addr: SocketAddr,
    pub storage: &'static DiskCacheStorage,
    accepting: JoinHandle<()>,
}

pub fn builder(dir: &Path) -> Builder {
    DiskCache::builder(dir).capacity(ByteSize::mib(64)).min_free_space(ByteSize::mib(0))
}

/// A storage that lives on, as Pingora wants it.
pub async fn storage(builder: Builder) -> &'static DiskCacheStorage {
    Box::leak(Box::new(DiskCacheStorage::new(builder.open().await.expect("it opens"))))
}

impl Proxy {
    /// In front of `origin`, with the cache in `dir`.
    pub async fn start(dir: &Path, origin: SocketAddr) -> Self {
        Self::with(builder(dir), origin).await
    }

    pub async fn with(cache: Builder, origin: SocketAddr) -> Self {
        let storage: &'static OnceLock<DiskCacheStorage> = Box::leak(Box::default());
        storage.set(DiskCacheStorage::new(cache.open().await.expect("it opens"))).expect("set once");
        let app = Arc::new(http_proxy(&Arc::new(ServerConf::default()), CachingProxy::new(origin, storage)));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let accepting = tokio::spawn(async move {
            let (_running, shutdown) = watch::channel(false);
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
                let mut stream = l4::stream::Stream::from(stream);
                stream.set_socket_digest(digest);
                let (app, shutdown) = (app.clone(), shutdown.clone());
                tokio::spawn(async move {
                    let mut next: Option<Stream> = Some(Box::new(stream));
                    while let Some(stream) = next {
                        next = app.process_new(stream, &shutdown).await;
                    }
                });
            }
        });
        Self { addr, storage: storage.get().expect("it was set"), accepting }
    }

    /// As a server that shuts down in order.
    pub async fn close(self) {
        self.storage.cache().close().await.expect("it closes");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
