//! The container engine and its compose tool.

use crate::process::{command, output, output_within};
use std::{process::Command, time::Duration};

/// An engine that says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// An engine that answers, and how its compose tool is called.
pub(crate) struct Engine {
    compose: &'static [&'static str],
}

impl Engine {
    /// # Errors
    /// One line that says what to install or start.
    pub(crate) fn find() -> Result<Self, String> {
        let mut version = command("docker", ["version", "--format", "{{.Server.Version}}"]);
        let version = output_within(&mut version, PATIENCE);
        if let Err(reason) = version {
            return Err(format!("no Docker engine answers, install or start Docker ({reason})"));
        }
        let tools: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];
        let compose = tools.into_iter().find(|words| {
            let (program, args) = split(words);
            output(&mut command(program, args.iter().chain(&["version"]))).is_ok()
        });
        let compose = compose.ok_or(
            "the Docker engine answers and has no compose: install the plugin docker-compose-plugin, or docker-compose",
        )?;
        Ok(Self { compose })
    }

    /// The compose tool, up to its own arguments.
    pub(crate) fn compose(&self) -> Command {
        let (program, args) = split(self.compose);
        command(program, args)
    }
}

fn split<'a>(words: &'a [&'a str]) -> (&'a str, &'a [&'a str]) {
    words.split_first().map_or(("docker", &[]), |(program, args)| (*program, args))
}

/// Whether the engine has an image.
pub(crate) fn has_image(image: &str) -> bool {
    output(&mut command("docker", ["image", "inspect", "--format", "{{.Id}}", image])).is_ok()
}

/// # Errors
/// Why a registry does not give it.
pub(crate) fn pull(image: &str) -> Result<(), String> {
    output(&mut command("docker", ["pull", "--quiet", image])).map(drop)
}
