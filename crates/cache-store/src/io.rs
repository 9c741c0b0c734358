//! Reading through a backend, the page cache first, and what a directory holds.

use bytes::{Bytes, BytesMut};
use cache_core::{DirEntry, DiskBackend, Error, OpenMode, Result};
use std::{io, path::Path};

/// Appends `len` bytes of a file to `buf`; fewer only at the file's end. Tells whether the page cache had them all.
pub(crate) async fn read<B: DiskBackend>(
    backend: &B,
    file: &B::File,
    mut buf: BytesMut,
    len: usize,
    offset: u64,
    fast: bool,
) -> io::Result<(BytesMut, bool)> {
    let start = buf.len();
    buf.reserve(len);
    let cached = if fast { backend.try_read_cached(file, &mut buf, len, offset).unwrap_or(0) } else { 0 };
    if cached == len {
        return Ok((buf, true));
    }
    buf.truncate(start + cached);
    let (read, buf) = backend.read_at(file, buf, len - cached, offset + cached as u64).await;
    read.map(|_| (buf, false))
}

/// All of a file that is at most `max` bytes long; `None` where there is none of that name.
pub(crate) async fn read_small<B: DiskBackend>(backend: &B, path: &Path, max: u64) -> Result<Option<Bytes>> {
    let io = |e| Error::io("read", path, e);
    let file = match backend.open(path, OpenMode::READ).await {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io(e)),
    };
    let len = backend.len(&file).await.map_err(io)?.min(max);
    let (buf, _) = read(backend, &file, BytesMut::new(), len as usize, 0, false).await.map_err(io)?;
    Ok(Some(buf.freeze()))
}

/// The files of a directory; none where it is missing.
pub(crate) async fn list<B: DiskBackend>(backend: &B, dir: &Path) -> Result<Vec<DirEntry>> {
    match backend.list(dir).await {
        Ok(entries) => Ok(entries),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(Error::io("list", dir, e)),
    }
}

/// Removes a file, if it is there.
pub(crate) async fn remove<B: DiskBackend>(backend: &B, path: &Path) -> Result<()> {
    match backend.remove(path).await {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, e)),
        _ => Ok(()),
    }
}
