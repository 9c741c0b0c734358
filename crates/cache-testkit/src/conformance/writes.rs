//! What a write does.

use super::{all, file_of, pattern, refused};
use bytes::Bytes;
use cache_core::{Advice, DiskBackend, OpenMode};
use std::{io, path::PathBuf, sync::Arc};

pub(super) async fn bufs_are_written_one_after_another<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let file = file_of(&*b, &dir.join("file"), b"0123456789").await?;
    let bufs = vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c"), Bytes::from_static(b"def")];
    b.write_at(&file, bufs, 2).await?;
    assert_eq!(all(&*b, &file).await?, &b"01abcdef89"[..]);
    Ok(())
}

pub(super) async fn empty_buffers_write_nothing<B: DiskBackend>(b: Arc<B>, dir: PathBuf) -> io::Result<()> {
    let file = file_of(&*b, &dir.join("file"), b"").await?;
    b.write_at(&file, vec![], 100).await?;
    b.write_at(&file, vec![Bytes::new(), Bytes::new()], 100).await?;
    assert_eq!(b.len(&file).await?, 0);
    let bufs =
        vec![Bytes::new(), Bytes::from_static(b"x"), Bytes::new(), Bytes::from_static(b"y"), Bytes::new()];
    b.write_at(&file, bufs, 0).await?;
    assert_eq!(all(&*b, &file).await?, &b"xy"[..]);
    Ok(())
}

pub(super) async fn more_than_1024_buffers_are_written<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let file = file_of(&*b, &dir.join("file"), b"").await?;
    let bytes = pattern(9001, 3);
    let bufs = (0..3000).map(|i| bytes.slice(i * 3..i * 3 + 3)).chain([bytes.slice(9000..)]).collect();
    b.write_at(&file, bufs, 7).await?;
    assert!(all(&*b, &file).await?[7..] == bytes);
    Ok(())
}

pub(super) async fn a_large_write_comes_back_whole<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let file = file_of(&*b, &dir.join("file"), b"").await?;
    let bytes = pattern((9 << 20) + 77, 4);
    b.write_at(&file, vec![bytes.slice(..5 << 20), bytes.slice(5 << 20..)], 0).await?;
    assert!(all(&*b, &file).await? == bytes);
    Ok(())
}

pub(super) async fn a_write_past_the_end_leaves_zeros_between<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let file = file_of(&*b, &dir.join("file"), b"front").await?;
    b.write_at(&file, vec![Bytes::from_static(b"back")], 10_000).await?;
    let bytes = all(&*b, &file).await?;
    assert_eq!(bytes.len(), 10_004);
    assert!(bytes.starts_with(b"front") && bytes.ends_with(b"back"));
    assert!(bytes[5..10_000].iter().all(|&byte| byte == 0));
    Ok(())
}

pub(super) async fn a_write_in_the_middle_leaves_the_rest<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let mut expected = pattern(20_000, 5).to_vec();
    let file = file_of(&*b, &dir.join("file"), &expected).await?;
    let patch = pattern(5000, 6);
    b.write_at(&file, vec![patch.clone()], 4097).await?;
    expected[4097..9097].copy_from_slice(&patch);
    assert!(all(&*b, &file).await? == expected);
    Ok(())
}

pub(super) async fn a_read_only_handle_refuses_writes<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let path = dir.join("file");
    file_of(&*b, &path, b"kept").await?;
    let file = b.open(&path, OpenMode::READ).await?;
    refused(b.write_at(&file, vec![Bytes::from_static(b"lost")], 0).await, "a write");
    refused(b.set_len(&file, 1).await, "a cut");
    assert_eq!(all(&*b, &file).await?, &b"kept"[..]);
    Ok(())
}

pub(super) async fn a_sync_takes_in_all_that_was_written<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let file = file_of(&*b, &dir.join("file"), b"").await?;
    b.sync_data(&file).await?;
    for i in 0..5 {
        b.write_at(&file, vec![pattern(10_000, i)], i * 10_000).await?;
        b.sync_data(&file).await?;
    }
    b.sync_dir(&dir).await?;
    assert_eq!(b.len(&file).await?, 50_000);
    Ok(())
}

pub(super) async fn hints_change_nothing<B: DiskBackend>(b: Arc<B>, dir: PathBuf) -> io::Result<()> {
    let bytes = pattern(100_000, 7);
    let file = file_of(&*b, &dir.join("file"), &bytes).await?;
    for advice in [Advice::Random, Advice::StartWriteback, Advice::DontNeed] {
        for (offset, len) in [(0, 100_000), (4096, 8192), (0, 0), (1 << 40, 10), (u64::MAX, u64::MAX)] {
            b.advise(&file, offset, len, advice);
        }
        assert!(all(&*b, &file).await? == bytes, "{advice:?}");
    }
    b.sync_data(&file).await?;
    assert!(all(&*b, &file).await? == bytes);
    Ok(())
}
