//! What is refused, and what another capacity does.

use crate::{
    OTHER_PROCESS,
    common::{Ctx, LARGE, SEGMENT, body, contents, flip, get, key, peek, synced},
    filled_and_closed, intact,
};
use disk_cache::{ByteSize, Error, OnDamage, RecoverySource};
use std::{fs, hash::Hasher, process::Command};

async fn refused_untouched(ctx: &Ctx, on_damage: OnDamage) -> Error {
    let before = contents(&ctx.dir);
    let refused = ctx.builder().on_damage(on_damage).open().await.expect_err("it was opened");
    assert!(contents(&ctx.dir) == before, "something was touched");
    refused
}

pub(crate) async fn a_damaged_superblock_is_refused_and_nothing_is_touched(ctx: Ctx) {
    filled_and_closed(&ctx, 5, 100).await;
    let good = fs::read(ctx.superblock()).unwrap();
    let mut bad: Vec<Vec<u8>> = [0, 4, 20, 60, good.len() - 1]
        .map(|at| {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            bytes
        })
        .into();
    bad.extend([Vec::new(), good[..good.len() - 1].to_vec(), [&good[..], b"x"].concat(), vec![0; 4096]]);
    for bytes in bad {
        fs::write(ctx.superblock(), &bytes).unwrap();
        match refused_untouched(&ctx, OnDamage::Refuse).await {
            Error::Corrupt { path, reason } => {
                assert_eq!(path, ctx.superblock());
                assert!(reason.contains("Recreate"), "it says what to do: {reason}");
            }
            other => panic!("{other}"),
        }
    }
    fs::write(ctx.superblock(), &good).unwrap();
    assert_eq!(intact(&ctx.open().await, 5, 100).await, 5, "nothing was lost by the refusals");
}

pub(crate) async fn a_damaged_superblock_may_be_started_over(ctx: Ctx) {
    filled_and_closed(&ctx, 5, LARGE).await;
    flip(&ctx.superblock(), 20);
    let cache = ctx.builder().on_damage(OnDamage::Recreate).open().await.unwrap();
    assert_eq!((cache.recovery_report().source, cache.stats().entries), (RecoverySource::Fresh, 0));
    assert!(ctx.object_files().is_empty());
    for n in 0..5 {
        assert!(peek(&cache, &key(n)).await.is_none());
    }
    cache.insert(&key(1), body(1, 2, 100)).await.unwrap();
    cache.close().await.unwrap();
    assert_eq!(peek(&ctx.open().await, &key(1)).await, Some(body(1, 2, 100)));
}

pub(crate) async fn a_missing_superblock_is_refused_where_there_are_segments(ctx: Ctx) {
    filled_and_closed(&ctx, 5, 100).await;
    fs::remove_file(ctx.superblock()).unwrap();
    let refused = refused_untouched(&ctx, OnDamage::Refuse).await;
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
    let cache = ctx.builder().on_damage(OnDamage::Recreate).open().await.unwrap();
    assert_eq!(cache.stats().entries, 0);
}

async fn newer(ctx: &Ctx) {
    filled_and_closed(ctx, 5, LARGE).await;
    let mut bytes = fs::read(ctx.superblock()).unwrap();
    // The version lies behind eight bytes of magic, in every version to come. What follows may be anything.
    bytes[8] = 9;
    bytes.truncate(20);
    fs::write(ctx.superblock(), bytes).unwrap();
}

pub(crate) async fn a_newer_version_is_refused_and_nothing_is_touched(ctx: Ctx) {
    newer(&ctx).await;
    match refused_untouched(&ctx, OnDamage::Refuse).await {
        Error::UnsupportedFormat { path, found, supported } => {
            assert_eq!((path, found, supported), (ctx.superblock(), 9, 1));
        }
        other => panic!("{other}"),
    }
}

pub(crate) async fn a_newer_version_is_not_started_over(ctx: Ctx) {
    newer(&ctx).await;
    let refused = refused_untouched(&ctx, OnDamage::Recreate).await;
    assert!(matches!(refused, Error::UnsupportedFormat { .. }), "{refused}");
}

pub(crate) async fn the_next_newer_version_is_refused_where_all_else_reads_like_this_one(ctx: Ctx) {
    filled_and_closed(&ctx, 5, 100).await;
    let mut bytes = fs::read(ctx.superblock()).unwrap();
    bytes[8] = 2;
    let (fields, checksum) = bytes.split_last_chunk_mut::<8>().unwrap();
    let mut hasher = siphasher::sip::SipHasher13::new();
    hasher.write(fields);
    *checksum = hasher.finish().to_le_bytes();
    fs::write(ctx.superblock(), &bytes).unwrap();
    let refused = refused_untouched(&ctx, OnDamage::Refuse).await;
    assert!(matches!(refused, Error::UnsupportedFormat { found: 2, .. }), "{refused}");
}

