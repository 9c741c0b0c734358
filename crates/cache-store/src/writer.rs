//! Streaming inserts.
//!
//! **Invariants**: memory is flat, whatever the length: a body is kept in memory until it is too long for its record, and
//! from then on goes to a file of its own, a few chunks at a time. Its record is appended at the commit, like that of an
//! insert, so that nothing is in the log before. Dropped without a commit it leaves nothing, and its readers get
//! [`Error::WriterAborted`]. A piece is taken by a `write` in its last step, behind every await.

use crate::{
    direct::DirectReads,
    engine::Engine,
    format::{object::CHUNK, record::half_digest},
    growth::{Following, Left},
    inflight::{Flight, Phase},
    insert::{check_key, set_lengths},
    object::{GrowingObject, checksums_from},
    sequencer::{Change, Class, Draft, Placed, Refused},
    shared::Shared,
};
use bytes::Bytes;
use cache_core::{
    BodySink, BoxFuture, CacheKey, DiskBackend, Durability, EntryId, Error, Follower, InsertOptions,
    Inserted, Result, Target,
};
use cache_index::Tag;
use std::{
    fmt,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

/// Bytes kept in memory before they go to the file.
const PORTION: u64 = 8 * CHUNK;
/// Bytes kept for readers of a body that cannot be stored.
const WINDOW: u64 = 2 * PORTION;
/// How long the others wait for a reader of such a body that takes nothing.
const SLOW_READER: Duration = Duration::from_secs(30);

/// What is to become of the body.
enum Fate {
    Stored,
    /// This is what `commit` says. `settled`: the older value is gone.
    Refused {
        done: Result<Inserted>,
        settled: bool,
    },
}

/// A streaming insert. Dropped without [`EntryWriter::commit`], it leaves nothing and fails its followers.
pub struct EntryWriter<B: DiskBackend> {
    shared: Arc<Shared<DirectReads<B>>>,
    flight: Arc<Flight<DirectReads<B>>>,
    draft: Draft<DirectReads<B>>,
    options: InsertOptions,
    object: Option<GrowingObject<DirectReads<B>>>,
    fate: Fate,
    feeding: bool,
}

impl<B: DiskBackend> fmt::Debug for EntryWriter<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntryWriter").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl<B: DiskBackend> BodySink for EntryWriter<B> {
    fn id(&self) -> EntryId {
        self.id()
    }
    fn follow(&self) -> Follower {
        self.follow()
    }
    fn keep_feeding(&mut self, feed: bool) {
        self.keep_feeding(feed);
    }
    fn write(&mut self, piece: Bytes) -> BoxFuture<'_, Result<()>> {
        self.take(piece)
    }
    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<Inserted>> {
        self.publish()
    }
}

impl<B: DiskBackend> Drop for EntryWriter<B> {
    fn drop(&mut self) {
        self.flight.growth.abort();
        self.shared.inflight.remove(&self.flight);
    }
}

impl<B: DiskBackend> Engine<B> {
    /// Begins a streaming insert.
    ///
    /// # Errors
    /// [`Error::TooLarge`], which removes the older value of the key like a refused insert; [`Error::Closed`].
    pub async fn writer(&self, key: &CacheKey, options: InsertOptions) -> Result<EntryWriter<B>> {
        let _under_way = self.enter()?;
        check_key(key)?;
        self.shared.begin_or_settle(key, options, None).await
    }

    /// The write in flight of a key, or one exact write. No I/O.
    pub fn follow<'a>(&self, target: impl Into<Target<'a>>) -> Option<Follower> {
        let Target { key, id } = target.into();
        let flight = self.shared.inflight.find(key, &half_digest(key), id)?;
        flight.follower()
    }
}

impl<B: DiskBackend> Flight<B> {
    /// A follower of the body, where it is being written.
    pub(crate) fn follower(&self) -> Option<Follower> {
        let Phase::Writing(meta) = self.phase() else { return None };
        Some(Follower::new(self.id, meta, Arc::new(Following::new(&self.growth))))
    }
}

impl<B: DiskBackend> Shared<B> {
    /// Enters a flight of a key. With `join`, one that is under way instead, if there is one; tells whether it is new.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub(crate) fn enter_flight(&self, key: &CacheKey, join: bool) -> Result<(Arc<Flight<B>>, bool)> {
        let digest = half_digest(key);
        let mut log = self.log.lock();
        if log.closed {
            return Err(Error::Closed);
        }
        if join && let Some(flight) = self.inflight.find(key, &digest, None) {
            return Ok((flight, false));
        }
        let flight = Flight::new(key, digest, log.next_entry_id());
        self.inflight.enter(&flight);
        Ok((flight, true))
    }
}

