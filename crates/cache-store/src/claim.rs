//! Claiming a directory: its lock, then its superblock.
//!
//! **Invariants**: nothing is touched before the lock is held and the superblock is understood; a superblock that is damaged is
//! made anew only where the configuration says so, and the directory is emptied first, the superblock last.

use crate::{
    format::superblock::{Superblock, Unreadable, VERSION},
    io::{self, list, remove},
    layout::Layout,
    publish::publish,
    shared::to_ms,
};
use cache_core::{Clock, Config, DiskBackend, Error, OnDamage, OpenMode, Result};
use std::path::Path;

/// The directory, locked and understood.
pub(crate) struct Claimed<F> {
    pub(crate) layout: Layout,
    pub(crate) lock: F,
    pub(crate) superblock: Superblock,
}

/// A superblock is shorter than this.
const MAX_SUPERBLOCK: u64 = 64 << 10;

/// Locks the directory and reads its superblock, or makes both.
///
/// # Errors
/// [`Error::Locked`], [`Error::UnsupportedFormat`], [`Error::Corrupt`], [`Error::InvalidConfig`], [`Error::Io`].
pub(crate) async fn claim<B: DiskBackend>(
    backend: &B,
    config: &Config,
    clock: &dyn Clock,
) -> Result<Claimed<B::File>> {
    let layout = Layout::new(&config.dir);
    let io = |op, path: &Path| {
        let path = path.to_owned();
        move |e| Error::io(op, path, e)
    };
    backend.create_dir(&layout.dir).await.map_err(io("create directory", &layout.dir))?;
    let mode = OpenMode { create: true, ..OpenMode::WRITE };
    let lock = backend.open(&layout.lock, mode).await.map_err(io("open", &layout.lock))?;
    if !backend.try_lock(&lock).await.map_err(io("lock", &layout.lock))? {
        return Err(Error::Locked { path: layout.lock });
    }
    let read = match io::read_small(backend, &layout.superblock, MAX_SUPERBLOCK).await? {
        Some(bytes) => Superblock::decode(&bytes).map(Some),
        None if in_use(backend, &layout).await? => {
            Err(Unreadable::Damaged("it is missing, but there are segments or large bodies"))
        }
        None => Ok(None),
    };
    let superblock = match read {
        Ok(Some(superblock)) => superblock,
        Ok(None) => create(backend, &layout, config, clock).await?,
        Err(Unreadable::Newer(found)) => {
            return Err(Error::UnsupportedFormat { path: layout.superblock, found, supported: VERSION });
        }
        Err(Unreadable::Damaged(reason)) => {
            if config.on_damage == OnDamage::Refuse {
                let reason = format!("{reason}; open with OnDamage::Recreate to start with an empty cache");
                return Err(Error::Corrupt { path: layout.superblock, reason });
            }
            tracing::warn!(path = %layout.superblock.display(), reason, "starting over with an empty cache");
            wipe(backend, &layout).await?;
            create(backend, &layout, config, clock).await?
        }
    };
    for dir in [&layout.segments, &layout.objects] {
        backend.create_dir(dir).await.map_err(io("create directory", dir))?;
        // Nothing is new in it; but a backend that needs a descriptor for this takes it now, while there are some.
        backend.sync_dir(dir).await.map_err(io("sync", dir))?;
    }
    backend.sync_dir(&layout.dir).await.map_err(io("sync", &layout.dir))?;
    let mut checked = config.clone();
    checked.segment_size = Some(cache_core::ByteSize::bytes_of(superblock.segment_size));
    checked.validate()?;
    Ok(Claimed { layout, lock, superblock })
}

/// Whether there is anything that a superblock should be there for.
async fn in_use<B: DiskBackend>(backend: &B, layout: &Layout) -> Result<bool> {
    for dir in [&layout.segments, &layout.objects] {
        if !list(backend, dir).await?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn create<B: DiskBackend>(
    backend: &B,
    layout: &Layout,
    config: &Config,
    clock: &dyn Clock,
) -> Result<Superblock> {
    let (mut uuid, mut secret) = ([0; 16], [0; 32]);
    let random = |e: getrandom::Error| {
        Error::io("random bytes for", &layout.superblock, std::io::Error::other(e.to_string()))
    };
    getrandom::fill(&mut uuid).map_err(random)?;
    getrandom::fill(&mut secret).map_err(random)?;
    let superblock = Superblock::new(uuid, secret, config.segment_bytes(), to_ms(clock.now()));
    publish(backend, &layout.superblock, superblock.encode().into()).await?;
    // The directory's own name, where this open has made it.
    if let Some(parent) = layout.dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        backend.sync_dir(parent).await.map_err(|e| Error::io("sync", parent, e))?;
    }
    Ok(superblock)
}

/// Removes the cache's own files. The superblock goes last: until then the directory is still the damaged one.
async fn wipe<B: DiskBackend>(backend: &B, layout: &Layout) -> Result<()> {
    for dir in [&layout.segments, &layout.objects] {
        for file in list(backend, dir).await? {
            remove(backend, &file.path).await?;
        }
        match backend.sync_dir(dir).await {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("sync", dir, e)),
            _ => {}
        }
    }
    remove(backend, &layout.snapshot).await?;
    remove(backend, &layout.superblock).await?;
    backend.sync_dir(&layout.dir).await.map_err(|e| Error::io("sync", &layout.dir, e))
}
