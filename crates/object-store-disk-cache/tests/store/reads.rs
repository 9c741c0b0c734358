//! Gets: what reaches the store, and what comes back.

use crate::{
    BLOCK, HOUR, Rig, body, path,
    watched::Asked::{self, Head, Part},
};
use futures_util::TryStreamExt;
use object_store::{
    Attribute, Attributes, Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutOptions,
    local::LocalFileSystem,
};
use object_store_disk_cache::{DiskCacheStore, Freshness, disk_cache::PurgeScope};
use std::sync::Arc;
use tempfile::tempdir;

/// The head and the first blocks, `len` bytes of them.
fn head_and_blocks(len: u64) -> Vec<Asked> {
    let blocks = (0..len.div_ceil(BLOCK)).map(|n| Part(n * BLOCK..((n + 1) * BLOCK).min(len)));
    std::iter::once(Head).chain(blocks).collect()
}

#[tokio::test]
async fn the_second_get_does_not_reach_the_store() {
    let rig = Rig::new(Freshness::Immutable).await;
    for len in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 9 * BLOCK + 7] {
        let (path, body) = (object_store::path::Path::from(format!("of {len}")), body(len, len));
        rig.put_behind(&path, &body).await;
        assert_eq!(rig.get(&path).await, body);
        assert_eq!(rig.behind.asked(), head_and_blocks(len), "{len} bytes");
        assert_eq!(rig.get(&path).await, body);
        assert_eq!(rig.store.head(&path).await.expect("its head").size, len);
        assert_eq!(rig.behind.asked(), [], "{len} bytes");
    }
}

#[tokio::test]
async fn the_second_get_does_not_reach_a_directory() {
    let root = tempdir().expect("a directory");
    let inner = LocalFileSystem::new_with_prefix(root.path()).expect("it is there");
    let rig = Rig::before(Arc::new(inner), Freshness::MaxAge(HOUR)).await;
    let body = body(1, 3 * BLOCK + 1);
    rig.store.put(&path(), body.clone().into()).await.expect("it is put");
    assert_eq!(rig.get(&path()).await, body);
    assert_eq!(rig.behind.asked(), head_and_blocks(3 * BLOCK + 1));
    assert_eq!(rig.get(&path()).await, body);
    assert_eq!(rig.behind.asked(), []);
}

#[tokio::test]
async fn a_range_fetches_the_blocks_it_lies_in_and_no_others() {
    let rig = Rig::new(Freshness::Immutable).await;
    let len = 5 * BLOCK + 100;
    let body = body(2, len);
    rig.put_behind(&path(), &body).await;
    let get = async |range: GetRange| {
        let answer = rig.store.get_opts(&path(), GetOptions::new().with_range(Some(range))).await;
        let answer = answer.expect("it is there");
        assert_eq!(answer.meta.size, len);
        let range = answer.range.clone();
        let bytes = answer.bytes().await.expect("it reads");
        assert_eq!(bytes, body.slice(range.start as usize..range.end as usize));
        range
    };
    // The end first, as a reader of Parquet does.
    assert_eq!(get(GetRange::Suffix(8)).await, len - 8..len);
    assert_eq!(rig.behind.asked(), [Head, Part(5 * BLOCK..len)]);
    assert_eq!(get(GetRange::Bounded(BLOCK - 1..BLOCK + 1)).await, BLOCK - 1..BLOCK + 1);
    assert_eq!(rig.behind.asked(), [Part(0..BLOCK), Part(BLOCK..2 * BLOCK)]);
    assert_eq!(get(GetRange::Offset(4 * BLOCK + 1)).await, 4 * BLOCK + 1..len);
    assert_eq!(rig.behind.asked(), [Part(4 * BLOCK..5 * BLOCK)]);
    assert_eq!(get(GetRange::Bounded(len - 1..len + 9)).await, len - 1..len);
    assert_eq!(get(GetRange::Suffix(50)).await, len - 50..len);
    assert_eq!(rig.behind.asked(), []);
    let ranges = [0..3, BLOCK - 1..BLOCK + 5, 3 * BLOCK..3 * BLOCK + 1, 0..BLOCK];
    let got = rig.store.get_ranges(&path(), &ranges).await.expect("they are there");
    for (range, bytes) in ranges.iter().zip(&got) {
        assert_eq!(bytes, &body.slice(range.start as usize..range.end as usize));
    }
    assert_eq!(got.len(), ranges.len());
    assert_eq!(rig.behind.asked(), [Part(3 * BLOCK..4 * BLOCK)]);
}

