//! Counts of the backends themselves, on the disk.

use crate::common::{Ctx, LARGE, Skip, Verdict, body, get, hit, key, synced};
use disk_cache::BackendChoice;

pub(crate) async fn a_synced_insert_on_rings_is_one_write_and_one_sync(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert_with(&key(0), body(0, 1, 700), synced()).await.unwrap();
    let before = cache.stats();
    for n in 1..=10 {
        cache.insert_with(&key(n), body(n, 1, 700), synced()).await.unwrap();
    }
    let after = cache.stats();
    let each = u64::from(ctx.backend == BackendChoice::IoUring) * 10;
    assert_eq!((after.ring_writes - before.ring_writes, after.ring_syncs - before.ring_syncs), (each, each));
    assert_eq!(after.ring_reads, before.ring_reads);
}

pub(crate) async fn every_read_of_a_record_is_counted_as_fast_or_on_a_ring(ctx: Ctx) -> Verdict {
    let cache = ctx.open().await;
    for n in 0..50 {
        cache.insert_with(&key(n), body(n, 1, 2000), synced()).await.unwrap();
    }
    let before = cache.stats();
    for n in 0..50 {
        assert_eq!(get(&cache, &key(n)).await, Some(body(n, 1, 2000)));
    }
    let after = cache.stats();
    let (fast, ring) = (after.fast_reads - before.fast_reads, after.ring_reads - before.ring_reads);
    if ctx.backend == BackendChoice::IoUring {
        assert_eq!(fast + ring, 50);
    } else {
        assert_eq!(ring, 0);
    }
    if fast == 0 {
        return Err(Skip("this file system has no reads that only ask the page cache".to_owned()));
    }
    Ok(())
}

pub(crate) async fn a_range_of_a_large_body_on_disk_does_not_count_as_a_get(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert_with(&key(1), body(1, 1, LARGE), synced()).await.unwrap();
    let found = hit(&cache, &key(1)).await;
    let before = cache.stats();
    for at in 0..10 {
        assert_eq!(found.read_range(at * 16..at * 16 + 16).await.unwrap(), body(1, 1, 16));
    }
    let after = cache.stats();
    assert_eq!((after.hits, after.misses, after.fast_reads), (before.hits, before.misses, before.fast_reads));
    assert_eq!(after.in_flight, 0);
}
