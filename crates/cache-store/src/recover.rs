//! Recovery of a claimed directory: the snapshot, or the log itself.
//!
//! **Invariants**: what is there is only added to or removed from in an order that lets the whole be cut off anywhere and run
//! again; a device that does not read ends the open and deletes nothing. When it is over every segment is sealed and synced,
//! and none of them takes a record again.

use crate::{
    checkpoint,
    claim::Claimed,
    format::{
        BLOCK, Secret,
        footer::{self, FooterHead},
        record::Kind,
        round_up,
        row::{ROW_LEN, Row},
    },
    io::{self, list, remove},
    layout::{Layout, object_id, segment_id},
    scan::{Scan, Source},
    seal::write_footer,
    segment::{Seal, Segment},
    shared::Limits,
    space::Space,
};
use bytes::BytesMut;
use cache_core::{Advice, Config, DiskBackend, Error, OpenMode, RecoveryReport, RecoverySource, Result};
use cache_index::{Index, MAX_SEGMENTS, Position, Purges, Replay, SegmentFacts, SegmentId, Tag, plan};
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

/// What recovery found.
pub(crate) struct Recovered<B: DiskBackend> {
    pub(crate) index: Index<Arc<Segment<B>>>,
    pub(crate) purges: Purges,
    pub(crate) space: Arc<Space>,
    pub(crate) next: SegmentId,
    pub(crate) version: u64,
    pub(crate) objects: Vec<FoundObject>,
    pub(crate) report: RecoveryReport,
}

/// A large body that an entry refers to.
pub(crate) struct FoundObject {
    pub(crate) id: u64,
    pub(crate) disk: u64,
    /// It is to be read whole before its first hit.
    pub(crate) unproven: bool,
}

/// No footer's head and trailer together are longer.
const TAIL: u64 = footer::FIXED_LEN;
/// One segment file of the listing.
struct SegmentFile<F> {
    file: F,
    len: u64,
    /// Length and checksum of the footer that its tail promises.
    promise: Option<Promise>,
}

#[derive(Clone)]
struct Promise {
    seal: Seal,
    unfooted: Vec<SegmentId>,
}

struct Recovery<'a, B: DiskBackend> {
    backend: &'a B,
    layout: &'a Layout,
    uuid: [u8; 16],
    secret: Secret,
    limits: Limits,
    space: Arc<Space>,
    segments: BTreeMap<SegmentId, SegmentFile<B::File>>,
    /// Files of large bodies by id, with their lengths.
    objects: HashMap<u64, u64>,
    report: RecoveryReport,
}

/// Reads what is in a claimed directory and makes it whole.
///
/// # Errors
/// Those of the device; nothing is lost then, and the next open begins anew.
pub(crate) async fn recover<B: DiskBackend>(
    backend: &B,
    claimed: &Claimed<B::File>,
    config: &Config,
    limits: Limits,
) -> Result<Recovered<B>> {
    let mut recovery = Recovery {
        backend,
        layout: &claimed.layout,
        uuid: claimed.superblock.uuid,
        secret: claimed.superblock.secret(),
        limits,
        space: Space::new(config.capacity.bytes()),
        segments: BTreeMap::new(),
        objects: HashMap::new(),
        report: RecoveryReport::default(),
    };
    recovery.look_around().await?;
    let recovered = match recovery.try_snapshot().await? {
        Some(recovered) => recovered,
        None => recovery.read_log().await?,
    };
    recovery.finish(recovered).await
}

/// Index and counts, before large bodies and quota are looked at.
struct Rebuilt<B: DiskBackend> {
    index: Index<Arc<Segment<B>>>,
    purges: Purges,
    next: SegmentId,
    version: u64,
}