#[tokio::test]
async fn a_range_outside_the_object_is_refused_by_the_store_itself() {
    let rig = Rig::new(Freshness::MaxAge(HOUR)).await;
    rig.put_behind(&path(), &body(3, 10)).await;
    rig.get(&path()).await;
    for range in [10..11, 90..100] {
        rig.behind.asked();
        let refused = rig.store.get_range(&path(), range.clone()).await.expect_err("refused");
        assert_eq!(
            refused.to_string(),
            rig.behind.get_range(&path(), range).await.expect_err("too").to_string()
        );
    }
    // It has grown meanwhile: no range of what it is now may be refused for what it was.
    rig.get(&path()).await;
    let grown = body(4, 100);
    rig.put_behind(&path(), &grown).await;
    assert_eq!(rig.store.get_range(&path(), 90..100).await.expect("it is there"), grown.slice(90..));
    assert_eq!(rig.get(&path()).await, grown);
}

#[tokio::test]
async fn attributes_version_and_date_come_back_with_a_hit() {
    let rig = Rig::new(Freshness::Immutable).await;
    let attributes = Attributes::from_iter([
        (Attribute::ContentType, "text/plain"),
        (Attribute::Metadata("owner".into()), "a team"),
    ]);
    let options = PutOptions { attributes: attributes.clone(), ..PutOptions::default() };
    rig.behind.put_opts(&path(), "a body".into(), options).await.expect("it is put");
    let of_the_store = rig.behind.head(&path()).await.expect("it is there");
    rig.get(&path()).await;
    rig.behind.asked();
    let hit = rig.store.get(&path()).await.expect("it is there");
    assert_eq!((&hit.attributes, &hit.meta), (&attributes, &of_the_store));
    assert_eq!(rig.behind.asked(), []);
}

#[tokio::test]
async fn conditions_are_judged_without_the_store_and_what_they_refuse_is_its_own_word() {
    let rig = Rig::new(Freshness::MaxAge(HOUR)).await;
    rig.put_behind(&path(), &body(5, 10)).await;
    rig.get(&path()).await;
    rig.behind.asked();
    let meta = rig.store.head(&path()).await.expect("its head");
    let (tag, second) = (meta.e_tag.clone(), std::time::Duration::from_secs(1));
    let get =
        async |options: GetOptions| rig.store.get_opts(&path(), options).await.map(|answer| answer.range);

    let held = [
        GetOptions::new().with_if_match(tag.clone()),
        GetOptions::new().with_if_none_match(Some("\"another\"")),
        GetOptions::new().with_if_modified_since(Some(meta.last_modified - second)),
        GetOptions::new().with_if_unmodified_since(Some(meta.last_modified)),
    ];
    for options in held {
        assert_eq!(get(options.clone()).await.expect("it holds"), 0..10, "{options:?}");
    }
    let not_modified = [
        GetOptions::new().with_if_none_match(tag.clone()),
        GetOptions::new().with_if_modified_since(Some(meta.last_modified)),
    ];
    for options in not_modified {
        let refused = get(options.clone()).await.expect_err("not modified");
        assert!(matches!(refused, Error::NotModified { .. }), "{options:?}: {refused:?}");
    }
    assert_eq!(rig.behind.asked(), [], "the store was asked");
    let refused = get(GetOptions::new().with_if_match(Some("\"another\""))).await.expect_err("no match");
    assert!(matches!(refused, Error::Precondition { .. }), "{refused:?}");

    // Another client has replaced it, and its new tag is known: the old head must not refuse it.
    rig.get(&path()).await;
    rig.put_behind(&path(), &body(6, 20)).await;
    let new = rig.behind.head(&path()).await.expect("its head");
    assert_eq!(get(GetOptions::new().with_if_match(new.e_tag)).await.expect("it is there"), 0..20);
    assert_eq!(get(GetOptions::new()).await.expect("it is there"), 0..20, "the old head is forgotten");
}

