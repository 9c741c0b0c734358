//! A cache under `reqwest`: responses of a server that this example starts itself, streamed into the cache while they are read.
//!
//! `cargo run --release --example reqwest`
#![expect(clippy::print_stdout, reason = "it shows what it does")]

use object_store_disk_cache::disk_cache::{
    ByteSize, CacheKey, DiskCache, Expiry, Fetched, Fill, InsertOptions, Inserted,
};
use reqwest::{Client, Response, StatusCode, Url, header::CONTENT_TYPE};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A client with a cache under it; a cheap clone.
#[derive(Clone, Debug)]
struct CachedClient {
    client: Client,
    cache: DiskCache,
}

impl CachedClient {
    /// The response to a GET, from the cache or the server: its content type is the meta, its body a reader's to take. All that miss
    /// a URL at the same time share one request, and read along while it fills the cache.
    ///
    /// # Errors
    /// Those of the client, for all that share the request; those of the cache.
    async fn get(&self, url: Url) -> Result<Fetched, BoxError> {
        let key = CacheKey::new(url.host_str().unwrap_or_default(), url.as_str());
        let client = self.client.clone();
        let fetch = move |fill: Fill| async move {
            let mut response = client.get(url).send().await?.error_for_status()?;
            if !may_be_stored(&response) {
                return Ok::<Inserted, BoxError>(fill.uncacheable());
            }
            let content_type = response.headers().get(CONTENT_TYPE);
            let meta = content_type.map(|value| value.as_bytes().to_vec()).unwrap_or_default();
            let options = InsertOptions::new().meta(meta).expiry(Expiry::After(Duration::from_secs(60)));
            let mut writer = fill.begin(options).await?;
            while let Some(piece) = response.chunk().await? {
                writer.write(piece).await?;
            }
            // An error above drops the writer instead: nothing is stored, and its readers get an error, not a short body.
            Ok(writer.commit().await?)
        };
        Ok(self.cache.get_or_fetch(&key, fetch).await?)
    }
}

/// A service has more to say here: `http-cache-semantics` knows the rules of HTTP, as the example `proxy` uses them.
fn may_be_stored(response: &Response) -> bool {
    let control = response.headers().get("cache-control").and_then(|value| value.to_str().ok());
    response.status() == StatusCode::OK && !control.is_some_and(|control| control.contains("no-store"))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    run().await
}

async fn run() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url: Url = format!("http://{}/a.txt", listener.local_addr()?).parse()?;
    let server = tokio::spawn(serve(listener));

    let dir = tempfile::tempdir()?;
    let cache = DiskCache::builder(dir.path()).capacity(ByteSize::mib(256)).open().await?;
    let client = CachedClient { client: Client::builder().no_proxy().build()?, cache: cache.clone() };
    for _ in 0..2 {
        let fetched = client.get(url.clone()).await?;
        let from = match &fetched {
            Fetched::Hit(_) => "the cache",
            Fetched::Following(_) => "the server",
            _ => "nowhere: it may not be stored",
        };
        let body = fetched.bytes().await?.unwrap_or_default();
        println!("{} bytes of {:?} from {from}", body.len(), fetched.meta().cloned().unwrap_or_default());
    }
    let stats = cache.stats();
    println!("{} hit, {} stored", stats.hits, stats.inserts);
    cache.close().await?;
    server.abort();
    Ok(())
}

/// Answers every request with the same mebibyte, in pieces.
async fn serve(listener: TcpListener) -> std::io::Result<()> {
    loop {
        let (mut client, _) = listener.accept().await?;
        while request(&mut client).await? {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 1048576\r\n\r\n";
            client.write_all(head.as_bytes()).await?;
            for _ in 0..64 {
                client.write_all(&[b'a'; 16 << 10]).await?;
            }
        }
    }
}

/// Reads a request's head; `false` where the client has gone.
async fn request(client: &mut TcpStream) -> std::io::Result<bool> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if client.read_buf(&mut head).await? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn it_runs() {
        super::run().await.expect("it ends well");
    }
}
