//! What a service does without a cache library: a file for each entry with `tokio::fs`, written beside its name and renamed.

use crate::{
    Result,
    client::Client,
    store::{Opened, Peer, Store},
};
use bytes::Bytes;
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Files in 256 folders. Nothing bounds them, nothing is verified, and nothing is synced before the end.
#[derive(Debug)]
pub struct NaiveFiles;

impl Peer for NaiveFiles {
    fn name(&self) -> &'static str {
        "tokio::fs files"
    }

    fn is_bounded(&self) -> bool {
        false
    }

    fn open(&self, _client: &Client, dir: &Path, _capacity: u64, _body: usize) -> Result<Box<dyn Opened>> {
        for folder in 0..=u8::MAX {
            std::fs::create_dir_all(dir.join(format!("{folder:02x}")))?;
        }
        Ok(Box::new(Files { dir: dir.into(), written: Arc::default() }))
    }
}

/// Waits until all that the file system of `dir` was given is on stable storage: for caches that have no sync of their own, so
/// that their inserts end where ours do.
///
/// # Errors
/// Those of the device.
pub async fn sync_all(dir: &Path) -> Result<()> {
    let dir = std::fs::File::open(dir)?;
    Ok(tokio::task::spawn_blocking(move || rustix::fs::syncfs(dir)).await??)
}

#[derive(Clone, Debug)]
struct Files {
    dir: Arc<Path>,
    written: Arc<AtomicU64>,
}

impl Files {
    fn path(&self, name: &str) -> PathBuf {
        let folder = name.bytes().fold(0u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
        self.dir.join(format!("{folder:02x}/{}", name.replace('/', "-")))
    }
}

impl Store for Files {
    async fn get(&self, name: &str) -> Result<Option<Bytes>> {
        match tokio::fs::read(self.path(name)).await {
            Ok(body) => Ok(Some(body.into())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    async fn insert(&self, name: &str, body: Bytes) -> Result<()> {
        let temporary = self.dir.join(format!("{}.tmp", self.written.fetch_add(1, Ordering::Relaxed)));
        tokio::fs::write(&temporary, body).await?;
        Ok(tokio::fs::rename(&temporary, self.path(name)).await?)
    }

    async fn settle(&self) -> Result<()> {
        sync_all(&self.dir).await
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
