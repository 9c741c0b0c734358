//! Where a cache's directory may be, and whose its files are.

use crate::common::{Ctx, LARGE, Skip, Verdict, body, get, key, names};
use disk_cache::{DiskCache, Error, RecoverySource};
use std::{
    env, fs,
    path::{Component, Path, PathBuf},
};

/// A cache works in a directory, and finds its entry there again.
async fn works_in(ctx: &Ctx, dir: &Path) {
    let cache = ctx.builder_at(dir).open().await.unwrap();
    assert_eq!(cache.recovery_report().source, RecoverySource::Fresh, "{}", dir.display());
    for (n, len) in [(1, 500), (2, LARGE)] {
        cache.insert(&key(n), body(n, 1, len)).await.unwrap();
    }
    cache.close().await.unwrap();
    let cache = ctx.builder_at(dir).open().await.unwrap();
    assert_eq!(cache.recovery_report().source, RecoverySource::Snapshot, "{}", dir.display());
    for (n, len) in [(1, 500), (2, LARGE)] {
        assert_eq!(get(&cache, &key(n)).await, Some(body(n, 1, len)), "{}", dir.display());
    }
    cache.close().await.unwrap();
}

pub(crate) async fn a_directory_may_have_any_characters_in_its_name(ctx: Ctx) {
    let all = [
        "with space",
        " leading",
        "\u{fc}n\u{ef}c\u{f6}de",
        "\u{65e5}\u{672c}\u{8a9e}",
        "~",
        "$HOME",
        "%TEMP%",
        "it's",
        "-rf",
        "a.b.c",
        "{}[]()#&;!",
    ];
    for name in all {
        works_in(&ctx, &ctx.base.join(name)).await;
    }
    let made = names(&ctx.base).len();
    assert_eq!(made, all.len(), "each has the name it was given, and nothing else was made");
}

