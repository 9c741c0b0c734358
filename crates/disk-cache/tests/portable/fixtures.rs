//! Directories of format version 1, kept as they were written: what a later version has to go on reading.
//!
//! `DISK_CACHE_MAKE_FIXTURES=<empty directory> cargo test -p disk-cache --test portable` writes a new pair. The ones in
//! `tests/fixtures` are replaced only together with the format version.

use crate::common::{Ctx, body, copy_dir, epoch, find_stale, hit, peek};
use disk_cache::{
    BackendChoice, Builder, ByteSize, CacheKey, DiskCache, Expiry, InsertOptions, ManualClock, PurgeScope,
    RecoverySource,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

/// Where to write fixtures, instead of running tests.
pub(crate) const MAKE: &str = "DISK_CACHE_MAKE_FIXTURES";

/// Segments of 16 KiB; bodies over 2 KiB lie out of line.
fn builder(dir: &Path, clock: Arc<ManualClock>) -> Builder {
    DiskCache::builder(dir)
        .capacity(ByteSize::kib(512))
        .segment_size(ByteSize::kib(16))
        .min_free_space(ByteSize::default())
        .clock(clock)
}

fn of(path: &str) -> CacheKey {
    CacheKey::new("fixture", path)
}

fn not_text() -> CacheKey {
    CacheKey::new([0xff, 0x00], [0xc3, 0x28, b'/']).with_variant([0x80])
}

async fn fill(cache: &DiskCache) {
    for n in 0..40 {
        cache.insert(&of(&format!("row-{n}")), body(n, 1, 700)).await.unwrap();
    }
    cache.insert(&of("replaced"), body(100, 1, 300)).await.unwrap();
    cache.insert(&of("replaced"), body(100, 2, 400)).await.unwrap();
    cache.insert(&of("empty"), body(0, 0, 0)).await.unwrap();
    cache.insert(&not_text(), body(101, 1, 50)).await.unwrap();
    let options = InsertOptions::new().meta("meta").expiry(Expiry::After(Duration::from_secs(60)));
    cache.insert_with(&of("large"), body(102, 1, 5000), options.clone()).await.unwrap();
    cache.insert_with(&of("expires"), body(103, 1, 60), options).await.unwrap();
    cache.insert(&of("stale"), body(104, 1, 60)).await.unwrap();
    cache.expire(&of("stale")).await.unwrap();
    cache.update_meta(&of("large"), "newer meta".into(), Expiry::Keep).await.unwrap();
    cache.insert(&of("removed"), body(105, 1, 60)).await.unwrap();
    cache.remove(&of("removed")).await.unwrap();
    let options = InsertOptions::new().tag("tag").label("https://host/labelled");
    cache.insert_with(&of("tagged"), body(106, 1, 60), options.clone()).await.unwrap();
    cache.purge(PurgeScope::Tag("tag".into())).await.unwrap();
    cache.insert_with(&of("labelled"), body(107, 1, 60), options.clone()).await.unwrap();
    let prefix = PurgeScope::Prefix { namespace: "fixture".into(), prefix: "https://host/".into() };
    cache.purge(prefix).await.unwrap();
    cache.insert(&CacheKey::new("purged", "1"), body(108, 1, 60)).await.unwrap();
    cache.purge(PurgeScope::Namespace("purged".into())).await.unwrap();
    cache.insert_with(&of("later"), body(109, 1, 60), options).await.unwrap();
}

async fn check(cache: &DiskCache, clock: &ManualClock) {
    for n in 0..40 {
        assert_eq!(peek(cache, &of(&format!("row-{n}"))).await, Some(body(n, 1, 700)), "row {n}");
    }
    assert_eq!(peek(cache, &of("replaced")).await, Some(body(100, 2, 400)));
    assert_eq!(peek(cache, &of("empty")).await, Some(body(0, 0, 0)));
    assert_eq!(peek(cache, &not_text()).await, Some(body(101, 1, 50)));
    let large = find_stale(cache, &of("large")).await.unwrap();
    assert_eq!((large.meta().as_ref(), large.created_at()), (&b"newer meta"[..], epoch()));
    assert_eq!(large.expires_at(), Some(epoch() + Duration::from_secs(60)));
    assert_eq!(large.bytes().await.unwrap(), body(102, 1, 5000));
    assert!(find_stale(cache, &of("stale")).await.unwrap().is_stale());
    for gone in [of("removed"), of("tagged"), of("labelled"), CacheKey::new("purged", "1")] {
        assert!(peek(cache, &gone).await.is_none(), "{gone:?}");
    }
    assert_eq!(peek(cache, &of("later")).await, Some(body(109, 1, 60)));
    hit(cache, &of("expires")).await;
    clock.advance(Duration::from_secs(61));
    assert!(cache.get(&of("expires")).await.unwrap().is_none());
}

/// Writes both fixtures.
pub(crate) fn make(dir: &Path) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let clock = Arc::new(ManualClock::new(epoch()));
        let builder = builder(&dir.join("v1-closed"), clock).backend(BackendChoice::Tokio);
        let cache = builder.open().await.unwrap();
        fill(&cache).await;
        cache.flush().await.unwrap();
        copy_dir(&dir.join("v1-closed"), &dir.join("v1-crashed"));
        cache.close().await.unwrap();
    });
    ExitCode::SUCCESS
}

