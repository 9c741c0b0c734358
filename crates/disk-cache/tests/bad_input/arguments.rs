//! Scopes, ranges, expiries and calls that make no sense.

use crate::{
    bytes,
    common::{Ctx, LARGE, body, find_stale, get, hit, key},
    too_large,
};
use bytes::Bytes;
use disk_cache::{ByteSize, CacheKey, Error, Expiry, InsertOptions, MAX_KEY_LEN, MAX_TAG_LEN, PurgeScope};
use std::time::{Duration, UNIX_EPOCH};

pub(crate) async fn purge_scopes_that_are_too_long_are_refused(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert(&key(1), body(1, 1, 100)).await.unwrap();
    let (half, max) = (MAX_KEY_LEN / 2, MAX_KEY_LEN);
    for scope in [
        PurgeScope::Namespace(bytes(max + 1)),
        PurgeScope::Path { namespace: bytes(half), path: bytes(half + 1) },
        PurgeScope::Prefix { namespace: bytes(half), prefix: bytes(half + 1) },
    ] {
        too_large(cache.purge(scope).await, max + 1, max);
    }
    too_large(cache.purge(PurgeScope::Tag(bytes(MAX_TAG_LEN + 1))).await, MAX_TAG_LEN + 1, MAX_TAG_LEN);
    cache.purge(PurgeScope::Namespace(bytes(max))).await.unwrap();
    assert!(get(&cache, &key(1)).await.is_some());
}

pub(crate) async fn empty_scopes_mean_what_they_say(ctx: Ctx) {
    let cache = ctx.open().await;
    let plain = CacheKey::from("");
    cache.insert(&plain, body(1, 1, 10)).await.unwrap();
    cache.insert(&key(1), body(1, 1, 10)).await.unwrap();
    cache.purge(PurgeScope::Tag(Bytes::new())).await.unwrap();
    assert!(get(&cache, &plain).await.is_some(), "it has no tag, not an empty one");
    cache.purge(PurgeScope::Namespace(Bytes::new())).await.unwrap();
    assert!(get(&cache, &plain).await.is_none() && get(&cache, &key(1)).await.is_some());
    cache.insert(&plain, body(1, 2, 10)).await.unwrap();
    cache.purge(PurgeScope::Path { namespace: Bytes::new(), path: Bytes::new() }).await.unwrap();
    assert!(get(&cache, &plain).await.is_none() && get(&cache, &key(1)).await.is_some());
}

pub(crate) async fn a_range_past_the_end_is_refused_with_its_numbers(ctx: Ctx) {
    let cache = ctx.open().await;
    for (n, size) in [(1, 0u64), (2, 700), (3, LARGE as u64)] {
        cache.insert(&key(n), body(n, 1, size as usize)).await.unwrap();
        let hit = hit(&cache, &key(n)).await;
        #[expect(clippy::reversed_empty_ranges, reason = "it must be refused")]
        for range in [0..size + 1, size..size + 1, size + 1..size + 1, 5..4, 0..u64::MAX, u64::MAX..u64::MAX]
        {
            match hit.read_range(range.clone()).await {
                Err(Error::InvalidRange { start, end, len }) => {
                    assert_eq!((start, end, len), (range.start, range.end, size));
                }
                other => panic!("{range:?} of {size}: {other:?}"),
            }
        }
        assert_eq!(hit.read_range(size..size).await.unwrap(), Bytes::new());
    }
}

pub(crate) async fn a_seek_past_the_end_is_refused_and_the_reader_stays(ctx: Ctx) {
    let cache = ctx.open().await;
    for (n, len) in [(1, 700u64), (2, LARGE as u64)] {
        cache.insert(&key(n), body(n, 1, len as usize)).await.unwrap();
        let mut reader = hit(&cache, &key(n)).await.reader();
        reader.seek(7, Some(20)).unwrap();
        for (start, end) in [(len + 1, None), (0, Some(len + 1)), (9, Some(8)), (u64::MAX, None)] {
            assert!(matches!(reader.seek(start, end), Err(Error::InvalidRange { .. })), "{start} to {end:?}");
        }
        assert_eq!(reader.position(), 7);
        assert_eq!(reader.next().await.unwrap().unwrap(), body(n, 1, 20)[7..]);
        assert!(reader.next().await.unwrap().is_none());
    }
}

pub(crate) async fn a_zero_ttl_is_stale_at_once(ctx: Ctx) {
    let cache = ctx.builder().default_ttl(Duration::ZERO).open().await.unwrap();
    cache.insert(&key(1), body(1, 1, 10)).await.unwrap();
    let zero = InsertOptions::new().expiry(Expiry::After(Duration::ZERO));
    cache.insert_with(&key(2), body(2, 1, 10), zero).await.unwrap();
    for n in [1, 2] {
        assert!(get(&cache, &key(n)).await.is_none() && !cache.contains(&key(n)));
        assert!(find_stale(&cache, &key(n)).await.unwrap().is_stale());
    }
}

pub(crate) async fn an_expiry_in_the_past_is_stale_at_once(ctx: Ctx) {
    let cache = ctx.open().await;
    for at in [
        UNIX_EPOCH,
        UNIX_EPOCH - Duration::from_secs(86_400),
        crate::common::epoch() - Duration::from_millis(1),
    ] {
        cache
            .insert_with(&key(1), body(1, 1, 10), InsertOptions::new().expiry(Expiry::At(at)))
            .await
            .unwrap();
        assert!(get(&cache, &key(1)).await.is_none(), "{at:?}");
        assert!(find_stale(&cache, &key(1)).await.unwrap().is_stale(), "{at:?}");
    }
}

pub(crate) async fn an_expiry_beyond_all_time_is_never_reached(ctx: Ctx) {
    let cache = ctx.open().await;
    let far = crate::common::epoch() + Duration::from_secs(1 << 40);
    for expiry in [Expiry::After(Duration::MAX), Expiry::At(far)] {
        cache.insert_with(&key(1), body(1, 1, 10), InsertOptions::new().expiry(expiry)).await.unwrap();
        assert!(!hit(&cache, &key(1)).await.is_stale(), "{expiry:?}");
    }
}

pub(crate) async fn an_operation_after_close_is_refused_and_a_second_close_too(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.close().await.unwrap();
    for _ in 0..2 {
        assert!(matches!(cache.insert(&key(1), bytes(1)).await, Err(Error::Closed)));
        assert!(matches!(cache.close().await, Err(Error::Closed)));
    }
    assert_eq!(ctx.open().await.stats().entries, 0);
}

pub(crate) async fn errors_say_what_to_do(ctx: Ctx) {
    let cache = ctx.open().await;
    let locked = ctx.builder().open().await.unwrap_err().to_string();
    assert!(locked.contains("LOCK") && locked.contains("another directory"), "{locked}");
    let small = ctx.builder().capacity(ByteSize::kib(1)).open().await.unwrap_err().to_string();
    assert!(small.contains("capacity") && small.contains("at least"), "{small}");
    cache.insert(&key(1), bytes(5)).await.unwrap();
    let range = hit(&cache, &key(1)).await.read_range(3..9).await.unwrap_err().to_string();
    assert!(range.contains("3..9") && range.contains("5 bytes"), "{range}");
    let large = cache.insert_with(&key(1), bytes(1), InsertOptions::new().meta(bytes(70_000))).await;
    let large = large.unwrap_err().to_string();
    assert!(large.contains("meta") && large.contains("65536"), "{large}");
    cache.close().await.unwrap();
    let closed = cache.get(&key(1)).await.unwrap_err().to_string();
    assert!(closed.contains("open it again"), "{closed}");
}
