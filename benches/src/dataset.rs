//! Keys and bodies, made before any clock starts.

use crate::rng::Rng;
use bytes::Bytes;
use disk_cache::CacheKey;

/// Bodies to choose from: so many different ones, so that preparing them takes little memory.
const BODIES: usize = 64;
/// A key's path is as long as many a URL's.
const NAME_LEN: usize = 40;

/// The keys and bodies of a run. Key `n` has body `n % 64`.
#[derive(Debug)]
pub struct Dataset {
    names: Vec<[u8; NAME_LEN]>,
    bodies: Vec<Bytes>,
    size: usize,
    /// Where they differ: the length of each body.
    lengths: Option<Vec<u32>>,
}

impl Dataset {
    /// Prepares `entries` keys and bodies of `size` bytes.
    pub fn new(entries: usize, size: usize) -> Self {
        let names = (0..entries).map(name).collect();
        let bodies = (0..BODIES as u64).map(|n| body(size, n)).collect();
        Self { names, bodies, size, lengths: None }
    }

    /// Keys whose bodies are so long.
    pub fn of_lengths(lengths: Vec<u32>) -> Self {
        let longest = lengths.iter().max().map_or(0, |&longest| longest as usize);
        let keys = Self::new(lengths.len(), longest);
        Self { lengths: Some(lengths), ..keys }
    }

    /// Bytes of body `n`.
    pub fn len_of(&self, n: usize) -> usize {
        self.lengths.as_ref().map_or(self.size, |lengths| lengths[n] as usize)
    }

    /// The length of each body, where they differ.
    pub fn lengths(&self) -> Option<&[u32]> {
        self.lengths.as_deref()
    }

    /// Number of keys.
    pub fn entries(&self) -> usize {
        self.names.len()
    }

    /// Bytes of a body, the longest where they differ.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Key `n`, as a request makes it: its digest is not known yet.
    pub fn key(&self, n: usize) -> CacheKey {
        CacheKey::new("bench", self.names[n])
    }

    /// The name that key `n` is made from.
    pub fn name(&self, n: usize) -> &str {
        // Digits and letters only.
        std::str::from_utf8(&self.names[n]).unwrap_or_default()
    }

    /// Body `n`.
    pub fn body(&self, n: usize) -> Bytes {
        self.bodies[n % BODIES].slice(..self.len_of(n))
    }

    /// Whether these are the bytes of body `n`, by length and the first few; checksums are the cache's work.
    pub fn is_body(&self, n: usize, bytes: &[u8]) -> bool {
        let expected = &self.bodies[n % BODIES];
        bytes.len() == self.len_of(n) && bytes.first_chunk::<8>() == expected.first_chunk()
    }
}

fn name(n: usize) -> [u8; NAME_LEN] {
    let mut name = *b"images/2024/00/objects/000000000000.jpeg";
    for (place, digit) in name[23..35].iter_mut().rev().zip(n.to_string().bytes().rev()) {
        *place = digit;
    }
    name
}

fn body(size: usize, seed: u64) -> Bytes {
    let mut rng = Rng::new(seed);
    (0..size.div_ceil(8)).flat_map(|_| rng.next_u64().to_le_bytes()).take(size).collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_another_one() {
        assert_eq!(&name(120), b"images/2024/00/objects/000000000120.jpeg");
        assert_ne!(name(0), name(1));
    }
}