impl<B: DiskBackend> Recovery<'_, B> {
    /// Lists the directories, removes temporary files, opens the segments and reads their tails.
    async fn look_around(&mut self) -> Result<()> {
        let mut temporaries = Vec::new();
        for dir in [&self.layout.dir, &self.layout.segments, &self.layout.objects] {
            for found in list(self.backend, dir).await? {
                if self.layout.is_temporary(&found.path) {
                    temporaries.push(found.path);
                } else if dir == &self.layout.segments
                    && let Some(id) = segment_id(&found.path)
                {
                    let file = self.open_segment(&found.path, id, found.len).await?;
                    self.segments.insert(id, file);
                } else if dir == &self.layout.objects
                    && let Some(id) = object_id(&found.path)
                {
                    self.objects.insert(id, found.len);
                }
            }
        }
        if self.segments.len() >= MAX_SEGMENTS as usize {
            let reason = format!("it holds {} segments, more than any cache makes", self.segments.len());
            return Err(Error::Corrupt { path: self.layout.segments.clone(), reason });
        }
        for path in temporaries {
            remove(self.backend, &path).await?;
            self.report.dropped.orphan_files += 1;
        }
        Ok(())
    }

    /// `len` is what the listing said: nobody else writes here.
    async fn open_segment(&self, path: &Path, id: SegmentId, len: u64) -> Result<SegmentFile<B::File>> {
        let failed = |e| Error::io("read", path, e);
        let file = self.backend.open(path, OpenMode::WRITE).await.map_err(failed)?;
        let take = len.min(TAIL);
        // A log has hundreds of segments: where the page cache has their ends, each is spared a hop to another thread.
        let read = io::read(self.backend, &file, BytesMut::new(), take as usize, len - take, true).await;
        let (tail, _) = read.map_err(failed)?;
        // A file longer than any segment is none of this cache's: what it promises takes no memory.
        let promises = |footer_len: u64| footer_len <= len && len <= self.limits.segment;
        let promise = footer::trailer(&tail).filter(|(_, footer_len)| promises(*footer_len)).map(
            |(checksum, footer_len)| {
                let head = footer::head_of_tail(&tail).filter(|h: &FooterHead| h.segment == id.get());
                let unfooted = head.map(|h| h.unfooted).unwrap_or_default();
                Promise {
                    seal: Seal { file_len: len, footer_len, checksum },
                    unfooted: unfooted.into_iter().map(SegmentId::new).collect(),
                }
            },
        );
        Ok(SegmentFile { file, len, promise })
    }

    /// The handle of a kept segment, its bytes counted.
    fn handle(&self, id: SegmentId, found: &SegmentFile<B::File>, seal: Option<Seal>) -> Arc<Segment<B>> {
        let lease = self.space.lease_found(round_up(found.len, BLOCK));
        self.backend.advise(&found.file, 0, 0, Advice::Random);
        let segment = Segment::new(id, found.file.clone(), self.layout.segment(id), lease, found.len);
        if let Some(seal) = seal {
            segment.sealed(seal);
        }
        segment
    }

    fn tables(&self) -> (Index<Arc<Segment<B>>>, Purges) {
        (Index::new(ROW_LEN as u32), Purges::new(self.secret.purge_key()))
    }

    /// The state of a clean close, if the directory is still exactly what it was then. The file is unlinked either way.
    async fn try_snapshot(&mut self) -> Result<Option<Rebuilt<B>>> {
        let path = &self.layout.snapshot;
        let there = list(self.backend, &self.layout.dir).await?.iter().any(|f| &f.path == path);
        if !there {
            return Ok(None);
        }
        let rebuilt = self.load_snapshot().await?;
        remove(self.backend, path).await?;
        self.backend.sync_dir(&self.layout.dir).await.map_err(|e| Error::io("sync", &self.layout.dir, e))?;
        self.report.snapshot_ignored = rebuilt.is_none();
        if rebuilt.is_some() {
            self.report.source = RecoverySource::Snapshot;
            self.report.recency_known = true;
        }
        Ok(rebuilt)
    }

    async fn load_snapshot(&self) -> Result<Option<Rebuilt<B>>> {
        let path = &self.layout.snapshot;
        let Some(reading) = checkpoint::begin(self.backend, path, &self.secret).await? else {
            return Ok(None);
        };
        let head = &reading.head;
        // The index tells only so many ids apart, and its table is as long as they are far apart: before anything is verified.
        let apart = |first: &SegmentId, last: &SegmentId| last.get() - first.get();
        let (first, last) = (self.segments.keys().next(), self.segments.keys().next_back());
        let near = first.zip(last).is_none_or(|(first, last)| apart(first, last) < MAX_SEGMENTS);
        let same = near
            && head.uuid == self.uuid
            && head.segments.len() == self.segments.len()
            && head.segments.iter().zip(&self.segments).all(|(sealed, (id, file))| {
                let seal = file.promise.as_ref().map(|p| (p.seal.file_len, p.seal.checksum));
                sealed.id == id.get() && Some((sealed.file_len, sealed.checksum)) == seal
            });
        let Some(last) = self.segments.last_key_value().map(|(id, _)| *id).filter(|_| same) else {
            return Ok(None);
        };
        let version = head.version;
        let (mut index, purges) = self.tables();
        let handles = self
            .segments
            .iter()
            .map(|(id, file)| (*id, self.handle(*id, file, file.promise.as_ref().map(|p| p.seal))));
        index.attach_all(handles);
        if !reading.load(self.backend, path, &mut index, &purges).await? {
            return Ok(None);
        }
        let mut whole = true;
        index.each_object(|_, entry| {
            whole &= entry
                .object
                .is_none_or(|o| self.objects.get(&o.id).is_some_and(|len| round_up(*len, BLOCK) == o.disk));
        });
        let next = last.next().unwrap_or(last);
        Ok(whole.then(|| Rebuilt { index, purges, next, version }))
    }

    /// The state that the log spells: footers of sealed segments, records of the others.
    async fn read_log(&mut self) -> Result<Rebuilt<B>> {
        self.report.source =
            if self.segments.is_empty() { RecoverySource::Fresh } else { RecoverySource::Log };
        // A killed process may have made a segment and not synced its name. The names that this open makes behind it must
        // not outlive it: a gap in the ids would drop everything before.
        let dir = &self.layout.segments;
        self.backend.sync_dir(dir).await.map_err(|e| Error::io("sync", dir, e))?;
        loop {
            let facts: Vec<SegmentFacts> = self
                .segments
                .iter()
                .map(|(id, f)| SegmentFacts {
                    id: *id,
                    footer: f.promise.as_ref().map(|p| p.unfooted.clone()),
                })
                .collect();
            let highest = self.segments.last_key_value().map(|(id, _)| *id);
            let plan = plan(&facts, highest);
            match self.replay(&plan).await? {
                Ok(rebuilt) => {
                    self.drop_segments(&plan.drop).await?;
                    return Ok(rebuilt);
                }
                // The tail promised a footer that does not verify: plan again without it.
                Err(broken) => {
                    tracing::warn!(segment = %broken, "a footer does not verify");
                    if let Some(file) = self.segments.get_mut(&broken) {
                        file.promise = None;
                    }
                }
            }
        }
    }

    /// Replays the kept segments in order; `Err`: the footer of this one does not verify.
    async fn replay(
        &mut self,
        plan: &cache_index::Plan,
    ) -> Result<std::result::Result<Rebuilt<B>, SegmentId>> {
        let (index, purges) = self.tables();
        index.attach_all(plan.keep.iter().filter_map(|kept| {
            let file = self.segments.get(&kept.id)?;
            Some((kept.id, self.handle(kept.id, file, None)))
        }));
        let mut replay = Replay::new(&index, &purges);
        let mut version = 0;
        let mut scanned = 0;
        let mut damaged = 0;
        let newest_footer = plan.keep.iter().rev().find(|kept| !kept.scan).map(|kept| kept.id);
        for kept in &plan.keep {
            let id = kept.id;
            let Some(file) = self.segments.get(&id) else { continue };
            let (rows, scopes, seal);
            if kept.scan {
                let scan = self.scan(id, file).await?;
                (version, damaged) = (version.max(scan.max_version), damaged + scan.damaged);
                scanned += 1;
                let sealed = self.seal_scanned(id, file, &scan, version).await?;
                (rows, scopes, seal) = (scan.rows, scan.scopes, sealed);
            } else {
                let renew = newest_footer == Some(id);
                let Some(footer) = self.read_footer(id, file, renew).await? else { return Ok(Err(id)) };
                let Some(promise) = &file.promise else { return Ok(Err(id)) };
                version = version.max(footer.head.version);
                (rows, scopes, seal) = (footer.rows, footer.scopes, promise.seal);
            }
            if let Some(segment) = index.segment(id) {
                segment.sealed(seal);
            }
            for row in rows.iter().filter_map(|r| r.replay(id, &scopes)) {
                replay.apply(row);
            }
        }
        replay.finish();
        self.report.scanned_segments = scanned;
        self.report.dropped.damaged_records = damaged;
        self.report.dropped.segments_after_damage = plan.drop.len() as u64;
        Ok(Ok(Rebuilt { index, purges, next: plan.next, version }))
    }

    /// The footer that a segment's tail promises, if it verifies. `renew`: it is written and synced again. The newest one
    /// may have been written by a process that was killed before its sync; the footers that this open writes for the
    /// segments behind it would make it a damaged one after a power cut.
    async fn read_footer(
        &self,
        id: SegmentId,
        file: &SegmentFile<B::File>,
        renew: bool,
    ) -> Result<Option<footer::Footer>> {
        let Some(promise) = &file.promise else { return Ok(None) };
        let (len, at) = (promise.seal.footer_len as usize, file.len - promise.seal.footer_len);
        let read = io::read(self.backend, &file.file, BytesMut::new(), len, at, true).await;
        let (bytes, _) = read.map_err(|e| Error::io("read", self.layout.segment(id), e))?;
        let footer = footer::decode(&bytes, id, file.len, &self.uuid, &self.secret);
        if renew && footer.is_some() {
            write_footer(self.backend, &file.file, &self.layout.segment(id), bytes.to_vec(), at).await?;
        }
        Ok(footer)
    }

    /// Reads a segment without a footer, and writes each valid record again in its place.
    async fn scan(&self, id: SegmentId, file: &SegmentFile<B::File>) -> Result<Scan> {
        let path = &self.layout.segment(id);
        let (backend, secret) = (self.backend, &self.secret);
        Source { backend, secret, file: &file.file, path, id, recovery: true }.scan().await
    }

    /// Syncs a scanned segment, the large bodies it refers to first, and gives it the footer that explains it.
    async fn seal_scanned(
        &self,
        id: SegmentId,
        file: &SegmentFile<B::File>,
        scan: &Scan,
        version: u64,
    ) -> Result<Seal> {
        let path = self.layout.segment(id);
        for object in scan.rows.iter().filter(|r| r.kind == Kind::Insert).map(|r: &Row| r.object) {
            if object != 0 && self.objects.contains_key(&object) {
                let path = self.layout.object(object);
                let failed = |e| Error::io("sync", &path, e);
                let file = self.backend.open(&path, OpenMode::WRITE).await.map_err(failed)?;
                self.backend.sync_data(&file).await.map_err(failed)?;
            }
        }
        let dir = &self.layout.objects;
        self.backend.sync_dir(dir).await.map_err(|e| Error::io("sync", dir, e))?;
        self.backend.sync_data(&file.file).await.map_err(|e| Error::io("sync", &path, e))?;
        let head = FooterHead {
            uuid: self.uuid,
            segment: id.get(),
            data_len: scan.end,
            unfooted: Vec::new(),
            version,
            entry_id: 0,
        };
        let bytes = footer::encode(&head, &scan.encoded, &scan.scopes, &self.secret);
        write_footer(self.backend, &file.file, &path, bytes, scan.end).await
    }

    /// Removes segments that the plan gives up. In any order and cut off anywhere: what is left of them lies before a gap,
    /// or before the segment that was the reason, and is given up again.
    async fn drop_segments(&mut self, ids: &[SegmentId]) -> Result<()> {
        for id in ids {
            self.segments.remove(id);
            remove(self.backend, &self.layout.segment(*id)).await?;
        }
        if !ids.is_empty() {
            let dir = &self.layout.segments;
            self.backend.sync_dir(dir).await.map_err(|e| Error::io("sync", dir, e))?;
        }
        Ok(())
    }

    /// Drops entries whose large body is missing and bodies without an entry, and counts.
    async fn finish(mut self, rebuilt: Rebuilt<B>) -> Result<Recovered<B>> {
        let Rebuilt { index, purges, next, version } = rebuilt;
        let (mut missing, mut objects) = (Vec::<(Tag, Position)>::new(), Vec::new());
        index.each_object(|tag, entry| {
            let Some(object) = entry.object else { return };
            match self.objects.get(&object.id) {
                Some(len) if round_up(*len, BLOCK) == object.disk => objects.push(FoundObject {
                    id: object.id,
                    disk: object.disk,
                    unproven: entry.flags.unproven,
                }),
                _ => missing.push((tag, entry.position)),
            }
        });
        for (tag, at) in &missing {
            index.remove_at(*tag, *at);
        }
        for object in &objects {
            self.objects.remove(&object.id);
        }
        for id in self.objects.keys() {
            remove(self.backend, &self.layout.object(*id)).await?;
        }
        self.report.dropped.missing_objects = missing.len() as u64;
        self.report.dropped.orphan_files += self.objects.len() as u64;
        self.report.segments = self.segments.len() as u64;
        if let Some(oldest) = index.segment_ids().first() {
            purges.forget_before(*oldest);
        }
        Ok(Recovered { index, purges, space: self.space, next, version, objects, report: self.report })
    }
}
