//! One fetch for all that miss, over every backend.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::match_wild_err_arm,
    clippy::items_after_statements,
    clippy::needless_pass_by_value,
    reason = "a test may panic, print, box nothing and read from top to bottom"
)]

mod common;

use common::{Ctx, body, get, key};
use disk_cache::{DiskCache, Error, Fetched, InsertOptions, Inserted, PurgeScope};
use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::Notify;

fn main() -> ExitCode {
    common::main(cases! {
        a_thousand_misses_at_once_make_one_fetch
        what_is_stored_is_not_fetched
        a_follower_reads_while_the_fetch_goes_on
        a_fetch_goes_on_when_its_first_caller_goes_away
        an_error_reaches_all_that_wait_and_the_next_call_fetches_again
        what_the_cache_refuses_is_no_failure_of_the_origins_and_leaves_no_older_value
        what_is_uncacheable_releases_all_that_wait
        a_fetch_that_panics_hands_over_to_the_next_waiter
        a_fill_dropped_without_a_word_hands_over_to_the_next_waiter
        a_fetch_aborted_while_it_writes_fails_its_followers
        a_fill_that_outlives_its_fetch_publishes_nothing
        a_purge_during_a_fetch_keeps_its_body_out_and_later_misses_start_anew
        a_purge_by_tag_during_a_fetch_is_decided_when_the_tags_are_known
        a_write_under_way_is_followed_instead_of_fetching
        a_refetch_replaces_what_is_stored
        a_fetch_runs_without_a_runtime_of_the_caller
        fetches_of_different_keys_run_side_by_side
        a_closed_cache_fetches_nothing
    })
}

/// A fetch that stores a small body, counted.
async fn fetch(cache: &DiskCache, n: u64, fetches: &Arc<AtomicUsize>) -> disk_cache::Result<Fetched> {
    let fetches = fetches.clone();
    cache
        .get_or_fetch(&key(n), move |fill| async move {
            let round = fetches.fetch_add(1, Ordering::SeqCst) as u64;
            let mut writer = fill.begin(InsertOptions::new().meta("head")).await?;
            writer.write(body(n, round, 100)).await?;
            writer.commit().await
        })
        .await
}

async fn bytes(fetched: disk_cache::Result<Fetched>) -> bytes::Bytes {
    fetched.unwrap().bytes().await.unwrap().expect("an entry")
}

async fn a_thousand_misses_at_once_make_one_fetch(ctx: Ctx) {
    let cache = ctx.open().await;
    for (n, len) in [(1, 1000), (2, 500_000)] {
        let (fetches, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..1000 {
            let (cache, fetches, go) = (cache.clone(), fetches.clone(), go.clone());
            callers.spawn(async move {
                let fetched = cache
                    .get_or_fetch(&key(n), move |fill| async move {
                        fetches.fetch_add(1, Ordering::SeqCst);
                        go.notified().await;
                        let mut writer = fill.begin(InsertOptions::new()).await?;
                        for piece in body(n, 1, len).chunks(7000) {
                            writer.write(bytes::Bytes::copy_from_slice(piece)).await?;
                        }
                        writer.commit().await
                    })
                    .await;
                bytes(fetched).await
            });
        }
        go.notify_one();
        while let Some(seen) = callers.join_next().await {
            assert!(seen.unwrap() == body(n, 1, len));
        }
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
    }
}

async fn what_is_stored_is_not_fetched(ctx: Ctx) {
    let (cache, fetches) = (ctx.open().await, Arc::new(AtomicUsize::new(0)));
    cache.insert(&key(1), "stored".into()).await.unwrap();
    let fetched = fetch(&cache, 1, &fetches).await;
    assert!(matches!(fetched, Ok(Fetched::Hit(_))));
    assert_eq!((bytes(fetched).await, fetches.load(Ordering::SeqCst)), ("stored".into(), 0));
    // What is stale is a miss.
    cache.expire(&key(1)).await.unwrap();
    assert_eq!(bytes(fetch(&cache, 1, &fetches).await).await, body(1, 0, 100));
    assert_eq!(get(&cache, &key(1)).await.unwrap(), body(1, 0, 100));
}

async fn a_follower_reads_while_the_fetch_goes_on(ctx: Ctx) {
    let (cache, go) = (ctx.open().await, Arc::new(Notify::new()));
    let wait = go.clone();
    let fetched = cache
        .get_or_fetch(&key(1), |fill| async move {
            let mut writer = fill.begin(InsertOptions::new().meta("head")).await?;
            writer.write("first".into()).await?;
            wait.notified().await;
            writer.write("last".into()).await?;
            writer.commit().await
        })
        .await
        .unwrap();
    assert_eq!(fetched.meta().unwrap(), "head");
    let mut reader = fetched.reader().unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap(), "first");
    let Fetched::Following(joined) = fetch(&cache, 1, &Arc::default()).await.unwrap() else { panic!() };
    go.notify_one();
    assert_eq!(reader.next().await.unwrap().unwrap(), "last");
    assert!(reader.next().await.unwrap().is_none());
    assert_eq!(joined.bytes().await.unwrap(), "firstlast");
    assert_eq!(get(&cache, &key(1)).await.unwrap(), "firstlast");
}

