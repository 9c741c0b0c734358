//! The cache works from every tokio runtime and from none, and does not care which.

use crate::common::{Ctx, LARGE, body, get, hit, key, synced, unlocked};
use disk_cache::{
    BodyReader, BodyStream, Builder, DiskCache, Expiry, Hit, InsertOptions, PurgeMode, PurgeScope,
    RecoverySource, Stats,
};
use futures_util::FutureExt;
use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};
use tokio::runtime::Runtime;

/// Every kind of work: memory, page cache, device, background.
async fn works(cache: &DiskCache, n: u64) {
    cache.insert_with(&key(n), body(n, 1, 700), synced()).await.unwrap();
    cache.insert(&key(n + 1), body(n + 1, 1, LARGE)).await.unwrap();
    assert_eq!(get(cache, &key(n)).await, Some(body(n, 1, 700)));
    assert_eq!(get(cache, &key(n + 1)).await, Some(body(n + 1, 1, LARGE)));
    assert!(cache.update_meta(&key(n), "m".into(), Expiry::Never).await.unwrap());
    assert!(cache.remove(&key(n)).await.unwrap());
    cache
        .purge(PurgeScope::Path { namespace: "ns".into(), path: format!("path-{}", n + 1).into() })
        .await
        .unwrap();
    assert!(get(cache, &key(n + 1)).await.is_none());
    cache.flush().await.unwrap();
}

/// Runs a closure on a thread of its own, outside of any runtime.
async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        assert!(tokio::runtime::Handle::try_current().is_err());
        drop(tell.send(work()));
    });
    told.await.expect("the thread did its work")
}

/// Runs a future on this thread, without tokio.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return done;
        }
        thread::park();
    }
}

fn one_thread() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

pub(crate) async fn a_cache_works_from_a_runtime_of_one_thread(ctx: Ctx) {
    on_a_thread(move || {
        one_thread().block_on(async {
            let cache = ctx.open().await;
            works(&cache, 1).await;
            cache.close().await.unwrap();
        });
    })
    .await;
}

pub(crate) async fn a_cache_works_from_a_runtime_without_drivers(ctx: Ctx) {
    on_a_thread(move || {
        // No timer, no I/O: whatever the cache waits for, it waits for on its own.
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let cache = ctx.open().await;
            works(&cache, 1).await;
            cache.close().await.unwrap();
        });
    })
    .await;
}

pub(crate) async fn a_cache_works_without_any_runtime(ctx: Ctx) {
    on_a_thread(move || {
        let cache = ctx.builder().open_blocking().unwrap();
        block_on(works(&cache, 1));
        block_on(cache.close()).unwrap();
        let cache = block_on(ctx.builder().open()).unwrap();
        block_on(works(&cache, 3));
        block_on(cache.close()).unwrap();
    })
    .await;
}

pub(crate) async fn a_cache_works_from_several_runtimes_at_once(ctx: Ctx) {
    let cache = ctx.open().await;
    let mut threads = Vec::new();
    for t in 0..4 {
        let cache = cache.clone();
        threads.push(on_a_thread(move || {
            one_thread().block_on(async {
                for n in 0..10 {
                    works(&cache, 1000 * (t + 1) + 2 * n).await;
                }
            });
        }));
    }
    let (_, ()) = tokio::join!(futures_util::future::join_all(threads), works(&cache, 1));
    assert_eq!(cache.stats().inserts, 2 * 41);
}

pub(crate) async fn a_cache_works_in_tasks_that_stay_on_their_thread(ctx: Ctx) {
    on_a_thread(move || {
        let local = tokio::task::LocalSet::new();
        local.block_on(&one_thread(), async {
            let cache = ctx.open().await;
            let tasks = (0..4).map(|n| {
                // Not `Send`, as services of one thread per core have them.
                let (cache, mine) = (cache.clone(), std::rc::Rc::new(n));
                tokio::task::spawn_local(async move { works(&cache, 10 * *mine).await })
            });
            futures_util::future::try_join_all(tasks).await.unwrap();
        });
    })
    .await;
}

pub(crate) async fn an_operation_begun_on_one_runtime_ends_on_another(ctx: Ctx) {
    let cache = ctx.open().await;
    for len in [700, LARGE] {
        let (one, key) = (cache.clone(), key(len as u64));
        let insert = {
            let key = key.clone();
            async move { one.insert_with(&key, body(1, 1, len), synced()).await }
        };
        let mut insert = Box::pin(insert);
        // Begun here, sent away, and finished where this runtime's wake-ups mean nothing.
        match insert.as_mut().now_or_never() {
            None => on_a_thread(move || one_thread().block_on(insert).unwrap()).await,
            // This thread stood still for as long as the sync took.
            Some(done) => done.unwrap(),
        };
        assert_eq!(get(&cache, &key).await, Some(body(1, 1, len)));
    }
}

