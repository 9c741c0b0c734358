//! The cache on both backends: warm gets, cold gets, inserts until synced, get-or-insert under eviction, with bodies of
//! 4 KiB and 64 tasks on 2 workers. One iteration is one operation of every task; of `insert synced`, 64 inserts of every
//! task and the flush after them.

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() -> benches::Result<()> {
    measure::main()
}

#[cfg(target_os = "linux")]
mod measure {
    use benches::{
        bench::Bench,
        data_dir::DataDir,
        dataset::Dataset,
        fd_limit,
        filled::{Filled, Insert, Reads},
        options::LoadOptions,
        rng::Rng,
        rows::{cold, get_or_insert, warm},
        table, zipf,
    };
    use clap::{Args, Command, FromArgMatches};
    use criterion::{BenchmarkId, Criterion, Throughput};
    use disk_cache::ByteSize;
    use std::{
        fmt::Display,
        sync::{Arc, atomic::AtomicUsize},
        time::Duration,
    };

    const ENTRIES: usize = 50_000;
    const SIZE: usize = 4 << 10;
    /// Inserts of a task before a flush.
    const INSERTS: u64 = 64;

    pub(super) fn main() -> benches::Result<()> {
        fd_limit::raise()?;
        let dir = DataDir::new(None)?;
        dir.remove_on_signal()?;
        dir.complaints()?.iter().for_each(|c| table::line(&format!("WARNING: {c}")));
        let command = LoadOptions::augment_args(Command::new("defaults"));
        let options = LoadOptions::from_arg_matches(&command.get_matches_from(["defaults"]))?;
        let bench = Bench::new(options.settled(), dir, Vec::new())?;
        let data = Arc::new(Dataset::new(ENTRIES, SIZE));
        let mut criterion = Criterion::default()
            .sample_size(10)
            .warm_up_time(Duration::from_millis(500))
            .measurement_time(Duration::from_secs(2))
            .configure_from_args();
        let filled = Filled::all(&bench, &data, Reads::ByPageCache)?;
        warm_get(&mut criterion, &bench, &data, &filled);
        cold_get(&mut criterion, &bench, &data, &filled);
        filled.iter().try_for_each(|f| bench.close(&f.cache))?;
        insert_synced(&mut criterion, &bench, &data)?;
        get_or_insert(&mut criterion, &bench, &data)?;
        criterion.final_summary();
        Ok(())
    }

    fn warm_get(criterion: &mut Criterion, bench: &Bench, data: &Arc<Dataset>, filled: &[Filled]) {
        let tasks = bench.options.tasks;
        let mut group = criterion.benchmark_group("warm get");
        group.throughput(Throughput::Elements(tasks as u64));
        for Filled { cache, name, .. } in filled {
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter_custom(|iterations| {
                    let works = warm::works(tasks, data, cache, None);
                    or_panic(bench.client.repeat(works, iterations, async { Ok(()) }))
                });
            });
        }
    }

    fn cold_get(criterion: &mut Criterion, bench: &Bench, data: &Arc<Dataset>, filled: &[Filled]) {
        let tasks = bench.options.tasks;
        let at_once = (cold::cold_gets(data) / tasks).max(1) as u64;
        let mut group = criterion.benchmark_group("cold get");
        group.throughput(Throughput::Elements(tasks as u64));
        for Filled { cache, name, records, .. } in filled {
            let mut round = 0;
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter_custom(|iterations| {
                    let (mut left, mut elapsed) = (iterations, Duration::ZERO);
                    while left > 0 {
                        let steps = left.min(at_once);
                        or_panic(records.drop_caches());
                        round += 1;
                        let works = cold::works(tasks, data, cache, round);
                        elapsed += or_panic(bench.client.repeat(works, steps, async { Ok(()) }));
                        left -= steps;
                    }
                    elapsed
                });
            });
        }
    }

    fn insert_synced(criterion: &mut Criterion, bench: &Bench, data: &Arc<Dataset>) -> benches::Result<()> {
        let tasks = bench.options.tasks;
        let mut group = criterion.benchmark_group("insert synced");
        group.throughput(Throughput::Bytes(tasks as u64 * INSERTS * SIZE as u64));
        for (choice, name) in bench.choices() {
            let cache = bench.open(&bench.path(format!("insert-{name}")), *choice, ByteSize::gib(4))?;
            let next = Arc::new(AtomicUsize::new(0));
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter_custom(|iterations| {
                    let mut elapsed = Duration::ZERO;
                    for _ in 0..iterations {
                        let work = |_| Insert {
                            cache: cache.clone(),
                            data: data.clone(),
                            next: next.clone(),
                            wrap: true,
                        };
                        let synced = async { Ok(cache.flush().await?) };
                        elapsed +=
                            or_panic(bench.client.repeat((0..tasks).map(work).collect(), INSERTS, synced));
                    }
                    elapsed
                });
            });
            bench.close(&cache)?;
        }
        Ok(())
    }

    fn get_or_insert(criterion: &mut Criterion, bench: &Bench, data: &Arc<Dataset>) -> benches::Result<()> {
        let tasks = bench.options.tasks;
        let draws: Arc<[u32]> =
            zipf::draw(ENTRIES, get_or_insert::EXPONENT, ENTRIES * 16, &mut Rng::new(7)).into();
        let capacity = ByteSize::bytes_of(get_or_insert::capacity(data));
        let mut group = criterion.benchmark_group("get or insert");
        group.throughput(Throughput::Elements(tasks as u64));
        for (choice, name) in bench.choices() {
            let cache = bench.open(&bench.path(format!("get-or-insert-{name}")), *choice, capacity)?;
            let full = get_or_insert::works(tasks, data, &cache, &draws, 0, None);
            bench.client.repeat(full, (ENTRIES * 4 / tasks) as u64, async { Ok(()) })?;
            let mut round = 0;
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter_custom(|iterations| {
                    round += 1;
                    let works = get_or_insert::works(tasks, data, &cache, &draws, round, None);
                    or_panic(bench.client.repeat(works, iterations, async { Ok(()) }))
                });
            });
            bench.close(&cache)?;
        }
        Ok(())
    }

    /// Criterion's closures have no way to fail.
    fn or_panic<T, E: Display>(result: Result<T, E>) -> T {
        match result {
            Ok(value) => value,
            Err(e) => panic!("{e}"),
        }
    }
}
