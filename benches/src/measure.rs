//! One measured stretch: what was done, how long each operation took, what it cost the process.

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// What one operation did.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// Whether it counts as a success: a get that found its entry, a stored insert.
    pub hit: bool,
    /// Bytes of bodies read or written.
    pub bytes: u64,
}

/// What one task or thread did.
#[derive(Debug, Serialize, Deserialize)]
pub struct Tally {
    ops: u64,
    hits: u64,
    bytes: u64,
    #[serde(with = "recorded")]
    latency: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self { ops: 0, hits: 0, bytes: 0, latency: histogram() }
    }
}

impl Tally {
    /// Whether the next operation is to be timed; every one, or one in [`SAMPLE`].
    pub fn times_next(&self, sampled: bool) -> bool {
        !sampled || self.ops.is_multiple_of(SAMPLE)
    }

    /// Counts an operation.
    pub fn count(&mut self, done: Done) {
        self.ops += 1;
        self.hits += u64::from(done.hit);
        self.bytes += done.bytes;
    }

    /// Notes how long one took.
    pub fn took(&mut self, time: Duration) {
        self.latency.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds another task's.
    pub fn merge(&mut self, other: &Self) {
        self.ops += other.ops;
        self.hits += other.hits;
        self.bytes += other.bytes;
        // Both have the same bounds, so nothing is out of range.
        self.latency += &other.latency;
    }
}

/// Operations of a microsecond are timed one in so many, because two looks at the clock cost 50 ns. A prime, so that it
/// meets what happens every 128 operations (tokio's budget of a task) as often as anything else.
pub const SAMPLE: u64 = 7;

/// A minute at most, to 1 %.
fn histogram() -> Histogram<u64> {
    let made = Histogram::new_with_bounds(1, 60_000_000_000, 2);
    #[expect(clippy::expect_used, reason = "the bounds are constants that hdrhistogram takes")]
    made.expect("constant bounds")
}

/// A histogram as the values that were recorded and how often.
mod recorded {
    use hdrhistogram::Histogram;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(from: &Histogram<u64>, s: S) -> Result<S::Ok, S::Error> {
        let counts = from.iter_recorded().map(|at| (at.value_iterated_to(), at.count_at_value()));
        counts.collect::<Vec<(u64, u64)>>().serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Histogram<u64>, D::Error> {
        let mut histogram = super::histogram();
        for (value, count) in Vec::<(u64, u64)>::deserialize(d)? {
            histogram.record_n(value, count).map_err(D::Error::custom)?;
        }
        Ok(histogram)
    }
}

/// What a stretch came to.
#[derive(Debug, Serialize, Deserialize)]
pub struct Measure {
    tally: Tally,
    elapsed: Duration,
    cpu: Duration,
    rss: u64,
    note: Option<String>,
    values: Vec<(String, f64)>,
}

impl Measure {
    /// What another program says that it did in so long a time; it says nothing of single operations here.
    pub fn reported(ops_per_s: f64, bytes_per_s: f64, cpu_us: f64, elapsed: Duration) -> Self {
        let count = |per_s: f64| rounded(per_s * elapsed.as_secs_f64());
        let ops = count(ops_per_s);
        let tally = Tally { ops, hits: ops, bytes: count(bytes_per_s), ..Tally::default() };
        let cpu = Duration::from_secs_f64(cpu_us * ops as f64 / 1e6);
        Self { tally, elapsed, cpu, rss: 0, note: None, values: Vec::new() }
    }

    /// Operations.
    pub fn ops(&self) -> u64 {
        self.tally.ops
    }

    /// Operations per second.
    pub fn ops_per_s(&self) -> f64 {
        self.per_s(self.tally.ops)
    }

    /// Hits per second.
    pub fn hits_per_s(&self) -> f64 {
        self.per_s(self.tally.hits)
    }

    /// Bytes of bodies per second.
    pub fn bytes_per_s(&self) -> f64 {
        self.per_s(self.tally.bytes)
    }

