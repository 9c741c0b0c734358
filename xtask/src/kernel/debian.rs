//! Kernels from Debian, by apt with lists of its own: nothing is installed here.

use crate::process::{command, output};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const PACKAGE: &str = "linux-image-cloud-amd64";

/// A series and the release that has it.
pub(crate) struct Kernel {
    pub(crate) series: &'static str,
    release: &'static str,
}

pub(crate) const KERNELS: &[Kernel] =
    &[Kernel { series: "5.10", release: "bullseye" }, Kernel { series: "6.1", release: "bookworm" }];

impl Kernel {
    /// Unpacks kernel, modules and busybox into a folder, where they are used again the next time.
    ///
    /// # Errors
    /// What apt complains of.
    pub(crate) fn fetch(&self, folder: &Path) -> Result<PathBuf, String> {
        let place = folder.join(self.series);
        let root = place.join("root");
        if root.join("complete").exists() {
            return Ok(root);
        }
        for part in ["state/lists/partial", "cache/archives/partial", "packages"] {
            fs::create_dir_all(place.join(part)).map_err(|e| format!("{}: {e}", place.display()))?;
        }
        let release = self.release;
        let sources = format!(
            "deb [signed-by={KEYS}] http://deb.debian.org/debian {release} main\n\
             deb [signed-by={KEYS}] http://deb.debian.org/debian-security {release}-security main\n"
        );
        fs::write(place.join("sources.list"), sources).map_err(|e| format!("{}: {e}", place.display()))?;
        output(apt("apt-get", &place).args(["-qq", "update"]))?;
        let depends = output(apt("apt-cache", &place).args(["depends", PACKAGE]))?;
        let image =
            depends.split_whitespace().find(|word| word.starts_with(&format!("linux-image-{}", self.series)));
        let image = image.ok_or_else(|| format!("{PACKAGE} of {release} is not a {}", self.series))?;
        let packages = place.join("packages");
        output(
            apt("apt-get", &place).args(["-qq", "download", image, "busybox-static"]).current_dir(&packages),
        )?;
        for package in fs::read_dir(&packages).map_err(|e| format!("{}: {e}", packages.display()))?.flatten()
        {
            output(command("dpkg-deb", ["-x"]).arg(package.path()).arg(&root))?;
        }
        fs::write(root.join("complete"), image).map_err(|e| format!("{}: {e}", root.display()))?;
        Ok(root)
    }
}

fn apt(program: &str, place: &Path) -> Command {
    let options = [
        ("Dir::Etc::SourceList", "sources.list"),
        ("Dir::Etc::SourceParts", "none"),
        ("Dir::State", "state"),
        ("Dir::Cache", "cache"),
    ];
    let mut apt =
        command(program, ["-o", "Dir::State::status=/var/lib/dpkg/status", "-o", "APT::Sandbox::User="]);
    for (name, path) in options {
        apt.arg("-o").arg(format!("{name}={}", place.join(path).display()));
    }
    apt
}
