//! Directories and the space around them.

use super::{file_of, refused};
use cache_core::{DirEntry, DiskBackend, OpenMode};
use std::{io, path::PathBuf, sync::Arc};

pub(super) async fn list_gives_every_file_with_its_length<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    assert_eq!(b.list(&dir).await?, []);
    let expected: Vec<_> =
        (0..50).map(|i: u64| DirEntry { path: dir.join(format!("file-{i:02}")), len: i * 10 }).collect();
    for entry in &expected {
        file_of(&*b, &entry.path, &vec![1; entry.len as usize]).await?;
    }
    let mut entries = b.list(&dir).await?;
    entries.sort();
    assert_eq!(entries, expected);
    Ok(())
}

pub(super) async fn listing_a_missing_directory_is_not_found<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    assert_eq!(refused(b.list(&dir.join("none")).await, "listing").kind(), io::ErrorKind::NotFound);
    file_of(&*b, &dir.join("file"), b"").await?;
    refused(b.list(&dir.join("file")).await, "listing a file");
    Ok(())
}

pub(super) async fn create_dir_makes_parents_and_takes_what_is_there<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let deep = dir.join("a").join("b").join("c");
    b.create_dir(&deep).await?;
    b.create_dir(&deep).await?;
    b.create_dir(&dir).await?;
    file_of(&*b, &deep.join("file"), b"x").await?;
    b.sync_dir(&deep).await?;
    b.sync_dir(&dir).await?;
    assert_eq!(b.list(&deep).await?.len(), 1);
    Ok(())
}

pub(super) async fn create_dir_refuses_a_file_of_that_name<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let path = dir.join("file");
    file_of(&*b, &path, b"kept").await?;
    for path in [path.clone(), path.join("below")] {
        let kind = refused(b.create_dir(&path).await, "a directory").kind();
        assert!(matches!(kind, io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory), "{kind:?}");
    }
    assert_eq!(b.list(&dir).await?.len(), 1);
    Ok(())
}

pub(super) async fn a_file_in_a_missing_directory_is_not_found<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    let path = dir.join("none").join("file");
    assert_eq!(refused(b.open(&path, OpenMode::CREATE_NEW).await, "opening").kind(), io::ErrorKind::NotFound);
    file_of(&*b, &dir.join("here"), b"kept").await?;
    let e = refused(b.rename(&dir.join("here"), &path).await, "a rename");
    assert_eq!(e.kind(), io::ErrorKind::NotFound);
    assert_eq!(b.list(&dir).await?.len(), 1);
    Ok(())
}

pub(super) async fn a_directory_that_is_missing_cannot_be_synced<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    b.sync_dir(&dir).await?;
    assert_eq!(refused(b.sync_dir(&dir.join("none")).await, "a sync").kind(), io::ErrorKind::NotFound);
    file_of(&*b, &dir.join("file"), b"").await?;
    refused(b.sync_dir(&dir.join("file")).await, "a sync of a file by the directory's verb");
    Ok(())
}

pub(super) async fn free_space_is_told_or_not_known<B: DiskBackend>(
    b: Arc<B>,
    dir: PathBuf,
) -> io::Result<()> {
    if let Some(free) = b.free_space(&dir).await? {
        assert!(free > 0, "there was room for the directory");
        refused(b.free_space(&dir.join("none")).await, "asking about a missing directory");
    }
    Ok(())
}
