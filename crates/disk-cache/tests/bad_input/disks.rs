//! File systems that are full, or that turn read-only.

use crate::common::{Ctx, LARGE, Skip, Verdict, body, contents, get, key, peek};
use disk_cache::{ByteSize, Error};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

/// Frees a file's bytes. Removed as it is, it would keep them while a child that another test has just forked holds it too.
fn give_up(filler: &Path) {
    fs::File::options().write(true).open(filler).unwrap().set_len(0).unwrap();
    fs::remove_file(filler).unwrap();
}

/// A small file system in memory, unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    fn tmpfs(at: PathBuf, options: &str) -> Result<Self, Skip> {
        fs::create_dir_all(&at).unwrap();
        run("mount", &["-t", "tmpfs", "-o", options, "tmpfs", at.to_str().unwrap()])?;
        Ok(Self(at))
    }

    /// A program that another test is starting holds a copy of our descriptors until it runs: the mount is busy until then.
    fn remount(&self, options: &str) -> Result<(), Skip> {
        let remount = || run("mount", &["-o", &format!("remount,{options}"), self.0.to_str().unwrap()]);
        let again = |done: &Result<(), Skip>| {
            let busy = done.as_ref().is_err_and(|Skip(why)| why.contains("busy"));
            if busy {
                thread::sleep(Duration::from_millis(10));
            }
            busy
        };
        let mut tries = std::iter::repeat_with(remount).take(1000);
        tries.find(|done| !again(done)).unwrap_or_else(remount)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), Skip> {
    let skip = |why: String| Skip(format!("{program} {}: {why}", arguments.join(" ")));
    let out = Command::new(program).args(arguments).output().map_err(|e| skip(e.to_string()))?;
    if out.status.success() {
        Ok(())
    } else {
        Err(skip(String::from_utf8_lossy(&out.stderr).trim().to_owned()))
    }
}

pub(crate) async fn a_read_only_file_system_is_refused(ctx: Ctx) -> Verdict {
    let mount = Mount::tmpfs(ctx.base.join("mount"), "size=16m")?;
    let ctx = Ctx { dir: mount.0.join("cache"), ..ctx };
    let cache = ctx.open().await;
    cache.insert(&key(1), body(1, 1, 100)).await.unwrap();
    cache.close().await.unwrap();
    drop(cache);
    mount.remount("ro")?;
    let before = contents(&ctx.dir);
    let refused = ctx.builder().open().await;
    assert!(matches!(refused, Err(Error::Io { .. } | Error::BackendUnavailable { .. })), "{refused:?}");
    assert!(contents(&ctx.dir) == before);
    mount.remount("rw")?;
    assert_eq!(get(&ctx.open().await, &key(1)).await, Some(body(1, 1, 100)));
    Ok(())
}

pub(crate) async fn a_full_disk_refuses_an_open_and_allows_one_when_there_is_room(ctx: Ctx) -> Verdict {
    let mount = Mount::tmpfs(ctx.base.join("mount"), "size=4m")?;
    let ctx = Ctx { dir: mount.0.join("cache"), ..ctx };
    let filler = mount.0.join("filler");
    fs::write(&filler, vec![1; 8 << 20]).unwrap_err();
    let refused = ctx.builder().open().await;
    let full = matches!(
        refused,
        Err(Error::StorageFull { .. } | Error::Io { .. } | Error::BackendUnavailable { .. })
    );
    assert!(full, "{refused:?}");
    give_up(&filler);
    let cache = ctx.open().await;
    cache.insert(&key(1), body(1, 1, 100)).await.unwrap();
    assert_eq!(get(&cache, &key(1)).await, Some(body(1, 1, 100)));
    Ok(())
}

