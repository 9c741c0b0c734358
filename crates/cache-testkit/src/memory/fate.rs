//! What a power cut does to one change, and plans for all of them.

use crate::Rng;
use std::path::PathBuf;

/// A change that a power cut may undo, as a choice of fate sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unsynced {
    /// A name came, went or moved; the parts of one change share one fate.
    Names {
        /// Each name and whether it is there after the change.
        changes: Vec<(PathBuf, bool)>,
    },
    /// Bytes were written.
    Write {
        /// The file's name now, if it has one.
        path: Option<PathBuf>,
        /// Where.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// A file was cut or extended.
    SetLen {
        /// The file's name now, if it has one.
        path: Option<PathBuf>,
        /// To what length.
        len: u64,
    },
}

/// What becomes of a change. Changes of names and lengths know only `Lost` and all else, which means `Kept`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It never happened.
    Lost,
    /// It is there.
    Kept,
    /// The file is as long as the write made it, but the bytes are what was there before, or zeros.
    LengthOnly,
    /// The first units of the write are there. Units lie at multiples of `unit` in the file.
    Prefix {
        /// Bytes that reach the disk together: 512 or 4096.
        unit: u64,
        /// How many units, counted from the one that the write starts in.
        units: u64,
    },
    /// Some units of the write are there, by a fair coin for each.
    Scattered {
        /// Bytes that reach the disk together: 512 or 4096.
        unit: u64,
        /// Decides which.
        seed: u64,
    },
}

/// Fates for everything that is unsynced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPlan {
    /// Nothing unsynced survives.
    Nothing,
    /// Everything survives.
    Everything,
    /// Some of it does; the seed decides what. One seed in four keeps nearly all, one nearly nothing, one a prefix in the
    /// order of the operations and one flips a coin for each.
    Seeded(u64),
}

impl CrashPlan {
    /// The fates of `count` changes.
    pub(super) fn fates(self, count: usize) -> impl FnMut(&Unsynced) -> Fate {
        let mut rng = Rng::new(match self {
            Self::Seeded(seed) => seed,
            Self::Nothing | Self::Everything => 0,
        });
        let shape = rng.below(4);
        let stop = rng.below(count as u64 + 1);
        let mut index = 0;
        move |change| {
            let at = index;
            index += 1;
            let part = match (self, shape) {
                (Self::Nothing, _) => return Fate::Lost,
                (Self::Everything, _) => return Fate::Kept,
                (_, 0) => 8,
                (_, 1) => 15,
                (_, 2) => 1,
                _ if at < stop => return Fate::Kept,
                _ if at > stop => return Fate::Lost,
                // The one that the power cut hit.
                _ => 8,
            };
            let torn = rng.chance(1, 4);
            let kept = rng.chance(part, 16);
            match change {
                Unsynced::Write { len, .. } if torn => tear(&mut rng, *len),
                _ if kept => Fate::Kept,
                _ => Fate::Lost,
            }
        }
    }
}

fn tear(rng: &mut Rng, len: u64) -> Fate {
    let unit = if rng.chance(1, 2) { 512 } else { 4096 };
    match rng.below(3) {
        0 => Fate::LengthOnly,
        1 => Fate::Prefix { unit, units: rng.below(len / unit + 2) },
        _ => Fate::Scattered { unit, seed: rng.next_u64() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_fates_again() {
        let change = Unsynced::Write { path: None, offset: 0, len: 10_000 };
        for seed in 0..100 {
            let fates = |seed| {
                let mut fate = CrashPlan::Seeded(seed).fates(20);
                (0..20).map(|_| fate(&change)).collect::<Vec<_>>()
            };
            assert_eq!(fates(seed), fates(seed));
        }
    }

    #[test]
    fn seeds_reach_every_fate() {
        let change = Unsynced::Write { path: None, offset: 0, len: 10_000 };
        let mut seen = [false; 5];
        for seed in 0..100 {
            let mut fate = CrashPlan::Seeded(seed).fates(10);
            for _ in 0..10 {
                seen[match fate(&change) {
                    Fate::Lost => 0,
                    Fate::Kept => 1,
                    Fate::LengthOnly => 2,
                    Fate::Prefix { .. } => 3,
                    Fate::Scattered { .. } => 4,
                }] = true;
            }
        }
        assert_eq!(seen, [true; 5]);
    }
}