impl<B: DiskBackend> Shared<DirectReads<B>> {
    /// Begins to write, for this flight or one of its own. Refused, the older value goes.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Closed`].
    pub(crate) async fn begin_or_settle(
        self: &Arc<Self>,
        key: &CacheKey,
        options: InsertOptions,
        flight: Option<&Arc<Flight<DirectReads<B>>>>,
    ) -> Result<EntryWriter<B>> {
        let level = self.level(options.get_durability().unwrap_or(self.config.durability));
        let begun = self.insert_draft(key, &options).and_then(|draft| {
            self.check_record(&draft.header)?;
            let flight = match flight {
                Some(flight) => flight.clone(),
                None => self.enter_flight(key, false)?.0,
            };
            self.begin_write(flight, draft, options)
        });
        if let Err(refused) = &begun {
            // It reports the same error.
            drop(self.settle(key, level, flight, Err(refused.clone())).await);
        }
        begun
    }

    /// The flight begins to write.
    ///
    /// # Errors
    /// [`Error::Closed`].
    fn begin_write(
        self: &Arc<Self>,
        flight: Arc<Flight<DirectReads<B>>>,
        mut draft: Draft<DirectReads<B>>,
        options: InsertOptions,
    ) -> Result<EntryWriter<B>> {
        draft.header.entry_id = flight.id.0;
        draft.flight = Some(flight.clone());
        let shared = self.clone();
        let (fate, object) = (Fate::Stored, None);
        let writer = EntryWriter { shared, flight, draft, options, object, fate, feeding: false };
        let log = self.log.lock();
        if log.closed {
            // Who waits to hear what it is to be.
            writer.flight.becomes(Phase::Failed(Error::Closed));
            return Err(Error::Closed);
        }
        writer.flight.describe(&writer.options);
        if !writer.flight.becomes(Phase::Writing(writer.draft.meta.clone())) {
            // The fetch is over: others have begun anew.
            writer.flight.doom();
        }
        drop(log);
        Ok(writer)
    }
}

impl<B: DiskBackend> EntryWriter<B> {
    /// Identity of the body.
    pub fn id(&self) -> EntryId {
        self.flight.id
    }

    /// Reads this very write from its start, waiting for more.
    pub fn follow(&self) -> Follower {
        let body = Arc::new(Following::new(&self.flight.growth));
        Follower::new(self.flight.id, self.draft.meta.clone(), body)
    }

    /// What happens when the body cannot be stored, because it is too large or the disk is full or fails. `false`, the
    /// default: `write` tells, and followers get [`Error::WriterAborted`]. `true`: followers are fed from memory at the pace
    /// of the slowest, as long as there are any, and only `commit` tells. One that takes nothing for half a minute gets
    /// [`Error::WriterAborted`], and the others go on.
    pub fn keep_feeding(&mut self, feed: bool) {
        self.feeding = feed;
    }

    /// Adds to the body. Followers see it at once.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::StorageFull`], [`Error::Io`], [`Error::Closed`]: the body will not be stored, and
    /// `commit` says the same. See [`EntryWriter::keep_feeding`].
    ///
    /// # Cancellation
    /// Dropped before it returned, it has not taken the piece.
    pub async fn write(&mut self, piece: Bytes) -> Result<()> {
        self.take(piece).await
    }