async fn a_fetch_goes_on_when_its_first_caller_goes_away(ctx: Ctx) {
    let cache = ctx.open().await;
    let (begun, go, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (own, tell, wait, end) = (cache.clone(), begun.clone(), go.clone(), done.clone());
    let caller = tokio::spawn(async move {
        let missing = key(1);
        let fetched = own.get_or_fetch(&missing, |fill| async move {
            tell.notify_one();
            wait.notified().await;
            let mut writer = fill.begin(InsertOptions::new()).await?;
            writer.write("body".into()).await?;
            let done = writer.commit().await;
            end.notify_one();
            done
        });
        fetched.await
    });
    begun.notified().await;
    caller.abort();
    assert!(caller.await.is_err());
    go.notify_one();
    done.notified().await;
    assert_eq!(get(&cache, &key(1)).await.unwrap(), "body");
}

#[derive(Debug, PartialEq)]
struct Down(u32);

impl std::fmt::Display for Down {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the origin is down ({})", self.0)
    }
}

impl std::error::Error for Down {}

/// So many callers that wait for the fetch of the first one, which ends as `end` says.
async fn waiters<F, Fut, E>(cache: &DiskCache, count: usize, end: F) -> Vec<disk_cache::Result<Fetched>>
where
    F: Fn(disk_cache::Fill) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<Inserted, E>> + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
{
    let waiting: Vec<_> = (0..count)
        .map(|_| {
            let (cache, end) = (cache.clone(), end.clone());
            tokio::spawn(async move { cache.get_or_fetch(&key(1), end).await })
        })
        .collect();
    let mut all = Vec::new();
    for waiting in waiting {
        all.push(waiting.await.unwrap());
    }
    all
}

/// Lets so many callers come before the first fetch goes on.
async fn all_wait(cache: &DiskCache, count: u64) {
    common::until("all callers wait", || cache.stats().misses >= count).await;
}

async fn an_error_reaches_all_that_wait_and_the_next_call_fetches_again(ctx: Ctx) {
    let (cache, fetches) = (ctx.open().await, Arc::new(AtomicUsize::new(0)));
    let (own, counted) = (cache.clone(), fetches.clone());
    let all = waiters(&cache, 20, move |_fill| {
        let (cache, fetches) = (own.clone(), counted.clone());
        async move {
            fetches.fetch_add(1, Ordering::SeqCst);
            all_wait(&cache, 20).await;
            Err(Down(7))
        }
    })
    .await;
    // A caller that was counted and had not joined yet has fetched for itself.
    assert!(fetches.load(Ordering::SeqCst) <= 20);
    for fetched in all {
        let Err(Error::Fetch(error)) = fetched else { panic!("{fetched:?}") };
        assert_eq!(error.downcast_ref::<Down>(), Some(&Down(7)));
    }
    assert_eq!(bytes(fetch(&cache, 1, &Arc::default()).await).await, body(1, 0, 100));
}

async fn what_the_cache_refuses_is_no_failure_of_the_origins_and_leaves_no_older_value(ctx: Ctx) {
    let cache = ctx.open().await;
    let refused = key(1);
    cache.insert(&refused, "old".into()).await.unwrap();
    let fetched = cache.refetch(&refused, |fill| async move {
        let options = InsertOptions::new().meta(vec![0; disk_cache::MAX_META_LEN + 1]);
        fill.begin(options).await?.commit().await
    });
    let told = fetched.await;
    assert!(matches!(told, Err(Error::TooLarge { .. })), "{told:?}");
    assert!(cache.get(&refused).await.unwrap().is_none());
}

async fn what_is_uncacheable_releases_all_that_wait(ctx: Ctx) {
    let cache = ctx.open().await;
    let own = cache.clone();
    let all = waiters(&cache, 20, move |fill| {
        let cache = own.clone();
        async move {
            all_wait(&cache, 20).await;
            Ok::<_, Error>(fill.uncacheable())
        }
    });
    for fetched in all.await {
        assert!(matches!(fetched, Ok(Fetched::Uncacheable)), "{fetched:?}");
    }
    assert!(get(&cache, &key(1)).await.is_none());
}

