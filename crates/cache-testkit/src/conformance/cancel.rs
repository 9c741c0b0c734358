//! What a caller that goes away leaves behind.

use super::{all, file_of, pattern};
use bytes::{Bytes, BytesMut};
use cache_core::{DiskBackend, OpenMode};
use futures_util::FutureExt;
use std::{io, path::PathBuf, sync::Arc};

/// Takes memory of the size that the dropped operations used and marks it, so that a late write into it shows.
fn take_memory(len: usize, count: usize) -> Vec<Vec<u8>> {
    vec![vec![0xEE; len]; count]
}

pub(super) async fn a_dropped_read_future_frees_nothing_under_the_kernel<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    const LEN: usize = 64 << 10;
    let bytes = pattern(LEN, 1);
    let file = file_of(&*b, &dir.join("file"), &bytes).await?;
    for _ in 0..50 {
        for _ in 0..8 {
            // One poll hands the operation over; then its caller is gone.
            drop(b.read_at(&file, BytesMut::with_capacity(LEN), LEN, 0).now_or_never());
        }
        let taken = take_memory(LEN, 8);
        let (read, buf) = b.read_at(&file, BytesMut::new(), LEN, 0).await;
        assert_eq!(read?, LEN);
        assert!(buf == bytes);
        assert!(taken.iter().flatten().all(|&byte| byte == 0xEE), "a late read wrote into freed memory");
    }
    Ok(())
}

pub(super) async fn a_dropped_write_future_frees_nothing_under_the_kernel<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    const LEN: usize = 64 << 10;
    let file = file_of(&*b, &dir.join("file"), &vec![0; LEN]).await?;
    for _ in 0..50 {
        for _ in 0..8 {
            let bufs = vec![Bytes::from(vec![7; LEN / 2]), Bytes::from(vec![7; LEN / 2])];
            drop(b.write_at(&file, bufs, 0).now_or_never());
        }
        let taken = take_memory(LEN / 2, 16);
        let bytes = all(&*b, &file).await?;
        assert!(bytes.iter().all(|byte| [0, 7].contains(byte)), "a late write took freed memory");
        drop(taken);
    }
    // Dropped or not, the file is as long as it was, and later writes count.
    b.write_at(&file, vec![Bytes::from(vec![9; 10])], LEN as u64).await?;
    b.sync_data(&file).await?;
    let bytes = all(&*b, &file).await?;
    assert_eq!((bytes.len(), &bytes[LEN..]), (LEN + 10, &[9; 10][..]));
    Ok(())
}

pub(super) async fn a_dropped_future_of_any_verb_leaves_the_backend_working<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let (path, other) = (dir.join("file"), dir.join("other"));
    let file = file_of(&*b, &path, b"bytes").await?;
    let room = OpenMode { preallocate: Some(1 << 16), ..OpenMode::CREATE_NEW };
    for i in 0..20 {
        drop(b.open(&path, OpenMode::WRITE).now_or_never());
        drop(b.open(&dir.join(format!("new-{i}")), room).now_or_never());
        drop(b.len(&file).now_or_never());
        drop(b.sync_data(&file).now_or_never());
        drop(b.list(&dir).now_or_never());
        drop(b.sync_dir(&dir).now_or_never());
        drop(b.free_space(&dir).now_or_never());
        drop(b.create_dir(&dir.join("below")).now_or_never());
        drop(b.rename(&dir.join(format!("new-{i}")), &other).now_or_never());
        drop(b.remove(&dir.join(format!("new-{i}"))).now_or_never());
    }
    assert_eq!(all(&*b, &file).await?, &b"bytes"[..]);
    let again = file_of(&*b, &dir.join("last"), b"works").await?;
    b.sync_data(&again).await?;
    b.sync_dir(&dir).await?;
    assert!(b.list(&dir).await?.iter().any(|entry| entry.path == dir.join("last") && entry.len == 5));
    Ok(())
}