pub(crate) async fn a_disk_that_fills_up_refuses_inserts_and_keeps_serving(ctx: Ctx) -> Verdict {
    let mount = Mount::tmpfs(ctx.base.join("mount"), "size=4m")?;
    let ctx = Ctx { dir: mount.0.join("cache"), ..ctx };
    let cache = ctx.open().await;
    for n in 0..20 {
        cache.insert(&key(n), body(n, 1, 3000)).await.unwrap();
    }
    cache.flush().await.unwrap();
    let filler = mount.0.join("filler");
    fs::write(&filler, vec![1; 8 << 20]).unwrap_err();
    let mut refused = 0;
    for n in 100..1100 {
        match cache.insert(&key(n), body(n, 1, if n % 3 == 0 { LARGE } else { 3000 })).await {
            Ok(_) => {}
            Err(Error::StorageFull { .. } | Error::Io { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
        // Room is made by dropping the oldest; what is there is right.
        let len = if n % 3 == 0 { LARGE } else { 3000 };
        let found = peek(&cache, &key(n)).await;
        assert!(found.is_none() || found == Some(body(n, 1, len)));
    }
    assert!(refused > 0, "a body of {LARGE} bytes had no room");
    give_up(&filler);
    for n in 2000..2100 {
        cache.insert(&key(n), body(n, 1, 3000)).await.unwrap();
        assert_eq!(get(&cache, &key(n)).await, Some(body(n, 1, 3000)));
    }
    cache.insert(&key(1), body(1, 2, LARGE)).await.unwrap();
    assert_eq!(get(&cache, &key(1)).await, Some(body(1, 2, LARGE)));
    Ok(())
}

pub(crate) async fn a_disk_without_a_name_to_give_refuses_large_bodies_and_keeps_serving(
    ctx: Ctx,
) -> Verdict {
    // Bytes are left, inodes are not: a large body and a segment need a new one each.
    let mount = Mount::tmpfs(ctx.base.join("mount"), "size=64m,nr_inodes=40")?;
    let ctx = Ctx { dir: mount.0.join("cache"), ..ctx };
    let cache = ctx.open().await;
    for n in 0..20 {
        cache.insert(&key(n), body(n, 1, 3000)).await.unwrap();
    }
    cache.flush().await.unwrap();
    let fillers: Vec<_> = (0..64).map(|n| mount.0.join(format!("filler-{n}"))).collect();
    assert!(fillers.iter().any(|filler| fs::write(filler, b"").is_err()), "there are more inodes");
    let mut refused = 0;
    for n in 100..400 {
        let len = if n % 3 == 0 { LARGE } else { 3000 };
        match cache.insert(&key(n), body(n, 1, len)).await {
            Ok(_) => {}
            Err(Error::StorageFull { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
        // The oldest segment goes for the next one.
        let found = peek(&cache, &key(n)).await;
        assert!(found.is_none() || found == Some(body(n, 1, len)));
    }
    assert!(refused > 0, "large bodies found inodes");
    for filler in fillers {
        fs::remove_file(filler).ok();
    }
    for n in 2000..2100 {
        cache.insert(&key(n), body(n, 1, 3000)).await.unwrap();
        assert_eq!(get(&cache, &key(n)).await, Some(body(n, 1, 3000)));
    }
    cache.insert(&key(1), body(1, 2, LARGE)).await.unwrap();
    assert_eq!(get(&cache, &key(1)).await, Some(body(1, 2, LARGE)));
    Ok(())
}

pub(crate) async fn a_minimum_of_free_space_that_is_not_there_stops_the_growth(ctx: Ctx) {
    let cache = ctx.builder().min_free_space(ByteSize::gib(1 << 20)).open().await.unwrap();
    let refused = cache.insert(&key(1), body(1, 1, LARGE)).await;
    assert!(matches!(refused, Err(Error::StorageFull { .. })), "{refused:?}");
    for n in 0..200 {
        match cache.insert(&key(n), body(n, 1, 3000)).await {
            Ok(_) | Err(Error::StorageFull { .. }) => {}
            Err(other) => panic!("{other}"),
        }
        assert!(cache.stats().disk_bytes <= 3 * crate::common::SEGMENT, "it does not grow");
    }
}
