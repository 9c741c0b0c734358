//! Keys drawn as a busy cache sees them: the n-th most popular one with weight `n^-s`.

use crate::rng::Rng;

/// Draws `count` of `keys` keys, zipf-distributed. Drawn before the clock starts: a draw costs a binary search.
pub fn draw(keys: usize, exponent: f64, count: usize, rng: &mut Rng) -> Vec<u32> {
    let mut sum = 0.0;
    let cumulative: Vec<f64> = (1..=keys)
        .map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        })
        .collect();
    // Neighbours in popularity are not neighbours in the log.
    let scatter = rng.permutation(keys);
    (0..count)
        .map(|_| {
            let at = rng.unit() * sum;
            let rank = cumulative.partition_point(|&c| c <= at).min(keys - 1);
            scatter[rank]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_popular_key_has_its_share() {
        let drawn = draw(1000, 0.9, 100_000, &mut Rng::new(1));
        let mut counts = vec![0u32; 1000];
        for key in drawn {
            counts[key as usize] += 1;
        }
        let weights: f64 = (1..=1000).map(|n| f64::from(n).powf(-0.9)).sum();
        let most = f64::from(*counts.iter().max().expect("keys"));
        assert!((most / 100_000.0 - 1.0 / weights).abs() < 0.01, "{most} of 100000");
    }
}