#[tokio::test]
async fn a_named_version_is_the_stores_business() {
    let rig = Rig::new(Freshness::Immutable).await;
    rig.put_behind(&path(), &body(7, 10)).await;
    for _ in 0..2 {
        let options = GetOptions::new().with_version(Some("1"));
        rig.store.get_opts(&path(), options).await.expect("a store in memory has but one");
        assert_eq!(rig.behind.asked(), [Asked::Whole]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_miss_an_object_at_the_same_time_share_its_requests() {
    let rig = Rig::new(Freshness::Immutable).await;
    let len = 6 * BLOCK;
    let body = body(8, len);
    rig.put_behind(&path(), &body).await;
    rig.behind.hold();
    let gets: Vec<_> = (0..32)
        .map(|_| {
            let store = rig.store.clone();
            tokio::spawn(async move { store.get(&path()).await?.bytes().await })
        })
        .collect();
    rig.behind.holds_one().await;
    rig.behind.release();
    for get in gets {
        assert_eq!(get.await.expect("it ends").expect("it reads"), body);
    }
    let mut asked = rig.behind.asked();
    asked.sort_by_key(|asked| if let Part(range) = asked { 1 + range.start } else { 0 });
    assert_eq!(asked, head_and_blocks(len));
}

#[tokio::test]
async fn what_was_read_before_a_restart_is_read_after_it_without_the_store() {
    let mut rig = Rig::new(Freshness::Immutable).await;
    let body = body(9, 7 * BLOCK + 3);
    rig.put_behind(&path(), &body).await;
    assert_eq!(rig.get(&path()).await, body);
    rig.behind.asked();
    rig.restart(Freshness::Immutable).await;
    assert_eq!(rig.get(&path()).await, body);
    assert_eq!(rig.behind.asked(), []);
}

#[tokio::test]
async fn stores_that_share_a_cache_share_no_objects() {
    let rig = Rig::new(Freshness::Immutable).await;
    let (one, two) = (body(10, BLOCK + 1), body(11, BLOCK + 1));
    rig.put_behind(&path(), &one).await;
    let other = Rig::new(Freshness::Immutable).await;
    other.put_behind(&path(), &two).await;
    let other = DiskCacheStore::new(other.behind.clone(), rig.store.cache().clone(), "test://other")
        .freshness(Freshness::Immutable);
    for _ in 0..2 {
        assert_eq!(rig.get(&path()).await, one);
        assert_eq!(other.get(&path()).await.expect("it is there").bytes().await.expect("it reads"), two);
    }
}

#[tokio::test]
async fn a_purge_of_a_location_or_prefix_takes_head_and_blocks() {
    let rig = Rig::new(Freshness::Immutable).await;
    let (namespace, body) = ("test://store".into(), body(12, 2 * BLOCK));
    rig.put_behind(&path(), &body).await;
    let location = PurgeScope::Path { namespace, path: path().as_ref().to_owned().into() };
    let prefix = PurgeScope::Prefix { namespace: "test://store".into(), prefix: "a folder/".into() };
    for scope in [location, prefix, PurgeScope::Namespace("test://store".into())] {
        rig.get(&path()).await;
        rig.behind.asked();
        rig.store.cache().purge(scope).await.expect("it is purged");
        assert_eq!(rig.get(&path()).await, body);
        assert_eq!(rig.behind.asked(), head_and_blocks(2 * BLOCK));
    }
}

#[tokio::test]
async fn a_body_is_streamed_a_few_blocks_ahead_of_its_reader_and_no_more() {
    let rig = Rig::new(Freshness::Immutable).await;
    let body = body(13, 64 * BLOCK);
    rig.put_behind(&path(), &body).await;
    let mut stream = rig.store.get(&path()).await.expect("it is there").into_stream();
    assert_eq!(rig.behind.asked(), [Head, Part(0..BLOCK)], "before anything is read");
    let mut read = stream.try_next().await.expect("it reads").expect("a first piece").to_vec();
    let mut most = 0;
    while let Some(piece) = stream.try_next().await.expect("it reads") {
        read.extend_from_slice(&piece);
        let ahead = rig.behind.asked().into_iter().filter_map(|asked| match asked {
            Part(range) => Some(range.end - read.len() as u64),
            Head | Asked::Whole => None,
        });
        most = most.max(ahead.max().unwrap_or(0));
    }
    assert_eq!(read, body);
    assert!((1..=4 * BLOCK).contains(&most), "{most} bytes ahead");
    assert_eq!(rig.store.cache().stats().entries, 65, "the head and each block");
}
