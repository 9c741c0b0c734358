//! cacache: files named by the hash of their content, an index of append-only files; checked on every read, never evicted.

use benches::{
    Result,
    client::Client,
    naive::sync_all,
    store::{Opened, Peer, Store},
};
use bytes::Bytes;
use std::{path::Path, sync::Arc};

/// As it comes.
#[derive(Debug)]
pub(crate) struct Cacache;

impl Peer for Cacache {
    fn name(&self) -> &'static str {
        "cacache"
    }

    fn is_bounded(&self) -> bool {
        false
    }

    fn open(&self, _client: &Client, dir: &Path, _capacity: u64, _body: usize) -> Result<Box<dyn Opened>> {
        Ok(Box::new(ContentFiles(dir.into())))
    }
}

#[derive(Clone, Debug)]
struct ContentFiles(Arc<Path>);

impl Store for ContentFiles {
    async fn get(&self, name: &str) -> Result<Option<Bytes>> {
        match cacache::read(&self.0, name).await {
            Ok(body) => Ok(Some(body.into())),
            Err(cacache::Error::EntryNotFound(..)) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    async fn insert(&self, name: &str, body: Bytes) -> Result<()> {
        cacache::write(&self.0, name, body).await?;
        Ok(())
    }

    /// It syncs nothing itself.
    async fn settle(&self) -> Result<()> {
        sync_all(&self.0).await
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
