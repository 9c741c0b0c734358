//! Handles, generic and dynamic ones among them, and their end.

use crate::common::{Ctx, LARGE, body, get, id, key, unlocked};
use bytes::Bytes;
use disk_cache::{
    Cache, Durability, DynCache, Error, Expiry, Fetched, Fill, GetOptions, InsertOptions, Inserted,
    PurgeMode, PurgeScope,
};
use futures_util::FutureExt;
use std::{
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
};

pub(crate) async fn every_verb_says_closed_after_close(ctx: Ctx) {
    let cache = ctx.open().await;
    let stored = id(&cache.insert(&key(1), body(1, 1, 10)).await.unwrap());
    cache.close().await.unwrap();
    fn closed<T: std::fmt::Debug>(verb: &str, result: Result<T, Error>) {
        assert!(matches!(result, Err(Error::Closed)), "{verb}: {result:?}");
    }
    let k = key(1);
    closed("get", cache.get(&k).await);
    closed("get_with", cache.get_with(&k, GetOptions::new().peek(true)).await);
    closed("insert", cache.insert(&k, body(1, 1, 10)).await);
    closed("insert, large", cache.insert(&k, body(1, 1, LARGE)).await);
    closed("insert_with", cache.insert_with(&k, body(1, 1, 10), InsertOptions::new()).await);
    closed("remove", cache.remove(&k).await);
    closed("remove_with", cache.remove_with(&k, Durability::Buffered).await);
    closed("remove_entry", cache.remove_entry((&k, stored)).await);
    closed("update_meta", cache.update_meta(&k, Bytes::new(), Expiry::Never).await);
    closed("expire", cache.expire(&k).await);
    closed("purge", cache.purge(PurgeScope::All).await);
    closed("purge_with", cache.purge_with(PurgeScope::All, PurgeMode::Expire).await);
    closed("clear", cache.clear().await);
    closed("flush", cache.flush().await);
    closed("close", cache.close().await);
    assert!(!cache.contains(&k));
    assert_eq!(cache.stats().in_flight, 0);
    let again = ctx.open().await;
    assert_eq!(get(&again, &k).await, Some(body(1, 1, 10)), "none of it did anything");
}

pub(crate) async fn two_handles_see_one_cache(ctx: Ctx) {
    let one = ctx.open().await;
    let two = one.clone();
    one.insert(&key(1), body(1, 1, 10)).await.unwrap();
    assert_eq!(get(&two, &key(1)).await, Some(body(1, 1, 10)));
    two.remove(&key(1)).await.unwrap();
    assert!(get(&one, &key(1)).await.is_none());
    drop(one);
    two.insert(&key(2), body(2, 1, 10)).await.unwrap();
    assert_eq!(get(&two, &key(2)).await, Some(body(2, 1, 10)), "the other handle's end is not its own");
    assert_eq!(two.stats().inserts, 2);
    two.clone().close().await.unwrap();
    assert!(matches!(two.get(&key(2)).await, Err(Error::Closed)));
}

pub(crate) async fn the_last_handle_closes_in_the_background(ctx: Ctx) {
    let cache = ctx.open().await;
    for n in 0..50 {
        cache.insert(&key(n), body(n, 1, 500)).await.unwrap();
    }
    drop(cache.clone());
    assert!(matches!(ctx.builder().open().await, Err(Error::Locked { .. })), "one handle is left");
    drop(cache);
    unlocked(&ctx.dir).await;
    assert!(ctx.snapshot().exists(), "it was a clean close");
    let again = ctx.open().await;
    assert_eq!(again.recovery_report().entries, 50);
    assert_eq!(get(&again, &key(49)).await, Some(body(49, 1, 500)));
}

