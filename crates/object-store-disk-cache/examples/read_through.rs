//! A bucket that is 50 ms away, read as a reader of Parquet files does: the footer first, then a few columns.
//!
//! `cargo run --release --example read_through`
#![expect(clippy::print_stdout, reason = "it shows what it does")]

use bytes::Bytes;
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt,
    memory::InMemory,
    path::Path,
    throttle::{ThrottleConfig, ThrottledStore},
};
use object_store_disk_cache::{
    DiskCacheStore, Freshness,
    disk_cache::{ByteSize, DiskCache},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

const MIB: u64 = 1 << 20;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    run().await
}

async fn run() -> Result<(), BoxError> {
    let bucket = ThrottledStore::new(
        InMemory::new(),
        ThrottleConfig { wait_get_per_call: Duration::from_millis(50), ..ThrottleConfig::default() },
    );
    let path = Path::from("table/part-0.parquet");
    bucket.put(&path, vec![7; 64 * MIB as usize].into()).await?;
    let bucket: Arc<dyn ObjectStore> = Arc::new(bucket);

    let dir = tempfile::tempdir()?;
    for opened in ["a new cache", "opened again"] {
        let cache = DiskCache::builder(dir.path()).capacity(ByteSize::gib(1)).open().await?;
        // Files of a table are written once; an object that may be replaced wants `Freshness::MaxAge`.
        let store = DiskCacheStore::new(bucket.clone(), cache.clone(), "s3://bucket");
        let store = store.freshness(Freshness::Immutable);
        for time in ["first", "second"] {
            let begun = Instant::now();
            let read = read(&store, &path).await?;
            println!("{opened}, {time} time: {read} bytes in {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
        }
        cache.close().await?;
    }
    Ok(())
}

/// The footer, then three columns at once. Returns the number of bytes read.
async fn read(store: &dyn ObjectStore, path: &Path) -> Result<usize, BoxError> {
    let footer = GetOptions::new().with_range(Some(GetRange::Suffix(64 << 10)));
    let footer = store.get_opts(path, footer).await?.bytes().await?;
    let columns = [3 * MIB..5 * MIB, 20 * MIB..21 * MIB, 40 * MIB..42 * MIB];
    let columns = store.get_ranges(path, &columns).await?;
    Ok(footer.len() + columns.iter().map(Bytes::len).sum::<usize>())
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn it_runs() {
        super::run().await.expect("it ends well");
    }
}
