//! One file: what a reader sees, what a power cut leaves for certain, and what lies between.
//!
//! **Invariants**: the volatile content is the durable one with every pending change applied in order. A write that a failed
//! sync took part in is *doubtful*: it stays pending through later syncs, where it is not overwritten, because the kernel
//! has marked its pages clean (Rebello and others: "Can applications recover from fsync failures?", ATC 2020).

use super::{content::Content, fate::Fate};
use crate::Rng;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;

/// A change that a power cut may undo.
#[derive(Clone, Debug)]
pub(super) enum Pending {
    /// The parts of one write that nothing has overwritten durably since; at first there is one part.
    Write { parts: Vec<(u64, Bytes)>, doubtful: bool },
    /// The file was cut or extended.
    SetLen(u64),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    volatile: Content,
    durable: Content,
    pending: Vec<Arc<Pending>>,
}

impl Inode {
    pub(super) fn len(&self) -> u64 {
        self.volatile.len()
    }

    pub(super) fn read(&self, offset: u64, len: usize, buf: &mut BytesMut) -> usize {
        self.volatile.read(offset, len, buf)
    }

    pub(super) fn write(&mut self, bufs: &[Bytes], offset: u64) {
        let bytes = match bufs {
            [one] => one.clone(),
            many => many.concat().into(),
        };
        if bytes.is_empty() {
            return;
        }
        self.volatile.write(offset, &bytes);
        self.pending.push(Arc::new(Pending::Write { parts: vec![(offset, bytes)], doubtful: false }));
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len != self.volatile.len() {
            self.volatile.set_len(len);
            self.pending.push(Arc::new(Pending::SetLen(len)));
        }
    }

    /// All that is pending and not doubtful becomes durable.
    pub(super) fn sync(&mut self) {
        if !self.pending.iter().any(|p| matches!(**p, Pending::Write { doubtful: true, .. })) {
            self.durable = self.volatile.clone();
            self.pending.clear();
            return;
        }
        let mut left: Vec<Pending> = Vec::new();
        for pending in std::mem::take(&mut self.pending) {
            match &*pending {
                Pending::Write { doubtful: true, .. } => left.push(Arc::unwrap_or_clone(pending)),
                Pending::Write { parts, .. } => {
                    for (offset, bytes) in parts {
                        self.durable.write(*offset, bytes);
                        cut_all(&mut left, *offset, *offset + bytes.len() as u64);
                    }
                }
                Pending::SetLen(len) => {
                    // A doubtful write had the length up before the cut took it back.
                    self.durable.set_len(*len);
                    cut_all(&mut left, *len, u64::MAX);
                }
            }
        }
        // The length is metadata: a later sync brings it to the disk, whatever became of the data.
        self.durable.set_len(self.volatile.len());
        left.retain(|p| matches!(p, Pending::Write { parts, .. } if !parts.is_empty()));
        self.pending = left.into_iter().map(Arc::new).collect();
    }

    /// A sync failed: nobody knows what of the pending writes is on the disk, and no later sync will put it there.
    pub(super) fn fail_sync(&mut self) {
        for pending in &mut self.pending {
            if let Pending::Write { doubtful: doubtful @ false, .. } = Arc::make_mut(pending) {
                *doubtful = true;
            }
        }
    }

    /// What a power cut may undo, in order.
    pub(super) fn pending(&self) -> impl Iterator<Item = &Pending> {
        self.pending.iter().map(|p| &**p)
    }

    /// The file after a power cut, with one fate for each pending change in order. All of it is durable then.
    pub(super) fn crashed(&self, fates: impl IntoIterator<Item = Fate>) -> Self {
        let mut content = self.durable.clone();
        for (pending, fate) in self.pending.iter().zip(fates) {
            match &**pending {
                Pending::SetLen(len) if fate != Fate::Lost => content.set_len(*len),
                Pending::SetLen(_) => {}
                Pending::Write { parts, .. } => {
                    for (offset, bytes) in parts {
                        keep(&mut content, *offset, bytes, fate);
                    }
                }
            }
        }
        Self { volatile: content.clone(), durable: content, pending: Vec::new() }
    }
}

/// Takes a range out of every pending write.
fn cut_all(pending: &mut [Pending], from: u64, to: u64) {
    for p in pending {
        if let Pending::Write { parts, .. } = p {
            *parts = parts.iter().flat_map(|part| cut(part, from, to)).collect();
        }
    }
}

/// What of a part lies before and behind the range.
fn cut((offset, bytes): &(u64, Bytes), from: u64, to: u64) -> impl Iterator<Item = (u64, Bytes)> + use<> {
    let end = offset + bytes.len() as u64;
    let before = from.clamp(*offset, end);
    let behind = to.clamp(before, end);
    let front = (*offset, bytes.slice(..(before - offset) as usize));
    let back = (behind, bytes.slice((behind - offset) as usize..));
    [front, back].into_iter().filter(|(_, bytes)| !bytes.is_empty())
}

