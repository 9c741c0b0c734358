//! Keys, metas, bodies, labels and tags at their limits and past them.

use crate::{
    bytes,
    common::{Ctx, LARGE, body, get, hit, key, peek},
    roomy, too_large,
};
use bytes::Bytes;
use disk_cache::{
    ByteSize, CacheKey, Error, Expiry, InsertOptions, MAX_KEY_LEN, MAX_LABEL_LEN, MAX_META_LEN, MAX_TAG_LEN,
    MAX_TAGS, PurgeScope,
};
use std::fs;

/// A key whose canonical form has this length.
fn key_of(len: usize) -> CacheKey {
    let key = CacheKey::from("k".repeat(len - 12));
    assert_eq!(key.as_bytes().len(), len);
    key
}

pub(crate) async fn keys_of_no_bytes_to_the_longest_are_stored_and_longer_ones_refused(ctx: Ctx) {
    let cache = roomy(&ctx).open().await.unwrap();
    for len in [12, 13, MAX_KEY_LEN - 1, MAX_KEY_LEN] {
        cache.insert(&key_of(len), body(1, len as u64, 100)).await.unwrap();
    }
    for len in [12, 13, MAX_KEY_LEN - 1, MAX_KEY_LEN] {
        assert_eq!(get(&cache, &key_of(len)).await, Some(body(1, len as u64, 100)), "{len}");
    }
    for len in [MAX_KEY_LEN + 1, 70_000] {
        too_large(cache.insert(&key_of(len), bytes(1)).await, len, MAX_KEY_LEN);
    }
    assert_eq!(cache.stats().entries, 4);
}

pub(crate) async fn a_key_that_is_too_long_is_no_entry_for_any_verb(ctx: Ctx) {
    let cache = ctx.open().await;
    let long = key_of(MAX_KEY_LEN + 1);
    assert!(cache.get(&long).await.unwrap().is_none());
    assert!(!cache.contains(&long));
    too_large(cache.remove(&long).await, MAX_KEY_LEN + 1, MAX_KEY_LEN);
    too_large(cache.remove_entry(&long).await, MAX_KEY_LEN + 1, MAX_KEY_LEN);
    too_large(cache.expire(&long).await, MAX_KEY_LEN + 1, MAX_KEY_LEN);
    too_large(cache.update_meta(&long, Bytes::new(), Expiry::Keep).await, MAX_KEY_LEN + 1, MAX_KEY_LEN);
}

pub(crate) async fn metas_of_no_bytes_to_the_longest_are_stored_and_longer_ones_refused(ctx: Ctx) {
    let cache = roomy(&ctx).open().await.unwrap();
    for len in [0, 1, MAX_META_LEN - 1, MAX_META_LEN] {
        for body_len in [10, LARGE * 10] {
            cache
                .insert_with(&key(1), body(1, 1, body_len), InsertOptions::new().meta(bytes(len)))
                .await
                .unwrap();
            let hit = hit(&cache, &key(1)).await;
            assert_eq!((hit.meta(), hit.bytes().await.unwrap()), (&bytes(len), body(1, 1, body_len)));
        }
    }
    let options = InsertOptions::new().meta(bytes(MAX_META_LEN + 1));
    too_large(cache.insert_with(&key(2), bytes(1), options).await, MAX_META_LEN + 1, MAX_META_LEN);
}

pub(crate) async fn a_refused_insert_leaves_the_other_entries_and_no_older_value(ctx: Ctx) {
    let cache = ctx.open().await;
    for n in 0..5 {
        cache.insert(&key(n), body(n, 1, 100)).await.unwrap();
    }
    let options = InsertOptions::new().meta(bytes(MAX_META_LEN + 1));
    too_large(cache.insert_with(&key(2), bytes(1), options).await, MAX_META_LEN + 1, MAX_META_LEN);
    assert!(peek(&cache, &key(2)).await.is_none(), "who replaces a value is never given the old one again");
    for n in [0, 1, 3, 4] {
        assert_eq!(get(&cache, &key(n)).await, Some(body(n, 1, 100)));
    }
}

pub(crate) async fn a_new_meta_that_is_too_long_leaves_the_entry_as_it_was(ctx: Ctx) {
    let cache = roomy(&ctx).open().await.unwrap();
    cache.insert_with(&key(1), body(1, 1, 100), InsertOptions::new().meta("first")).await.unwrap();
    let refused = cache.update_meta(&key(1), bytes(MAX_META_LEN + 1), Expiry::Never).await;
    too_large(refused, MAX_META_LEN + 1, MAX_META_LEN);
    let hit = hit(&cache, &key(1)).await;
    assert_eq!((hit.meta().as_ref(), hit.bytes().await.unwrap()), (&b"first"[..], body(1, 1, 100)));
}

pub(crate) async fn bodies_around_the_border_of_large_ones_come_back(ctx: Ctx) {
    let cache = ctx.open().await;
    let border = crate::common::SEGMENT as usize / 8;
    for (n, len) in [0, 1, border - 1, border, border + 1, 65_535, 65_536, 65_537].into_iter().enumerate() {
        cache.insert(&key(n as u64), body(n as u64, 1, len)).await.unwrap();
        assert_eq!(get(&cache, &key(n as u64)).await, Some(body(n as u64, 1, len)), "{len} bytes");
    }
    assert_eq!(ctx.object_files().len(), 4, "the longer ones are out of line");
}