#[cfg(target_os = "linux")]
pub(crate) async fn a_directory_whose_name_is_no_text_is_a_directory_like_any_other(ctx: Ctx) -> Verdict {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let dir = ctx.base.join(OsStr::from_bytes(b"no-text-\xff\xfe"));
    works_in(&ctx, &dir).await;
    // What a process left behind in the middle of a publication is known by its name there too.
    fs::write(dir.join("CACHE.tmp"), b"half").unwrap();
    let cache = ctx.builder_at(&dir).open().await.unwrap();
    assert_eq!(cache.recovery_report().dropped.orphan_files, 1);
    assert!(!dir.join("CACHE.tmp").exists());
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(crate) async fn a_directory_whose_name_is_no_text_is_a_directory_like_any_other(_: Ctx) -> Verdict {
    Err(Skip("file names are text on this platform".to_owned()))
}

/// `path` as seen from the current directory.
fn relative(path: &Path) -> Option<PathBuf> {
    let (here, there) = (env::current_dir().unwrap(), fs::canonicalize(path).unwrap());
    let here = fs::canonicalize(here).unwrap();
    let same = here.components().zip(there.components()).take_while(|(a, b)| a == b).count();
    // Another drive has no relative path.
    (same > 0).then(|| {
        let up = here.components().skip(same).map(|_| Component::ParentDir);
        up.chain(there.components().skip(same)).collect()
    })
}

pub(crate) async fn a_relative_path_begins_at_the_current_directory(ctx: Ctx) -> Verdict {
    let Some(base) = relative(&ctx.base) else {
        return Err(Skip("the build is on another drive".to_owned()));
    };
    assert!(base.is_relative());
    works_in(&ctx, &base.join("cache")).await;
    assert!(ctx.superblock().is_file(), "it is where the absolute path says");
    Ok(())
}

pub(crate) async fn a_trailing_separator_changes_nothing(ctx: Ctx) {
    let mut dir = ctx.dir.clone().into_os_string();
    dir.push(std::path::MAIN_SEPARATOR_STR);
    works_in(&ctx, Path::new(&dir)).await;
    let cache = ctx.open().await;
    assert_eq!(get(&cache, &key(1)).await, Some(body(1, 1, 500)), "both are one directory");
}

pub(crate) async fn two_spellings_of_one_directory_are_one_cache(ctx: Ctx) {
    let cache = ctx.open().await;
    fs::create_dir(ctx.base.join("beside")).unwrap();
    let spellings =
        [ctx.base.join("./cache"), ctx.base.join("beside/../cache"), fs::canonicalize(&ctx.dir).unwrap()];
    for dir in &spellings {
        let second = ctx.builder_at(dir).open().await;
        assert!(matches!(second, Err(Error::Locked { .. })), "{}: {second:?}", dir.display());
    }
    cache.insert(&key(1), body(1, 1, 10)).await.unwrap();
    cache.close().await.unwrap();
    for dir in &spellings {
        let cache = ctx.builder_at(dir).open().await.unwrap();
        assert_eq!(get(&cache, &key(1)).await, Some(body(1, 1, 10)));
        cache.close().await.unwrap();
    }
}

/// A link to a directory, where an ordinary user may make one.
fn link(to: &Path, from: &Path) -> Verdict {
    #[cfg(unix)]
    let made = std::os::unix::fs::symlink(to, from);
    #[cfg(windows)]
    let made = std::os::windows::fs::symlink_dir(to, from);
    made.map_err(|e| Skip(format!("no symlink can be made here: {e}")))
}

pub(crate) async fn a_symlink_to_a_directory_is_that_directory(ctx: Ctx) -> Verdict {
    fs::create_dir(&ctx.dir).unwrap();
    let linked = ctx.base.join("link");
    link(&ctx.dir, &linked)?;
    works_in(&ctx, &linked).await;
    assert!(fs::symlink_metadata(&linked).unwrap().is_symlink(), "the link is still one");
    let cache = ctx.open().await;
    assert_eq!(get(&cache, &key(1)).await, Some(body(1, 1, 500)));
    assert!(matches!(ctx.builder_at(&linked).open().await, Err(Error::Locked { .. })));
    Ok(())
}

pub(crate) async fn a_symlink_to_nowhere_is_refused_and_stays(ctx: Ctx) -> Verdict {
    link(&ctx.base.join("nowhere"), &ctx.dir)?;
    let refused = ctx.builder().open().await;
    assert!(matches!(refused, Err(Error::Io { .. } | Error::BackendUnavailable { .. })), "{refused:?}");
    assert!(fs::symlink_metadata(&ctx.dir).unwrap().is_symlink());
    assert!(!ctx.base.join("nowhere").exists());
    Ok(())
}

pub(crate) async fn a_long_name_on_a_long_path_is_taken(ctx: Ctx) {
    let mut dir = ctx.base.clone();
    for _ in 0..4 {
        dir.push("n".repeat(120));
    }
    works_in(&ctx, &dir).await;
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[cfg(unix)]
pub(crate) async fn a_directory_that_is_there_keeps_its_permissions(ctx: Ctx) -> Verdict {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir(&ctx.dir).unwrap();
    fs::set_permissions(&ctx.dir, fs::Permissions::from_mode(0o755)).unwrap();
    works_in(&ctx, &ctx.dir).await;
    assert_eq!(mode(&ctx.dir), 0o755, "whoever made it decided who may look into it");
    Ok(())
}

#[cfg(not(unix))]
pub(crate) async fn a_directory_that_is_there_keeps_its_permissions(_: Ctx) -> Verdict {
    Err(Skip("there are no Unix permissions here".to_owned()))
}

#[cfg(unix)]
pub(crate) async fn every_file_and_directory_that_is_made_is_the_owners_alone(ctx: Ctx) -> Verdict {
    works_in(&ctx, &ctx.dir).await;
    let all = crate::common::contents(&ctx.dir);
    assert!(all.len() > 5);
    for path in all.keys().map(|name| ctx.dir.join(name)) {
        assert_eq!(mode(&path), if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
    Ok(())
}

#[cfg(not(unix))]
pub(crate) async fn every_file_and_directory_that_is_made_is_the_owners_alone(_: Ctx) -> Verdict {
    Err(Skip("there are no Unix permissions here".to_owned()))
}

pub(crate) async fn a_cache_inside_the_directory_of_another_is_left_alone(ctx: Ctx) {
    let outer = ctx.open().await;
    let inner: Vec<DiskCache> = {
        let mut all = Vec::new();
        for dir in ["inner", "segments/inner", "objects/inner"] {
            all.push(ctx.builder_at(&ctx.dir.join(dir)).open().await.unwrap());
        }
        all
    };
    for (n, cache) in (0..).zip(&inner) {
        cache.insert(&key(n), body(n, 7, LARGE)).await.unwrap();
    }
    outer.insert(&key(0), body(0, 1, LARGE)).await.unwrap();
    outer.clear().await.unwrap();
    outer.close().await.unwrap();
    fs::remove_file(ctx.snapshot()).unwrap();
    let outer = ctx.open().await;
    assert_eq!(outer.stats().entries, 0);
    for (n, cache) in (0..).zip(&inner) {
        assert_eq!(get(cache, &key(n)).await, Some(body(n, 7, LARGE)));
    }
}
