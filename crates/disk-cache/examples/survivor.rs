//! Shows what survives: `survivor fill DIR` inserts, synced, until it is killed, and says what was acknowledged;
//! `survivor check DIR N` opens the directory again and looks for the first N. For the tests on old kernels, where the whole
//! machine is killed, and for trying it by hand.
#![expect(clippy::print_stdout, reason = "it is a command line")]

use bytes::Bytes;
use disk_cache::{BackendChoice, ByteSize, CacheKey, DiskCache, Durability, InsertOptions};
use std::{error::Error, io::Write as _};

/// All that is ever inserted fits twice, so that nothing is evicted.
const CAPACITY: ByteSize = ByteSize::mib(64);
const MOST: u64 = 4_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["fill", dir] => fill(&open(dir).await?).await,
        ["check", dir, count] => check(&open(dir).await?, count.parse()?).await,
        _ => Err("usage: survivor fill DIR | survivor check DIR N".into()),
    }
}

async fn open(dir: &str) -> disk_cache::Result<DiskCache> {
    let builder = DiskCache::builder(dir).capacity(CAPACITY).min_free_space(ByteSize::default());
    let cache = builder.backend(BackendChoice::Auto).open().await?;
    println!("survivor: on {}, {} entries found", cache.stats().backend, cache.stats().entries);
    Ok(cache)
}

async fn fill(cache: &DiskCache) -> Result<(), Box<dyn Error>> {
    for n in 0..MOST {
        cache.insert_with(&key(n), body(n), InsertOptions::new().durability(Durability::Synced)).await?;
        println!("survivor: acknowledged {}", n + 1);
        std::io::stdout().flush()?;
    }
    Err("nobody killed it".into())
}

async fn check(cache: &DiskCache, count: u64) -> Result<(), Box<dyn Error>> {
    for n in 0..count {
        let hit = cache.get(&key(n)).await?.ok_or_else(|| format!("entry {n} is lost"))?;
        if hit.bytes().await? != body(n) {
            return Err(format!("entry {n} is another").into());
        }
    }
    println!("survivor: found {count}");
    cache.close().await?;
    Ok(())
}

fn key(n: u64) -> CacheKey {
    CacheKey::new("survivor", n.to_string())
}

/// 100 to 8,100 bytes that tell the entry everywhere.
fn body(n: u64) -> Bytes {
    let len = 100 + (n as usize * 37) % 8_000;
    n.to_le_bytes().iter().copied().cycle().take(len).collect::<Vec<_>>().into()
}