pub(crate) async fn bodies_of_the_largest_size_are_stored_and_larger_ones_refused(ctx: Ctx) {
    let cache = ctx.open().await;
    let max = (16 * crate::common::SEGMENT) as usize;
    for len in [max - 1, max] {
        cache.insert(&key(1), body(1, len as u64, len)).await.unwrap();
        assert_eq!(get(&cache, &key(1)).await, Some(body(1, len as u64, len)));
    }
    too_large(cache.insert(&key(1), bytes(max + 1)).await, max + 1, max);
    assert!(peek(&cache, &key(1)).await.is_none());
}

pub(crate) async fn the_largest_size_may_be_set(ctx: Ctx) {
    let cache = ctx.builder().max_entry_size(ByteSize::bytes_of(1000)).open().await.unwrap();
    cache.insert(&key(1), bytes(1000)).await.unwrap();
    too_large(cache.insert(&key(1), bytes(1001)).await, 1001, 1000);
}

pub(crate) async fn labels_of_no_bytes_to_the_longest_are_stored_and_longer_ones_refused(ctx: Ctx) {
    let cache = ctx.open().await;
    for len in [0, 1, MAX_LABEL_LEN] {
        let key = CacheKey::new("n", format!("{len}"));
        cache.insert_with(&key, bytes(1), InsertOptions::new().label(bytes(len))).await.unwrap();
    }
    let options = InsertOptions::new().label(bytes(MAX_LABEL_LEN + 1));
    too_large(cache.insert_with(&key(2), bytes(1), options).await, MAX_LABEL_LEN + 1, MAX_LABEL_LEN);
    cache.purge(PurgeScope::Prefix { namespace: "n".into(), prefix: bytes(MAX_LABEL_LEN) }).await.unwrap();
    for len in [0, 1, MAX_LABEL_LEN] {
        let there = get(&cache, &CacheKey::new("n", format!("{len}"))).await.is_some();
        assert_eq!(there, len != MAX_LABEL_LEN, "{len}");
    }
}

pub(crate) async fn tags_up_to_the_longest_and_most_are_stored_and_more_refused(ctx: Ctx) {
    let cache = roomy(&ctx).open().await.unwrap();
    let with = |count: usize, len: usize| {
        (0..count).fold(InsertOptions::new(), |o, n| o.tag([bytes(len - 1), vec![n as u8].into()].concat()))
    };
    cache.insert_with(&key(1), bytes(1), with(MAX_TAGS, MAX_TAG_LEN)).await.unwrap();
    cache.insert_with(&key(2), bytes(1), InsertOptions::new().tag("")).await.unwrap();
    too_large(cache.insert_with(&key(3), bytes(1), with(MAX_TAGS + 1, 4)).await, MAX_TAGS + 1, MAX_TAGS);
    too_large(
        cache.insert_with(&key(3), bytes(1), with(1, MAX_TAG_LEN + 1)).await,
        MAX_TAG_LEN + 1,
        MAX_TAG_LEN,
    );
    let last = [bytes(MAX_TAG_LEN - 1), vec![MAX_TAGS as u8 - 1].into()].concat();
    cache.purge(PurgeScope::Tag(last.into())).await.unwrap();
    assert!(get(&cache, &key(1)).await.is_none() && get(&cache, &key(2)).await.is_some());
    cache.purge(PurgeScope::Tag(Bytes::new())).await.unwrap();
    assert!(get(&cache, &key(2)).await.is_none());
}

pub(crate) async fn everything_at_its_limit_at_once_is_stored(ctx: Ctx) {
    let cache = roomy(&ctx).open().await.unwrap();
    let options = (0..MAX_TAGS).fold(InsertOptions::new(), |o, _| o.tag(bytes(MAX_TAG_LEN)));
    let options = options.meta(bytes(MAX_META_LEN)).label(bytes(MAX_LABEL_LEN));
    let border = 128 << 10;
    for len in [0, border, border + 1] {
        let key = key_of(MAX_KEY_LEN);
        cache.insert_with(&key, body(1, 1, len), options.clone()).await.unwrap();
        let hit = hit(&cache, &key).await;
        assert_eq!((hit.meta().len(), hit.bytes().await.unwrap()), (MAX_META_LEN, body(1, 1, len)));
    }
    cache.close().await.unwrap();
    fs::remove_file(ctx.snapshot()).unwrap();
    let cache = roomy(&ctx).open().await.unwrap();
    assert_eq!(get(&cache, &key_of(MAX_KEY_LEN)).await, Some(body(1, 1, border + 1)));
}

pub(crate) async fn a_record_too_long_for_its_segment_is_refused(ctx: Ctx) {
    let builder = ctx.builder().segment_size(ByteSize::kib(8)).capacity(ByteSize::kib(256));
    let cache = builder.open().await.unwrap();
    for (n, len) in [(1, 100), (2, LARGE)] {
        let refused =
            cache.insert_with(&key(n), body(n, 1, len), InsertOptions::new().meta(bytes(8000))).await;
        assert!(matches!(refused, Err(Error::TooLarge { len: 8001.., max: ..8192, .. })), "{refused:?}");
    }
    cache.insert_with(&key(1), body(1, 1, 100), InsertOptions::new().meta(bytes(7000))).await.unwrap();
    let refused = cache.update_meta(&key(1), bytes(8000), Expiry::Keep).await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    assert_eq!(hit(&cache, &key(1)).await.meta().len(), 7000);
    crate::common::until("nothing is left of the refused body", || ctx.object_files().is_empty()).await;
}
