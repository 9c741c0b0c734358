//! Large bodies in the order of use and in the quota.

use crate::{
    LEN,
    common::{Ctx, LARGE, SEGMENT, body, get, hit, key, peek},
    free_moves, insert, within_quota,
};
use disk_cache::Error;

pub(crate) async fn a_large_body_is_evicted_by_one_unlink(ctx: Ctx) {
    let cache = free_moves(&ctx).open().await.unwrap();
    let mut n = 0;
    while cache.stats().evictions == 0 {
        cache.insert(&key(n), body(n, 1, LARGE)).await.unwrap();
        n += 1;
    }
    let written = cache.stats().bytes_written;
    let entries = cache.stats().entries;
    cache.insert(&key(n), body(n, 1, LARGE)).await.unwrap();
    crate::common::until("the body is unlinked", || ctx.object_files().len() as u64 == cache.stats().entries)
        .await;
    assert!(cache.stats().entries <= entries);
    let moved = cache.stats().bytes_written - written;
    assert!(moved < LARGE as u64 + 10_000, "{moved} bytes written for one body");
}

pub(crate) async fn large_bodies_are_evicted_in_order(ctx: Ctx) {
    let cache = free_moves(&ctx).open().await.unwrap();
    let mut n = 0;
    while cache.stats().evictions < 20 {
        cache.insert(&key(n), body(n, 1, LARGE)).await.unwrap();
        hit(&cache, &key(0)).await;
        n += 1;
    }
    let evicted = cache.stats().evictions;
    for m in 1..n {
        assert_eq!(cache.contains(&key(m)), m > evicted, "{m} of {n}, {evicted} evicted");
    }
    assert_eq!(get(&cache, &key(0)).await, Some(body(0, 1, LARGE)));
}

pub(crate) async fn large_and_small_bodies_share_one_order(ctx: Ctx) {
    let cache = free_moves(&ctx).open().await.unwrap();
    let len = |n: u64| if n.is_multiple_of(3) { LARGE } else { LEN };
    let mut n = 0;
    while cache.stats().evictions < 60 {
        cache.insert(&key(n), body(n, 1, len(n))).await.unwrap();
        n += 1;
    }
    let stats = cache.stats();
    assert_eq!(stats.early_evictions, 0);
    for m in 0..n {
        assert_eq!(cache.contains(&key(m)), m >= stats.evictions, "{m} of {n}");
    }
}

pub(crate) async fn a_body_of_half_the_capacity_fits_and_one_more_byte_does_not(ctx: Ctx) {
    let cache = ctx.open().await;
    let half = (16 * SEGMENT) as usize;
    for n in 0..4 {
        cache.insert(&key(n), body(n, 1, half)).await.unwrap();
        assert_eq!(get(&cache, &key(n)).await, Some(body(n, 1, half)));
        within_quota(&ctx, &cache);
    }
    let refused = cache.insert(&key(9), body(9, 1, half + 1)).await;
    match refused {
        Err(Error::TooLarge { len, max, .. }) => assert_eq!((len, max), (half as u64 + 1, half as u64)),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn a_hit_that_is_held_keeps_its_bytes_in_the_quota(ctx: Ctx) {
    let cache = ctx.open().await;
    let len = 12 * SEGMENT as usize;
    cache.insert(&key(1), body(1, 1, len)).await.unwrap();
    let held = hit(&cache, &key(1)).await;
    let before = cache.stats().disk_bytes;
    cache.remove(&key(1)).await.unwrap();
    crate::common::until("the body is unlinked", || ctx.object_files().is_empty()).await;
    assert!(cache.stats().disk_bytes >= before, "the disk has its bytes until the file is closed");
    assert_eq!(held.bytes().await.unwrap(), body(1, 1, len));
    drop(held);
    // The name is gone a moment before the one that removed it lets go of the file.
    crate::common::until("the room is back", || cache.stats().disk_bytes + len as u64 <= before).await;
}

pub(crate) async fn without_room_an_insert_is_refused_and_works_again_later(ctx: Ctx) {
    let cache = ctx.open().await;
    let len = 10 * SEGMENT as usize;
    let mut held = Vec::new();
    for n in 0..2 {
        cache.insert(&key(n), body(n, 1, len)).await.unwrap();
        held.push(hit(&cache, &key(n)).await);
        cache.remove(&key(n)).await.unwrap();
    }
    let refused = cache.insert(&key(5), body(5, 1, len)).await;
    assert!(matches!(refused, Err(Error::StorageFull { .. })), "{refused:?}");
    for (n, hit) in (0..).zip(&held) {
        assert_eq!(hit.bytes().await.unwrap(), body(n, 1, len));
    }
    insert(&cache, 6).await;
    assert_eq!(get(&cache, &key(6)).await, Some(body(6, 1, LEN)), "there is room for small ones");
    drop(held);
    cache.insert(&key(5), body(5, 1, len)).await.unwrap();
    assert_eq!(get(&cache, &key(5)).await, Some(body(5, 1, len)));
}

pub(crate) async fn a_refused_insert_removes_the_older_value(ctx: Ctx) {
    let cache = ctx.open().await;
    insert(&cache, 1).await;
    assert!(cache.insert(&key(1), body(1, 2, 17 * SEGMENT as usize)).await.is_err());
    assert!(peek(&cache, &key(1)).await.is_none());
    cache.flush().await.unwrap();
    let cache = ctx.crash("crashed").open().await;
    assert!(peek(&cache, &key(1)).await.is_none(), "nor does a crash bring it back");
}
