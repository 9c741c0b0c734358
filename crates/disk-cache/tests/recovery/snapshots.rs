//! Snapshots that do not read, or are not of this time or cache.

use crate::{
    common::{Ctx, body, flip, key, peek},
    filled_and_closed, intact, stride,
};
use disk_cache::RecoverySource;
use std::fs;

pub(crate) async fn a_flipped_byte_anywhere_in_the_snapshot_makes_it_ignored(ctx: Ctx) {
    filled_and_closed(&ctx, 5, 100).await;
    let good = fs::read(ctx.snapshot()).unwrap();
    for at in (0..good.len()).step_by(stride(17)) {
        fs::write(ctx.snapshot(), &good).unwrap();
        flip(&ctx.snapshot(), at);
        let copy = ctx.crash(&format!("flipped-{at}"));
        let cache = copy.open().await;
        let report = cache.recovery_report();
        assert!(report.snapshot_ignored && report.source == RecoverySource::Log, "byte {at}: {report:?}");
        assert_eq!(intact(&cache, 5, 100).await, 5, "byte {at}");
    }
}

pub(crate) async fn a_truncated_snapshot_is_ignored(ctx: Ctx) {
    filled_and_closed(&ctx, 5, 100).await;
    let good = fs::read(ctx.snapshot()).unwrap();
    for len in [0, 1, 15, 16, 17, good.len() / 2, good.len() - 1] {
        fs::write(ctx.snapshot(), &good[..len]).unwrap();
        let copy = ctx.crash(&format!("cut-{len}"));
        let cache = copy.open().await;
        assert!(cache.recovery_report().snapshot_ignored, "{len} bytes");
        assert_eq!(intact(&cache, 5, 100).await, 5, "{len} bytes");
    }
}

pub(crate) async fn a_snapshot_of_another_cache_is_ignored(ctx: Ctx) {
    filled_and_closed(&ctx, 5, 100).await;
    let other = Ctx { dir: ctx.base.join("other"), ..ctx.clone() };
    filled_and_closed(&other, 3, 100).await;
    fs::copy(other.snapshot(), ctx.snapshot()).unwrap();
    let cache = ctx.open().await;
    assert!(cache.recovery_report().snapshot_ignored);
    assert_eq!(intact(&cache, 5, 100).await, 5);
}

pub(crate) async fn an_older_snapshot_is_ignored(ctx: Ctx) {
    filled_and_closed(&ctx, 5, 100).await;
    let old = fs::read(ctx.snapshot()).unwrap();
    let cache = ctx.open().await;
    cache.remove(&key(1)).await.unwrap();
    cache.insert(&key(2), body(2, 2, 100)).await.unwrap();
    cache.close().await.unwrap();
    fs::write(ctx.snapshot(), old).unwrap();
    let cache = ctx.open().await;
    assert!(cache.recovery_report().snapshot_ignored);
    assert!(peek(&cache, &key(1)).await.is_none(), "it was removed after that snapshot");
    assert_eq!(peek(&cache, &key(2)).await, Some(body(2, 2, 100)));
}

pub(crate) async fn the_snapshot_is_gone_while_the_cache_is_open(ctx: Ctx) {
    filled_and_closed(&ctx, 5, 100).await;
    assert!(ctx.snapshot().exists());
    let cache = ctx.open().await;
    assert!(!ctx.snapshot().exists());
    drop(cache);
}