pub(crate) async fn a_handle_outlives_the_runtime_that_opened_it(ctx: Ctx) {
    let cache = on_a_thread({
        let ctx = ctx.clone();
        move || {
            let runtime = one_thread();
            let cache = runtime.block_on(async {
                let cache = ctx.open().await;
                works(&cache, 1).await;
                cache
            });
            drop(runtime);
            cache
        }
    })
    .await;
    works(&cache, 3).await;
    cache.close().await.unwrap();
    assert_eq!(ctx.open().await.recovery_report().source, RecoverySource::Snapshot);
}

pub(crate) async fn a_runtime_that_ends_in_the_middle_of_operations_leaves_the_cache_whole(ctx: Ctx) {
    let cache = ctx.open().await;
    for round in 0..5 {
        let cache = cache.clone();
        on_a_thread(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
            for n in 0..20 {
                let cache = cache.clone();
                runtime.spawn(async move {
                    cache
                        .insert_with(&key(n), body(n, round, if n % 5 == 0 { LARGE } else { 700 }), synced())
                        .await
                });
            }
            runtime.block_on(cache.insert(&key(50), body(50, round, 10))).unwrap();
            // Whatever is under way is dropped where it stands.
            runtime.shutdown_background();
        })
        .await;
    }
    for n in 0..20 {
        let len = if n % 5 == 0 { LARGE } else { 700 };
        let found = get(&cache, &key(n)).await;
        assert!(found.is_none_or(|found| (0..5).any(|round| found == body(n, round, len))), "entry {n}");
        cache.insert(&key(n), body(n, 9, len)).await.unwrap();
        assert_eq!(get(&cache, &key(n)).await, Some(body(n, 9, len)));
    }
    works(&cache, 100).await;
}

pub(crate) async fn the_last_handle_may_be_dropped_where_there_is_no_runtime(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert(&key(1), body(1, 1, 700)).await.unwrap();
    on_a_thread(move || drop(cache)).await;
    unlocked(&ctx.dir).await;
    let cache = ctx.open().await;
    assert_eq!(cache.recovery_report().source, RecoverySource::Snapshot, "it was closed, not just left");
    assert_eq!(get(&cache, &key(1)).await, Some(body(1, 1, 700)));
}

pub(crate) async fn a_cache_opens_on_a_thread_of_blocking_work(ctx: Ctx) {
    let cache = tokio::task::spawn_blocking(move || ctx.builder().open_blocking().unwrap()).await.unwrap();
    works(&cache, 1).await;
    // And is dropped on one.
    tokio::task::spawn_blocking(move || drop(cache)).await.unwrap();
}

pub(crate) async fn every_future_of_the_api_can_be_sent_to_another_thread(ctx: Ctx) {
    fn crosses<T: Send + Sync + 'static>() {}
    crosses::<DiskCache>();
    crosses::<Builder>();
    crosses::<Stats>();
    crosses::<(Hit, BodyReader, BodyStream)>();
    async fn sent<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
        on_a_thread(move || block_on(future)).await
    }
    let cache = sent(ctx.builder().open()).await.unwrap();
    let of = || (cache.clone(), key(1));
    let (c, k) = of();
    sent(async move { c.insert_with(&k, body(1, 1, LARGE), InsertOptions::new()).await }).await.unwrap();
    let (c, k) = of();
    let found = sent(async move { c.get(&k).await }).await.unwrap().unwrap();
    assert_eq!(
        sent(async move { found.reader().next().await }).await.unwrap().unwrap()[..16],
        body(1, 1, 16)
    );
    let found = hit(&cache, &key(1)).await;
    assert_eq!(sent(async move { found.read_range(16..32).await }).await.unwrap(), body(1, 1, 16));
    let (c, k) = of();
    assert!(sent(async move { c.update_meta(&k, "m".into(), Expiry::Keep).await }).await.unwrap());
    let (c, k) = of();
    assert!(sent(async move { c.expire(&k).await }).await.unwrap().is_some());
    let (c, k) = of();
    assert!(sent(async move { c.remove_entry(&k).await }).await.unwrap().is_some());
    let (c, k) = of();
    assert!(!sent(async move { c.remove(&k).await }).await.unwrap());
    let (c, _) = of();
    sent(async move { c.purge_with(PurgeScope::All, PurgeMode::Expire).await }).await.unwrap();
    let (c, _) = of();
    sent(async move { c.clear().await }).await.unwrap();
    let (c, _) = of();
    sent(async move { c.flush().await }).await.unwrap();
    let (c, _) = of();
    sent(async move { c.close().await }).await.unwrap();
}
