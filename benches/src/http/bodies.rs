//! Bodies by URL: `/LENGTH/NUMBER` is always the same bytes, for the origin and for those who verify.

use crate::{Result, rng::Rng};
use bytes::Bytes;

/// Bodies begin so far apart in the pool ...
const STEP: usize = 16;
/// ... at so many places.
const PLACES: usize = 4096;

/// The bytes that all bodies are cut from.
#[derive(Clone, Debug)]
pub struct Bodies {
    pool: Bytes,
}

impl Bodies {
    /// Bodies of up to `longest` bytes; the same in every process.
    pub fn new(longest: usize) -> Self {
        let mut rng = Rng::new(1);
        let words = (longest + STEP * PLACES).div_ceil(8);
        let pool: Vec<u8> = (0..words).flat_map(|_| rng.next_u64().to_le_bytes()).collect();
        Self { pool: pool.into() }
    }

    /// The body of that length and number.
    pub fn body(&self, len: usize, n: usize) -> Bytes {
        let at = n % PLACES * STEP;
        self.pool.slice(at..at + len)
    }

    /// The body of a path.
    ///
    /// # Errors
    /// A path of another form, or a body that is too long.
    pub fn of(&self, path: &str) -> Result<Bytes> {
        let read = || {
            let (len, n) = path.strip_prefix('/')?.split_once('/')?;
            Some((len.parse::<usize>().ok()?, n.parse::<usize>().ok()?))
        };
        match read() {
            Some((len, n)) if len + STEP * PLACES <= self.pool.len() => Ok(self.body(len, n)),
            _ => Err(format!("there is no {path}").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_the_same_bytes_in_every_process() {
        let (one, other) = (Bodies::new(1000), Bodies::new(1000));
        assert_eq!(one.of("/1000/7").expect("a body"), other.body(1000, 7));
        assert_ne!(one.body(1000, 7), one.body(1000, 8));
        for path in ["/1001/7", "/1000", "1000/7", "/a/7"] {
            assert!(one.of(path).is_err(), "{path}");
        }
    }
}
