//! The inputs that fuzzing begins from: what the engine itself writes.

use super::directory::{DIR, OBJECT, OBJECT_HEAD, SEGMENT, SNAPSHOT, key, open, superblock};
use crate::{
    format::{
        footer,
        object::BODY_AT,
        record::{HEADER_LEN, encode_attributes},
        scope,
    },
    layout::{Layout, object_id, segment_id},
    publish::publish,
};
use bytes::{Bytes, BytesMut};
use cache_core::{
    Cache, DiskBackend, Durability, Error, InsertOptions, OpenMode, PurgeMode, PurgeScope, Result,
};
use cache_testkit::MemoryBackend;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The name of a target and one of its inputs.
pub(super) type Seed = (&'static str, Vec<u8>);

/// An empty disk.
pub(super) fn disk() -> MemoryBackend {
    MemoryBackend::with_dir("/")
}

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// The inputs of all targets that two small directories give, one closed and one not.
pub(super) async fn seeds() -> Result<Vec<Seed>> {
    let layout = Layout::new(Path::new(DIR));
    let tags = [Bytes::from_static(b"one"), Bytes::from_static(b"two")];
    let mut seeds = vec![
        ("superblock", superblock().encode()),
        ("attributes", encode_attributes(&tags, Some(&Bytes::from_static(b"label")))),
    ];
    seeds.extend(scopes().iter().map(|scope| ("scope", scope::encode(scope))));
    for close in [true, false] {
        let files = fill(&layout, disk(), close).await?;
        seeds.push(("directory", input(&layout, &files)));
        for (path, bytes) in &files {
            match path.extension().and_then(|e| e.to_str()) {
                Some("seg") => of_segment(bytes, &mut seeds),
                Some("snapshot") => seeds.push(("snapshot", bytes.clone())),
                Some("obj") => seeds.push(("object", bytes[..56].to_vec())),
                _ => {}
            }
        }
    }
    Ok(seeds)
}

/// The records of a segment, and the whole where it has a footer.
fn of_segment(bytes: &[u8], seeds: &mut Vec<Seed>) {
    for at in (0..bytes.len()).step_by(8).filter(|at| bytes[*at..].starts_with(b"DCr1")) {
        let end = bytes.len().min(at + HEADER_LEN + 256);
        seeds.push(("record", bytes[at..end].to_vec()));
    }
    if footer::trailer(bytes).is_some() {
        seeds.push(("footer", bytes.to_vec()));
    }
}

/// A scope of every kind but everything; none has entries.
fn scopes() -> [PurgeScope; 4] {
    let (namespace, absent) = (Bytes::from_static(b"ns"), Bytes::from_static(b"absent"));
    [
        PurgeScope::Namespace(absent.clone()),
        PurgeScope::Path { namespace: namespace.clone(), path: absent.clone() },
        PurgeScope::Prefix { namespace, prefix: absent.clone() },
        PurgeScope::Tag(absent),
    ]
}

/// Fills a directory with records of every kind and a large body, and reads its files.
async fn fill(layout: &Layout, disk: MemoryBackend, close: bool) -> Result<Files> {
    let failed = |e| Error::io("fill", DIR, e);
    disk.create_dir(&layout.dir).await.map_err(failed)?;
    publish(&disk, &layout.superblock, superblock().encode().into()).await?;
    let engine = open(disk).await?;
    let disk = &engine.shared.backend;
    let options = InsertOptions::new().durability(Durability::Synced);
    for n in 0..6 {
        let options = options.clone().meta("meta").tag("tag");
        let options = if n == 3 { options.label("label") } else { options };
        let body = vec![n as u8; if n == 0 { 600 } else { 40 }];
        engine.insert_with(&key(n), body.into(), options).await?;
    }
    engine.remove(&key(1)).await?;
    engine.expire(&key(2)).await?;
    for scope in scopes() {
        engine.purge_with(scope, PurgeMode::Expire).await?;
    }
    if close {
        engine.close().await?;
    }
    let mut files = Files::new();
    for dir in [&layout.dir, &layout.segments, &layout.objects] {
        for found in disk.list(dir).await.map_err(failed)? {
            if found.path == layout.lock || found.path == layout.superblock {
                continue;
            }
            // Another directory is no file.
            let Ok(file) = disk.open(&found.path, OpenMode::READ).await else { continue };
            let len = found.len as usize;
            let (read, bytes) = disk.read_at(&file, BytesMut::with_capacity(len), len, 0).await;
            read.map_err(failed)?;
            files.insert(found.path, bytes.to_vec());
        }
    }
    Ok(files)
}

/// The input that stands for the files of a directory.
fn input(layout: &Layout, files: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut put = |kind: u8, number: u8, bytes: &[u8]| {
        out.extend_from_slice(&[kind, number]);
        out.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
        out.extend_from_slice(bytes);
    };
    for (path, bytes) in files {
        if let Some(id) = segment_id(path) {
            put(SEGMENT, id.get() as u8, bytes);
        } else if object_id(path).is_some() {
            put(OBJECT, 0, &[&bytes[..OBJECT_HEAD], &bytes[BODY_AT as usize..]].concat());
        } else if *path == layout.snapshot {
            put(SNAPSHOT, 0, bytes);
        }
    }
    out
}
