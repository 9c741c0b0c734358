//! Names in the cache's directory.

use cache_index::SegmentId;
use std::path::{Path, PathBuf};

/// The paths of one cache.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) dir: PathBuf,
    pub(crate) lock: PathBuf,
    pub(crate) superblock: PathBuf,
    pub(crate) snapshot: PathBuf,
    pub(crate) segments: PathBuf,
    pub(crate) objects: PathBuf,
}

impl Layout {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            lock: dir.join("LOCK"),
            superblock: dir.join("CACHE"),
            snapshot: dir.join("index.snapshot"),
            segments: dir.join("segments"),
            objects: dir.join("objects"),
        }
    }

    pub(crate) fn segment(&self, id: SegmentId) -> PathBuf {
        self.segments.join(format!("{:08x}.seg", id.get()))
    }

    /// Whether a file was left by [`crate::publish`]. Others in the cache's own directory may be anybody's.
    pub(crate) fn is_temporary(&self, path: &Path) -> bool {
        // Only the name is text for certain: the directory's path may hold any bytes.
        let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".tmp"));
        name.map(|name| path.with_file_name(name)).is_some_and(|path| {
            path == self.superblock
                || path == self.snapshot
                || segment_id(&path).is_some()
                || object_id(&path).is_some()
        })
    }

    pub(crate) fn object(&self, id: u64) -> PathBuf {
        self.objects.join(format!("{id:016x}.obj"))
    }
}

/// The id in a segment's file name.
pub(crate) fn segment_id(path: &Path) -> Option<SegmentId> {
    let name = path.file_name()?.to_str()?.strip_suffix(".seg")?;
    is_hex(name, 8).then(|| u32::from_str_radix(name, 16).ok().map(SegmentId::new))?
}

/// The id in an object's file name.
pub(crate) fn object_id(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".obj")?;
    is_hex(name, 16).then(|| u64::from_str_radix(name, 16).ok())?
}

/// Whether a name is one that the cache writes: another spelling of the same id is somebody else's file.
fn is_hex(name: &str, len: usize) -> bool {
    name.len() == len && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The name under which [`crate::publish`] prepares a file.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_from_names_and_nothing_else_does() {
        let layout = Layout::new(Path::new("/c"));
        let id = SegmentId::new(0xab);
        assert_eq!(segment_id(&layout.segment(id)), Some(id));
        assert_eq!(object_id(&layout.object(7)), Some(7));
        for name in [
            "000000ab.seg.tmp",
            "ab.seg",
            "0000000g.seg",
            "000000AB.seg",
            "+00000ab.seg",
            "00000000000000AB.obj",
            "+0000000000000ab.obj",
            "x",
            "000000ab.obj",
        ] {
            assert_eq!(segment_id(Path::new(name)), None, "{name}");
            assert_eq!(object_id(Path::new(name)), None, "{name}");
        }
    }
}