    fn take(&mut self, piece: Bytes) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.taken(piece))
    }

    async fn taken(&mut self, piece: Bytes) -> Result<()> {
        if matches!(self.fate, Fate::Stored) {
            match self.make_room(piece.len() as u64).await {
                Ok(true) => {}
                Ok(false) => self.give_up(Ok(Inserted::NotAdmitted)).await?,
                Err(error) => self.give_up(Err(error)).await?,
            }
        }
        if !matches!(self.fate, Fate::Stored) {
            self.make_room_in_memory().await?;
        }
        self.flight.growth.push(piece);
        Ok(())
    }

    /// Publishes the body. Dropping the writer instead leaves nothing.
    ///
    /// # Errors
    /// Those of [`EntryWriter::write`] and of an insert. The older value of the key is gone then.
    ///
    /// # Cancellation
    /// Dropped, it is there whole or not at all.
    pub async fn commit(self) -> Result<Inserted> {
        self.publish().await
    }

    fn publish(self) -> BoxFuture<'static, Result<Inserted>> {
        Box::pin(self.published())
    }

    async fn published(mut self) -> Result<Inserted> {
        let shared = self.shared.clone();
        let _under_way = shared.counters.here().enter();
        let (flight, level) = (self.flight.clone(), self.level());
        match self.place().await {
            Ok(placed) => {
                self.flight.growth.end();
                let header = self.draft.header.clone();
                drop(self);
                let done = shared.stored(&header, placed, level).await;
                shared.settle(&flight.key, level, Some(&flight), done).await
            }
            Err(done) => {
                // The body is whole, though it is not stored.
                if self.feeding || done.is_ok() {
                    self.flight.growth.end();
                } else {
                    self.flight.growth.abort();
                }
                if matches!(self.fate, Fate::Refused { settled: true, .. }) {
                    return done;
                }
                drop(self.object.take());
                // This stays a flight meanwhile: what overtakes it dooms it, and then is not removed in its place.
                shared.settle(&flight.key, level, Some(&flight), done).await
            }
        }
    }

    /// Gives the record its place; or says why not.
    async fn place(&mut self) -> Result<Placed<DirectReads<B>>, Result<Inserted>> {
        match &self.fate {
            Fate::Stored if self.flight.is_doomed() => return Err(Ok(Inserted::Superseded)),
            Fate::Stored => {}
            Fate::Refused { done, .. } => return Err(done.clone()),
        }
        let len = self.flight.growth.taken();
        self.draft.header.body_len = len;
        if len > self.shared.limits.inline {
            match self.portion(true).await {
                Ok(true) => {}
                Ok(false) => return Err(Ok(Inserted::NotAdmitted)),
                Err(error) => return Err(Err(error)),
            }
            self.draft.header.object = self.flight.id.0;
            self.draft.object = self.object.as_ref().map(GrowingObject::object);
        } else {
            if !self.shared.admits(&self.flight.key) {
                return Err(Ok(Inserted::NotAdmitted));
            }
            self.draft.body = self.flight.growth.whole();
        }
        set_lengths(&mut self.draft);
        self.shared.check_record(&self.draft.header).map_err(Err)?;
        let wait = !self.options.sheds_under_pressure();
        let appended = self.shared.append_waiting(&self.draft, &Change::Insert, Class::Insert, wait).await;
        let placed = match appended {
            Ok(Some(placed)) => placed,
            Ok(None) => return Err(Ok(Inserted::Shed)),
            Err(Refused::Changed) => return Err(Ok(Inserted::Superseded)),
            Err(Refused::Failed(error)) => return Err(Err(error)),
            Err(_) => return Err(Err(Error::Closed)),
        };
        if let Some(object) = self.object.take() {
            object.published();
        }
        Ok(placed)
    }

    /// Writes what fills a portion to the file, before `more` bytes are taken. `false`: it is not admitted.
    async fn make_room(&mut self, more: u64) -> Result<bool> {
        let growth = &self.flight.growth;
        let (len, max) = (growth.taken() + more, self.shared.limits.max_entry);
        if len > max {
            return Err(Error::TooLarge { what: "the body", len, max });
        }
        let keep = if self.object.is_some() { PORTION } else { self.shared.limits.inline.max(CHUNK) };
        if growth.in_memory() > keep { self.portion(false).await } else { Ok(true) }
    }

    /// Writes what can be written to the file: whole chunks, or all and the trailer. `false`: it is not admitted.
    async fn portion(&mut self, all: bool) -> Result<bool> {
        let Self { shared, flight, object, .. } = self;
        let object = match object {
            Some(object) => object,
            None if !shared.admits(&flight.key) => return Ok(false),
            None => {
                let tag = Tag::of(flight.key.digest());
                let started = shared.start_object(flight.id.0, half_digest(&flight.key), tag).await?;
                flight.growth.in_file(started.part());
                object.insert(started)
            }
        };
        let (at, pieces, len) = flight.growth.unwritten(all);
        let checksums = checksums_from(&shared.secret, flight.id.0, at / CHUNK, &pieces);
        let trailer = all.then(|| {
            let mut all = flight.growth.checksums().to_vec();
            all.extend_from_slice(&checksums);
            Bytes::from(all)
        });
        object.write(at, pieces, len, trailer.clone()).await?;
        flight.growth.written(len, &checksums);
        if let Some(trailer) = trailer {
            object.whole(trailer);
        }
        Ok(true)
    }

    /// The body will not be stored.
    async fn give_up(&mut self, done: Result<Inserted>) -> Result<()> {
        self.fate = Fate::Refused { done: done.clone(), settled: false };
        if done.is_err() && !self.feeding {
            self.flight.growth.abort();
        }
        // At once: a caller that drops the writer on an error has refused the older value too.
        let (shared, flight, level) = (&self.shared, &self.flight, self.level());
        let done = shared.settle(&flight.key, level, Some(flight), done).await;
        // Whoever misses from now on fetches anew.
        self.flight.doom();
        self.fate = Fate::Refused { done: done.clone(), settled: true };
        if self.feeding { Ok(()) } else { done.map(|_| ()) }
    }

    fn level(&self) -> Durability {
        self.shared.level(self.options.get_durability().unwrap_or(self.shared.config.durability))
    }

    /// Waits for readers, where nothing goes to the disk.
    async fn make_room_in_memory(&mut self) -> Result<()> {
        let (growth, Fate::Refused { done, .. }) = (&self.flight.growth, &self.fate) else { return Ok(()) };
        if !self.feeding {
            done.clone()?;
            growth.cut(WINDOW);
            return Ok(());
        }
        let mut held: Option<(u64, Pin<Box<tokio::time::Sleep>>)> = None;
        loop {
            let mut drained = pin!(growth.drained());
            drained.as_mut().enable();
            let slowest = match growth.trim(WINDOW) {
                Left::Unread => return Err(done.clone().err().unwrap_or(Error::WriterAborted)),
                Left::Little => return Ok(()),
                Left::HeldAt(slowest) => slowest,
            };
            let (_, runs_out) = match &mut held {
                Some(same) if same.0 == slowest => same,
                other => other.insert((slowest, Box::pin(self.shared.sleep(SLOW_READER)))),
            };
            tokio::select! {
                () = drained => {}
                () = runs_out => growth.cut(WINDOW),
            }
        }
    }
}
