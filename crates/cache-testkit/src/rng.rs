//! A small generator whose seeds mean the same in ten years.
//!
//! Source: `SplitMix64`, Steele, Lea, Flood: "Fast splittable pseudorandom number generators" (2014).

/// `SplitMix64`.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator; every seed is a good one.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The generator of the case of this number, as unlike the others' as those of other seeds.
    pub fn fork(&self, number: u64) -> Self {
        Self(Self(self.0 ^ Self(number).next_u64()).next_u64())
    }

    /// The next number of 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, or 0 where that is 0. (Biased by less than `bound / 2^64`.)
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// True in `part` of `of` cases.
    pub fn chance(&mut self, part: u64, of: u64) -> bool {
        self.below(of) < part
    }

    /// Fills a slice with random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn a_seed_gives_the_published_sequence() {
        let mut rng = Rng::new(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| rng.next_u64()).collect();
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn the_generators_of_cases_differ() {
        let first = |seed, number| Rng::new(seed).fork(number).next_u64();
        assert_eq!(first(1, 2), first(1, 2));
        assert!(
            first(1, 2) != first(2, 1) && first(1, 2) != first(1, 3) && first(0, 0) != Rng::new(0).next_u64()
        );
    }

    #[test]
    fn numbers_stay_below_their_bound() {
        let mut rng = Rng::new(7);
        let mut seen = [false; 5];
        for _ in 0..200 {
            seen[rng.below(5) as usize] = true;
        }
        assert_eq!((seen, rng.below(0)), ([true; 5], 0));
    }
}
