//! Which image the containers run, and what has to be mounted into it.

use super::{
    base_image,
    engine::{Engine, has_image, pull},
};
use crate::process::{command, output, repo, run};
use std::{env, fs, path::PathBuf, process::Command};

/// From a registry, with a toolchain in it.
const DEFAULT: &str = "rust:1-bookworm";
const COMPOSE: &str = "docker/docker-compose.test.yml";
/// On top of it for an image without a toolchain.
const HOST: &str = "docker/docker-compose.host.yml";

/// An image that is ready to run, with the settings of docker-compose.test.yml.
pub(crate) struct Image {
    engine: Engine,
    /// Of this checkout alone: a volume of build products that two checkouts share would take one's files for the other's.
    pub(crate) project: String,
    variables: Vec<(&'static str, String)>,
    files: Vec<PathBuf>,
    /// Whether what is built out here runs in there and would be built the same.
    pub(crate) takes_builds: bool,
}

impl Image {
    /// Builds on the image that is asked for, or the registry's, or the one that is made here.
    ///
    /// # Errors
    /// One line: what is missing.
    pub(crate) fn ready(asked: Option<&str>) -> Result<Self, String> {
        let mut image = Self::new()?;
        let base = base(asked)?;
        image.variables.push(("DISK_CACHE_BASE_IMAGE", base.clone()));
        if !has_toolchain(&base) {
            image.mount_toolchain(&base)?;
        }
        println!(
            "image: on {base}{}",
            if image.files.len() > 1 { ", with this machine's toolchain" } else { "" }
        );
        output(image.compose().args(["build", "test-linux"]))?;
        Ok(image)
    }

    /// Removes the volumes and the image of this checkout.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) fn clean() -> Result<(), String> {
        run(Self::new()?.compose().args(["down", "--volumes", "--rmi", "all", "--remove-orphans"]))
    }

    fn new() -> Result<Self, String> {
        let project = format!("disk-cache-{:08x}", fnv(repo().to_string_lossy().as_bytes()));
        let (uid, gid) = owner()?;
        let variables = vec![
            ("COMPOSE_PROJECT_NAME", project.clone()),
            ("DISK_CACHE_IMAGE", project.clone()),
            ("DISK_CACHE_UID", uid.to_string()),
            ("DISK_CACHE_GID", gid.to_string()),
        ];
        Ok(Self {
            engine: Engine::find()?,
            project,
            variables,
            files: vec![repo().join(COMPOSE)],
            takes_builds: false,
        })
    }

    /// The compose tool with this image's settings, up to its verb.
    pub(crate) fn compose(&self) -> Command {
        let mut compose = self.engine.compose();
        compose.envs(self.variables.iter().map(|(name, value)| (name, value)));
        for file in &self.files {
            compose.arg("--file").arg(file);
        }
        compose
    }

    /// The crates are fetched out here: in there is no network then. All lies in there where it lies out here.
    fn mount_toolchain(&mut self, base: &str) -> Result<(), String> {
        if !cfg!(target_os = "linux") {
            return Err(
                "this image has no Rust toolchain, and the one of this machine is not for Linux".to_owned()
            );
        }
        run(&mut command("cargo", ["fetch", "--locked", "--quiet"]))?;
        let toolchain = output(&mut command("rustc", ["--print", "sysroot"]))?.trim().to_owned();
        let home = env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| env::home_dir().map(|home| home.join(".cargo")));
        let home = home.ok_or("neither CARGO_HOME nor HOME is set")?;
        let target = repo().join("target");
        // A volume in a checkout that is mounted read-only needs a place.
        fs::create_dir_all(&target).map_err(|e| format!("{}: {e}", target.display()))?;
        self.variables.extend([
            ("DISK_CACHE_TOOLCHAIN", toolchain),
            ("DISK_CACHE_CARGO", home.display().to_string()),
            ("DISK_CACHE_CHECKOUT", repo().display().to_string()),
            ("DISK_CACHE_TARGET", target.display().to_string()),
            ("DISK_CACHE_NETWORK", "none".to_owned()),
            ("DISK_CACHE_OFFLINE", "true".to_owned()),
        ]);
        self.files.push(repo().join(HOST));
        let libc = ["getconf", "GNU_LIBC_VERSION"];
        let here = output(&mut command(libc[0], &libc[1..]));
        self.takes_builds = here.is_ok() && here == output(&mut in_image(base, &libc));
        Ok(())
    }
}

fn base(asked: Option<&str>) -> Result<String, String> {
    let wanted = asked.unwrap_or(DEFAULT);
    if has_image(wanted) {
        return Ok(wanted.to_owned());
    }
    let Err(reason) = pull(wanted) else { return Ok(wanted.to_owned()) };
    if asked.is_some() && wanted != base_image::NAME {
        return Err(format!("the image {wanted} is neither here nor given by a registry ({reason})"));
    }
    println!("image: {wanted} cannot be had ({reason}), a local one does");
    if !has_image(base_image::NAME) {
        base_image::make(None)?;
    }
    Ok(base_image::NAME.to_owned())
}

fn has_toolchain(image: &str) -> bool {
    output(&mut in_image(image, &["cargo", "--version"])).is_ok()
}

fn in_image(image: &str, words: &[&str]) -> Command {
    command("docker", ["run", "--rm", "--network", "none", image].iter().chain(words))
}

/// The checkout's owner: what a container writes is then nobody else's.
#[cfg(unix)]
fn owner() -> Result<(u32, u32), String> {
    use std::os::unix::fs::MetadataExt;
    let repo = repo();
    let meta = repo.metadata().map_err(|e| format!("{}: {e}", repo.display()))?;
    Ok((meta.uid(), meta.gid()))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "it may fail elsewhere")]
fn owner() -> Result<(u32, u32), String> {
    Ok((1000, 1000))
}

/// FNV-1a: the same number for the same path, always.
fn fnv(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
