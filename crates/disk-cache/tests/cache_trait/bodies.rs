//! Bodies: ranges, readers and streams of them, and what a hit outlives.

use crate::{
    common::{Ctx, LARGE, body, hit, key, peek, unlocked},
    scope_of,
};
use bytes::{Bytes, BytesMut};
use disk_cache::Error;
use futures_util::TryStreamExt;

pub(crate) async fn a_range_is_read_from_small_and_large_bodies(ctx: Ctx) {
    let cache = ctx.open().await;
    for (n, len) in [(1u64, 700u64), (2, 300_000)] {
        let whole = body(n, 1, len as usize);
        cache.insert(&key(n), whole.clone()).await.unwrap();
        let hit = hit(&cache, &key(n)).await;
        for range in
            [0..0, 0..1, 5..600, len - 1..len, 0..len, len..len, len / 3..len / 2 + 17, 65_535..65_537]
        {
            let wanted = whole.get(range.start as usize..range.end as usize).map(Bytes::copy_from_slice);
            match hit.read_range(range.clone()).await {
                Ok(bytes) => assert_eq!(Some(bytes), wanted, "{range:?} of {len}"),
                Err(Error::InvalidRange { .. }) => assert_eq!(wanted, None, "{range:?} of {len}"),
                Err(other) => panic!("{other}"),
            }
        }
    }
}

pub(crate) async fn a_reader_seeks_again_and_again(ctx: Ctx) {
    let cache = ctx.open().await;
    for (n, len) in [(1, 700), (2, 300_000)] {
        let whole = body(n, 1, len);
        cache.insert(&key(n), whole.clone()).await.unwrap();
        let mut reader = hit(&cache, &key(n)).await.reader();
        assert_eq!((reader.len(), reader.position(), reader.is_empty()), (Some(len as u64), 0, false));
        for (start, end) in
            [(len / 2, None), (0, Some(10)), (len - 1, None), (3, Some(len - 3)), (len, None), (0, None)]
        {
            reader.seek(start as u64, end.map(|e| e as u64)).unwrap();
            assert_eq!(reader.position(), start as u64);
            let mut read = BytesMut::new();
            while let Some(piece) = reader.next().await.unwrap() {
                assert!(!piece.is_empty());
                read.extend_from_slice(&piece);
            }
            assert_eq!(read, whole[start..end.unwrap_or(len)], "{start}..{end:?}");
        }
        // Half way through, and back.
        reader.seek(0, None).unwrap();
        let first = reader.next().await.unwrap();
        reader.seek(0, None).unwrap();
        assert_eq!(reader.next().await.unwrap(), first);
    }
}

pub(crate) async fn a_stream_gives_the_body_in_order(ctx: Ctx) {
    let cache = ctx.open().await;
    for (n, len) in [(1, 1), (2, 700), (3, 1_000_000)] {
        cache.insert(&key(n), body(n, 1, len)).await.unwrap();
        let stream = hit(&cache, &key(n)).await.stream();
        let pieces: Vec<Bytes> = stream.try_collect().await.unwrap();
        assert_eq!(pieces.concat(), body(n, 1, len));
    }
}

pub(crate) async fn a_hit_outlives_replacement_removal_and_purge(ctx: Ctx) {
    let cache = ctx.open().await;
    for (n, len) in [(1, 700), (2, 300_000)] {
        let mut held = Vec::new();
        for version in 0..4 {
            cache.insert(&key(n), body(n, version, len)).await.unwrap();
            held.push((version, hit(&cache, &key(n)).await));
            match version {
                1 => assert!(cache.remove(&key(n)).await.unwrap()),
                2 => cache.purge(scope_of(1)).await.unwrap(),
                3 => cache.clear().await.unwrap(),
                _ => {}
            }
        }
        cache.flush().await.unwrap();
        crate::common::until("the bodies are unlinked", || ctx.object_files().is_empty()).await;
        for (version, hit) in held {
            assert_eq!(hit.bytes().await.unwrap(), body(n, version, len), "version {version}");
        }
    }
}

pub(crate) async fn a_hit_outlives_eviction_and_reclaim(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert(&key(1), body(1, 1, 700)).await.unwrap();
    cache.insert(&key(2), body(2, 1, LARGE)).await.unwrap();
    let (small, large) = (hit(&cache, &key(1)).await, hit(&cache, &key(2)).await);
    let mut reader = large.reader();
    let oldest = ctx.segment_files().remove(0);
    for n in 10..2000 {
        cache.insert(&key(n), body(n, 1, 3000)).await.unwrap();
    }
    assert!(!oldest.exists(), "its segment was reclaimed");
    assert!(peek(&cache, &key(1)).await.is_none() && peek(&cache, &key(2)).await.is_none());
    assert_eq!(small.bytes().await.unwrap(), body(1, 1, 700));
    assert_eq!(large.bytes().await.unwrap(), body(2, 1, LARGE));
    reader.seek(LARGE as u64 - 10, None).unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap(), body(2, 1, LARGE)[LARGE - 10..]);
}

pub(crate) async fn a_hit_outlives_the_close(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert(&key(1), body(1, 1, 700)).await.unwrap();
    cache.insert(&key(2), body(2, 1, LARGE)).await.unwrap();
    let (small, large) = (hit(&cache, &key(1)).await, hit(&cache, &key(2)).await);
    cache.close().await.unwrap();
    assert_eq!(small.bytes().await.unwrap(), body(1, 1, 700));
    assert_eq!(large.bytes().await.unwrap(), body(2, 1, LARGE));
}

pub(crate) async fn a_hit_outlives_the_last_handle(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert(&key(1), body(1, 1, LARGE)).await.unwrap();
    let held = hit(&cache, &key(1)).await;
    drop(cache);
    unlocked(&ctx.dir).await;
    // So that the read has to wait for the device, which it does on threads that were the cache's own.
    crate::common::forget_pages(&ctx.dir);
    assert_eq!(held.bytes().await.unwrap(), body(1, 1, LARGE));
    let mut reader = held.reader();
    drop(held);
    assert_eq!(reader.next().await.unwrap().unwrap(), body(1, 1, LARGE));
}
