//! What a purge means, and what it leaves.

use crate::{
    LENGTHS, begin, empty, exact, expire, find, key, meta, purge, read, store, stored,
    support::{
        body,
        proxy::{builder, storage},
    },
    tagged,
};
use disk_cache::PurgeMode;
use pingora_cache::{CacheKey, PurgeOutcome, PurgeTarget};
use pingora_disk_cache::Label;
use std::time::SystemTime;
use tempfile::tempdir;

#[tokio::test]
async fn a_purge_tells_what_it_removed() {
    let (_dir, storage) = empty().await;
    let key = key("/a");
    let compact = key.to_compact();
    assert_eq!(purge(storage, PurgeTarget::Active(&compact)).await, PurgeOutcome::NotFound);
    let id = store(storage, &key, &meta("\"1\""), &body(1, 100)).await;
    assert_eq!(purge(storage, PurgeTarget::Active(&compact)).await, PurgeOutcome::Purged(Some(id)));
    assert_eq!(purge(storage, PurgeTarget::Active(&compact)).await, PurgeOutcome::NotFound);
    assert!(find(storage, &key).await.is_none());
}

#[tokio::test]
async fn an_exact_purge_never_hits_another_generation() {
    let (_dir, storage) = empty().await;
    let key = key("/a");
    let old = store(storage, &key, &meta("\"1\""), &body(1, 100)).await;
    let new = store(storage, &key, &meta("\"2\""), &body(2, 100)).await;
    assert_ne!(old, new);
    assert_eq!(purge(storage, PurgeTarget::Exact(&exact(&key, old))).await, PurgeOutcome::NotFound);
    assert_eq!(expire(storage, PurgeTarget::Exact(&exact(&key, old))).await, PurgeOutcome::NotFound);
    let (found, mut hit) = find(storage, &key).await.expect("a hit");
    assert!(found.is_fresh(SystemTime::now()));
    assert_eq!(read(&mut hit).await, body(2, 100));
    let removed = purge(storage, PurgeTarget::Exact(&exact(&key, new))).await;
    assert_eq!(removed, PurgeOutcome::Purged(Some(new)));
    assert!(find(storage, &key).await.is_none());
}

#[tokio::test]
async fn a_purge_of_one_key_leaves_its_variants_and_other_tenants() {
    let (_dir, storage) = empty().await;
    let primary = key("/a");
    let mut variant = key("/a");
    variant.set_variance_key([7; 16]);
    let tenant = CacheKey::new("example.com/a", "tenant");
    for (n, key) in [&primary, &variant, &tenant].into_iter().enumerate() {
        store(storage, key, &meta("\"1\""), &body(n as u64, 100)).await;
    }
    assert_ne!(purge(storage, PurgeTarget::Active(&primary.to_compact())).await, PurgeOutcome::NotFound);
    assert_eq!(stored(storage, &primary).await, None);
    assert_eq!(stored(storage, &variant).await, Some(body(1, 100)));
    storage.purge_variants(&primary, PurgeMode::Remove).await.expect("a purge");
    assert_eq!(stored(storage, &variant).await, None);
    assert_eq!(stored(storage, &tenant).await, Some(body(2, 100)));
    storage.purge_user("tenant", PurgeMode::Remove).await.expect("a purge");
    assert_eq!(stored(storage, &tenant).await, None);
}

#[tokio::test]
async fn what_was_fetched_before_a_purge_is_not_stored_after_it() {
    for len in LENGTHS {
        let (_dir, storage) = empty().await;
        let key = key("/a");
        let compact = key.to_compact();
        for kind in ["key", "prefix", "tag", "tenant", "soft"] {
            let mut handler = begin(storage, &key, &tagged("news")).await;
            handler.write_body(body(1, len), true).await.expect("it takes it");
            match kind {
                "key" => drop(purge(storage, PurgeTarget::Active(&compact)).await),
                "soft" => drop(expire(storage, PurgeTarget::Active(&compact)).await),
                "prefix" => {
                    storage.purge_prefix("", "example.com/", PurgeMode::Remove).await.expect("a purge");
                }
                "tag" => storage.purge_tag("news", PurgeMode::Remove).await.expect("a purge"),
                _ => storage.purge_user("", PurgeMode::Remove).await.expect("a purge"),
            }
            handler.finish().await.expect("no error: there is nothing to do about it");
            assert!(find(storage, &key).await.is_none(), "a purge by {kind}, {len} bytes");
        }
    }
}

#[tokio::test]
async fn a_prefix_goes_by_the_label_where_the_key_has_one() {
    let (_dir, storage) = empty().await;
    let mut key = CacheKey::new(b"\x00\x0bframed bytes".to_vec(), "");
    key.extensions.insert(Label::new("example.com/a"));
    store(storage, &key, &meta("\"1\""), &body(1, 100)).await;
    storage.purge_prefix("", b"\x00\x0bframed".to_vec(), PurgeMode::Remove).await.expect("a purge");
    assert!(find(storage, &key).await.is_some(), "the bytes of the key are not its label");
    storage.purge_prefix("", "example.com/", PurgeMode::Remove).await.expect("a purge");
    assert!(find(storage, &key).await.is_none());
}

#[tokio::test]
async fn a_purge_by_key_survives_the_next_open() {
    let dir = tempdir().expect("a directory");
    let first = storage(builder(dir.path())).await;
    for path in ["/a", "/b"] {
        store(first, &key(path), &meta("\"1\""), &body(1, 3 << 20)).await;
    }
    purge(first, PurgeTarget::Active(&key("/a").to_compact())).await;
    first.cache().close().await.expect("it closes");
    let second = storage(builder(dir.path())).await;
    assert_eq!(stored(second, &key("/a")).await, None);
    assert!(stored(second, &key("/b")).await == Some(body(1, 3 << 20)));
}
