//! Objects that others write.

use crate::{
    BLOCK, HOUR, Rig, body, path,
    watched::{
        Asked::{Head, Part, Whole},
        Fault,
    },
};
use futures_util::TryStreamExt;
use object_store::{Error, ObjectStore, ObjectStoreExt};
use object_store_disk_cache::Freshness;

#[tokio::test]
async fn asked_every_time_the_store_sends_bytes_once_and_new_ones_at_once() {
    let rig = Rig::new(Freshness::EveryTime).await;
    let (old, new) = (body(1, BLOCK), body(2, BLOCK));
    rig.put_behind(&path(), &old).await;
    assert_eq!(rig.get(&path()).await, old);
    assert_eq!(rig.behind.asked(), [Head, Part(0..BLOCK)]);
    assert_eq!(rig.get(&path()).await, old);
    assert_eq!(rig.behind.asked(), [Head]);
    rig.put_behind(&path(), &new).await;
    assert_eq!(rig.get(&path()).await, new);
    assert_eq!(rig.behind.asked(), [Head, Part(0..BLOCK)]);
    rig.behind.delete(&path()).await.expect("it is deleted");
    assert!(matches!(rig.store.get(&path()).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn past_its_age_a_head_is_asked_for_again_and_unchanged_bytes_are_not() {
    let rig = Rig::new(Freshness::MaxAge(HOUR)).await;
    let (old, new) = (body(1, 3 * BLOCK), body(2, BLOCK));
    rig.put_behind(&path(), &old).await;
    assert_eq!(rig.get(&path()).await, old);
    rig.behind.asked();
    rig.clock.advance(HOUR / 2);
    assert_eq!(rig.get(&path()).await, old);
    assert_eq!(rig.behind.asked(), []);
    rig.clock.advance(HOUR);
    assert_eq!(rig.get(&path()).await, old);
    assert_eq!(rig.behind.asked(), [Head]);
    rig.put_behind(&path(), &new).await;
    assert_eq!(rig.get(&path()).await, old, "it is still believed to be the old one");
    rig.clock.advance(HOUR);
    assert_eq!(rig.get(&path()).await, new);
    assert_eq!(rig.behind.asked(), [Head, Part(0..BLOCK)]);
}

#[tokio::test]
async fn the_age_of_a_head_goes_on_over_a_restart() {
    let mut rig = Rig::new(Freshness::MaxAge(HOUR)).await;
    rig.put_behind(&path(), &body(1, 1)).await;
    rig.get(&path()).await;
    rig.restart(Freshness::MaxAge(HOUR)).await;
    rig.behind.asked();
    rig.get(&path()).await;
    assert_eq!(rig.behind.asked(), []);
    rig.clock.advance(HOUR);
    rig.get(&path()).await;
    assert_eq!(rig.behind.asked(), [Head]);
}

#[tokio::test]
async fn a_head_that_was_believed_for_ever_is_not_by_one_who_asks_every_hour() {
    let mut rig = Rig::new(Freshness::Immutable).await;
    let (old, new) = (body(1, BLOCK), body(2, BLOCK));
    rig.put_behind(&path(), &old).await;
    assert_eq!(rig.get(&path()).await, old);
    rig.restart(Freshness::MaxAge(HOUR)).await;
    rig.put_behind(&path(), &new).await;
    assert_eq!(rig.get(&path()).await, new);
    rig.behind.asked();
    assert_eq!(rig.get(&path()).await, new);
    assert_eq!(rig.behind.asked(), [], "now it is believed for an hour");
    rig.restart(Freshness::Immutable).await;
    assert_eq!(rig.get(&path()).await, new);
    assert_eq!(rig.behind.asked(), [], "who believes for longer need not ask");
}

#[tokio::test]
async fn a_get_that_finds_the_object_replaced_gives_the_new_one() {
    let rig = Rig::new(Freshness::MaxAge(HOUR)).await;
    // The new one is too short for what is asked of the old one.
    let (old, new) = (body(1, 4 * BLOCK), body(2, BLOCK));
    rig.put_behind(&path(), &old).await;
    // Its first block is kept, the others are not.
    rig.store.get_range(&path(), 0..1).await.expect("it is there");
    rig.put_behind(&path(), &new).await;
    rig.behind.asked();
    assert_eq!(rig.get(&path()).await, new);
    assert_eq!(rig.behind.asked(), [Part(BLOCK..2 * BLOCK), Whole]);
    assert_eq!(rig.get(&path()).await, new);
    assert_eq!(rig.behind.asked(), [Head, Part(0..BLOCK)]);
}

#[tokio::test]
async fn a_store_that_heeds_no_conditions_mixes_no_objects_either() {
    let rig = Rig::new(Freshness::MaxAge(HOUR)).await;
    rig.behind.fails(Fault::Heedless);
    let (old, new) = (body(1, 4 * BLOCK), body(2, 4 * BLOCK));
    rig.put_behind(&path(), &old).await;
    rig.store.get_range(&path(), 0..1).await.expect("it is there");
    rig.put_behind(&path(), &new).await;
    assert_eq!(rig.get(&path()).await, new);
    assert_eq!(rig.get(&path()).await, new);
}

#[tokio::test]
async fn ranges_of_an_object_that_was_replaced_are_those_of_the_new_one() {
    let rig = Rig::new(Freshness::MaxAge(HOUR)).await;
    let (old, new) = (body(1, 4 * BLOCK), body(2, 4 * BLOCK));
    rig.put_behind(&path(), &old).await;
    rig.store.get_range(&path(), 0..1).await.expect("it is there");
    rig.put_behind(&path(), &new).await;
    let got = rig.store.get_ranges(&path(), &[0..1, 3 * BLOCK..3 * BLOCK + 1]).await.expect("they are there");
    assert_eq!(got, [new.slice(..1), new.slice(3 * BLOCK as usize..).slice(..1)]);
}

#[tokio::test]
async fn an_object_that_is_replaced_while_it_is_read_ends_in_an_error_and_never_mixed() {
    let rig = Rig::new(Freshness::MaxAge(HOUR)).await;
    let (old, new) = (body(1, 9 * BLOCK), body(2, 9 * BLOCK));
    rig.put_behind(&path(), &old).await;
    let mut stream = rig.store.get(&path()).await.expect("it is there").into_stream();
    assert_eq!(stream.try_next().await.expect("it reads").expect("a piece"), old.slice(..BLOCK as usize));
    rig.put_behind(&path(), &new).await;
    let broken = stream.try_next().await.expect_err("replaced");
    assert!(matches!(broken, Error::Precondition { .. }), "{broken:?}");
    assert_eq!(rig.get(&path()).await, new, "the next get finds it replaced");
}

#[tokio::test]
async fn an_object_that_is_gone_is_not_found_once_a_byte_of_it_is_missing() {
    let rig = Rig::new(Freshness::MaxAge(HOUR)).await;
    rig.put_behind(&path(), &body(1, 4 * BLOCK)).await;
    rig.store.get_range(&path(), 0..1).await.expect("it is there");
    rig.behind.delete(&path()).await.expect("it is deleted");
    assert!(matches!(rig.store.get(&path()).await, Err(Error::NotFound { .. })));
    assert!(matches!(rig.store.head(&path()).await, Err(Error::NotFound { .. })), "the head is forgotten");
}

#[tokio::test]
async fn of_objects_without_a_strong_e_tag_nothing_is_kept_unless_they_are_written_once() {
    for fault in [Fault::Nameless, Fault::Weak] {
        for freshness in [Freshness::EveryTime, Freshness::MaxAge(HOUR)] {
            let rig = Rig::new(freshness).await;
            rig.behind.fails(fault);
            for seed in 0..2 {
                rig.put_behind(&path(), &body(seed, BLOCK)).await;
                assert_eq!(rig.get(&path()).await, body(seed, BLOCK), "{fault:?}");
                assert_eq!(rig.behind.asked(), [Head, Whole]);
            }
            assert_eq!(rig.store.cache().stats().entries, 0);
        }
        let rig = Rig::new(Freshness::Immutable).await;
        rig.behind.fails(fault);
        rig.put_behind(&path(), &body(3, BLOCK)).await;
        assert_eq!(rig.get(&path()).await, body(3, BLOCK), "{fault:?}");
        assert_eq!(rig.get(&path()).await, body(3, BLOCK), "{fault:?}");
        assert_eq!(rig.behind.asked(), [Head, Part(0..BLOCK)]);
    }
}
