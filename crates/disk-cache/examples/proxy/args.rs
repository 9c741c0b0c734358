//! The command line, and where the cache lies.

use clap::Parser;
use disk_cache::{BackendChoice, ByteSize};
use std::{
    env, io,
    net::SocketAddr,
    path::{Component, Path, PathBuf},
};

/// A caching HTTP reverse proxy on disk-cache. Without arguments it serves the current folder.
#[derive(Debug, Parser)]
#[command(name = "proxy")]
pub(crate) struct Args {
    /// The server to stand in front of, `http://host[:port][/path]`; without it, the built-in file server is
    #[arg(long, value_name = "URL", conflicts_with = "root")]
    pub(crate) origin: Option<String>,
    /// The folder that the built-in file server serves
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) root: PathBuf,
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Where the cache lies; by default disk-cache-proxy in the user's cache folder
    #[arg(long, value_name = "DIR")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// How much of the disk the cache takes at most
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    pub(crate) capacity: ByteSize,
    /// How the cache speaks to the disk: auto, io-uring or tokio
    #[arg(long, value_name = "BACKEND", default_value = "auto", value_parser = backend)]
    pub(crate) backend: BackendChoice,
}

const NAME: &str = "disk-cache-proxy";

impl Args {
    /// Where the cache goes: where the user says, or in the first usual place that the file server does not serve.
    ///
    /// # Errors
    /// A place inside the folder that is served.
    pub(crate) fn cache_place(&self) -> io::Result<PathBuf> {
        let served = if self.origin.is_some() { None } else { Some(self.root.canonicalize()?) };
        let free = |place: &Path| -> io::Result<bool> {
            Ok(served.as_ref().is_none_or(|root| !settled(place).starts_with(root)))
        };
        let refuse = |place: &Path| {
            let text = format!(
                "the cache would lie in {}, inside the folder that is served: give --cache-dir a place outside",
                place.display()
            );
            io::Error::new(io::ErrorKind::InvalidInput, text)
        };
        if let Some(place) = &self.cache_dir {
            return if free(place)? { Ok(place.clone()) } else { Err(refuse(place)) };
        }
        let mut last = PathBuf::from(NAME);
        for place in usual_places() {
            if free(&place)? {
                return Ok(place);
            }
            last = place;
        }
        Err(refuse(&last))
    }
}

fn usual_places() -> impl Iterator<Item = PathBuf> {
    let folder = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let user = env::var("USER").ok().filter(|user| user.chars().all(|c| c.is_ascii_alphanumeric()));
    let temporary = user.map_or_else(|| NAME.to_owned(), |user| format!("{NAME}-{user}"));
    let home = folder("HOME").or_else(|| folder("USERPROFILE"));
    [
        folder("XDG_CACHE_HOME").map(|caches| caches.join(NAME)),
        home.map(|home| home.join(".cache").join(NAME)),
        Some(env::temp_dir().join(temporary)),
    ]
    .into_iter()
    .flatten()
}

/// The path without links and dots, as far as it exists already.
fn settled(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut settled = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(settled.pop()),
            part => settled.push(part),
        }
        settled = settled.canonicalize().unwrap_or(settled);
    }
    settled
}

fn backend(name: &str) -> Result<BackendChoice, String> {
    match name {
        "auto" => Ok(BackendChoice::Auto),
        "io-uring" => Ok(BackendChoice::IoUring),
        "tokio" => Ok(BackendChoice::Tokio),
        _ => Err("write auto, io-uring or tokio".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_arguments_nothing_is_missing() {
        let args = Args::parse_from(["proxy"]);
        assert_eq!(args.listen, SocketAddr::from(([127, 0, 0, 1], 8080)));
        assert_eq!((args.capacity, args.backend), (ByteSize::gib(1), BackendChoice::Auto));
        assert!(args.origin.is_none() && args.cache_dir.is_none());
    }

    #[test]
    fn a_cache_inside_the_served_folder_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let place = |dir: &Path| {
            let root = root.path().as_os_str();
            Args::parse_from([
                "proxy".as_ref(),
                "--root".as_ref(),
                root,
                "--cache-dir".as_ref(),
                dir.as_os_str(),
            ])
            .cache_place()
        };
        assert!(place(root.path()).is_err());
        assert!(place(&root.path().join("new/cache")).is_err());
        assert!(place(&outside.path().join("..").join(root.path().file_name().unwrap())).is_err());
        assert_eq!(place(&outside.path().join("cache")).unwrap(), outside.path().join("cache"));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_into_the_served_folder_is_seen_through() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let link = outside.path().join("link");
        std::os::unix::fs::symlink(root.path(), &link).unwrap();
        let place = link.join("cache");
        let root = root.path().as_os_str();
        let args = ["proxy".as_ref(), "--root".as_ref(), root, "--cache-dir".as_ref(), place.as_os_str()];
        assert!(Args::parse_from(args).cache_place().is_err());
    }

    #[test]
    fn the_default_lies_outside_the_served_folder() {
        let root = tempfile::tempdir().unwrap();
        let args = Args::parse_from(["proxy".as_ref(), "--root".as_ref(), root.path().as_os_str()]);
        assert!(!settled(&args.cache_place().unwrap()).starts_with(root.path().canonicalize().unwrap()));
        assert!(Args::parse_from(["proxy", "--root", "/"]).cache_place().is_err());
    }
}
