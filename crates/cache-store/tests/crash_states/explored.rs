//! What was looked at.

use cache_testkit::tried;
use std::time::Instant;

#[derive(Default)]
pub(crate) struct Explored {
    pub(crate) states: u64,
    pub(crate) recoveries: u64,
    pub(crate) excused: u64,
}

impl Explored {
    pub(crate) fn add(&mut self, other: &Self) {
        self.states += other.states;
        self.recoveries += other.recoveries;
        self.excused += other.excused;
    }

    pub(crate) fn report(&self, what: &str, seed: u64, runs: u64, begun: Instant) {
        let Self { states, recoveries, excused } = self;
        let seconds = begun.elapsed().as_secs_f64();
        println!(
            "crash states, {what}: {runs} workloads, {states} states, {recoveries} crashes of recoveries, {excused} excused by \
             eviction, seed {seed}, {seconds:.1} s, {:.0} states/s",
            (states + recoveries) as f64 / seconds
        );
        if *states > 0 {
            tried(*states, "crash states");
        }
        tried(*recoveries, "crashes of recoveries");
    }
}