async fn a_fetch_that_panics_hands_over_to_the_next_waiter(ctx: Ctx) {
    let (cache, fetches) = (ctx.open().await, Arc::new(AtomicUsize::new(0)));
    let (own, counted) = (cache.clone(), fetches.clone());
    let all = waiters(&cache, 20, move |fill| {
        let (cache, fetches) = (own.clone(), counted.clone());
        async move {
            let first = fetches.fetch_add(1, Ordering::SeqCst) == 0;
            if first {
                all_wait(&cache, 20).await;
                std::panic::resume_unwind(Box::new("a panic of the fetch, planned"));
            }
            let mut writer = fill.begin(InsertOptions::new()).await?;
            writer.write("body".into()).await?;
            writer.commit().await
        }
    });
    let (mut failed, mut served) = (0, 0);
    for fetched in all.await {
        match fetched {
            Err(Error::Fetch(_)) => failed += 1,
            fetched => {
                assert_eq!(bytes(fetched).await, "body");
                served += 1;
            }
        }
    }
    assert_eq!((failed, served, fetches.load(Ordering::SeqCst)), (1, 19, 2));
}

async fn a_fill_dropped_without_a_word_hands_over_to_the_next_waiter(ctx: Ctx) {
    let (cache, fetches) = (ctx.open().await, Arc::new(AtomicUsize::new(0)));
    let (own, counted) = (cache.clone(), fetches.clone());
    let all = waiters(&cache, 20, move |fill| {
        let (cache, fetches) = (own.clone(), counted.clone());
        async move {
            if fetches.fetch_add(1, Ordering::SeqCst) == 0 {
                all_wait(&cache, 20).await;
                drop(fill);
                return Ok::<_, Error>(Inserted::Uncacheable);
            }
            let mut writer = fill.begin(InsertOptions::new()).await?;
            writer.write("body".into()).await?;
            writer.commit().await
        }
    });
    let mut without = 0;
    for fetched in all.await {
        match fetched.unwrap() {
            Fetched::Uncacheable => without += 1,
            fetched => assert_eq!(fetched.bytes().await.unwrap().unwrap(), "body"),
        }
    }
    assert_eq!((without, fetches.load(Ordering::SeqCst)), (1, 2));
}

async fn a_fetch_aborted_while_it_writes_fails_its_followers(ctx: Ctx) {
    let cache = ctx.open().await;
    let missing = key(1);
    let fetched = cache.get_or_fetch(&missing, |fill| async move {
        let mut writer = fill.begin(InsertOptions::new()).await?;
        writer.write(body(1, 1, 300_000)).await?;
        writer.write("more".into()).await?;
        Err::<Inserted, _>(Error::Fetch(Arc::new(Down(1))))
    });
    let Fetched::Following(follower) = fetched.await.unwrap() else { panic!() };
    assert!(matches!(follower.bytes().await, Err(Error::WriterAborted)));
    drop(follower);
    common::until("no file is left", || ctx.object_files().is_empty()).await;
    assert_eq!(bytes(fetch(&cache, 1, &Arc::default()).await).await, body(1, 0, 100));
}

async fn a_fill_that_outlives_its_fetch_publishes_nothing(ctx: Ctx) {
    let cache = ctx.open().await;
    let (keep, kept) = tokio::sync::oneshot::channel();
    let missing = key(1);
    let fetched = cache.get_or_fetch(&missing, |fill| async move {
        keep.send(fill).unwrap();
        Ok::<_, Error>(Inserted::Uncacheable)
    });
    assert!(matches!(fetched.await, Ok(Fetched::Uncacheable)));
    assert_eq!(bytes(fetch(&cache, 1, &Arc::default()).await).await, body(1, 0, 100));
    let mut late = kept.await.unwrap().begin(InsertOptions::new()).await.unwrap();
    late.write("late".into()).await.unwrap();
    assert_eq!(late.commit().await.unwrap(), Inserted::Superseded);
    assert_eq!(get(&cache, &key(1)).await.unwrap(), body(1, 0, 100));
}

