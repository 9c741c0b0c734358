//! `test-linux`, `bench-linux` and `build-linux`.

use super::{
    image::Image,
    look::Look,
    report::{Report, tells_full_disk},
    seccomp,
};
use crate::{
    interrupt::{self, Container},
    process::{Stream, lines, output, repo},
};
use clap::{Args, ValueEnum};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

/// Denies the three calls and allows the rest.
pub(crate) const DENIED: &str = "docker/seccomp-deny-io-uring.json";

/// Where the containers run.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Where {
    /// Use this image instead of the official Rust one; one without a toolchain gets this machine's
    #[arg(long, value_name = "IMAGE")]
    pub(crate) base_image: Option<String>,
    /// Run under this seccomp profile where io_uring is allowed, instead of none
    #[arg(long, value_name = "FILE")]
    pub(crate) seccomp: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum IoUring {
    Allowed,
    Denied,
    Both,
}

/// What ran in one mode.
struct Run {
    mode: &'static str,
    report: Report,
    complaints: Vec<String>,
    seconds: f64,
}

/// An image in which the checkout can be seen and a toolchain runs.
///
/// # Errors
/// What this machine lacks for that.
pub(crate) fn ready(place: &Where) -> Result<Image, String> {
    // A profile that is none is told before minutes are spent on an image.
    profile(place.seccomp.as_deref())?;
    let image = Image::ready(place.base_image.as_deref())?;
    look(&image, "unconfined")?;
    Ok(image)
}

/// What a container under a profile can do.
///
/// # Errors
/// That none starts, or that it cannot build this checkout.
pub(crate) fn look(image: &Image, profile: &str) -> Result<Look, String> {
    let mut look = image.compose();
    let container = format!("{}-look", image.project);
    start(&mut look, &container, "test-linux", profile);
    look.args(["sh", "docker/look.sh"]);
    let _container = Container::named(&container);
    let told = output(&mut look).map_err(|e| format!("no container can build this checkout: {e}"))?;
    Look::parse(&told)
}

/// Runs the suite in a container, with io_uring allowed, denied, or once each.
///
/// # Errors
/// What failed, in one line for each mode.
pub(crate) fn test(
    image: &Image,
    place: &Where,
    io_uring: IoUring,
    args: &[String],
) -> Result<String, String> {
    let allowed = profile(place.seccomp.as_deref())?;
    let mut runs = Vec::new();
    if io_uring != IoUring::Denied {
        if let Some(file) = &place.seccomp
            && look(image, &allowed)?.is_denied()
        {
            let file = file.display();
            return Err(format!(
                "{file}: io_uring is denied under it; `cargo xtask seccomp {file}` allows it"
            ));
        }
        runs.push(mode(image, "allowed", &allowed, args)?);
    }
    if io_uring != IoUring::Allowed {
        runs.push(mode(image, "denied", &repo().join(DENIED).display().to_string(), args)?);
    }
    print(&runs);
    let failed: Vec<_> = runs
        .iter()
        .flat_map(|run| run.complaints.iter().map(move |why| format!("io_uring {}: {why}", run.mode)))
        .collect();
    if failed.is_empty() {
        let told =
            |run: &Run| format!("{} {} tests, {} rings", run.mode, run.report.passed, run.report.rings);
        Ok(runs.iter().map(told).collect::<Vec<_>>().join("; "))
    } else {
        Err(failed.join("\n"))
    }
}

/// Runs the benches in a container; arguments replace the service's command.
///
/// # Errors
/// What failed.
pub(crate) fn bench(place: &Where, args: &[String]) -> Result<(), String> {
    let cargo = ["cargo", "run", "--release", "--locked", "-p", "benches", "--"];
    service(place, "bench-linux", &cargo, args)
}

/// Builds in a container.
///
/// # Errors
/// What failed.
pub(crate) fn build(place: &Where, args: &[String]) -> Result<(), String> {
    service(place, "build-linux", &["cargo", "build", "--release", "--locked"], args)
}

/// Removes this checkout's image and volumes.
///
/// # Errors
/// The engine's.
pub(crate) fn clean() -> Result<(), String> {
    Image::clean()
}

