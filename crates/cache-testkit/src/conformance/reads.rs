//! What a read gives.

use super::{all, file_of, pattern, refused};
use bytes::{Bytes, BytesMut};
use cache_core::DiskBackend;
use futures_util::future::try_join_all;
use std::{io, path::PathBuf, sync::Arc};

pub(super) async fn a_read_past_the_end_is_short<B: DiskBackend>(b: Arc<B>, dir: PathBuf) -> io::Result<()> {
    let file = file_of(&*b, &dir.join("file"), b"0123456789").await?;
    for (len, offset, expected) in
        [(10, 0, &b"0123456789"[..]), (20, 0, b"0123456789"), (20, 7, b"789"), (5, 10, b""), (5, 5000, b"")]
    {
        let (read, buf) = b.read_at(&file, BytesMut::new(), len, offset).await;
        assert_eq!((read?, &buf[..]), (expected.len(), expected), "{len} bytes at {offset}");
    }
    Ok(())
}

pub(super) async fn a_read_appends_behind_what_the_buffer_holds<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let file = file_of(&*b, &dir.join("file"), b"0123456789").await?;
    let (read, buf) = b.read_at(&file, BytesMut::from(&b"head:"[..]), 3, 4).await;
    assert_eq!((read?, &buf[..]), (3, &b"head:456"[..]));
    let (read, buf) = b.read_at(&file, buf, 100, 8).await;
    assert_eq!((read?, &buf[..]), (2, &b"head:45689"[..]));
    Ok(())
}

pub(super) async fn a_read_of_nothing_reads_nothing<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let file = file_of(&*b, &dir.join("file"), b"0123456789").await?;
    let (read, buf) = b.read_at(&file, BytesMut::from(&b"head"[..]), 0, 3).await;
    assert_eq!((read?, &buf[..]), (0, &b"head"[..]));
    Ok(())
}

pub(super) async fn a_read_uses_the_room_that_is_there<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let bytes = pattern(5000, 1);
    let file = file_of(&*b, &dir.join("file"), &bytes).await?;
    let room = BytesMut::with_capacity(8192);
    let place = room.as_ptr() as usize;
    let (read, buf) = b.read_at(&file, room, 5000, 0).await;
    assert_eq!(read?, 5000);
    assert!(buf == bytes && buf.as_ptr() as usize == place, "the caller's memory holds the bytes");
    Ok(())
}

pub(super) async fn a_page_cache_read_is_the_front_of_what_a_read_gives<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let bytes = pattern(20_000, 2);
    let file = file_of(&*b, &dir.join("file"), &bytes).await?;
    for (len, offset) in [(20_000, 0), (4096, 4096), (10, 19_995), (10, 50_000), (0, 0)] {
        let mut buf = BytesMut::from(&b"head:"[..]);
        let n = b.try_read_cached(&file, &mut buf, len, offset)?;
        let from = (offset as usize).min(bytes.len());
        let expected = &bytes[from..(from + len).min(bytes.len())];
        assert!(n <= expected.len(), "{n} of {} bytes at {offset}", expected.len());
        assert!(buf.starts_with(b"head:") && buf[5..] == expected[..n], "{len} bytes at {offset}");
        // The rest comes from an ordinary read.
        let (read, buf) = b.read_at(&file, buf, len - n, offset + n as u64).await;
        assert_eq!(read?, expected.len() - n);
        assert!(buf[5..] == *expected);
    }
    Ok(())
}

pub(super) async fn an_impossible_range_is_refused_and_the_buffer_comes_back<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let file = file_of(&*b, &dir.join("file"), b"0123456789").await?;
    // -1 as an offset means "at the cursor" to some calls.
    for (len, offset) in [(5, u64::MAX), (5, u64::MAX - 5), (5, 1 << 63), (5, i64::MAX as u64)] {
        let (read, buf) = b.read_at(&file, BytesMut::from(&b"head"[..]), len, offset).await;
        refused(read, "a read");
        assert_eq!(&buf[..4], b"head");
        refused(b.write_at(&file, vec![Bytes::from_static(b"01234")], offset).await, "a write");
        if let Ok(n) = b.try_read_cached(&file, &mut BytesMut::new(), len, offset) {
            assert_eq!(n, 0);
        }
    }
    assert_eq!(all(&*b, &file).await?, &b"0123456789"[..]);
    Ok(())
}

pub(super) async fn many_reads_and_writes_of_one_file_go_on_at_once<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    const BLOCK: usize = 3000;
    let file = file_of(&*b, &dir.join("file"), b"").await?;
    let write = |i: u64| b.write_at(&file, vec![pattern(BLOCK, i)], i * BLOCK as u64);
    try_join_all((0..300).map(write)).await?;
    let read = async |i: u64| {
        let (read, buf) = b.read_at(&file, BytesMut::new(), BLOCK, i * BLOCK as u64).await;
        assert_eq!(read?, BLOCK);
        assert!(buf == pattern(BLOCK, i), "block {i}");
        io::Result::Ok(())
    };
    try_join_all((0..300).map(read)).await?;
    assert_eq!(b.len(&file).await?, 300 * BLOCK as u64);
    Ok(())
}
