//! `watch`: after every change under `crates/`, the tests here and then in the container.

use crate::{
    docker::linux::{self, IoUring, Where},
    interrupt,
    process::{command, repo, run},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

/// Between two looks at the files.
const PAUSE: Duration = Duration::from_millis(500);

type Seen = BTreeMap<PathBuf, (SystemTime, u64)>;

/// Runs until it is interrupted, at first without a change; `args` are those of each `cargo test`. A run is only begun when the
/// files have kept still for one look.
///
/// # Errors
/// That it was interrupted, or that the files cannot be listed.
pub(crate) fn run_forever(place: &Where, args: &[String]) -> Result<(), String> {
    let root = repo().join("crates");
    let mut tested = None;
    loop {
        let seen = look(&root)?;
        thread::sleep(PAUSE);
        interrupt::check()?;
        if tested.as_ref() == Some(&seen) || look(&root)? != seen {
            continue;
        }
        let result = run(command("cargo", ["test"]).args(args))
            .and_then(|()| linux::test(&linux::ready(place)?, place, IoUring::Both, args).map(drop));
        interrupt::check()?;
        match result {
            Ok(()) => println!("\n== green; waiting for a change under crates/"),
            Err(text) => println!("\n== {text}\n== waiting for a change under crates/"),
        }
        tested = Some(seen);
    }
}

/// Every file with what tells that it has changed; not what is built, by a package with a folder of its own for that.
fn look(folder: &Path) -> Result<Seen, String> {
    let mut seen = Seen::new();
    let at = |e: std::io::Error| format!("{}: {e}", folder.display());
    for entry in fs::read_dir(folder).map_err(at)? {
        let path = entry.map_err(at)?.path();
        // An editor's temporary file may be gone by now, and a folder of another branch.
        let Ok(meta) = path.metadata() else { continue };
        if meta.is_dir() {
            if !path.join("CACHEDIR.TAG").exists() {
                seen.extend(
                    look(&path).or_else(|why| if path.exists() { Err(why) } else { Ok(Seen::new()) })?,
                );
            }
        } else {
            seen.insert(path, (meta.modified().map_err(at)?, meta.len()));
        }
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_a_changed_and_a_removed_file_are_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("deep/file.rs");
        fs::create_dir(folder.path().join("deep")).expect("made");
        let mut states = vec![look(folder.path()).expect("listed")];
        for text in ["one", "longer"] {
            fs::write(&file, text).expect("written");
            states.push(look(folder.path()).expect("listed"));
        }
        fs::remove_file(&file).expect("removed");
        states.push(look(folder.path()).expect("listed"));
        assert!(states.windows(2).all(|two| two[0] != two[1]));
        assert_eq!(states[0], states[3]);
    }

    #[test]
    fn what_is_built_is_no_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("adapter/target");
        fs::create_dir_all(&target).expect("made");
        fs::write(target.join("CACHEDIR.TAG"), "").expect("written");
        let before = look(folder.path()).expect("listed");
        fs::write(target.join("product"), "").expect("written");
        assert_eq!(look(folder.path()).expect("listed"), before);
    }
}
