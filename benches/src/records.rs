//! Where the records of a closed cache lie in its files, and the bare loop over them: what the machine allows a get.

use crate::{
    Result,
    client::{Pace, WORKERS, drive_threads},
    measure::{Done, Measure},
    rng::Rng,
};
use rustix::{
    fs::Advice as Fadvise,
    io::{Errno, ReadWriteFlags},
};
use std::{
    fs::{self, File},
    io::IoSliceMut,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

const HEADER_LEN: usize = 112;
/// How much of the files a look at the page cache samples.
const SAMPLES: usize = 512;

/// The places of records of one length, in segment files.
#[derive(Debug)]
pub struct Records {
    paths: Vec<PathBuf>,
    files: Vec<File>,
    places: Vec<Place>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    file: u32,
    offset: u32,
}

impl Records {
    /// Finds the records in the sealed segments of a closed cache, all of whose entries are equally long. They lie back to
    /// back; what does not begin like a record is the segment's footer.
    ///
    /// # Errors
    /// Where a file cannot be read, or records differ in length.
    pub fn find(cache: &Path) -> Result<Self> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(cache.join("segments"))? {
            paths.push(entry?.path());
        }
        paths.sort();
        let files = paths.iter().map(File::open).collect::<Result<Vec<_>, _>>()?;
        let (mut places, mut common) = (Vec::new(), None);
        for (n, file) in files.iter().enumerate() {
            // A look at the page cache asks the kernel for what is not there: for no more than that.
            rustix::fs::fadvise(file, 0, None, Fadvise::Random)?;
            let mut offset = 0;
            while let Some(len) = record_len(file, offset)? {
                if *common.get_or_insert(len) != len {
                    return Err("the records differ in length".into());
                }
                places.push(Place { file: n as u32, offset: u32::try_from(offset)? });
                offset += len as u64;
            }
        }
        Ok(Self { paths, files, places, len: common.unwrap_or(0) })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// The files they lie in.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// A block of 4 KiB that lies inside record `n`: which file, and where.
    pub fn block(&self, n: usize) -> (usize, u64) {
        let place = self.places[n];
        (place.file as usize, u64::from(place.offset).next_multiple_of(4096))
    }

    /// Blocks of 4 KiB that a record lies in, on average.
    pub fn blocks_each(&self) -> f64 {
        let blocks = |place: &Place| {
            let (from, to) =
                (place.offset as usize / 4096, (place.offset as usize + self.len).div_ceil(4096));
            (to - from) as f64
        };
        self.places.iter().map(blocks).sum::<f64>() / self.places.len().max(1) as f64
    }

    /// Reads records at random with `preadv2(RWF_NOWAIT)` into prepared buffers, on as many threads as a client has workers.
    ///
    /// # Errors
    /// Those of the reads.
    pub fn read_bare(&self, pace: Pace) -> Result<Measure> {
        drive_threads(WORKERS, pace, |thread| {
            let (mut rng, mut buf) = (Rng::new(thread as u64), vec![0; self.len]);
            move || {
                let read = self.read_cached(rng.below(self.places.len()), &mut buf)?;
                Ok(Some(Done { hit: read == self.len, bytes: read as u64 }))
            }
        })
    }

    fn read_cached(&self, n: usize, buf: &mut [u8]) -> Result<usize> {
        let place = self.places[n];
        let file = &self.files[place.file as usize];
        match rustix::io::preadv2(
            file,
            &mut [IoSliceMut::new(buf)],
            u64::from(place.offset),
            ReadWriteFlags::NOWAIT,
        ) {
            Ok(read) => Ok(read),
            Err(Errno::AGAIN) => Ok(0),
            Err(e) => Err(e.into()),
        }
    }

    /// Drops the files from the page cache and tells how: the files' own pages where that suffices, else everybody's.
    ///
    /// # Errors
    /// Where a hint is refused, or records stay in memory whatever is done.
    pub fn drop_caches(&self) -> Result<&'static str> {
        for file in &self.files {
            // Only clean pages go.
            file.sync_data()?;
            rustix::fs::fadvise(file, 0, None, Fadvise::DontNeed)?;
        }
        if self.cached_share(98)? < 0.02 {
            return Ok("caches dropped by posix_fadvise(DONTNEED)");
        }
        fs::write("/proc/sys/vm/drop_caches", "3")
            .map_err(|e| format!("the page cache keeps the files, and only root may drop all of it: {e}"))?;
        match self.cached_share(99)? {
            share if share < 0.02 => Ok("caches dropped by /proc/sys/vm/drop_caches"),
            share => Err(format!("{:.0} % of the records stay in the page cache", share * 100.0).into()),
        }
    }

    /// Reads the files into the page cache.
    ///
    /// # Errors
    /// Those of the reads.
    pub fn warm(&self) -> Result<()> {
        for path in &self.paths {
            std::io::copy(&mut File::open(path)?, &mut std::io::sink())?;
        }
        Ok(())
    }

    /// How much of the records is in the page cache, by a sample. What was looked at may be there afterwards: another look
    /// takes another seed.
    ///
    /// # Errors
    /// Those of the reads.
    pub fn cached_share(&self, seed: u64) -> Result<f64> {
        let (mut rng, mut buf, mut cached) = (Rng::new(seed), vec![0; 1], 0);
        for _ in 0..SAMPLES {
            cached += self.read_cached(rng.below(self.places.len()), &mut buf)?;
        }
        Ok(cached as f64 / SAMPLES as f64)
    }
}

/// The length of the record that begins here; `None`: none does. ARCHITECTURE.md has the header byte by byte.
fn record_len(file: &File, offset: u64) -> Result<Option<usize>> {
    let mut header = [0; HEADER_LEN];
    if file.read_at(&mut header, offset)? < HEADER_LEN || &header[..4] != b"DCr1" {
        return Ok(None);
    }
    let field = |at: usize, len: usize| {
        header[at..at + len].iter().rev().fold(0usize, |sum, &byte| (sum << 8) | usize::from(byte))
    };
    let payload = field(6, 2) + field(8, 4) + field(12, 4) + field(16, 8);
    Ok(Some((HEADER_LEN + payload).next_multiple_of(8)))
}
