//! What becomes of files when their names move or go.

use super::{all, file_of, refused};
use bytes::Bytes;
use cache_core::{DiskBackend, OpenMode};
use std::{io, path::PathBuf, sync::Arc};

pub(super) async fn an_open_handle_reads_on_after_remove<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let path = dir.join("file");
    let file = file_of(&*b, &path, b"bytes").await?;
    b.remove(&path).await?;
    assert_eq!(all(&*b, &file).await?, &b"bytes"[..]);
    b.write_at(&file, vec![Bytes::from_static(b"!")], 5).await?;
    assert_eq!(all(&*b, &file).await?, &b"bytes!"[..]);
    assert_eq!(b.list(&dir).await?, []);
    Ok(())
}

pub(super) async fn an_open_handle_follows_a_rename<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let (from, to) = (dir.join("from"), dir.join("to"));
    let file = file_of(&*b, &from, b"one").await?;
    b.rename(&from, &to).await?;
    b.write_at(&file, vec![Bytes::from_static(b"two")], 3).await?;
    let again = b.open(&to, OpenMode::READ).await?;
    assert_eq!(all(&*b, &again).await?, &b"onetwo"[..]);
    assert_eq!(refused(b.open(&from, OpenMode::READ).await, "the old name").kind(), io::ErrorKind::NotFound);
    Ok(())
}

pub(super) async fn a_rename_replaces_what_has_the_new_name<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let (from, to) = (dir.join("from"), dir.join("to"));
    file_of(&*b, &from, b"new").await?;
    let old = file_of(&*b, &to, b"old one").await?;
    b.rename(&from, &to).await?;
    assert_eq!(all(&*b, &b.open(&to, OpenMode::READ).await?).await?, &b"new"[..]);
    assert_eq!(all(&*b, &old).await?, &b"old one"[..], "the old file's handle reads on");
    assert_eq!(b.list(&dir).await?.len(), 1);
    Ok(())
}

pub(super) async fn a_rename_of_a_missing_file_is_not_found<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let to = dir.join("to");
    let file = file_of(&*b, &to, b"kept").await?;
    let e = refused(b.rename(&dir.join("from"), &to).await, "a rename");
    assert_eq!(e.kind(), io::ErrorKind::NotFound);
    assert_eq!(all(&*b, &file).await?, &b"kept"[..]);
    Ok(())
}

pub(super) async fn removing_a_missing_file_is_not_found<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let path = dir.join("file");
    assert_eq!(refused(b.remove(&path).await, "a removal").kind(), io::ErrorKind::NotFound);
    file_of(&*b, &path, b"").await?;
    b.remove(&path).await?;
    assert_eq!(refused(b.remove(&path).await, "a second one").kind(), io::ErrorKind::NotFound);
    Ok(())
}

pub(super) async fn a_removed_name_can_be_made_again<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let path = dir.join("file");
    let old = file_of(&*b, &path, b"old").await?;
    b.remove(&path).await?;
    let new = file_of(&*b, &path, b"new").await?;
    assert_eq!(all(&*b, &old).await?, &b"old"[..]);
    assert_eq!(all(&*b, &new).await?, &b"new"[..]);
    Ok(())
}
