//! Soft purges and revalidations.

use crate::{LENGTHS, empty, expire, find, key, meta, read, span, store, support::body, tagged};
use disk_cache::PurgeMode;
use pingora_cache::{PurgeOutcome, PurgeTarget, Storage as _};
use std::time::SystemTime;

#[tokio::test]
async fn a_soft_purge_keeps_the_body_and_lets_the_windows_begin() {
    for len in LENGTHS {
        let (_dir, storage) = empty().await;
        let key = key("/a");
        let compact = key.to_compact();
        assert_eq!(expire(storage, PurgeTarget::Active(&compact)).await, PurgeOutcome::NotFound);
        store(storage, &key, &meta("\"1\""), &body(1, len)).await;
        let before = SystemTime::now();
        assert_eq!(expire(storage, PurgeTarget::Active(&compact)).await, PurgeOutcome::Expired);
        let after = SystemTime::now();
        for _ in 0..2 {
            let (found, mut hit) = find(storage, &key).await.expect("it is kept");
            assert!(!found.is_fresh(SystemTime::now()));
            assert!(
                (before..=after).contains(&found.fresh_until()),
                "the windows begin with the purge, once"
            );
            assert_eq!(found.stale_while_revalidate_sec(), 600);
            assert!(read(&mut hit).await == body(1, len));
        }
    }
}

#[tokio::test]
async fn a_soft_purge_of_many_makes_each_stale_and_stretches_no_window() {
    let (_dir, storage) = empty().await;
    let meta = tagged("news");
    store(storage, &key("/a"), &meta, &body(1, 100)).await;
    storage.purge_tag("news", PurgeMode::Expire).await.expect("a purge");
    let (found, mut hit) = find(storage, &key("/a")).await.expect("it is kept");
    assert!(!found.is_fresh(SystemTime::now()));
    assert!(found.fresh_until() <= meta.updated());
    assert_eq!(read(&mut hit).await, body(1, 100));
}

#[tokio::test]
async fn a_revalidation_refreshes_the_metadata_and_lifts_a_soft_purge() {
    for len in LENGTHS {
        let (_dir, storage) = empty().await;
        let key = key("/a");
        let id = store(storage, &key, &meta("\"1\""), &body(1, len)).await;
        expire(storage, PurgeTarget::Active(&key.to_compact())).await;
        let (found, _) = find(storage, &key).await.expect("a hit");
        // As Pingora does it: the new metadata, with what the lookup left in the old one.
        let mut refreshed = meta("\"2\"");
        refreshed.extensions_mut().extend(found.extensions().clone());
        assert!(storage.update_meta(&key, &refreshed, &span()).await.expect("an update"));
        let (found, mut hit) = find(storage, &key).await.expect("a hit");
        assert!(found.is_fresh(SystemTime::now()));
        assert_eq!((found.headers()["etag"].to_str().expect("text"), hit.entry_id()), ("\"2\"", Some(id)));
        assert!(read(&mut hit).await == body(1, len));
    }
}

#[tokio::test]
async fn a_revalidation_says_nothing_about_another_body() {
    let (_dir, storage) = empty().await;
    let key = key("/a");
    assert!(!storage.update_meta(&key, &meta("\"0\""), &span()).await.expect("an update of nothing"));
    store(storage, &key, &meta("\"1\""), &body(1, 100)).await;
    let (asked_about, _) = find(storage, &key).await.expect("a hit");
    store(storage, &key, &meta("\"2\""), &body(2, 100)).await;
    assert!(!storage.update_meta(&key, &asked_about, &span()).await.expect("an update"));
    assert_eq!(find(storage, &key).await.expect("a hit").0.headers()["etag"], "\"2\"");
}

#[tokio::test]
async fn a_revalidation_does_not_undo_a_soft_purge_that_came_meanwhile() {
    let (_dir, storage) = empty().await;
    let key = key("/a");
    store(storage, &key, &meta("\"1\""), &body(1, 100)).await;
    let (asked_about, _) = find(storage, &key).await.expect("a hit");
    expire(storage, PurgeTarget::Active(&key.to_compact())).await;
    assert!(!storage.update_meta(&key, &asked_about, &span()).await.expect("an update"));
    assert!(!find(storage, &key).await.expect("a hit").0.is_fresh(SystemTime::now()));
}

#[tokio::test]
async fn a_revalidation_that_changes_the_tags_drops_what_could_not_be_purged_by_them() {
    let (_dir, storage) = empty().await;
    let key = key("/a");
    store(storage, &key, &tagged("news"), &body(1, 100)).await;
    assert!(storage.update_meta(&key, &tagged("news"), &span()).await.expect("an update"));
    assert!(!storage.update_meta(&key, &tagged("news sport"), &span()).await.expect("an update"));
    assert!(find(storage, &key).await.is_none());
}
