//! What handles that bypass the page cache give. A file system without them refuses the open and is asked nothing more.

use super::{file_of, pattern};
use bytes::{Bytes, BytesMut};
use cache_core::{DiskBackend, OpenMode, aligned_buf};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

const BLOCK: usize = 4096;

/// `None`: there are no such files here, and the backend says so.
async fn direct<B: DiskBackend>(b: &B, path: &Path) -> io::Result<Option<B::File>> {
    match b.open(path, OpenMode { direct: true, ..OpenMode::READ }).await {
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(None),
        other => other.map(Some),
    }
}

pub(super) async fn a_direct_file_is_refused_or_read_to_its_odd_end<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let (path, bytes) = (dir.join("file"), pattern(2 * BLOCK + 777, 1));
    file_of(&*b, &path, &bytes).await?;
    let Some(file) = direct(&*b, &path).await? else { return Ok(()) };
    for (blocks, offset) in [(1, 0), (3, 0), (2, BLOCK), (1, 2 * BLOCK), (5, 0), (1, 3 * BLOCK)] {
        let len = blocks * BLOCK;
        let (read, buf) = b.read_at(&file, aligned_buf(len, BLOCK), len, offset as u64).await;
        let expected = &bytes[offset.min(bytes.len())..(offset + len).min(bytes.len())];
        assert_eq!(read?, expected.len(), "{len} bytes at {offset}");
        assert!(buf == expected, "{len} bytes at {offset}");
    }
    Ok(())
}

pub(super) async fn a_direct_file_is_refused_or_gives_what_was_just_written_through_another_handle<
    B: DiskBackend,
>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let path = dir.join("file");
    let writer = file_of(&*b, &path, &[0; 4 * BLOCK]).await?;
    let Some(file) = direct(&*b, &path).await? else { return Ok(()) };
    let mut expected = vec![0; 4 * BLOCK];
    for n in 0..100 {
        // Any place and length, across the blocks' edges, as write buffers have them; nothing is synced.
        let (at, len) = (n * 8 * 13 % (3 * BLOCK), 8 * (n + 1));
        let piece = pattern(len, n as u64);
        expected[at..at + len].copy_from_slice(&piece);
        b.write_at(&writer, vec![piece], at as u64).await?;
        let (read, buf) = b.read_at(&file, aligned_buf(4 * BLOCK, BLOCK), 4 * BLOCK, 0).await;
        assert_eq!(read?, 4 * BLOCK);
        assert!(buf == expected, "after write {n}");
    }
    Ok(())
}

pub(super) async fn a_direct_file_is_refused_or_never_answered_from_the_page_cache<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let path = dir.join("file");
    let writer = b.open(&path, OpenMode::CREATE_NEW).await?;
    b.write_at(&writer, vec![Bytes::from(vec![7; 2 * BLOCK])], 0).await?;
    let Some(file) = direct(&*b, &path).await? else { return Ok(()) };
    let mut buf = BytesMut::new();
    for (len, offset) in [(BLOCK, 0), (2 * BLOCK, 0), (10, 3)] {
        assert_eq!(b.try_read_cached(&file, &mut buf, len, offset)?, 0);
    }
    assert!(buf.is_empty());
    Ok(())
}
