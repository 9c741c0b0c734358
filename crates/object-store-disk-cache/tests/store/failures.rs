//! Stores and caches that fail.

use crate::{
    BLOCK, HOUR, Rig, body, path,
    watched::{
        Asked::{Head, Part, Whole},
        Fault,
    },
};
use object_store::{Error, ObjectStore, ObjectStoreExt, path::Path};
use object_store_disk_cache::{
    Freshness,
    disk_cache::{ByteSize, DiskCache},
};
use tempfile::tempdir;

const ALL: [Freshness; 3] = [Freshness::EveryTime, Freshness::MaxAge(HOUR), Freshness::Immutable];

#[tokio::test]
async fn what_the_store_refuses_is_refused_alike_and_not_remembered() {
    for freshness in ALL {
        let rig = Rig::new(freshness).await;
        rig.put_behind(&path(), &body(1, 2 * BLOCK)).await;
        rig.behind.fails(Fault::Refused);
        for _ in 0..2 {
            let refused = rig.store.get(&path()).await.expect_err("refused");
            let Error::PermissionDenied { path: at, .. } = &refused else { panic!("{refused:?}") };
            assert_eq!(*at, path().to_string());
            assert!(refused.to_string().ends_with("as planted"), "{refused}");
        }
        rig.behind.fails(None);
        rig.store.get_range(&path(), 0..1).await.expect("it is there");
        rig.behind.fails(Fault::Refused);
        let refused = rig.store.get_range(&path(), BLOCK..BLOCK + 1).await.expect_err("refused");
        assert!(matches!(refused, Error::PermissionDenied { .. }), "{refused:?}");
        rig.behind.fails(None);
        assert_eq!(rig.get(&path()).await, body(1, 2 * BLOCK));
    }
}

#[tokio::test]
async fn what_is_kept_is_read_while_the_store_is_away() {
    let rig = Rig::new(Freshness::Immutable).await;
    rig.put_behind(&path(), &body(1, 2 * BLOCK)).await;
    rig.get(&path()).await;
    rig.behind.fails(Fault::Refused);
    assert_eq!(rig.get(&path()).await, body(1, 2 * BLOCK));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_reaches_all_that_wait_for_the_same_request() {
    let rig = Rig::new(Freshness::Immutable).await;
    rig.behind.hold();
    let gets: Vec<_> = (0..8)
        .map(|_| {
            let store = rig.store.clone();
            tokio::spawn(async move { store.get(&path()).await.map(|answer| answer.range) })
        })
        .collect();
    rig.behind.holds_one().await;
    rig.behind.release();
    for get in gets {
        let missing = get.await.expect("it ends");
        assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
    }
}

#[tokio::test]
async fn a_body_that_ends_early_is_an_error_and_is_never_stored() {
    for freshness in ALL {
        let rig = Rig::new(freshness).await;
        rig.put_behind(&path(), &body(1, 3 * BLOCK)).await;
        rig.behind.fails(Fault::Truncated);
        assert!(rig.store.get(&path()).await.is_err(), "{freshness:?}");
        assert!(rig.store.get_ranges(&path(), &[0..5, 7..8]).await.is_err(), "{freshness:?}");
        rig.behind.fails(None);
        rig.behind.asked();
        assert_eq!(rig.get(&path()).await, body(1, 3 * BLOCK));
        let blocks = (0..3).map(|n| Part(n * BLOCK..(n + 1) * BLOCK));
        assert!(blocks.eq(rig.behind.asked().into_iter().filter(|asked| *asked != Head)));
    }
}

#[tokio::test]
async fn a_closed_cache_fails_no_request() {
    for freshness in ALL {
        let rig = Rig::new(freshness).await;
        let (old, new) = (body(1, 3 * BLOCK), body(2, 3 * BLOCK));
        rig.put_behind(&path(), &old).await;
        rig.get(&path()).await;
        rig.store.cache().close().await.expect("it closes");
        assert_eq!(rig.get(&path()).await, old, "{freshness:?}");
        rig.store.put(&path(), new.clone().into()).await.expect("it is put");
        assert_eq!(rig.get(&path()).await, new, "{freshness:?}");
        let ranges = [1..2, BLOCK..2 * BLOCK];
        let got = rig.store.get_ranges(&path(), &ranges).await.expect("they are there");
        assert_eq!(got, ranges.map(|range| new.slice(range.start as usize..range.end as usize)));
        rig.store.delete(&path()).await.expect("it is deleted");
        assert!(matches!(rig.store.get(&path()).await, Err(Error::NotFound { .. })));
    }
}

#[tokio::test]
async fn a_body_that_the_cache_does_not_take_is_fetched_each_time() {
    let rig = Rig::new(Freshness::Immutable).await;
    let dir = tempdir().expect("a directory");
    let builder =
        DiskCache::builder(dir.path()).capacity(ByteSize::mib(64)).min_free_space(ByteSize::default());
    let cache = builder.max_entry_size(ByteSize::bytes_of(BLOCK - 1)).open().await.expect("it opens");
    let store = crate::store(&rig.behind, cache, Freshness::Immutable);
    let body = body(1, 2 * BLOCK + 1);
    rig.put_behind(&path(), &body).await;
    let blocks = [Part(0..BLOCK), Part(BLOCK..2 * BLOCK), Part(2 * BLOCK..2 * BLOCK + 1)];
    let read = async || store.get(&path()).await.expect("it is there").bytes().await.expect("it reads");
    assert_eq!(read().await, body);
    assert_eq!(rig.behind.asked()[1..], blocks);
    assert_eq!(read().await, body);
    assert_eq!(rig.behind.asked(), blocks[..2], "the head and the last block are short enough");
}

#[tokio::test]
async fn a_location_that_is_too_long_for_the_cache_is_read_without_it() {
    let rig = Rig::new(Freshness::Immutable).await;
    let long = Path::from("x".repeat(20 << 10));
    rig.put_behind(&long, &body(1, BLOCK)).await;
    assert_eq!(rig.get(&long).await, body(1, BLOCK));
    assert_eq!(rig.behind.asked(), [Whole]);
    rig.store.put(&long, "new".into()).await.expect("it is put");
    assert_eq!(rig.get(&long).await, "new");
    rig.behind.asked();
    assert_eq!(rig.store.get_ranges(&long, &[0..1, 1..3]).await.expect("they are there"), ["n", "ew"]);
}
