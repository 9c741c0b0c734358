//! What a purge reaches, and what it leaves.

use crate::{
    common::{Ctx, LARGE, body, get, key, peek},
    scope_of, stale,
};
use bytes::Bytes;
use disk_cache::{CacheKey, Error, InsertOptions, PurgeMode, PurgeScope};

pub(crate) async fn an_insert_is_not_hit_by_an_earlier_purge(ctx: Ctx) {
    let cache = ctx.open().await;
    for kind in 0..5 {
        for mode in [PurgeMode::Remove, PurgeMode::Expire] {
            cache.purge_with(scope_of(kind), mode).await.unwrap();
        }
    }
    cache.insert_with(&key(1), body(1, 1, 10), InsertOptions::new().tag("tag")).await.unwrap();
    assert!(cache.contains(&key(1)));
    assert_eq!(get(&cache, &key(1)).await, Some(body(1, 1, 10)));
}

pub(crate) async fn purge_all_removes_everything(ctx: Ctx) {
    let cache = ctx.open().await;
    let keys: Vec<_> = (0..20).map(|n| CacheKey::new(format!("ns-{}", n % 3), format!("p{n}"))).collect();
    for key in &keys {
        cache.insert(key, body(1, 1, 100)).await.unwrap();
    }
    cache.purge(PurgeScope::All).await.unwrap();
    for key in &keys {
        assert!(peek(&cache, key).await.is_none() && !cache.contains(key));
    }
    assert_eq!((cache.stats().entries, cache.stats().live_bytes, cache.stats().purged), (0, 0, 20));
}

pub(crate) async fn purge_namespace_leaves_the_others(ctx: Ctx) {
    let cache = ctx.open().await;
    let of = |namespace: &str| CacheKey::new(namespace, "p");
    for namespace in ["a", "ab", "", "b"] {
        cache.insert(&of(namespace), body(1, 1, 100)).await.unwrap();
        cache.insert(&of(namespace).with_variant("v"), body(1, 1, 100)).await.unwrap();
    }
    cache.purge(PurgeScope::Namespace("a".into())).await.unwrap();
    for (namespace, there) in [("a", false), ("ab", true), ("", true), ("b", true)] {
        assert_eq!(get(&cache, &of(namespace)).await.is_some(), there, "{namespace:?}");
        assert_eq!(get(&cache, &of(namespace).with_variant("v")).await.is_some(), there, "{namespace:?}");
    }
}

pub(crate) async fn purge_path_takes_every_variant_and_nothing_else(ctx: Ctx) {
    let cache = ctx.open().await;
    let gone = [CacheKey::new("n", "a/b"), CacheKey::new("n", "a/b").with_variant("x")];
    let kept = [CacheKey::new("n", "a/bc"), CacheKey::new("n", "a"), CacheKey::new("m", "a/b")];
    for key in gone.iter().chain(&kept) {
        cache.insert(key, body(1, 1, 100)).await.unwrap();
    }
    cache.purge(PurgeScope::Path { namespace: "n".into(), path: "a/b".into() }).await.unwrap();
    for key in &gone {
        assert!(peek(&cache, key).await.is_none(), "{key:?}");
    }
    for key in &kept {
        assert!(get(&cache, key).await.is_some(), "{key:?}");
    }
}

pub(crate) async fn purge_prefix_need_not_end_at_a_boundary(ctx: Ctx) {
    let cache = ctx.open().await;
    let paths = ["img/a", "img/ab", "img/ab/c", "img", "im", "IMG/ab"];
    for path in paths {
        cache.insert(&CacheKey::new("n", path).with_variant("v"), body(1, 1, 100)).await.unwrap();
    }
    cache.purge(PurgeScope::Prefix { namespace: "n".into(), prefix: "img/ab".into() }).await.unwrap();
    for path in paths {
        let key = CacheKey::new("n", path).with_variant("v");
        assert_eq!(get(&cache, &key).await.is_some(), !path.starts_with("img/ab"), "{path}");
    }
    cache.purge(PurgeScope::Prefix { namespace: "m".into(), prefix: Bytes::new() }).await.unwrap();
    assert!(get(&cache, &CacheKey::new("n", "im").with_variant("v")).await.is_some(), "another namespace");
    cache.purge(PurgeScope::Prefix { namespace: "n".into(), prefix: Bytes::new() }).await.unwrap();
    assert!(get(&cache, &CacheKey::new("n", "im").with_variant("v")).await.is_none());
}

pub(crate) async fn purge_prefix_sees_the_label_instead_of_the_path(ctx: Ctx) {
    let cache = ctx.open().await;
    let (labelled, bare) = (CacheKey::new("n", "0123456789abcdef"), CacheKey::new("n", "https://host/x"));
    cache.insert_with(&labelled, body(1, 1, 10), InsertOptions::new().label("https://host/a")).await.unwrap();
    cache.insert(&bare, body(2, 1, 10)).await.unwrap();
    cache.purge(PurgeScope::Prefix { namespace: "n".into(), prefix: "0123".into() }).await.unwrap();
    assert!(get(&cache, &labelled).await.is_some(), "its path is not what counts");
    cache.purge(PurgeScope::Prefix { namespace: "n".into(), prefix: "https://host/".into() }).await.unwrap();
    assert!(get(&cache, &labelled).await.is_none() && get(&cache, &bare).await.is_none());
}

