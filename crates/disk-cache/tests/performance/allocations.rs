//! Allocations of the calling thread.

use crate::{
    common::{body, key},
    rig::Rig,
};
use bytes::Bytes;
use disk_cache::{Cache, CacheKey};
use futures_util::{FutureExt, TryStreamExt};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// Counts what each thread asks for.
struct CountingAllocator;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that is ending has no counter any more.
    ALLOCATIONS.try_with(|n| n.set(n.get() + 1)).unwrap_or_default();
}

// SAFETY: every call is passed on as it is to the system's allocator; the counter needs no allocation.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the same.
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are the same.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// How often a piece of work allocates, and what it gives.
fn allocations<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let before = ALLOCATIONS.get();
    let done = work();
    (ALLOCATIONS.get() - before, done)
}

/// The engine that reads from the "page cache", with one entry of `len` bytes for each `n`.
async fn warm(rig: &Rig, lens: &[usize]) -> cache_store::Engine<cache_testkit::MemoryBackend> {
    rig.disk.answer_cached_reads(true);
    let (config, clock) = (rig.config.clone(), rig.clock.clone());
    let handle = tokio::runtime::Handle::current();
    let engine = cache_store::Engine::open(config, clock, rig.disk.clone(), handle).await.unwrap();
    for (n, len) in (0..).zip(lens) {
        engine.insert(&key(n), body(n, 1, *len)).await.unwrap();
    }
    engine.flush().await.unwrap();
    crate::rig::rest().await;
    // Whatever is made at the first use only is there.
    for n in 0..lens.len() as u64 {
        engine.get(&key(n)).await.unwrap().unwrap();
    }
    engine
}

/// Allocations of a get that ends at its first poll.
fn of_a_get(cache: &impl Cache, key: &CacheKey) -> u64 {
    key.digest();
    let (count, hit) = allocations(|| cache.get(key).now_or_never());
    assert!(hit.expect("a warm get waits for nothing").unwrap().is_some());
    count
}

pub(crate) async fn a_warm_get_allocates_three_times_at_most(rig: Rig) {
    let engine = warm(&rig, &[4096]).await;
    // The buffer, and what makes it shareable.
    let count = of_a_get(&engine, &key(0));
    assert!((1..=3).contains(&count), "{count} allocations");
}

pub(crate) async fn a_warm_get_of_a_longer_body_allocates_no_more_often(rig: Rig) {
    let lens = [0, 100, 4096, 65_000, 120_000];
    let engine = warm(&rig, &lens).await;
    let least = of_a_get(&engine, &key(0));
    for (n, len) in (0..).zip(lens) {
        assert_eq!(of_a_get(&engine, &key(n)), least, "{len} bytes");
    }
}

pub(crate) async fn a_miss_allocates_nothing(rig: Rig) {
    let engine = warm(&rig, &[100]).await;
    let missing = key(9);
    missing.digest();
    engine.get(&missing).await.unwrap();
    let (count, miss) = allocations(|| engine.get(&missing).now_or_never());
    assert!(miss.expect("a miss waits for nothing").unwrap().is_none());
    assert_eq!(count, 0);
}

pub(crate) async fn contains_allocates_nothing(rig: Rig) {
    let engine = warm(&rig, &[100]).await;
    for (key, there) in [(key(0), true), (key(9), false)] {
        key.digest();
        assert_eq!(allocations(|| engine.contains(&key)), (0, there));
    }
}

pub(crate) async fn a_small_body_that_was_found_is_handed_out_without_a_copy(rig: Rig) {
    let engine = warm(&rig, &[4096]).await;
    let hit = engine.get(&key(0)).await.unwrap().unwrap();
    let (count, bytes) = allocations(|| hit.bytes().now_or_never().unwrap().unwrap());
    assert_eq!(count, 0);
    let (count, range) = allocations(|| hit.read_range(100..200).now_or_never().unwrap().unwrap());
    assert_eq!((count, range.as_ptr()), (0, bytes[100..].as_ptr()));
    let mut reader = hit.reader();
    let (count, piece) = allocations(|| reader.next().now_or_never().unwrap().unwrap().unwrap());
    assert_eq!((count, piece.as_ptr(), piece.len()), (0, bytes.as_ptr(), 4096));
    let pieces: Vec<Bytes> = hit.clone().stream().try_collect().await.unwrap();
    assert_eq!((pieces.len(), pieces[0].as_ptr()), (1, bytes.as_ptr()));
}

pub(crate) async fn a_buffered_insert_allocates_a_few_times_and_no_more_for_a_longer_body(rig: Rig) {
    let engine = warm(&rig, &[100]).await;
    let mut counts = Vec::new();
    for len in [10, 1000, 20_000] {
        let mut each = Vec::new();
        for n in 0..8 {
            let (key, body) = (key(100 + n), body(n, 1, len));
            key.digest();
            engine.insert(&key, body.clone()).await.unwrap();
            let (count, done) = allocations(|| engine.insert(&key, body).now_or_never());
            done.expect("there is room in the buffer").unwrap();
            each.push(count);
        }
        // A table that grows meanwhile, or a buffer that is begun, is no part of the insert itself.
        counts.push(each.into_iter().min().unwrap());
    }
    assert!(counts.iter().all(|count| *count == counts[0] && *count <= 4), "{counts:?}");
}