/// A copy of a fixture, to open.
fn copy(ctx: &Ctx, name: &str) -> Ctx {
    let from = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    copy_dir(&from, &ctx.dir);
    ctx.clone()
}

async fn open(ctx: &Ctx) -> DiskCache {
    builder(&ctx.dir, ctx.clock.clone()).backend(ctx.backend).open().await.unwrap()
}

pub(crate) async fn the_directory_of_a_closed_cache_of_format_1_opens_by_its_snapshot(ctx: Ctx) {
    let ctx = copy(&ctx, "v1-closed");
    let cache = open(&ctx).await;
    let report = cache.recovery_report();
    assert_eq!((report.source, report.snapshot_ignored), (RecoverySource::Snapshot, false));
    check(&cache, &ctx.clock).await;
}

pub(crate) async fn the_directory_of_a_closed_cache_of_format_1_opens_by_its_footers(ctx: Ctx) {
    let ctx = copy(&ctx, "v1-closed");
    fs::remove_file(ctx.snapshot()).unwrap();
    let cache = open(&ctx).await;
    let report = cache.recovery_report();
    assert_eq!((report.source, report.scanned_segments), (RecoverySource::Log, 0));
    assert_eq!(report.dropped, disk_cache::Dropped::default());
    check(&cache, &ctx.clock).await;
}

pub(crate) async fn the_directory_of_a_crashed_cache_of_format_1_opens_by_its_records(ctx: Ctx) {
    let ctx = copy(&ctx, "v1-crashed");
    let cache = open(&ctx).await;
    let report = cache.recovery_report();
    assert_eq!(report.source, RecoverySource::Log);
    assert!(report.scanned_segments > 0 && report.scanned_segments < report.segments, "{report:?}");
    assert_eq!(report.dropped.damaged_records, 0);
    check(&cache, &ctx.clock).await;
}

pub(crate) async fn the_directory_of_a_cache_of_format_1_is_written_on_and_opened_again(ctx: Ctx) {
    for name in ["v1-closed", "v1-crashed"] {
        let ctx = copy(&Ctx { dir: ctx.base.join(name), ..ctx.clone() }, name);
        let old = fs::read(ctx.superblock()).unwrap();
        let cache = open(&ctx).await;
        cache.insert(&of("new"), body(200, 1, 3000)).await.unwrap();
        cache.close().await.unwrap();
        let cache = open(&ctx).await;
        assert_eq!(peek(&cache, &of("new")).await, Some(body(200, 1, 3000)));
        assert_eq!(peek(&cache, &of("replaced")).await, Some(body(100, 2, 400)));
        assert_eq!(fs::read(ctx.superblock()).unwrap(), old, "written once");
    }
}