pub(crate) async fn purge_tag_reaches_every_namespace(ctx: Ctx) {
    let cache = ctx.open().await;
    let of = |namespace: &str, n: u64| CacheKey::new(namespace, format!("p{n}"));
    for namespace in ["a", "b"] {
        let options = InsertOptions::new().tag("red").tag("round");
        cache.insert_with(&of(namespace, 1), body(1, 1, 10), options).await.unwrap();
        cache
            .insert_with(&of(namespace, 2), body(2, 1, 10), InsertOptions::new().tag("redder"))
            .await
            .unwrap();
        cache.insert(&of(namespace, 3), body(3, 1, 10)).await.unwrap();
    }
    cache.purge(PurgeScope::Tag("round".into())).await.unwrap();
    for namespace in ["a", "b"] {
        assert!(peek(&cache, &of(namespace, 1)).await.is_none());
        assert!(get(&cache, &of(namespace, 2)).await.is_some());
        assert!(get(&cache, &of(namespace, 3)).await.is_some());
    }
}

pub(crate) async fn a_soft_purge_of_each_scope_makes_stale_what_a_hard_one_removes(ctx: Ctx) {
    let cache = ctx.open().await;
    let other = CacheKey::new("else", "where");
    for kind in 0..5 {
        for (n, len) in [(1, 300), (1, LARGE)] {
            cache.insert_with(&key(n), body(n, 1, len), InsertOptions::new().tag("tag")).await.unwrap();
            cache.insert(&other, body(7, 7, 10)).await.unwrap();
            cache.purge_with(scope_of(kind), PurgeMode::Expire).await.unwrap();
            assert!(stale(&cache, &key(n)).await, "scope {kind}");
            assert_eq!(peek(&cache, &key(n)).await, Some(body(n, 1, len)));
            assert_eq!(get(&cache, &other).await.is_some(), kind != 0, "scope {kind}");
            cache.purge_with(scope_of(kind), PurgeMode::Remove).await.unwrap();
            assert!(peek(&cache, &key(n)).await.is_none(), "scope {kind}");
            assert_eq!(get(&cache, &other).await.is_some(), kind != 0, "scope {kind}");
        }
    }
}

pub(crate) async fn a_purge_reaches_large_bodies_too(ctx: Ctx) {
    let cache = ctx.open().await;
    for n in 0..5 {
        cache.insert(&key(n), body(n, 1, LARGE)).await.unwrap();
    }
    cache.purge(scope_of(1)).await.unwrap();
    for n in 0..5 {
        assert!(peek(&cache, &key(n)).await.is_none());
    }
    cache.flush().await.unwrap();
    crate::common::until("the bodies are unlinked", || ctx.object_files().is_empty()).await;
    assert_eq!(cache.stats().live_bytes, 0);
}

/// Such a record was owed to the log for ever, and nothing could be written any more.
pub(crate) async fn a_purge_too_long_for_a_segment_is_refused_and_hurts_nobody(ctx: Ctx) {
    let small = disk_cache::ByteSize::kib(8);
    let cache = ctx.builder().segment_size(small).open().await.unwrap();
    cache.insert(&key(1), body(1, 1, 10)).await.unwrap();
    let scope = PurgeScope::Prefix { namespace: "ns".into(), prefix: vec![b'x'; 10_000].into() };
    let refused = cache.purge(scope).await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    for n in 2..100 {
        cache.insert(&key(n), body(n, 1, 500)).await.unwrap();
    }
    assert!(cache.remove(&key(50)).await.unwrap());
    cache.flush().await.unwrap();
    assert_eq!(get(&cache, &key(99)).await, Some(body(99, 1, 500)));
}

pub(crate) async fn contains_is_false_where_a_purge_by_tag_might_apply(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert_with(&key(1), body(1, 1, 10), InsertOptions::new().tag("a")).await.unwrap();
    cache.insert(&key(2), body(2, 1, 10)).await.unwrap();
    cache.purge(PurgeScope::Tag("b".into())).await.unwrap();
    assert!(!cache.contains(&key(1)), "only its record knows its tags");
    assert!(cache.contains(&key(2)), "it has no tags");
    assert!(get(&cache, &key(1)).await.is_some(), "a get reads before it knows");
}

pub(crate) async fn remove_of_a_key_that_a_tag_or_label_purged_is_false(ctx: Ctx) {
    let cache = ctx.open().await;
    let options = InsertOptions::new().tag("tag").label("label");
    for purge in [scope_of(4), PurgeScope::Prefix { namespace: "ns".into(), prefix: "lab".into() }] {
        for (n, len) in [(1, 10), (2, LARGE)] {
            cache.insert_with(&key(n), body(n, 1, len), options.clone()).await.unwrap();
        }
        cache.purge(purge).await.unwrap();
        // Stored after the purge, which it looks as if it might be hit by.
        cache.insert_with(&key(3), body(3, 1, 10), options.clone()).await.unwrap();
        cache.purge(PurgeScope::Tag("another".into())).await.unwrap();
        assert!(!cache.remove(&key(1)).await.unwrap() && !cache.remove(&key(2)).await.unwrap());
        assert!(cache.remove(&key(3)).await.unwrap());
    }
    assert_eq!(cache.stats().removes, 2);
}