    /// Hits per operation.
    pub fn hit_ratio(&self) -> f64 {
        self.tally.hits as f64 / self.tally.ops.max(1) as f64
    }

    /// Latency in microseconds at a quantile.
    pub fn latency_us(&self, quantile: f64) -> f64 {
        self.tally.latency.value_at_quantile(quantile) as f64 / 1e3
    }

    /// User and system time of the whole process per operation, in microseconds.
    pub fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.tally.ops.max(1) as f64
    }

    /// Resident memory of the whole process at the end, in bytes.
    pub fn rss(&self) -> u64 {
        self.rss
    }

    /// What else is worth saying.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Says something with the row.
    pub fn with_note(mut self, note: String) -> Self {
        self.note = Some(note);
        self
    }

    /// Length of the stretch.
    pub fn seconds(&self) -> f64 {
        self.elapsed.as_secs_f64()
    }

    /// Hits.
    pub fn hits(&self) -> u64 {
        self.tally.hits
    }

    /// Counts only so great a share of the hits and bytes: the rest was lost later.
    pub fn with_hits_cut_to(mut self, share: f64) -> Self {
        self.tally.hits = rounded(self.tally.hits as f64 * share);
        self.tally.bytes = rounded(self.tally.bytes as f64 * share);
        self
    }

    /// A figure that only this row has; not a number where it has not.
    pub fn value(&self, name: &str) -> f64 {
        self.values.iter().find(|(n, _)| n == name).map_or(f64::NAN, |(_, value)| *value)
    }

    /// Adds such a figure.
    pub fn with_value(mut self, name: &str, value: f64) -> Self {
        self.values.push((name.to_owned(), value));
        self
    }

    fn per_s(&self, count: u64) -> f64 {
        count as f64 / self.elapsed.as_secs_f64()
    }
}

/// A count from a rate; nothing below zero.
fn rounded(count: f64) -> u64 {
    #[expect(clippy::cast_sign_loss, reason = "it is not negative")]
    let count = count.round().max(0.0) as u64;
    count
}

/// A stretch that has begun.
#[derive(Debug)]
pub struct Meter {
    begun: Instant,
    cpu: Duration,
}

impl Meter {
    /// Begins a stretch.
    pub fn start() -> Self {
        Self { cpu: cpu_time(), begun: Instant::now() }
    }

    /// Time since its beginning.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Ends it.
    pub fn finish(self, tally: Tally) -> Measure {
        let elapsed = self.elapsed();
        let cpu = cpu_time().saturating_sub(self.cpu);
        Measure { tally, elapsed, cpu, rss: resident(), note: None, values: Vec::new() }
    }
}

/// User and system time of the process, like `getrusage(2)` but to the nanosecond.
pub fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// Resident memory of the process, in bytes.
pub fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// Bytes that the process has made the device read, read-ahead included.
pub fn device_reads() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|l| l.strip_prefix("read_bytes: "));
    line.and_then(|n| n.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measure_of_another_process_says_the_same() {
        let mut tally = Tally::default();
        for n in 1..1000 {
            tally.count(Done { hit: n % 3 == 0, bytes: n });
            tally.took(Duration::from_nanos(n * n * 977));
        }
        let here = Meter::start().finish(tally).with_note("noted".to_owned()).with_value("hit ratio", 0.5);
        let there: Measure = serde_json::from_str(&serde_json::to_string(&here).unwrap()).unwrap();
        for quantile in [0.1, 0.5, 0.95, 0.99, 0.999, 1.0] {
            assert!((here.latency_us(quantile) - there.latency_us(quantile)).abs() < 1e-9);
        }
        assert!((here.value("hit ratio") - there.value("hit ratio")).abs() < 1e-9);
        assert_eq!((here.hits(), here.note(), here.rss()), (there.hits(), there.note(), there.rss()));
        assert!((here.ops_per_s() - there.ops_per_s()).abs() < 1e-9);
    }
}