/// Applies what of a write its fate keeps.
fn keep(content: &mut Content, offset: u64, bytes: &Bytes, fate: Fate) {
    let end = offset + bytes.len() as u64;
    match fate {
        Fate::Lost => {}
        Fate::Kept => content.write(offset, bytes),
        Fate::LengthOnly => content.grow(end),
        Fate::Prefix { unit, units } => {
            let stop = (offset / unit + units).saturating_mul(unit).clamp(offset, end);
            content.write(offset, &bytes[..(stop - offset) as usize]);
        }
        Fate::Scattered { unit, seed } => {
            let mut rng = Rng::new(seed);
            let mut at = offset;
            while at < end {
                let stop = ((at / unit + 1) * unit).min(end);
                if rng.chance(1, 2) {
                    content.write(at, &bytes[(at - offset) as usize..(stop - offset) as usize]);
                }
                at = stop;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(inode: &Inode) -> Vec<u8> {
        let mut buf = BytesMut::new();
        inode.read(0, usize::MAX, &mut buf);
        buf.to_vec()
    }

    fn put(inode: &mut Inode, offset: u64, bytes: &[u8]) {
        inode.write(&[Bytes::copy_from_slice(bytes)], offset);
    }

    fn left(inode: &Inode, fate: Fate) -> Vec<u8> {
        all(&inode.crashed(std::iter::repeat(fate)))
    }

    #[test]
    fn a_synced_write_survives_every_fate() {
        let mut inode = Inode::default();
        put(&mut inode, 0, b"safe");
        inode.sync();
        put(&mut inode, 4, b"risk");
        assert_eq!(left(&inode, Fate::Lost), b"safe");
        assert_eq!(left(&inode, Fate::Kept), b"saferisk");
        assert_eq!(left(&inode, Fate::LengthOnly), b"safe\0\0\0\0");
    }

    #[test]
    fn a_torn_write_keeps_whole_units_by_their_place_in_the_file() {
        let mut inode = Inode::default();
        put(&mut inode, 100, &[7; 1400]);
        assert_eq!(left(&inode, Fate::Prefix { unit: 512, units: 0 }).len(), 0);
        assert_eq!(left(&inode, Fate::Prefix { unit: 512, units: 1 }).len(), 512);
        assert_eq!(left(&inode, Fate::Prefix { unit: 512, units: 2 }).len(), 1024);
        assert_eq!(left(&inode, Fate::Prefix { unit: 512, units: 9 }).len(), 1500);
        let mut holes = 0;
        for seed in 0..20 {
            let torn = left(&inode, Fate::Scattered { unit: 512, seed });
            let unit = |i: usize| torn.get(i).is_some_and(|&b| b == 7);
            assert!((100..512).all(|i| unit(i) == unit(100)) && (512..1024).all(|i| unit(i) == unit(512)));
            holes += usize::from(!unit(512) && unit(1024));
        }
        assert!(holes > 0, "some seed leaves a hole");
    }

    #[test]
    fn after_a_failed_sync_a_later_one_makes_only_new_writes_durable() {
        let mut inode = Inode::default();
        put(&mut inode, 0, b"aaaaaaaa");
        inode.fail_sync();
        put(&mut inode, 2, b"bb");
        inode.sync();
        assert_eq!(all(&inode), b"aabbaaaa", "the page cache still has it all");
        assert_eq!(left(&inode, Fate::Lost), b"\0\0bb\0\0\0\0");
        assert_eq!(left(&inode, Fate::Kept), b"aabbaaaa");
        inode.sync();
        assert_eq!(left(&inode, Fate::Lost), b"\0\0bb\0\0\0\0", "a second sync lies as the first did");
    }

    #[test]
    fn writing_the_range_again_heals_it() {
        let mut inode = Inode::default();
        put(&mut inode, 0, b"aaaa");
        inode.fail_sync();
        put(&mut inode, 0, b"aaaa");
        inode.sync();
        assert_eq!(left(&inode, Fate::Lost), b"aaaa");
        assert_eq!(inode.pending().count(), 0);
    }

    #[test]
    fn a_cut_takes_doubtful_bytes_with_it() {
        let mut inode = Inode::default();
        put(&mut inode, 0, b"aaaaaaaa");
        inode.fail_sync();
        inode.set_len(3);
        inode.set_len(6);
        inode.sync();
        assert_eq!(all(&inode), b"aaa\0\0\0");
        assert_eq!(left(&inode, Fate::Kept), b"aaa\0\0\0");
        assert_eq!(left(&inode, Fate::Lost), b"\0\0\0\0\0\0");
    }

    #[test]
    fn a_lost_cut_brings_the_old_bytes_back() {
        let mut inode = Inode::default();
        put(&mut inode, 0, b"old bytes");
        inode.sync();
        inode.set_len(0);
        put(&mut inode, 0, b"new");
        assert_eq!(left(&inode, Fate::Lost), b"old bytes");
        assert_eq!(left(&inode, Fate::Kept), b"new");
        assert_eq!(all(&inode.crashed([Fate::Lost, Fate::Kept])), b"new bytes");
    }
}
