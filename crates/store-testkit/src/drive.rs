//! Drives an engine and the model side by side.
//!
//! **Invariant**: an operation is entered in the model before the engine hears of it and acknowledged after it returned, both
//! at a moment of the backend.

use super::peek_stale;
use bytes::Bytes;
use cache_core::{
    Cache, CacheKey, DiskBackend, Durability, Error, Expiry, InsertOptions, Inserted, PurgeMode, PurgeScope,
};
use cache_store::{Engine, Fill};
use cache_testkit::{Loss, Model, Stored};
use std::{pin::Pin, time::Duration};
use tokio::sync::oneshot;

/// One step of a workload.
#[derive(Clone, Debug)]
#[expect(
    missing_docs,
    reason = "the fields are what the verbs take: a key's number, a body's length, a durability"
)]
pub enum Action {
    /// An insert of a whole body.
    Insert { key: usize, len: usize, level: Durability },
    /// An insert in pieces.
    Stream { key: usize, len: usize, level: Durability },
    /// A stream that is overtaken by what is said about its key while it is written, or, where it is that of a fetch, before
    /// its first byte is there: it must publish nothing, before and after any crash. The first of these actions is about the
    /// key and durable.
    Overtaken { key: usize, len: usize, fetch: bool, by: Vec<Action> },
    /// A remove.
    Remove { key: usize, level: Durability },
    /// A purge.
    Purge { scope: PurgeScope, mode: PurgeMode },
    /// A new meta.
    UpdateMeta { key: usize },
    /// An expire.
    Expire { key: usize },
    /// A flush.
    Flush,
    /// Lets background work come to rest.
    Rest,
    /// A look at every key.
    Look,
}

/// An engine, the model of it, and the names they share.
pub struct Driver<B: DiskBackend> {
    /// What is driven.
    pub engine: Engine<B>,
    /// What it should do.
    pub model: Model,
    /// The keys that actions name by number.
    pub keys: Vec<CacheKey>,
    /// The moment, as the backend counts.
    now: Box<dyn Fn() -> u64>,
    serial: u64,
    /// Longer bodies go out of line.
    inline: usize,
}

impl<B: DiskBackend> Driver<B> {
    /// Drives an engine whose bodies longer than `inline` are out of line; `now` tells the moment.
    pub fn new(
        engine: Engine<B>,
        keys: Vec<CacheKey>,
        inline: usize,
        now: impl Fn() -> u64 + 'static,
    ) -> Self {
        Self { engine, model: Model::new(), keys, now: Box::new(now), serial: 0, inline }
    }

    /// The moment, as the backend counts.
    pub fn now(&self) -> u64 {
        (self.now)()
    }