fn service(place: &Where, service: &str, cargo: &[&str], args: &[String]) -> Result<(), String> {
    let profile = profile(place.seccomp.as_deref())?;
    let image = ready(place)?;
    let mut compose = image.compose();
    let container = format!("{}-{service}", image.project);
    start(&mut compose, &container, service, &profile);
    if !args.is_empty() {
        compose.args(cargo).args(args);
    }
    let _container = Container::named(&container);
    let mut disk_full = false;
    let status = lines(&mut compose, |_, line| {
        disk_full |= tells_full_disk(line);
        println!("{line}");
    })?;
    interrupt::check()?;
    match status.code() {
        Some(0) => Ok(()),
        _ if disk_full => Err(format!("{service}: the disk is full")),
        Some(137) => Err(format!("{service}: the container was killed")),
        _ => Err(format!("{service} failed ({status})")),
    }
}

fn mode(image: &Image, mode: &'static str, profile: &str, args: &[String]) -> Result<Run, String> {
    println!("\n== io_uring {mode}");
    let begun = Instant::now();
    let mut compose = image.compose();
    let container = format!("{}-{mode}", image.project);
    compose.env("DISK_CACHE_REQUIRE_IO_URING", if mode == "allowed" { "1" } else { "0" });
    start(&mut compose, &container, "test-linux", profile);
    if !args.is_empty() {
        compose.args(["sh", "docker/test-linux.sh"]).args(args);
    }
    let _container = Container::named(&container);
    let mut report = Report::default();
    let status = lines(&mut compose, |stream, line| {
        if stream == Stream::Complaints {
            report.complained(line);
            eprintln!("{line}");
        } else if report.take(line) {
            println!("{line}");
        }
    })?;
    interrupt::check()?;
    let mut complaints = match mode {
        "allowed" => report.complaints_if_allowed(args.is_empty()),
        _ => report.complaints_if_denied(args.is_empty()),
    };
    match status.code() {
        Some(137) => complaints = vec!["the container was killed".to_owned()],
        Some(code) if code != 0 && complaints.is_empty() => {
            complaints.push(format!("ended with code {code}"));
        }
        None => complaints.insert(0, format!("the run was ended ({status})")),
        Some(_) => {}
    }
    Ok(Run { mode, report, complaints, seconds: begun.elapsed().as_secs_f64() })
}

pub(crate) fn start(compose: &mut Command, container: &str, service: &str, profile: &str) {
    compose.env("SECCOMP_PROFILE", profile);
    compose.args(["run", "--rm", "-T", "--name", container, service]);
}

/// The profile for io_uring allowed, as compose wants it: whole, since old compose tools look in a folder of their own.
fn profile(file: Option<&Path>) -> Result<String, String> {
    let Some(file) = file else { return Ok("unconfined".to_owned()) };
    seccomp::read(file)?;
    let whole = fs::canonicalize(file).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(whole.display().to_string())
}

fn print(runs: &[Run]) {
    println!(
        "\n{:<10} {:>7} {:>7} {:>8} {:>10} {:>10} {:>9} {:>12} {:>8}",
        "io_uring", "passed", "failed", "ignored", "on rings", "on tokio", "fallback", "rings", "seconds"
    );
    for Run { mode, report, seconds, .. } in runs {
        println!(
            "{mode:<10} {:>7} {:>7} {:>8} {:>10} {:>10} {:>9} {:>12} {seconds:>8.0}",
            report.passed,
            report.failed,
            report.ignored.len(),
            report.on_rings,
            report.on_tokio,
            report.fallen_back.len(),
            report.rings,
        );
    }
    println!(
        "(on rings, on tokio: caches opened by choice; fallback: caches opened on tokio without having asked for it)"
    );
    for Run { mode, report, .. } in runs {
        for (reason, tests) in report.reasons() {
            println!("\nio_uring {mode}, {} ignored: {reason}\n  {}", tests.len(), tests.join("\n  "));
        }
        if let Some(warning) = report.warnings.first() {
            println!("\nio_uring {mode}, one of {} warnings: {warning}", report.warnings.len());
        }
    }
    println!();
}