pub(crate) async fn a_second_opener_of_this_process_is_refused(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert_with(&key(1), body(1, 1, 100), synced()).await.unwrap();
    for _ in 0..3 {
        let refused = ctx.builder().on_damage(OnDamage::Recreate).open().await;
        assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    }
    cache.insert(&key(2), body(2, 1, 100)).await.unwrap();
    assert_eq!(get(&cache, &key(1)).await, Some(body(1, 1, 100)));
    cache.close().await.unwrap();
    assert_eq!(intact(&ctx.open().await, 3, 100).await, 2);
}

pub(crate) async fn a_second_opener_of_another_process_is_refused(ctx: Ctx) {
    let ask = |dir: std::path::PathBuf| async move {
        let asked = tokio::task::spawn_blocking(move || {
            Command::new(std::env::current_exe().unwrap()).env(OTHER_PROCESS, dir).output().unwrap()
        });
        String::from_utf8(asked.await.unwrap().stdout).unwrap().trim().to_owned()
    };
    let cache = ctx.open().await;
    assert_eq!(ask(ctx.dir.clone()).await, "locked");
    cache.close().await.unwrap();
    assert_eq!(ask(ctx.dir.clone()).await, "not locked");
}

pub(crate) async fn a_refused_open_does_not_keep_the_lock(ctx: Ctx) {
    filled_and_closed(&ctx, 5, 100).await;
    let good = fs::read(ctx.superblock()).unwrap();
    flip(&ctx.superblock(), 20);
    assert!(matches!(ctx.builder().open().await, Err(Error::Corrupt { .. })));
    fs::write(ctx.superblock(), good).unwrap();
    assert_eq!(intact(&ctx.open().await, 5, 100).await, 5);
}

pub(crate) async fn a_smaller_capacity_drops_the_oldest(ctx: Ctx) {
    for crash in [false, true] {
        let ctx = Ctx { dir: ctx.base.join(format!("{crash}")), ..ctx.clone() };
        let cache = ctx.open().await;
        for n in 0..500 {
            cache.insert(&key(n), body(n, 1, 3000)).await.unwrap();
        }
        cache.insert(&key(500), body(500, 1, LARGE)).await.unwrap();
        let ctx = if crash {
            cache.flush().await.unwrap();
            ctx.crash("smaller")
        } else {
            cache.close().await.unwrap();
            ctx
        };
        let capacity = 12 * SEGMENT;
        let cache = ctx.builder().capacity(ByteSize::bytes_of(capacity)).open().await.unwrap();
        let stats = cache.stats();
        assert!(stats.disk_bytes <= capacity && stats.capacity == capacity, "{stats:?}");
        assert!(on_disk(&ctx) <= capacity);
        assert!(cache.recovery_report().dropped.segments_over_capacity > 0);
        assert_eq!(peek(&cache, &key(500)).await, Some(body(500, 1, LARGE)), "the newest stays");
        let kept: Vec<u64> = {
            let mut kept = Vec::new();
            for n in 0..500 {
                if let Some(bytes) = peek(&cache, &key(n)).await {
                    assert_eq!(bytes, body(n, 1, 3000));
                    kept.push(n);
                }
            }
            kept
        };
        assert!(kept.len() > 50, "{} of 500 entries", kept.len());
        assert_eq!(kept, (500 - kept.len() as u64..500).collect::<Vec<_>>(), "the newest of them");
    }
}

/// Bytes of all files, as the file system gives them out.
fn on_disk(ctx: &Ctx) -> u64 {
    contents(&ctx.dir).values().flatten().map(|bytes| bytes.len() as u64).sum()
}

pub(crate) async fn a_capacity_too_small_for_the_segments_is_refused(ctx: Ctx) {
    filled_and_closed(&ctx, 5, 100).await;
    let before = contents(&ctx.dir);
    let small = ctx.builder().segment_size(ByteSize::kib(4)).capacity(ByteSize::bytes_of(4 * SEGMENT));
    let refused = small.open().await;
    assert!(matches!(refused, Err(Error::InvalidConfig { field: "capacity", .. })), "{refused:?}");
    assert!(contents(&ctx.dir) == before, "something was touched");
    assert_eq!(intact(&ctx.open().await, 5, 100).await, 5);
}

pub(crate) async fn the_segment_size_stays_what_it_was_made_with(ctx: Ctx) {
    filled_and_closed(&ctx, 5, 100).await;
    let cache = ctx.builder().segment_size(ByteSize::kib(16)).open().await.unwrap();
    assert_eq!(intact(&cache, 5, 100).await, 5);
    cache.insert_with(&key(9), body(9, 1, 100), synced()).await.unwrap();
    // The newest may be the one that is opened ahead: a moment ago it was made, and it is empty until it is allocated.
    let newest = ctx.segment_files().pop().unwrap();
    crate::common::until("the newest segment is as long as the first", || {
        fs::metadata(&newest).unwrap().len() == SEGMENT
    })
    .await;
}
