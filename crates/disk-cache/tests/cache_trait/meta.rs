//! A new meta or expiry for an entry that stays.

use crate::{
    common::{Ctx, LARGE, body, epoch, get, hit, id, key, peek},
    scope_of, stale,
};
use bytes::Bytes;
use disk_cache::{EntryId, Expiry, InsertOptions, PurgeMode, PurgeScope};
use std::time::Duration;

pub(crate) async fn update_meta_changes_the_meta_and_keeps_body_id_and_creation(ctx: Ctx) {
    let cache = ctx.open().await;
    for (n, len) in [(1, 700), (2, LARGE)] {
        let options = InsertOptions::new().meta("first");
        let stored = id(&cache.insert_with(&key(n), body(n, 1, len), options).await.unwrap());
        let created = hit(&cache, &key(n)).await.created_at();
        ctx.clock.advance(Duration::from_secs(5));
        for meta in ["second, which is longer", ""] {
            assert!(cache.update_meta((&key(n), stored), meta.into(), Expiry::Keep).await.unwrap());
            let hit = hit(&cache, &key(n)).await;
            assert_eq!((hit.id(), hit.created_at(), hit.meta().as_ref()), (stored, created, meta.as_bytes()));
            assert_eq!(hit.bytes().await.unwrap(), body(n, 1, len));
        }
    }
    assert_eq!((cache.stats().entries, cache.stats().inserts), (2, 2));
}

pub(crate) async fn update_meta_of_another_id_changes_nothing(ctx: Ctx) {
    let cache = ctx.open().await;
    let options = InsertOptions::new().meta("first");
    let stored = id(&cache.insert_with(&key(1), body(1, 1, 10), options).await.unwrap());
    let wrong = EntryId(stored.0 + 1);
    assert!(!cache.update_meta((&key(1), wrong), "second".into(), Expiry::Never).await.unwrap());
    assert_eq!(hit(&cache, &key(1)).await.meta(), "first");
}

pub(crate) async fn update_meta_of_an_unknown_key_is_false(ctx: Ctx) {
    let cache = ctx.open().await;
    assert!(!cache.update_meta(&key(1), "m".into(), Expiry::Never).await.unwrap());
    cache.insert(&key(1), body(1, 1, 10)).await.unwrap();
    cache.purge(scope_of(2)).await.unwrap();
    assert!(!cache.update_meta(&key(1), "m".into(), Expiry::Never).await.unwrap(), "it was purged");
    assert!(peek(&cache, &key(1)).await.is_none());
}

pub(crate) async fn update_meta_sets_keeps_and_lifts_the_expiry(ctx: Ctx) {
    let cache = ctx.open().await;
    let minute = Duration::from_secs(60);
    let options = InsertOptions::new().expiry(Expiry::After(minute));
    cache.insert_with(&key(1), body(1, 1, 10), options).await.unwrap();
    ctx.clock.advance(minute / 2);
    assert!(cache.update_meta(&key(1), Bytes::new(), Expiry::Keep).await.unwrap());
    assert_eq!(hit(&cache, &key(1)).await.expires_at(), Some(epoch() + minute));
    assert!(cache.update_meta(&key(1), Bytes::new(), Expiry::After(minute)).await.unwrap());
    assert_eq!(hit(&cache, &key(1)).await.expires_at(), Some(epoch() + minute * 3 / 2));
    let at = epoch() + Duration::from_secs(7777);
    assert!(cache.update_meta(&key(1), Bytes::new(), Expiry::At(at)).await.unwrap());
    assert_eq!(hit(&cache, &key(1)).await.expires_at(), Some(at));
    assert!(cache.update_meta(&key(1), Bytes::new(), Expiry::Never).await.unwrap());
    assert_eq!(hit(&cache, &key(1)).await.expires_at(), None);
}

