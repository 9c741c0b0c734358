//! A file that is there whole or not at all: written under a temporary name, synced, renamed, directory synced.

use crate::layout::temporary;
use bytes::Bytes;
use cache_core::{DiskBackend, Error, OpenMode, Result};
use std::path::Path;

/// Makes `path` consist of `bytes`, atomically and durably.
///
/// # Errors
/// Those of the device. `path` is then what it was before, or (where only the last sync failed) what it should be.
pub(crate) async fn publish<B: DiskBackend>(backend: &B, path: &Path, bytes: Bytes) -> Result<()> {
    let staged = Staged::create(backend, path).await?;
    staged.write(vec![bytes], 0).await?;
    staged.publish().await
}

/// A file on its way, under its temporary name.
pub(crate) struct Staged<'a, B: DiskBackend> {
    backend: &'a B,
    path: &'a Path,
    file: B::File,
}

impl<'a, B: DiskBackend> Staged<'a, B> {
    pub(crate) async fn create(backend: &'a B, path: &'a Path) -> Result<Self> {
        let temp = temporary(path);
        let io = |e| Error::io("create", &temp, e);
        // One left by a crash would be refused by `create_new`; its bytes are of no use.
        match backend.remove(&temp).await {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io(e)),
            _ => {}
        }
        let file = backend.open(&temp, OpenMode::CREATE_NEW).await.map_err(io)?;
        Ok(Self { backend, path, file })
    }

    pub(crate) async fn write(&self, bufs: Vec<Bytes>, offset: u64) -> Result<()> {
        let io = |e| Error::io("write", temporary(self.path), e);
        self.backend.write_at(&self.file, bufs, offset).await.map_err(io)
    }

    /// Gives the file its name: only after its bytes are on stable storage, otherwise the name could outlive them.
    pub(crate) async fn publish(self) -> Result<()> {
        let temp = temporary(self.path);
        self.backend.sync_data(&self.file).await.map_err(|e| Error::io("sync", &temp, e))?;
        self.backend.rename(&temp, self.path).await.map_err(|e| Error::io("rename", &temp, e))?;
        let dir = self.path.parent().unwrap_or(self.path);
        self.backend.sync_dir(dir).await.map_err(|e| Error::io("sync", dir, e))
    }

    /// Removes what was written.
    pub(crate) async fn abandon(self) -> Result<()> {
        let temp = temporary(self.path);
        self.backend.remove(&temp).await.map_err(|e| Error::io("remove", &temp, e))
    }
}
