//! Purges whose record is too long.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::large_futures,
    clippy::match_wild_err_arm,
    reason = "a test may panic, print its seed and box nothing"
)]

use cache_core::{ByteSize, Cache, Error, PurgeScope};
use store_testkit::{body, config, disk, key, open_with, peek};

/// Such a record was owed to the log, could never be placed, and every later write failed because of it.
#[tokio::test]
async fn a_purge_that_fits_no_segment_is_refused_and_the_log_goes_on() {
    let disk = disk();
    let mut config = config();
    config.segment_size = Some(ByteSize::kib(8));
    let engine = open_with(&disk, config).await;
    engine.insert(&key(1), body(1, 1, 100)).await.unwrap();
    let scope = PurgeScope::Prefix { namespace: "ns".into(), prefix: vec![b'x'; 10_000].into() };
    let refused = engine.purge(scope).await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    engine.insert(&key(2), body(2, 1, 100)).await.unwrap();
    assert!(engine.remove(&key(1)).await.unwrap());
    assert_eq!(peek(&engine, &key(2)).await, Some(body(2, 1, 100)));
    engine.close().await.unwrap();
}
