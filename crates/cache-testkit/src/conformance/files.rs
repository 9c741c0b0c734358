//! How files are opened, sized and locked.

use super::{all, file_of, refused};
use bytes::{Bytes, BytesMut};
use cache_core::{DiskBackend, OpenMode};
use std::{io, path::PathBuf, sync::Arc};

pub(super) async fn opening_a_missing_file_is_not_found<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    for mode in [OpenMode::READ, OpenMode::WRITE] {
        let e = refused(b.open(&dir.join("file"), mode).await, "opening");
        assert_eq!(e.kind(), io::ErrorKind::NotFound);
    }
    assert_eq!(b.list(&dir).await?, []);
    Ok(())
}

pub(super) async fn create_new_refuses_an_existing_file<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let path = dir.join("file");
    let file = file_of(&*b, &path, b"old").await?;
    let e = refused(b.open(&path, OpenMode::CREATE_NEW).await, "making it again");
    assert_eq!(e.kind(), io::ErrorKind::AlreadyExists);
    let e = refused(
        b.open(&path, OpenMode { preallocate: Some(100), ..OpenMode::CREATE_NEW }).await,
        "making it again with a reservation",
    );
    assert_eq!(e.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(all(&*b, &file).await?, &b"old"[..]);
    Ok(())
}

pub(super) async fn create_makes_what_is_missing_and_opens_what_is_there<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let (path, mode) = (dir.join("file"), OpenMode { create: true, ..OpenMode::READ });
    let file = b.open(&path, mode).await?;
    b.write_at(&file, vec![Bytes::from_static(b"bytes")], 0).await?;
    let again = b.open(&path, mode).await?;
    assert_eq!(all(&*b, &again).await?, &b"bytes"[..]);
    Ok(())
}

pub(super) async fn preallocate_makes_the_file_that_long<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let mode = OpenMode { preallocate: Some(1 << 20), ..OpenMode::CREATE_NEW };
    let file = b.open(&dir.join("file"), mode).await?;
    assert_eq!(b.len(&file).await?, 1 << 20);
    assert!(all(&*b, &file).await?.iter().all(|&byte| byte == 0));
    b.write_at(&file, vec![Bytes::from_static(b"x")], 500_000).await?;
    assert_eq!(b.len(&file).await?, 1 << 20);
    let none = OpenMode { preallocate: Some(0), ..OpenMode::CREATE_NEW };
    assert_eq!(b.len(&b.open(&dir.join("empty"), none).await?).await?, 0);
    Ok(())
}

pub(super) async fn preallocate_never_cuts<B: DiskBackend>(b: Arc<B>, dir: PathBuf) -> io::Result<()> {
    let path = dir.join("file");
    file_of(&*b, &path, &[7; 10_000]).await?;
    for (ask, len) in [(100, 10_000), (20_000, 20_000)] {
        let file = b.open(&path, OpenMode { preallocate: Some(ask), ..OpenMode::WRITE }).await?;
        let bytes = all(&*b, &file).await?;
        assert_eq!(bytes.len(), len);
        assert!(
            bytes[..10_000].iter().all(|&byte| byte == 7) && bytes[10_000..].iter().all(|&byte| byte == 0)
        );
    }
    Ok(())
}

pub(super) async fn preallocate_needs_a_file_opened_to_write<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let path = dir.join("file");
    file_of(&*b, &path, b"bytes").await?;
    let mode = OpenMode { preallocate: Some(100), ..OpenMode::READ };
    assert_eq!(refused(b.open(&path, mode).await, "a reservation").kind(), io::ErrorKind::InvalidInput);
    Ok(())
}

pub(super) async fn a_reservation_that_fails_leaves_no_new_file<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    for (name, mode) in
        [("new", OpenMode::CREATE_NEW), ("maybe", OpenMode { create: true, ..OpenMode::READ })]
    {
        let mode = OpenMode { preallocate: Some(u64::MAX), ..mode };
        refused(b.open(&dir.join(name), mode).await, "a reservation of all there is");
    }
    assert_eq!(b.list(&dir).await?, []);
    Ok(())
}

pub(super) async fn set_len_cuts_and_extends_with_zeros<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let file = file_of(&*b, &dir.join("file"), b"0123456789").await?;
    b.set_len(&file, 4).await?;
    assert_eq!(all(&*b, &file).await?, &b"0123"[..]);
    b.set_len(&file, 8).await?;
    assert_eq!(all(&*b, &file).await?, &b"0123\0\0\0\0"[..]);
    b.set_len(&file, 0).await?;
    assert_eq!(b.len(&file).await?, 0);
    refused(b.set_len(&file, u64::MAX).await, "a length no file has");
    Ok(())
}

pub(super) async fn two_handles_see_the_same_bytes<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let path = dir.join("file");
    let one = file_of(&*b, &path, b"one").await?;
    let two = b.open(&path, OpenMode::WRITE).await?;
    b.write_at(&two, vec![Bytes::from_static(b"two")], 3).await?;
    let clone = one.clone();
    drop(one);
    assert_eq!(all(&*b, &clone).await?, &b"onetwo"[..]);
    let (read, buf) = b.read_at(&two, BytesMut::new(), 6, 0).await;
    assert_eq!((read?, &buf[..]), (6, &b"onetwo"[..]));
    Ok(())
}

pub(super) async fn a_lock_has_one_holder_until_its_last_clone_is_dropped<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let path = dir.join("lock");
    let one = file_of(&*b, &path, b"").await?;
    let two = b.open(&path, OpenMode::WRITE).await?;
    assert!(b.try_lock(&one).await?, "nobody has it");
    assert!(!b.try_lock(&two).await?, "the first has it");
    let clone = one.clone();
    drop(one);
    assert!(!b.try_lock(&two).await?, "a clone keeps it");
    drop(clone);
    assert!(b.try_lock(&two).await?, "nobody has it any more");
    Ok(())
}
