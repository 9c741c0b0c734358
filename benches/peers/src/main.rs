//! The load command of `benches` with other caches beside this one: foyer with both of its engines, and cacache.
//! `cargo xtask bench` runs it.

#[cfg(target_os = "linux")]
mod content_files;
#[cfg(target_os = "linux")]
mod foyer_disk;

#[cfg(target_os = "linux")]
fn main() -> benches::Result<()> {
    use foyer_disk::{Engine, FoyerDisk};
    benches::command::run(vec![
        Box::new(FoyerDisk(Engine::Uring)),
        Box::new(FoyerDisk(Engine::Psync)),
        Box::new(content_files::Cacache),
    ])
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("the references are Linux's system calls: run this on Linux");
}