/// Runs `meanwhile` between the answer of the origin and the beginning of the write; tells what the commit said.
async fn during(cache: &DiskCache, options: InsertOptions, meanwhile: impl Future<Output = ()>) -> Inserted {
    let (asked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (asked.clone(), go.clone());
    let (said, say) = tokio::sync::oneshot::channel();
    let fetched = async {
        let missing = key(1);
        let fetched = cache.get_or_fetch(&missing, |fill| async move {
            tell.notify_one();
            wait.notified().await;
            let mut writer = fill.begin(options).await?;
            writer.write("fetched before".into()).await?;
            let done = writer.commit().await?;
            said.send(done).unwrap();
            Ok::<_, Error>(done)
        });
        assert_eq!(bytes(fetched.await).await, "fetched before", "who waits gets it all the same");
    };
    let then = async {
        asked.notified().await;
        meanwhile.await;
        go.notify_one();
    };
    tokio::join!(fetched, then);
    say.await.unwrap()
}

async fn a_purge_during_a_fetch_keeps_its_body_out_and_later_misses_start_anew(ctx: Ctx) {
    let cache = ctx.open().await;
    let meanwhile = async {
        cache.purge(PurgeScope::Namespace("ns".into())).await.unwrap();
        assert_eq!(bytes(fetch(&cache, 1, &Arc::default()).await).await, body(1, 0, 100));
    };
    assert_eq!(during(&cache, InsertOptions::new(), meanwhile).await, Inserted::Superseded);
    assert_eq!(get(&cache, &key(1)).await.unwrap(), body(1, 0, 100));
}

async fn a_purge_by_tag_during_a_fetch_is_decided_when_the_tags_are_known(ctx: Ctx) {
    let cache = ctx.open().await;
    let purge = |tag: &'static str| {
        let cache = cache.clone();
        async move { cache.purge(PurgeScope::Tag(tag.into())).await.unwrap() }
    };
    let options = || InsertOptions::new().tag("news").label("label/1");
    assert_eq!(during(&cache, options(), purge("news")).await, Inserted::Superseded);
    let prefix = |prefix: &'static str| {
        let cache = cache.clone();
        let scope = PurgeScope::Prefix { namespace: "ns".into(), prefix: prefix.into() };
        async move { cache.purge(scope).await.unwrap() }
    };
    assert_eq!(during(&cache, options(), prefix("label/")).await, Inserted::Superseded);
    // More than a fetch remembers: purging too much is safe.
    let storm = async {
        for n in 0..100 {
            cache.purge(PurgeScope::Tag(format!("{n}").into())).await.unwrap();
        }
    };
    assert_eq!(during(&cache, options(), storm).await, Inserted::Superseded);
    let others = async {
        purge("sports").await;
        prefix("path").await;
    };
    assert!(matches!(during(&cache, options(), others).await, Inserted::Stored { .. }));
}

async fn a_write_under_way_is_followed_instead_of_fetching(ctx: Ctx) {
    let (cache, fetches) = (ctx.open().await, Arc::new(AtomicUsize::new(0)));
    let mut writer = cache.writer(&key(1), InsertOptions::new()).await.unwrap();
    writer.write("written".into()).await.unwrap();
    let Fetched::Following(follower) = fetch(&cache, 1, &fetches).await.unwrap() else { panic!() };
    assert_eq!(follower.id(), writer.id());
    writer.commit().await.unwrap();
    assert_eq!((follower.bytes().await.unwrap(), fetches.load(Ordering::SeqCst)), ("written".into(), 0));
}

async fn a_refetch_replaces_what_is_stored(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert(&key(1), "old".into()).await.unwrap();
    let missing = key(1);
    let fetched = cache.refetch(&missing, |fill| async move {
        let mut writer = fill.begin(InsertOptions::new()).await?;
        writer.write("new".into()).await?;
        writer.commit().await
    });
    assert_eq!(bytes(fetched.await).await, "new");
    assert_eq!(get(&cache, &key(1)).await.unwrap(), "new");
}

async fn a_fetch_runs_without_a_runtime_of_the_caller(ctx: Ctx) {
    let cache = ctx.open().await;
    let (own, (tell, told)) = (cache.clone(), tokio::sync::oneshot::channel());
    std::thread::spawn(move || {
        tell.send(block_on(async move { bytes(fetch(&own, 1, &Arc::default()).await).await })).unwrap();
    });
    assert_eq!(told.await.unwrap(), body(1, 0, 100));
}

/// Drives a future on this thread, which has no tokio runtime.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let (mut future, mut context) = (std::pin::pin!(future), std::task::Context::from_waker(&waker));
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(value) => return value,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

async fn fetches_of_different_keys_run_side_by_side(ctx: Ctx) {
    let cache = ctx.open().await;
    let both = Arc::new(tokio::sync::Barrier::new(2));
    let one = |n| {
        let (cache, both) = (cache.clone(), both.clone());
        async move {
            let missing = key(n);
            let fetched = cache.get_or_fetch(&missing, move |fill| async move {
                both.wait().await;
                let mut writer = fill.begin(InsertOptions::new()).await?;
                writer.write(body(n, 1, 10)).await?;
                writer.commit().await
            });
            bytes(fetched.await).await
        }
    };
    assert_eq!(tokio::join!(one(1), one(2)), (body(1, 1, 10), body(2, 1, 10)));
}

async fn a_closed_cache_fetches_nothing(ctx: Ctx) {
    let (cache, fetches) = (ctx.open().await, Arc::new(AtomicUsize::new(0)));
    cache.close().await.unwrap();
    assert!(matches!(fetch(&cache, 1, &fetches).await, Err(Error::Closed)));
    assert_eq!(fetches.load(Ordering::SeqCst), 0);
}