    /// Performs one action. An error is entered as a failure and handed back.
    ///
    /// # Errors
    /// Those of the verb.
    ///
    /// # Panics
    /// Where the engine says what it must not say.
    pub fn act<'a>(
        &'a mut self,
        action: &'a Action,
    ) -> Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>> {
        Box::pin(self.perform(action))
    }

    async fn perform(&mut self, action: &Action) -> Result<(), Error> {
        let begun = self.now();
        self.serial += 1;
        let (ticket, done, level) = match action {
            Action::Insert { key, len, level } | Action::Stream { key, len, level } => {
                let body = super::body(*key as u64, self.serial, *len);
                let meta = Bytes::from(format!("meta {}", self.serial));
                let options = described(*key).meta(meta.clone()).durability(*level);
                let (tags, label) = (options.get_tags().to_vec(), options.get_label().cloned());
                let key = self.keys[*key].clone();
                let stored = Stored {
                    body: body.clone(),
                    meta,
                    tags,
                    label,
                    out_of_line: *len > self.inline,
                    ..Stored::default()
                };
                let ticket = self.model.insert(begun, &key, stored);
                let done = if matches!(action, Action::Stream { .. }) {
                    stream(&self.engine, &key, &body, options).await
                } else {
                    self.engine.insert_with(&key, body, options).await
                };
                let done = done.map(|i| assert!(matches!(i, Inserted::Stored { .. }), "{i:?}"));
                (ticket, done, *level)
            }
            Action::Remove { key, level } => {
                let key = self.keys[*key].clone();
                let ticket = self.model.remove(begun, &key);
                (ticket, self.engine.remove_with(&key, *level).await.map(|_| ()), *level)
            }
            Action::Purge { scope, mode } => {
                let ticket = self.model.purge(begun, scope.clone(), *mode);
                (ticket, self.engine.purge_with(scope.clone(), *mode).await, Durability::Synced)
            }
            Action::UpdateMeta { key } => {
                let key = self.keys[*key].clone();
                let held = self.model.permitted(&key, Loss::Nothing, u64::MAX);
                if held.values.len() + usize::from(held.miss) > 1 {
                    // After a failure it is not certain what the new meta would go with.
                    return Ok(());
                }
                let meta = Bytes::from(format!("new meta {}", self.serial));
                let ticket = self.model.update_meta(begun, &key, meta.clone(), None);
                let done = self.engine.update_meta(&key, meta, Expiry::Never).await;
                let Some(ticket) = ticket else {
                    assert!(!matches!(done, Ok(true)), "a meta for an entry that cannot be there");
                    return done.map(|_| ());
                };
                if let Ok(false) = done {
                    self.model.withdraw(ticket);
                    return Ok(());
                }
                (ticket, done.map(|_| ()), Durability::Buffered)
            }
            Action::Expire { key } => {
                let key = self.keys[*key].clone();
                let ticket = self.model.expire(begun, &key);
                (ticket, self.engine.expire(&key).await.map(|_| ()), Durability::Synced)
            }
            Action::Overtaken { key, len, fetch: false, by } => {
                let body = super::body(*key as u64, self.serial, *len);
                let mut pieces = body.chunks(len / 3 + 1).map(|piece| body.slice_ref(piece));
                let mut writer = self.engine.writer(&self.keys[*key], described(*key)).await?;
                let mut failed = false;
                for piece in pieces.by_ref().take(2) {
                    failed |= writer.write(piece).await.is_err();
                }
                let said = Box::pin(self.act_all(by)).await;
                for piece in pieces {
                    failed |= writer.write(piece).await.is_err();
                }
                let done = writer.commit().await;
                assert!(matches!(done, Ok(Inserted::Superseded)) || failed && done.is_err(), "{done:?}");
                return said;
            }
            Action::Overtaken { key, len, fetch: true, by } => {
                let (asked, heard) = oneshot::channel();
                let (answer, answered) = oneshot::channel::<()>();
                let (tell, told) = oneshot::channel();
                let (body, options) = (super::body(*key as u64, self.serial, *len), described(*key));
                let fetch = async move |fill: Fill<B>| {
                    asked.send(()).unwrap();
                    answered.await.unwrap();
                    let mut writer = fill.begin(options).await?;
                    for piece in body.chunks(body.len() / 3 + 1) {
                        writer.write(body.slice_ref(piece)).await?;
                    }
                    let done = writer.commit().await;
                    tell.send(done.clone()).unwrap();
                    done
                };
                let (engine, name) = (self.engine.clone(), self.keys[*key].clone());
                let fetched = tokio::spawn(async move { engine.refetch(&name, fetch).await });
                heard.await.unwrap();
                let said = Box::pin(self.act_all(by)).await;
                answer.send(()).unwrap();
                let done = told.await.unwrap()?;
                assert_eq!(done, Inserted::Superseded);
                // Its reader gets the body all the same.
                fetched.await.unwrap()?.bytes().await?;
                return said;
            }
            Action::Flush => {
                let done = self.engine.flush().await;
                if done.is_ok() {
                    self.model.flushed(self.now());
                }
                return done;
            }
            Action::Rest => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                return Ok(());
            }
            Action::Look => return self.look(|| false).await,
        };
        match done {
            Ok(()) => {
                self.model.acknowledge(ticket, self.now(), level);
                Ok(())
            }
            Err(error) => {
                self.model.fail(ticket, self.now());
                Err(error)
            }
        }
    }

    /// Performs some one after another, as far as the first error.
    async fn act_all(&mut self, actions: &[Action]) -> Result<(), Error> {
        for action in actions {
            self.act(action).await?;
        }
        Ok(())
    }

    /// Looks at every key: in this process nothing but the newest may be there.
    ///
    /// # Errors
    /// Those of the gets.
    ///
    /// # Panics
    /// Where something else is there, or the engine's counts do not add up.
    pub async fn look(&mut self, lossy: impl Fn() -> bool) -> Result<(), Error> {
        for key in &self.keys {
            let seen = peek_stale(&self.engine, key).await?;
            let stats = self.engine.stats();
            let excused = lossy() || stats.evictions + stats.early_evictions > 0;
            let permitted = self.model.permitted(key, Loss::Nothing, u64::MAX);
            if let Err(wrong) = permitted.check(seen.as_ref(), 0, excused) {
                panic!("{key:?} in this process: {wrong}");
            }
        }
        let stats = self.engine.stats();
        assert!(stats.disk_bytes <= stats.capacity, "{stats:?}");
        self.engine.check_invariants().unwrap();
        Ok(())
    }
}

/// What a key is stored with: even keys have a tag, every third a label.
fn described(key: usize) -> InsertOptions {
    let mut options = InsertOptions::new();
    if key.is_multiple_of(2) {
        options = options.tag("even");
    }
    if key.is_multiple_of(3) {
        options = options.label(format!("label-{key}"));
    }
    options
}

/// Writes a body in pieces, with a follower that must see the very same bytes.
async fn stream<B: DiskBackend>(
    engine: &Engine<B>,
    key: &CacheKey,
    body: &Bytes,
    options: InsertOptions,
) -> Result<Inserted, Error> {
    let mut writer = engine.writer(key, options).await?;
    let mut reader = writer.follow().reader();
    for piece in body.chunks(body.len() / 3 + 1) {
        if writer.write(body.slice_ref(piece)).await.is_err() {
            // The commit says the same.
            break;
        }
        assert_eq!(reader.next().await.unwrap().as_deref(), Some(piece), "what was written is readable");
    }
    let done = writer.commit().await;
    match reader.next().await {
        Ok(None) | Err(Error::WriterAborted) => {}
        other => panic!("behind the end: {other:?}"),
    }
    done
}
