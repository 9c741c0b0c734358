//! Every input that is kept, and what the engine itself writes.

use super::{
    attributes, directory, footer, object, record, scope,
    seeds::{Seed, disk, seeds},
    snapshot, superblock,
};
use std::{fs, path::Path, time::Instant};
use tokio::runtime::{Builder, Runtime};

/// What a target does with an input.
type Decode = fn(&[u8]);

const DECODERS: &[(&str, Decode)] = &[
    ("attributes", attributes),
    ("footer", footer),
    ("object", object),
    ("record", record),
    ("scope", scope),
    ("snapshot", snapshot),
    ("superblock", superblock),
];

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

fn run(target: &str, data: &[u8]) {
    match DECODERS.iter().find(|(name, _)| *name == target) {
        Some((_, decode)) => decode(data),
        None => runtime().block_on(directory(disk(), data)),
    }
}

fn targets() -> impl Iterator<Item = &'static str> {
    DECODERS.iter().map(|(name, _)| *name).chain(["directory"])
}

fn made() -> Vec<Seed> {
    runtime().block_on(seeds()).unwrap()
}

/// Names the input in a failure's message.
struct Context(String);

impl Drop for Context {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("input {}", self.0);
        }
    }
}

#[test]
fn every_kept_input_of_every_target_is_survived() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for target in targets() {
        let (begun, mut count) = (Instant::now(), 0);
        for file in fs::read_dir(corpora.join(target)).unwrap() {
            let path = file.unwrap().path();
            let _context = Context(path.display().to_string());
            run(target, &fs::read(&path).unwrap());
            count += 1;
        }
        assert!(count > 0, "no inputs of {target}");
        println!("{target}: {count} inputs, {:.2?}", begun.elapsed());
    }
}

#[test]
fn every_target_has_seeds_and_survives_them() {
    let seeds = made();
    for target in targets() {
        assert!(seeds.iter().any(|(name, _)| *name == target), "{target}");
    }
    for (target, data) in &seeds {
        run(target, data);
    }
    // Where fuzzing begins from.
    if let Some(folder) = std::env::var_os("DISK_CACHE_SEEDS") {
        for (n, (target, data)) in seeds.iter().enumerate() {
            let folder = Path::new(&folder).join(target);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(format!("seed-{n}")), data).unwrap();
        }
    }
}