pub(crate) async fn update_meta_of_a_large_body_writes_one_small_record(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert(&key(1), body(1, 1, LARGE)).await.unwrap();
    let files = ctx.object_files();
    let before = cache.stats().bytes_written;
    assert!(cache.update_meta(&key(1), body(9, 9, 100), Expiry::Never).await.unwrap());
    let written = cache.stats().bytes_written - before;
    assert!(written > 100 && written < 400, "{written} bytes");
    assert_eq!(ctx.object_files(), files, "the body stays where it is");
    assert_eq!(get(&cache, &key(1)).await, Some(body(1, 1, LARGE)));
}

pub(crate) async fn of_concurrent_new_metas_one_is_left_whole(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert(&key(1), body(1, 1, 700)).await.unwrap();
    let tasks: Vec<_> = (0..16)
        .map(|n| {
            let cache = cache.clone();
            tokio::spawn(
                async move { cache.update_meta(&key(1), body(n, n, 50), Expiry::Never).await.unwrap() },
            )
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap(), "the entry was there all the time");
    }
    let hit = hit(&cache, &key(1)).await;
    assert!((0..16).any(|n| hit.meta() == &body(n, n, 50)), "{:?}", hit.meta());
    assert_eq!(hit.bytes().await.unwrap(), body(1, 1, 700));
    assert_eq!(cache.stats().entries, 1);
}

pub(crate) async fn update_meta_keeps_tags_and_label(ctx: Ctx) {
    let cache = ctx.open().await;
    for n in [1, 2] {
        let options = InsertOptions::new().tag("tag").label("label/x");
        cache.insert_with(&key(n), body(n, 1, 10), options).await.unwrap();
        assert!(cache.update_meta(&key(n), "m".into(), Expiry::Never).await.unwrap());
    }
    cache.purge(PurgeScope::Prefix { namespace: "ns".into(), prefix: "path".into() }).await.unwrap();
    assert!(peek(&cache, &key(1)).await.is_some(), "what has a label is met by that");
    cache.purge(scope_of(4)).await.unwrap();
    assert!(peek(&cache, &key(1)).await.is_none() && peek(&cache, &key(2)).await.is_none());
}

pub(crate) async fn expire_makes_an_entry_stale_and_keeps_its_body(ctx: Ctx) {
    let cache = ctx.open().await;
    for (n, len) in [(1, 700), (2, LARGE)] {
        let stored = id(&cache.insert(&key(n), body(n, 1, len)).await.unwrap());
        assert_eq!(cache.expire(&key(n)).await.unwrap(), Some(stored));
        assert!(stale(&cache, &key(n)).await);
        assert_eq!(peek(&cache, &key(n)).await, Some(body(n, 1, len)));
    }
    assert_eq!(cache.expire(&key(3)).await.unwrap(), None, "it is not there");
}

pub(crate) async fn expire_of_another_id_leaves_the_entry_fresh(ctx: Ctx) {
    let cache = ctx.open().await;
    let old = id(&cache.insert(&key(1), body(1, 1, 10)).await.unwrap());
    let new = id(&cache.insert(&key(1), body(1, 2, 10)).await.unwrap());
    assert_eq!(cache.expire((&key(1), old)).await.unwrap(), None);
    assert!(!hit(&cache, &key(1)).await.is_stale());
    assert_eq!(cache.expire((&key(1), new)).await.unwrap(), Some(new));
    assert!(stale(&cache, &key(1)).await);
}

pub(crate) async fn update_meta_lifts_an_expire_and_every_soft_purge(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert_with(&key(1), body(1, 1, 10), InsertOptions::new().tag("tag")).await.unwrap();
    for kind in 0..6 {
        match kind {
            5 => assert!(cache.expire(&key(1)).await.unwrap().is_some()),
            _ => cache.purge_with(scope_of(kind), PurgeMode::Expire).await.unwrap(),
        }
        assert!(stale(&cache, &key(1)).await, "scope {kind}");
        assert!(cache.update_meta(&key(1), "new".into(), Expiry::Never).await.unwrap());
        assert!(!hit(&cache, &key(1)).await.is_stale(), "scope {kind}");
    }
}
