//! Segments that are damaged, cut, gone, swapped, older or of another cache.

use crate::{
    common::{Ctx, body, flip, get, key, peek},
    crashed, filled_and_closed, intact, stride,
};
use disk_cache::RecoverySource;
use std::fs;

pub(crate) async fn a_flipped_byte_anywhere_in_a_crashed_segment_gives_no_wrong_byte(ctx: Ctx) {
    let ctx = crashed(&ctx, 6, 120).await;
    let segment = ctx.segment_files().remove(0);
    let used = fs::read(&segment).unwrap().iter().rposition(|b| *b != 0).unwrap() + 1;
    for at in (0..used).step_by(stride(17)) {
        let copy = ctx.crash(&format!("flipped-{at}"));
        flip(&copy.segment_files()[0], at);
        let cache = copy.open().await;
        let found = intact(&cache, 6, 120).await;
        assert!(found >= 5, "byte {at}: {found} entries");
        assert_eq!(cache.stats().corruptions, 0, "what does not verify is left out at once");
    }
}

pub(crate) async fn a_flipped_byte_anywhere_in_a_sealed_segment_gives_no_wrong_byte(ctx: Ctx) {
    filled_and_closed(&ctx, 6, 120).await;
    let segment = ctx.segment_files().remove(0);
    let len = fs::metadata(&segment).unwrap().len() as usize;
    for without_snapshot in [false, true] {
        for at in (0..len).step_by(stride(37)) {
            let copy = ctx.crash(&format!("flipped-{without_snapshot}-{at}"));
            if without_snapshot {
                fs::remove_file(copy.snapshot()).unwrap();
            }
            flip(&copy.segment_files()[0], at);
            let cache = copy.open().await;
            assert!(intact(&cache, 6, 120).await >= 5, "byte {at}");
        }
    }
}

pub(crate) async fn damage_met_by_a_get_is_a_counted_miss_and_is_met_once(ctx: Ctx) {
    filled_and_closed(&ctx, 6, 500).await;
    // The body of the first record: behind its header of 112 bytes and its key.
    flip(&ctx.segment_files()[0], 112 + key(0).as_bytes().len() + 50);
    let cache = ctx.open().await;
    assert_eq!(cache.recovery_report().source, RecoverySource::Snapshot);
    assert!(cache.contains(&key(0)), "nobody has looked yet");
    for _ in 0..3 {
        assert!(cache.get(&key(0)).await.unwrap().is_none());
    }
    assert_eq!(cache.stats().corruptions, 1);
    assert!(!cache.contains(&key(0)));
    assert_eq!(intact(&cache, 6, 500).await, 5);
    cache.insert(&key(0), body(0, 2, 500)).await.unwrap();
    assert_eq!(get(&cache, &key(0)).await, Some(body(0, 2, 500)));
}

pub(crate) async fn a_segment_truncated_anywhere_gives_no_wrong_byte(ctx: Ctx) {
    filled_and_closed(&ctx, 6, 120).await;
    let segment = ctx.segment_files().remove(0);
    let len = fs::metadata(&segment).unwrap().len();
    for cut in (0..len).step_by(stride(29)) {
        let copy = ctx.crash(&format!("cut-{cut}"));
        fs::File::options().write(true).open(&copy.segment_files()[0]).unwrap().set_len(cut).unwrap();
        let cache = copy.open().await;
        assert!(cache.recovery_report().snapshot_ignored, "at {cut}");
        let found = intact(&cache, 6, 120).await;
        // Whole records before the cut are there.
        assert!(found >= (cut / 280).min(5), "at {cut}: {found}");
    }
}

/// Two versions of every key, the older ones in earlier segments than the newer.
async fn two_versions(ctx: &Ctx) {
    let cache = ctx.open().await;
    for version in [1, 2] {
        for n in 0..60 {
            cache.insert(&key(n), body(n, version, 3000)).await.unwrap();
        }
    }
    cache.close().await.unwrap();
    assert!(ctx.segment_files().len() >= 5);
}

/// Every key has its newest version or none.
async fn newest_or_none(ctx: &Ctx) -> usize {
    let cache = ctx.open().await;
    let mut found = 0;
    for n in 0..60 {
        if let Some(bytes) = peek(&cache, &key(n)).await {
            assert_eq!(bytes, body(n, 2, 3000), "entry {n}");
            found += 1;
        }
    }
    found
}

pub(crate) async fn a_deleted_segment_gives_no_older_value(ctx: Ctx) {
    two_versions(&ctx).await;
    let count = ctx.segment_files().len();
    // The last one is left: a log that ends early cannot be told from one that ended there.
    for at in 0..count - 1 {
        let copy = ctx.crash(&format!("without-{at}"));
        fs::remove_file(&copy.segment_files()[at]).unwrap();
        newest_or_none(&copy).await;
    }
}

pub(crate) async fn an_older_copy_of_a_segment_gives_no_wrong_byte(ctx: Ctx) {
    two_versions(&ctx).await;
    for (from, to) in [(0, 1), (0, 3), (2, 1), (3, 0)] {
        let copy = ctx.crash(&format!("{from}-over-{to}"));
        let files = copy.segment_files();
        fs::copy(&files[from], &files[to]).unwrap();
        newest_or_none(&copy).await;
    }
}

pub(crate) async fn a_segment_under_another_name_gives_no_wrong_byte(ctx: Ctx) {
    two_versions(&ctx).await;
    let last = ctx.segment_files().len();
    for name in [format!("{:08x}.seg", last + 1), format!("{:08x}.seg", last + 40), "00000000.seg".to_owned()]
    {
        let copy = ctx.crash(&format!("as-{name}"));
        let from = &copy.segment_files()[0];
        fs::copy(from, copy.dir.join("segments").join(name)).unwrap();
        newest_or_none(&copy).await;
    }
    // Names that only look like a segment's own.
    for name in ["0000000A.seg", "+0000002.seg", "00000002.SEG", "2.seg", "000000002.seg"] {
        let copy = ctx.crash(&format!("like-{name}"));
        let from = &copy.segment_files()[0];
        fs::copy(from, copy.dir.join("segments").join(name)).unwrap();
        assert_eq!(newest_or_none(&copy).await, 60, "{name}");
    }
}

pub(crate) async fn two_segments_swapped_give_no_wrong_byte(ctx: Ctx) {
    two_versions(&ctx).await;
    for (a, b) in [(0, 1), (0, 3), (1, 2)] {
        let copy = ctx.crash(&format!("{a}-for-{b}"));
        let files = copy.segment_files();
        let held = fs::read(&files[a]).unwrap();
        fs::copy(&files[b], &files[a]).unwrap();
        fs::write(&files[b], held).unwrap();
        newest_or_none(&copy).await;
    }
}

pub(crate) async fn a_segment_of_another_cache_is_not_read(ctx: Ctx) {
    let other = Ctx { dir: ctx.base.join("other"), ..ctx.clone() };
    let cache = other.open().await;
    for n in 0..60 {
        cache.insert(&key(n), body(n, 9, 3000)).await.unwrap();
    }
    cache.close().await.unwrap();
    two_versions(&ctx).await;
    for at in 0..3 {
        let copy = ctx.crash(&format!("other-{at}"));
        fs::copy(&other.segment_files()[at], &copy.segment_files()[at]).unwrap();
        newest_or_none(&copy).await;
    }
}
