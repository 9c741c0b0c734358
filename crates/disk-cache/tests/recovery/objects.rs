//! Large bodies that are torn, damaged, gone or swapped.

use crate::{
    common::{Ctx, LARGE, body, flip, hit, key, peek},
    crashed, intact, reopened,
};
use disk_cache::{Error, Expiry};
use std::fs;

/// Five large bodies and five small ones, closed.
async fn with_objects(ctx: &Ctx) {
    let cache = ctx.open().await;
    for n in 0..5 {
        cache.insert(&key(n), body(n, 1, LARGE)).await.unwrap();
    }
    cache.close().await.unwrap();
    assert_eq!(ctx.object_files().len(), 5);
}

/// Only the first open after a power cut used to know that the cut may have kept a record and torn its body.
pub(crate) async fn a_torn_body_is_a_miss_however_many_opens_later(ctx: Ctx) {
    let torn = crashed(&ctx, 3, LARGE).await;
    flip(&torn.object_files()[1], 4096 + 70_000);
    for way in 0..3 {
        for change in ["none", "update_meta", "reclaim"] {
            let case = format!("{change}-{way}");
            let copy = torn.crash(&case);
            let cache = copy.open().await;
            match change {
                "update_meta" => {
                    assert!(cache.update_meta(&key(1), "new".into(), Expiry::Never).await.unwrap());
                }
                "reclaim" => {
                    let before = cache.stats().bytes_relocated;
                    while cache.stats().bytes_relocated == before {
                        cache.insert(&key(9), body(9, 1, 4000)).await.unwrap();
                    }
                }
                _ => {}
            }
            let (copy, cache) = reopened(&copy, cache, way).await;
            let (_, cache) = reopened(&copy, cache, way).await;
            assert!(cache.get(&key(1)).await.unwrap().is_none(), "{case}");
            assert_eq!(intact(&cache, 3, LARGE).await, 2, "{case}");
            assert_eq!(cache.stats().corruptions, 1, "{case}");
        }
    }
}

pub(crate) async fn a_missing_object_is_a_miss_and_reported(ctx: Ctx) {
    with_objects(&ctx).await;
    fs::remove_file(&ctx.object_files()[2]).unwrap();
    let cache = ctx.open().await;
    let report = cache.recovery_report();
    assert_eq!((report.dropped.missing_objects, report.entries), (1, 4));
    assert!(peek(&cache, &key(2)).await.is_none());
    assert_eq!(intact(&cache, 5, LARGE).await, 4);
}

pub(crate) async fn a_truncated_object_is_a_miss(ctx: Ctx) {
    with_objects(&ctx).await;
    let len = fs::metadata(&ctx.object_files()[0]).unwrap().len();
    for cut in [0, 1, 56, 4096, 4097, len / 2, len - 1] {
        let copy = ctx.crash(&format!("cut-{cut}"));
        fs::File::options().write(true).open(&copy.object_files()[2]).unwrap().set_len(cut).unwrap();
        let cache = copy.open().await;
        assert!(cache.get(&key(2)).await.unwrap().is_none(), "at {cut}");
        assert_eq!(intact(&cache, 5, LARGE).await, 4, "at {cut}");
    }
}

pub(crate) async fn a_damaged_object_gives_an_error_and_then_a_miss(ctx: Ctx) {
    with_objects(&ctx).await;
    flip(&ctx.object_files()[2], 4096 + 70_000);
    let cache = ctx.open().await;
    let hit = hit(&cache, &key(2)).await;
    let read = hit.bytes().await;
    assert!(matches!(read, Err(Error::Corrupt { .. })), "{read:?}");
    assert!(cache.get(&key(2)).await.unwrap().is_none());
    assert_eq!(cache.stats().corruptions, 1);
    assert_eq!(intact(&cache, 5, LARGE).await, 4);
}

pub(crate) async fn a_damaged_chunk_spares_the_others(ctx: Ctx) {
    with_objects(&ctx).await;
    flip(&ctx.object_files()[2], 4096 + 70_000);
    let cache = ctx.open().await;
    let hit = hit(&cache, &key(2)).await;
    assert_eq!(hit.read_range(0..65_536).await.unwrap(), body(2, 1, LARGE)[..65_536]);
    let mut reader = hit.reader();
    reader.seek(65_536, None).unwrap();
    assert!(matches!(reader.next().await, Err(Error::Corrupt { .. })));
    assert_eq!(hit.read_range(10..20).await.unwrap(), body(2, 1, LARGE)[10..20]);
}

pub(crate) async fn a_damaged_object_head_is_a_counted_miss(ctx: Ctx) {
    with_objects(&ctx).await;
    for at in [0, 10, 25, 40, 50] {
        let copy = ctx.crash(&format!("head-{at}"));
        flip(&copy.object_files()[2], at);
        let cache = copy.open().await;
        assert!(cache.get(&key(2)).await.unwrap().is_none(), "byte {at}");
        assert!(cache.get(&key(2)).await.unwrap().is_none(), "byte {at}");
        assert_eq!(cache.stats().corruptions, 1, "byte {at}");
    }
}

pub(crate) async fn two_objects_swapped_are_misses(ctx: Ctx) {
    with_objects(&ctx).await;
    let files = ctx.object_files();
    let held = fs::read(&files[1]).unwrap();
    fs::copy(&files[3], &files[1]).unwrap();
    fs::write(&files[3], held).unwrap();
    let cache = ctx.open().await;
    assert!(peek(&cache, &key(1)).await.is_none() && peek(&cache, &key(3)).await.is_none());
    assert_eq!(intact(&cache, 5, LARGE).await, 3);
}

pub(crate) async fn orphaned_objects_and_temporary_files_are_removed(ctx: Ctx) {
    with_objects(&ctx).await;
    let stray = [
        ctx.dir.join("objects/00000077000000ff.obj"),
        ctx.dir.join("objects/0000007700000001.obj.tmp"),
        ctx.dir.join("index.snapshot.tmp"),
        ctx.dir.join("CACHE.tmp"),
    ];
    for path in &stray {
        fs::write(path, b"left over").unwrap();
    }
    let cache = ctx.open().await;
    for path in &stray {
        assert!(!path.exists(), "{}", path.display());
    }
    assert_eq!(cache.recovery_report().dropped.orphan_files, 4);
    assert_eq!(intact(&cache, 5, LARGE).await, 5);
}
