//! A cache in a service: opened at the start, asked for each request, told of changes, closed at the end.
//!
//! `cargo run --release --example embed`
#![expect(clippy::print_stdout, reason = "it shows what it does")]

use disk_cache::{
    ByteSize, CacheKey, DiskCache, Expiry, Fetched, InsertOptions, Inserted, PurgeScope, Result,
};
use std::{path::Path, time::Duration};

#[tokio::main]
async fn main() -> Result<()> {
    let dir = tempfile::tempdir().map_err(|e| disk_cache::Error::io("make", "a directory", e))?;
    run(dir.path()).await
}

async fn run(dir: &Path) -> Result<()> {
    let cache = DiskCache::builder(dir)
        .capacity(ByteSize::gib(1)) // all files together, a hard limit
        .default_ttl(Duration::from_secs(3600))
        .open()
        .await?;

    for _ in 0..2 {
        let page = page(&cache, "products/17").await?;
        println!("{}", String::from_utf8_lossy(&page));
    }

    // Whatever shows product 17 is outdated: the pages that are stored, and the one that is being rendered right now.
    cache.purge(PurgeScope::Tag("product-17".into())).await?;
    assert!(cache.get(&CacheKey::new("pages", "products/17")).await?.is_none());
    page(&cache, "products/17").await?;

    // Closed, the next open is quick; killed instead, it reads the log, and finds all but the last 10 ms.
    cache.close().await?;
    let cache = DiskCache::builder(dir).capacity(ByteSize::gib(1)).open().await?;
    println!("{} entries after a restart", cache.stats().entries);
    cache.close().await
}

/// A page, rendered once for all that ask for it at the same time.
async fn page(cache: &DiskCache, path: &'static str) -> Result<bytes::Bytes> {
    let key = CacheKey::new("pages", path);
    let fetched = cache
        .get_or_fetch(&key, move |fill| async move {
            let body = render(path).await?; // an error reaches all that wait, and is forgotten
            let options = InsertOptions::new()
                .meta("text/html") // comes back with a hit
                .expiry(Expiry::After(Duration::from_secs(60)))
                .tag("product-17"); // to purge by
            let mut writer = fill.begin(options).await?;
            writer.write(body).await?; // piece by piece, where it comes in pieces
            Ok::<Inserted, BoxError>(writer.commit().await?)
        })
        .await?;
    println!("{}:", if matches!(fetched, Fetched::Hit(_)) { "from the cache" } else { "rendered" });
    Ok(fetched.bytes().await?.unwrap_or_default())
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Stands for what takes long.
async fn render(path: &str) -> Result<bytes::Bytes, BoxError> {
    tokio::time::sleep(Duration::from_millis(200)).await;
    Ok(format!("<h1>{path}</h1>").into())
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn it_runs() {
        let dir = tempfile::tempdir().expect("a directory");
        super::run(dir.path()).await.expect("it ends well");
    }
}
