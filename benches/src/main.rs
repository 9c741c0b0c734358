//! `cargo run --release -p benches -- load`: the table that the README quotes, without the peers that take long to build.

#[cfg(target_os = "linux")]
fn main() -> benches::Result<()> {
    benches::command::run(Vec::new())
}

#[cfg(not(target_os = "linux"))]
fn main() {
    #[expect(clippy::print_stderr, reason = "it is a program that prints")]
    {
        eprintln!("the references are Linux's system calls: run this on Linux");
    }
}
