//! Directories that move, are copied, and caches side by side.

use crate::common::{Ctx, LARGE, Verdict, body, copy_dir, get, key};
use disk_cache::{BackendChoice, DiskCache, Error};
use std::{
    ffi::OsString,
    fs,
    process::{Command, abort},
};

/// The process that dies: opens the directory that this names, stores an entry, says so, and aborts.
pub(crate) const DYING_PROCESS: &str = "DISK_CACHE_TEST_DYING_PROCESS";

async fn filled(ctx: &Ctx) {
    let cache = ctx.open().await;
    for n in 0..10 {
        cache.insert(&key(n), body(n, 1, if n == 0 { LARGE } else { 700 })).await.unwrap();
    }
    cache.close().await.unwrap();
}

async fn has_everything(cache: &DiskCache) {
    for n in 0..10 {
        let wanted = body(n, 1, if n == 0 { LARGE } else { 700 });
        assert_eq!(get(cache, &key(n)).await, Some(wanted), "entry {n}");
    }
}

pub(crate) async fn a_renamed_directory_opens_with_everything(ctx: Ctx) {
    filled(&ctx).await;
    fs::create_dir(ctx.base.join("moved")).unwrap();
    let moved = Ctx { dir: ctx.base.join("moved/elsewhere"), ..ctx.clone() };
    fs::rename(&ctx.dir, &moved.dir).unwrap();
    let cache = moved.open().await;
    has_everything(&cache).await;
    cache.insert(&key(20), body(20, 1, LARGE)).await.unwrap();
    cache.close().await.unwrap();
    assert!(!ctx.dir.exists(), "nothing remembers the old path");
}

pub(crate) async fn a_copy_of_a_directory_is_a_cache_of_its_own(ctx: Ctx) {
    filled(&ctx).await;
    let copy = Ctx { dir: ctx.base.join("copy"), ..ctx.clone() };
    copy_dir(&ctx.dir, &copy.dir);
    let (one, two) = (ctx.open().await, copy.open().await);
    has_everything(&one).await;
    has_everything(&two).await;
    // They go different ways from here on.
    one.insert(&key(1), body(1, 2, 800)).await.unwrap();
    two.insert(&key(1), body(1, 3, LARGE)).await.unwrap();
    two.remove(&key(0)).await.unwrap();
    one.close().await.unwrap();
    two.close().await.unwrap();
    let (one, two) = (ctx.open().await, copy.open().await);
    assert_eq!(get(&one, &key(1)).await, Some(body(1, 2, 800)));
    assert_eq!(get(&two, &key(1)).await, Some(body(1, 3, LARGE)));
    assert!(get(&one, &key(0)).await.is_some() && get(&two, &key(0)).await.is_none());
}

pub(crate) async fn a_copy_without_its_lock_file_opens(ctx: Ctx) {
    filled(&ctx).await;
    fs::remove_file(ctx.dir.join("LOCK")).unwrap();
    let cache = ctx.open().await;
    has_everything(&cache).await;
    assert!(matches!(ctx.builder().open().await, Err(Error::Locked { .. })), "it has a lock again");
}

pub(crate) async fn two_caches_of_one_process_share_nothing(ctx: Ctx) {
    let (mine, portable) = (ctx.clone(), ctx.with_backend(BackendChoice::Tokio));
    let one = mine.builder_at(&ctx.base.join("one")).open().await.unwrap();
    let two = portable.builder_at(&ctx.base.join("two")).open().await.unwrap();
    for n in 0..20 {
        one.insert(&key(n), body(n, 1, 700)).await.unwrap();
        two.insert(&key(n), body(n, 2, 900)).await.unwrap();
    }
    one.clear().await.unwrap();
    one.close().await.unwrap();
    for n in 0..20 {
        assert_eq!(get(&two, &key(n)).await, Some(body(n, 2, 900)));
    }
    assert!(matches!(one.get(&key(1)).await, Err(Error::Closed)));
    let stats = two.stats();
    assert_eq!((stats.entries, stats.hits, stats.inserts), (20, 20, 20));
}

pub(crate) async fn many_caches_of_one_process_work_at_once(ctx: Ctx) {
    let mut tasks = Vec::new();
    for c in 0..12 {
        let cache = ctx.builder_at(&ctx.base.join(format!("cache-{c}"))).open().await.unwrap();
        tasks.push(tokio::spawn(async move {
            for n in 0..50 {
                cache.insert(&key(n), body(n, c, 900)).await.unwrap();
                assert_eq!(get(&cache, &key(n / 2)).await, Some(body(n / 2, c, 900)), "cache {c}");
            }
            cache.close().await.unwrap();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

/// See [`DYING_PROCESS`].
pub(crate) fn open_and_die(dir: OsString) -> ! {
    let cache = DiskCache::builder(dir).capacity(disk_cache::ByteSize::mib(8)).open_blocking().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let options = disk_cache::InsertOptions::new().durability(disk_cache::Durability::Written);
    runtime.block_on(cache.insert_with(&key(1), body(1, 1, 700), options)).unwrap();
    print!("stored");
    std::io::Write::flush(&mut std::io::stdout()).unwrap();
    abort()
}

pub(crate) async fn a_process_that_dies_leaves_no_lock_behind(ctx: Ctx) -> Verdict {
    let mut child = Command::new(std::env::current_exe().unwrap());
    let dir = ctx.dir.clone();
    let died =
        tokio::task::spawn_blocking(move || child.env(DYING_PROCESS, dir).output().unwrap()).await.unwrap();
    assert!(!died.status.success());
    assert_eq!(String::from_utf8_lossy(&died.stdout), "stored");
    assert!(ctx.dir.join("LOCK").exists(), "the file is there, and nobody holds it");
    let cache = ctx.builder().capacity(disk_cache::ByteSize::mib(8)).open().await.unwrap();
    assert_eq!(get(&cache, &key(1)).await, Some(body(1, 1, 700)));
    Ok(())
}
