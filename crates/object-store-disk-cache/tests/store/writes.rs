//! Writes through the cache, and gets after them.

use crate::{
    BLOCK, HOUR, Rig, body, path,
    watched::Asked::{Head, Part, Whole},
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, local::LocalFileSystem, path::Path};
use object_store_disk_cache::Freshness;
use std::sync::Arc;
use tempfile::tempdir;

/// An object that was read, so that its head and blocks are kept; and that of another location.
async fn kept() -> (Rig, Path) {
    let (rig, other) = (Rig::new(Freshness::Immutable).await, Path::from("another"));
    rig.put_behind(&path(), &body(1, BLOCK)).await;
    rig.put_behind(&other, &body(2, BLOCK)).await;
    rig.get(&path()).await;
    rig.get(&other).await;
    (rig, other)
}

fn is_gone<T>(answer: &object_store::Result<T>) -> bool {
    matches!(answer, Err(Error::NotFound { .. }))
}

#[tokio::test]
async fn a_put_is_seen_by_the_next_get_also_after_a_restart() {
    let (mut rig, _) = kept().await;
    for seed in 3..6 {
        rig.store.put(&path(), body(seed, BLOCK).into()).await.expect("it is put");
        if seed == 4 {
            rig.restart(Freshness::Immutable).await;
        }
        assert_eq!(rig.get(&path()).await, body(seed, BLOCK));
    }
}

#[tokio::test]
async fn a_put_that_the_store_refuses_leaves_the_object_and_its_blocks() {
    let (rig, _) = kept().await;
    rig.behind.asked();
    let refused = rig.store.put_opts(&path(), "new".into(), PutMode::Create.into()).await;
    assert!(matches!(refused, Err(Error::AlreadyExists { .. })), "{refused:?}");
    assert_eq!(rig.get(&path()).await, body(1, BLOCK));
    assert_eq!(rig.behind.asked(), [Head], "what came of it is asked for, the bytes are there");
}

#[tokio::test]
async fn copies_and_renames_are_seen_by_the_next_get_of_either_name() {
    let (rig, other) = kept().await;
    rig.store.copy(&path(), &other).await.expect("it is copied");
    assert_eq!(rig.get(&other).await, body(1, BLOCK));
    rig.store.put(&path(), body(3, BLOCK).into()).await.expect("it is put");
    rig.get(&path()).await;
    rig.store.rename(&path(), &other).await.expect("it is renamed");
    assert_eq!(rig.get(&other).await, body(3, BLOCK));
    assert!(is_gone(&rig.store.get(&path()).await));
}

#[tokio::test]
async fn what_is_deleted_is_gone_for_the_next_get() {
    let (rig, other) = kept().await;
    rig.store.delete(&path()).await.expect("it is deleted");
    assert!(is_gone(&rig.store.get(&path()).await));
    assert_eq!(rig.get(&other).await, body(2, BLOCK));
}

#[tokio::test]
async fn bulk_deletes_are_answered_in_order_and_forget_what_failed_too() {
    let root = tempdir().expect("a directory");
    let inner = LocalFileSystem::new_with_prefix(root.path()).expect("it is there");
    let rig = Rig::before(Arc::new(inner), Freshness::Immutable).await;
    let paths: Vec<_> = (0..100).map(|n| Path::from(format!("{n:03}"))).collect();
    for path in &paths {
        rig.put_behind(path, &body(1, 10)).await;
        rig.get(path).await;
    }
    // One is gone already: this store answers with an error for it, which need not say for which.
    rig.behind.delete(&paths[50]).await.expect("it is deleted");
    let locations = stream::iter(paths.clone()).map(Ok).boxed();
    let answers: Vec<_> = rig.store.delete_stream(locations).collect().await;
    for (n, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(path) => assert_eq!(path, paths[n]),
            Err(error) => assert!(n == 50 && matches!(error, Error::NotFound { .. }), "{n}: {error:?}"),
        }
    }
    for path in &paths {
        assert!(is_gone(&rig.store.get(path).await), "{path}");
    }
}

#[tokio::test]
async fn an_upload_in_parts_is_seen_when_it_is_complete_and_not_when_it_is_aborted() {
    let (rig, _) = kept().await;
    let mut upload = rig.store.put_multipart(&path()).await.expect("it begins");
    upload.put_part("new ".into()).await.expect("a part");
    assert_eq!(rig.get(&path()).await, body(1, BLOCK));
    upload.put_part("body".into()).await.expect("a part");
    upload.complete().await.expect("it ends");
    assert_eq!(rig.get(&path()).await, "new body");
    let mut upload = rig.store.put_multipart(&path()).await.expect("it begins");
    upload.put_part("never seen".into()).await.expect("a part");
    upload.abort().await.expect("it ends");
    assert_eq!(rig.get(&path()).await, "new body");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_was_asked_for_before_a_put_is_not_kept_after_it() {
    let rig = Rig::new(Freshness::Immutable).await;
    let (old, new): (Bytes, Bytes) = (body(1, BLOCK), body(2, BLOCK));
    rig.put_behind(&path(), &old).await;
    rig.behind.hold();
    let store = rig.store.clone();
    let early = tokio::spawn(async move { store.get(&path()).await?.bytes().await });
    rig.behind.holds_one().await; // The store has answered with the old head; the answer is on its way.
    rig.store.put(&path(), new.clone().into()).await.expect("it is put");
    rig.behind.release();
    let early = early.await.expect("it ends").expect("it reads");
    assert!(early == old || early == new);
    rig.behind.asked();
    assert_eq!(rig.get(&path()).await, new);
    assert_eq!(rig.behind.asked(), [Head, Part(0..BLOCK)]);
}

#[tokio::test]
async fn a_listing_is_the_stores() {
    let (rig, other) = kept().await;
    rig.behind.delete(&other).await.expect("it is deleted");
    let listed: Vec<_> =
        rig.store.list(None).map_ok(|meta| meta.location).try_collect().await.expect("a list");
    assert_eq!(listed, [path()]);
}

#[tokio::test]
async fn a_put_is_seen_before_its_age_is_over() {
    let rig = Rig::new(Freshness::MaxAge(HOUR)).await;
    rig.store.put(&path(), "old".into()).await.expect("it is put");
    assert_eq!(rig.get(&path()).await, "old");
    rig.store.put(&path(), "new".into()).await.expect("it is put");
    rig.behind.asked();
    assert_eq!(rig.get(&path()).await, "new");
    assert!(!rig.behind.asked().contains(&Whole), "it is read through the cache again");
}