pub(crate) async fn an_operation_that_is_dropped_leaves_the_cache_whole(ctx: Ctx) {
    let cache = ctx.open().await;
    for n in 0..60 {
        let len = if n % 3 == 0 { LARGE } else { 500 };
        let key = key(n);
        // Polled so often, then dropped.
        let mut insert = Box::pin(cache.insert_with(&key, body(n, 1, len), crate::common::synced()));
        for _ in 0..n % 5 {
            if (&mut insert).now_or_never().is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(insert);
    }
    cache.flush().await.unwrap();
    assert_eq!(cache.stats().in_flight, 0);
    for n in 0..60 {
        let len = if n % 3 == 0 { LARGE } else { 500 };
        let found = get(&cache, &key(n)).await;
        assert!(found.is_none() || found == Some(body(n, 1, len)), "entry {n}");
    }
    let entries = cache.stats().entries as usize;
    let objects = (0..60).step_by(3).filter(|n| cache.contains(&key(*n))).count();
    crate::common::until("unfinished bodies are unlinked", || ctx.object_files().len() == objects).await;
    assert!(entries <= 60);
}

pub(crate) async fn a_dyn_cache_has_every_verb(ctx: Ctx) {
    let cache: Arc<dyn DynCache> = Arc::new(ctx.open().await);
    cache.insert_with(&key(1), body(1, 1, 10), InsertOptions::new().meta("m")).await.unwrap();
    cache.insert(&key(2), body(2, 1, LARGE)).await.unwrap();
    assert!(cache.contains(&key(1)));
    assert_eq!(cache.get(&key(1)).await.unwrap().unwrap().meta(), "m");
    let peeked = cache.get_with(&key(2), GetOptions::new().peek(true)).await.unwrap().unwrap();
    assert_eq!(peeked.bytes().await.unwrap(), body(2, 1, LARGE));
    cache.purge_with(PurgeScope::Namespace("ns".into()), PurgeMode::Expire).await.unwrap();
    assert!(cache.get(&key(1)).await.unwrap().is_none());
    assert!(cache.get_with(&key(1), GetOptions::new().allow_stale(true)).await.unwrap().unwrap().is_stale());
    assert!(cache.remove(&key(1)).await.unwrap());
    cache.purge(PurgeScope::All).await.unwrap();
    cache.clear().await.unwrap();
    assert_eq!((cache.stats().entries, cache.stats().inserts), (0, 2));

    let mut writer = cache.writer(&key(3), InsertOptions::new().meta("head")).await.unwrap();
    let follower = cache.follow((&key(3)).into()).expect("the write in flight");
    assert_eq!((follower.id(), follower.meta().as_ref()), (writer.id(), &b"head"[..]));
    writer.keep_feeding(true);
    writer.write(body(3, 1, LARGE)).await.unwrap();
    let stored = id(&writer.commit().await.unwrap());
    assert_eq!(follower.bytes().await.unwrap(), body(3, 1, LARGE));
    assert!(cache.follow((&key(3)).into()).is_none(), "the write is over");
    assert!(cache.update_meta((&key(3), stored).into(), "new".into(), Expiry::Never).await.unwrap());
    assert_eq!(cache.get(&key(3)).await.unwrap().unwrap().meta(), "new");
    assert_eq!(cache.expire((&key(3)).into()).await.unwrap(), Some(stored));
    assert!(cache.get(&key(3)).await.unwrap().is_none());
    assert_eq!(cache.remove_entry((&key(3), stored).into()).await.unwrap(), Some(stored));
    cache.flush().await.unwrap();
    cache.close().await.unwrap();
    assert!(matches!(cache.flush().await, Err(Error::Closed)));
    assert!(matches!(cache.writer(&key(3), InsertOptions::new()).await, Err(Error::Closed)));
}

pub(crate) async fn generic_code_takes_a_cache_and_a_dyn_cache(ctx: Ctx) {
    async fn use_it(cache: &impl Cache, n: u64) -> Option<Bytes> {
        cache.insert(&key(n), body(n, 1, 100)).await.unwrap();
        Some(cache.get(&key(n)).await.unwrap()?.bytes().await.unwrap())
    }
    let cache = ctx.open().await;
    let shared: Arc<dyn DynCache> = Arc::new(cache.clone());
    assert_eq!(use_it(&cache, 1).await, Some(body(1, 1, 100)));
    // In a task: the future of generic code over a trait object is `Send` too.
    let used = tokio::spawn(async move { use_it(&shared, 2).await });
    assert_eq!(used.await.unwrap(), Some(body(2, 1, 100)));
    assert_eq!(cache.stats().inserts, 2, "both are one cache");
}

pub(crate) async fn generic_code_fetches_once_through_a_cache_and_a_dyn_cache(ctx: Ctx) {
    async fn page(cache: &impl Cache, fetches: &Arc<AtomicUsize>) -> Bytes {
        let fetches = fetches.clone();
        let fetch = async move |fill: Fill| {
            fetches.fetch_add(1, Ordering::SeqCst);
            assert_eq!((fill.key(), fill.is_superseded()), (&key(1), false));
            let mut writer = fill.begin(InsertOptions::new().meta("head")).await?;
            writer.write(body(1, 1, LARGE)).await?;
            writer.commit().await
        };
        let fetched = cache.get_or_fetch(&key(1), fetch).await.unwrap();
        assert_eq!(fetched.meta().unwrap(), "head");
        fetched.bytes().await.unwrap().unwrap()
    }
    let (cache, fetches) = (ctx.open().await, Arc::new(AtomicUsize::new(0)));
    let shared: Arc<dyn DynCache> = Arc::new(cache.clone());
    let (other, counted) = (shared.clone(), fetches.clone());
    // In a task: the future of generic code over a trait object is `Send` here too.
    let fetched = tokio::spawn(async move { page(&other, &counted).await });
    assert_eq!(fetched.await.unwrap(), body(1, 1, LARGE));
    assert_eq!(page(&cache, &fetches).await, body(1, 1, LARGE));
    assert_eq!(fetches.load(Ordering::SeqCst), 1, "both are one cache");

    let failed = shared.get_or_fetch(&key(2), async |_fill| Err::<Inserted, _>("no answer")).await;
    assert!(matches!(&failed, Err(Error::Fetch(why)) if why.to_string() == "no answer"), "{failed:?}");
    let private = shared.refetch(&key(1), async |fill: Fill| Ok::<_, Error>(fill.uncacheable())).await;
    assert!(matches!(private, Ok(Fetched::Uncacheable)), "{private:?}");
}

pub(crate) async fn a_writer_of_a_dyn_cache_keeps_it_open(ctx: Ctx) {
    let cache: Arc<dyn DynCache> = Arc::new(ctx.open().await);
    let mut writer = cache.writer(&key(1), InsertOptions::new()).await.unwrap();
    drop(cache);
    writer.write(body(1, 1, LARGE)).await.unwrap();
    assert!(matches!(writer.commit().await.unwrap(), Inserted::Stored { .. }));
    unlocked(&ctx.dir).await;
    assert_eq!(get(&ctx.open().await, &key(1)).await, Some(body(1, 1, LARGE)));
}
