//! Directories that cannot be used.

use crate::common::{Ctx, body, get, key};
use disk_cache::Error;
use std::{fs, path::Path};

pub(crate) async fn missing_directories_are_made(ctx: Ctx) {
    let ctx = Ctx { dir: ctx.base.join("one/two/three"), ..ctx };
    let cache = ctx.open().await;
    cache.insert(&key(1), body(1, 1, 10)).await.unwrap();
    assert_eq!(get(&cache, &key(1)).await, Some(body(1, 1, 10)));
}

fn io_on<T: std::fmt::Debug>(result: Result<T, Error>, path: &Path) {
    match result {
        Err(Error::Io { path: told, .. }) => assert!(told.starts_with(path), "{} is told", told.display()),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn a_file_in_the_directorys_place_is_refused_and_stays(ctx: Ctx) {
    fs::write(&ctx.dir, b"precious").unwrap();
    io_on(ctx.builder().open().await, &ctx.dir);
    io_on(ctx.builder_at(&ctx.dir.join("below")).open().await, &ctx.dir);
    assert_eq!(fs::read(&ctx.dir).unwrap(), b"precious");
}

pub(crate) async fn a_file_in_the_place_of_the_segments_is_refused_and_stays(ctx: Ctx) {
    fs::create_dir(&ctx.dir).unwrap();
    fs::write(ctx.dir.join("segments"), b"precious").unwrap();
    io_on(ctx.builder().open().await, &ctx.dir);
    assert_eq!(fs::read(ctx.dir.join("segments")).unwrap(), b"precious");
}

pub(crate) async fn a_directory_in_the_place_of_the_superblock_is_refused(ctx: Ctx) {
    fs::create_dir_all(ctx.superblock()).unwrap();
    let refused = ctx.builder().open().await;
    assert!(matches!(refused, Err(Error::Io { .. } | Error::Corrupt { .. })), "{refused:?}");
    assert!(ctx.superblock().is_dir());
}
