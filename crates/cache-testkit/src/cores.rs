//! Many cases of one test on all cores.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

/// Tells the other threads to begin nothing more.
struct Stop<'a>(&'a AtomicU64, u64);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(self.1, Ordering::Relaxed);
        }
    }
}

/// Calls `case` with every number below `count`, each on one of as many threads as there are cores. Which thread, and what runs
/// beside it, is chance: what a case does hangs on its number alone.
///
/// # Panics
/// Where a case does. Those that have begun end first.
pub fn on_all_cores(count: u64, case: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    let cores = thread::available_parallelism().map_or(1, usize::from) as u64;
    thread::scope(|scope| {
        for _ in 0..cores.min(count) {
            scope.spawn(|| {
                let _stop = Stop(&next, count);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    case(number);
                }
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    #[test]
    fn every_number_is_tried_once() {
        let tried: Vec<_> = (0..100).map(|_| AtomicU64::new(0)).collect();
        on_all_cores(100, |n| {
            tried[n as usize].fetch_add(1, Ordering::Relaxed);
        });
        assert!(tried.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        on_all_cores(0, |_| unreachable!());
    }

    #[test]
    fn a_case_that_fails_fails_all_and_ends_them_soon() {
        let begun = AtomicU64::new(0);
        let all = catch_unwind(|| {
            on_all_cores(u64::MAX / 2, |n| {
                begun.fetch_add(1, Ordering::Relaxed);
                assert_ne!(n, 5, "planted");
            });
        });
        assert!(all.is_err() && begun.load(Ordering::Relaxed) > 5);
    }
}
