//! Names of files: those of the cache, and those of others.

use crate::common::{Ctx, LARGE, body, contents, get, key, names};
use disk_cache::{DiskCache, Durability, Error, RecoverySource};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

/// Makes segments, large bodies, and a log that turns over.
async fn busy(ctx: &Ctx) -> DiskCache {
    let cache = ctx.open().await;
    for n in 0..800 {
        cache.insert(&key(n), body(n, 1, if n % 50 == 0 { LARGE } else { 3000 })).await.unwrap();
    }
    cache.remove_with(&key(3), Durability::Buffered).await.unwrap();
    cache.flush().await.unwrap();
    cache
}

/// The names of everything below a directory, relative to it, with `/` between the parts.
fn relative(dir: &Path) -> BTreeSet<String> {
    let of = |path: &Path| {
        let parts = path.iter();
        parts.map(|p| p.to_str().expect("names are text")).collect::<Vec<_>>().join("/")
    };
    contents(dir).keys().map(|p| of(p)).collect()
}

pub(crate) async fn the_cache_makes_the_documented_names_and_no_others(ctx: Ctx) {
    let cache = busy(&ctx).await;
    let open = relative(&ctx.dir);
    cache.close().await.unwrap();
    let closed = relative(&ctx.dir);
    let hex = |name: &str, len: usize| {
        name.len() == len && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let fixed = ["LOCK", "CACHE", "segments", "objects"];
    for (all, snapshot) in [(&open, false), (&closed, true)] {
        assert_eq!(all.contains("index.snapshot"), snapshot);
        for name in all.iter().filter(|name| !fixed.contains(&name.as_str()) && *name != "index.snapshot") {
            let segment = name.strip_prefix("segments/").and_then(|n| n.strip_suffix(".seg"));
            let object = name.strip_prefix("objects/").and_then(|n| n.strip_suffix(".obj"));
            let known = segment.is_some_and(|n| hex(n, 8)) || object.is_some_and(|n| hex(n, 16));
            assert!(known, "{name}");
        }
        assert!(fixed.iter().all(|name| all.contains(*name)));
    }
}

pub(crate) async fn every_name_is_short_and_allowed_on_every_platform(ctx: Ctx) {
    busy(&ctx).await.close().await.unwrap();
    let all = relative(&ctx.dir);
    let folded: BTreeSet<_> = all.iter().map(|name| name.to_lowercase()).collect();
    assert_eq!(folded.len(), all.len(), "a file system that ignores case keeps them apart");
    let reserved = ["con", "prn", "aux", "nul", "com", "lpt"];
    for name in &all {
        // With ".tmp" behind it, and with 260 characters for a whole path on Windows.
        assert!(name.len() <= 32, "{name}");
        for part in name.split('/') {
            assert!(part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.'), "{name}");
            assert!(!part.ends_with('.') && !part.starts_with('.'), "{name}");
            let stem = part.split('.').next().unwrap().to_lowercase();
            assert!(!reserved.contains(&stem.trim_end_matches(|c: char| c.is_ascii_digit())), "{name}");
        }
    }
}

pub(crate) async fn what_desktops_leave_behind_stays_and_hurts_nothing(ctx: Ctx) {
    let strangers = [
        ".DS_Store",
        "._00000001.seg",
        "Thumbs.db",
        "desktop.ini",
        "00000001 (conflicted copy).seg",
        "~lock",
    ];
    busy(&ctx).await.close().await.unwrap();
    let paths: Vec<_> = ["", "segments", "objects"]
        .iter()
        .flat_map(|dir| strangers.map(|name| ctx.dir.join(dir).join(name)))
        .collect();
    for path in &paths {
        fs::write(path, b"somebody's").unwrap();
    }
    let cache = ctx.open().await;
    assert_eq!(cache.recovery_report().source, RecoverySource::Snapshot);
    assert_eq!(get(&cache, &key(799)).await, Some(body(799, 1, 3000)));
    cache.clear().await.unwrap();
    cache.close().await.unwrap();
    fs::remove_file(ctx.snapshot()).unwrap();
    let cache = ctx.open().await;
    assert_eq!(cache.recovery_report().dropped.orphan_files, 0);
    for path in &paths {
        assert_eq!(fs::read(path).unwrap(), b"somebody's", "{}", path.display());
    }
}

pub(crate) async fn directories_among_the_segments_and_large_bodies_stay(ctx: Ctx) {
    ctx.open().await.close().await.unwrap();
    let strangers = ["segments/old", "objects/old/deeper", "lost+found"];
    for dir in strangers {
        fs::create_dir_all(ctx.dir.join(dir)).unwrap();
        fs::write(ctx.dir.join(dir).join("00000001.seg"), b"somebody's").unwrap();
    }
    let cache = ctx.open().await;
    cache.insert(&key(1), body(1, 1, LARGE)).await.unwrap();
    cache.clear().await.unwrap();
    cache.close().await.unwrap();
    fs::remove_file(ctx.snapshot()).unwrap();
    ctx.open().await;
    for dir in strangers {
        assert_eq!(fs::read(ctx.dir.join(dir).join("00000001.seg")).unwrap(), b"somebody's");
    }
}

pub(crate) async fn another_spelling_of_an_id_is_somebody_elses_file(ctx: Ctx) {
    busy(&ctx).await.close().await.unwrap();
    let others = [
        "segments/00FFFFFF.seg",
        "segments/ffffff.seg",
        "segments/000ffffff.seg",
        "segments/+0ffffff.seg",
        "segments/00ffffff.SEG",
        "objects/0000000000FFFFFF.obj",
        "objects/ffffff.obj",
        "objects/00ffffff.seg",
    ];
    for name in others {
        fs::write(ctx.dir.join(name), b"somebody's").unwrap();
    }
    for by_log in [false, true] {
        if by_log {
            fs::remove_file(ctx.snapshot()).unwrap();
        }
        let cache = ctx.open().await;
        let dropped = cache.recovery_report().dropped;
        assert_eq!((dropped.segments_after_damage, dropped.damaged_records, dropped.orphan_files), (0, 0, 0));
        assert_eq!(get(&cache, &key(799)).await, Some(body(799, 1, 3000)));
        cache.close().await.unwrap();
    }
    for name in others {
        assert_eq!(fs::read(ctx.dir.join(name)).unwrap(), b"somebody's", "{name}");
    }
}

pub(crate) async fn a_directory_with_the_name_of_a_segment_is_refused_and_stays(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert(&key(1), body(1, 1, 100)).await.unwrap();
    cache.close().await.unwrap();
    let odd = ctx.dir.join("segments/000000ff.seg");
    fs::create_dir(&odd).unwrap();
    let before = contents(&ctx.dir);
    let refused = ctx.builder().open().await;
    assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
    assert_eq!(contents(&ctx.dir), before, "nothing is deleted because something did not read");
    fs::remove_dir(&odd).unwrap();
    assert_eq!(get(&ctx.open().await, &key(1)).await, Some(body(1, 1, 100)));
}

pub(crate) async fn what_is_in_the_lock_file_does_not_matter(ctx: Ctx) {
    let cache = ctx.open().await;
    cache.insert(&key(1), body(1, 1, 100)).await.unwrap();
    cache.close().await.unwrap();
    fs::write(ctx.dir.join("LOCK"), b"4711\n").unwrap();
    let cache = ctx.open().await;
    assert_eq!(get(&cache, &key(1)).await, Some(body(1, 1, 100)));
    assert!(
        matches!(ctx.builder().open().await, Err(Error::Locked { .. })),
        "the lock is on it all the same"
    );
}

pub(crate) async fn the_times_of_files_do_not_matter(ctx: Ctx) {
    busy(&ctx).await.close().await.unwrap();
    // From newest to oldest, the other way round than they were written; a copying tool may do that.
    let files: Vec<_> = ["", "segments", "objects"].iter().flat_map(|d| names(&ctx.dir.join(d))).collect();
    for (n, path) in (0u32..).zip(files.iter().filter(|path| path.is_file())) {
        let time = UNIX_EPOCH + Duration::from_secs(4_000_000_000) - Duration::from_secs(86_400) * n;
        File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }
    let cache = ctx.open().await;
    assert_eq!(cache.recovery_report().source, RecoverySource::Snapshot);
    assert_eq!(get(&cache, &key(799)).await, Some(body(799, 1, 3000)));
    assert!(get(&cache, &key(3)).await.is_none());
}
