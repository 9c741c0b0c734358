//! A base image without a registry: Debian's root file system, from a mirror or from this machine. The toolchain is not in it,
//! it is mounted from the host.

use super::engine::Engine;
use crate::process::{command, found, output, run};
use clap::ValueEnum;
use std::{
    env, fs,
    net::{TcpStream, ToSocketAddrs},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

/// What the image is called.
pub(crate) const NAME: &str = "disk-cache-base:local";
/// Where the image expects the host's toolchain.
const PATH: &str = "PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const RELEASE: &str = "bookworm";
/// debootstrap's own, asked beforehand.
const MIRROR: (&str, u16) = ("deb.debian.org", 80);
const PATIENCE: Duration = Duration::from_secs(10);
const PACKAGES: &str = "gcc,libc6-dev,ca-certificates";
/// What tar ends with where a file changed, or went, while it was read: a machine does not stand still.
const CHANGED: i32 = 1;
/// What a build and its tests need of a root file system, and nothing that is a secret of the host.
const FROM_HOST: &[&str] = &[
    "bin",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "sbin",
    "usr/bin",
    "usr/include",
    "usr/lib",
    "usr/lib32",
    "usr/lib64",
    "usr/libexec",
    "usr/sbin",
    "etc/alternatives",
    "etc/group",
    "etc/ld.so.cache",
    "etc/ld.so.conf",
    "etc/ld.so.conf.d",
    "etc/nsswitch.conf",
    "etc/passwd",
    "etc/ssl/certs",
];

/// Where its files come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Source {
    /// Debian's mirror, by debootstrap, as root.
    Debootstrap,
    /// The root file system of this machine.
    Host,
}

/// Makes the image; without a source, from the mirror where that works and from this machine where not.
///
/// # Errors
/// What is missing here.
pub(crate) fn make(source: Option<Source>) -> Result<(), String> {
    Engine::find()?;
    if !cfg!(target_os = "linux") {
        return Err(
            "base-image: made from Debian's or this machine's Linux files, so only on Linux; elsewhere a \
                    registry's image is needed (--base-image)"
                .to_owned(),
        );
    }
    match source {
        Some(Source::Debootstrap) => debootstrap(),
        Some(Source::Host) => host(),
        None => debootstrap().or_else(|reason| {
            crate::interrupt::check()?;
            println!("base-image: not from Debian's mirror ({reason}), but from this machine's files");
            host()
        }),
    }?;
    println!("base-image: {NAME}");
    Ok(())
}

fn debootstrap() -> Result<(), String> {
    if !found("debootstrap") {
        return Err("debootstrap is not installed".to_owned());
    }
    if output(&mut command("id", ["-u"]))?.trim() != "0" {
        return Err("debootstrap needs root".to_owned());
    }
    reachable()?;
    // Not in the checkout: nothing that root owns may be left there.
    let folder = tempfile::tempdir().map_err(|e| format!("a temporary folder: {e}"))?;
    let root = folder.path().join("root");
    let include = format!("--include={PACKAGES}");
    let mut make = command("debootstrap", ["--variant=minbase", &include, RELEASE]);
    output(make.arg(&root))?;
    import(command("tar", ["--numeric-owner", "-c", "."]).current_dir(&root))
}

/// debootstrap itself tries for hours where a network swallows what it is sent. Behind a proxy the proxy would have to be asked.
fn reachable() -> Result<(), String> {
    if env::var_os("http_proxy").is_some() {
        return Ok(());
    }
    let mut addresses = MIRROR.to_socket_addrs().map_err(|e| format!("{}: {e}", MIRROR.0))?;
    let reached = addresses.any(|address| TcpStream::connect_timeout(&address, PATIENCE).is_ok());
    if reached { Ok(()) } else { Err(format!("{} does not answer", MIRROR.0)) }
}

fn host() -> Result<(), String> {
    let root = Path::new("/");
    let mut tar =
        command("tar", ["--numeric-owner", "--one-file-system", "--ignore-failed-read", "--warning=none"]);
    tar.current_dir(root)
        .arg("-c")
        .args(FROM_HOST.iter().filter(|path| fs::symlink_metadata(root.join(path)).is_ok()));
    import(&mut tar)
}

fn import(tar: &mut Command) -> Result<(), String> {
    let mut tar = tar.stdout(Stdio::piped()).spawn().map_err(|e| format!("tar: {e}"))?;
    let files = tar.stdout.take().ok_or("tar has no output")?;
    let mut import = command("docker", ["import", "--change", &format!("ENV {PATH}"), "-", NAME]);
    let imported = run(import.stdin(files).stdout(Stdio::null()));
    let packed = tar.wait().map_err(|e| format!("tar: {e}"))?;
    imported?;
    if matches!(packed.code(), Some(0 | CHANGED)) {
        return Ok(());
    }
    // Half an image would be taken for a whole one by the next run.
    drop(output(&mut command("docker", ["image", "rm", NAME])));
    Err(format!("tar failed ({packed})"))
}
