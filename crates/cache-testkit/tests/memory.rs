//! The model of power cuts and kills, through the backend's own verbs.

use bytes::{Bytes, BytesMut};
use cache_core::{DiskBackend, OpenMode};
use cache_testkit::{CrashPlan, Fate, MemoryBackend, MemoryFile, MemoryOp, Phase, Rng, Unsynced};
use std::{
    io,
    path::Path,
    sync::{Arc, Mutex},
};

const DIR: &str = "/cache";

fn disk() -> MemoryBackend {
    MemoryBackend::with_dir(DIR)
}

fn path(name: &str) -> std::path::PathBuf {
    Path::new(DIR).join(name)
}

async fn make(disk: &MemoryBackend, name: &str, bytes: &'static [u8]) -> MemoryFile {
    let file = disk.open(&path(name), OpenMode::CREATE_NEW).await.expect("made");
    disk.write_at(&file, vec![Bytes::from_static(bytes)], 0).await.expect("written");
    file
}

async fn read(disk: &MemoryBackend, name: &str) -> io::Result<Vec<u8>> {
    let file = disk.open(&path(name), OpenMode::READ).await?;
    let (result, buf) = disk.read_at(&file, BytesMut::new(), 1 << 20, 0).await;
    result.map(|_| buf.to_vec())
}

async fn missing(disk: &MemoryBackend, name: &str) -> bool {
    read(disk, name).await.is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
}

#[tokio::test]
async fn a_new_directory_is_lost_with_all_that_is_in_it() {
    let disk = MemoryBackend::new();
    disk.create_dir(Path::new(DIR)).await.expect("made");
    let file = make(&disk, "file", b"bytes").await;
    disk.sync_data(&file).await.expect("synced");
    disk.sync_dir(Path::new(DIR)).await.expect("synced");
    assert!(disk.crash_with(CrashPlan::Nothing).list(Path::new(DIR)).await.is_err());
    disk.sync_dir(Path::new("/")).await.expect("synced");
    assert_eq!(read(&disk.crash_with(CrashPlan::Nothing), "file").await.expect("there"), b"bytes");
}

#[tokio::test]
async fn synced_bytes_without_a_synced_name_are_lost() {
    let disk = disk();
    let file = make(&disk, "file", b"bytes").await;
    disk.sync_data(&file).await.expect("synced");
    assert!(missing(&disk.crash_with(CrashPlan::Nothing), "file").await);
    disk.sync_dir(Path::new(DIR)).await.expect("synced");
    assert_eq!(read(&disk.crash_with(CrashPlan::Nothing), "file").await.expect("there"), b"bytes");
}

#[tokio::test]
async fn a_synced_name_without_synced_bytes_is_empty_or_zeros() {
    let disk = disk();
    make(&disk, "file", b"bytes").await;
    disk.sync_dir(Path::new(DIR)).await.expect("synced");
    assert_eq!(read(&disk.crash_with(CrashPlan::Nothing), "file").await.expect("there"), b"");
    let zeros = disk.crash(|_| Fate::LengthOnly);
    assert_eq!(read(&zeros, "file").await.expect("there"), [0; 5]);
    assert_eq!(read(&disk.crash_with(CrashPlan::Everything), "file").await.expect("there"), b"bytes");
    assert_eq!(read(&disk, "file").await.expect("there"), b"bytes", "the disk itself is unharmed");
}

#[tokio::test]
async fn a_rename_is_there_or_not_but_the_file_is() {
    let disk = disk();
    let file = make(&disk, "temp", b"new").await;
    disk.sync_data(&file).await.expect("synced");
    let old = make(&disk, "name", b"old").await;
    disk.sync_data(&old).await.expect("synced");
    disk.sync_dir(Path::new(DIR)).await.expect("synced");
    disk.rename(&path("temp"), &path("name")).await.expect("renamed");
    assert_eq!(
        disk.unsynced(),
        [Unsynced::Names { changes: vec![(path("temp"), false), (path("name"), true)] }]
    );
    let lost = disk.crash_with(CrashPlan::Nothing);
    assert_eq!(read(&lost, "temp").await.expect("there"), b"new");
    assert_eq!(read(&lost, "name").await.expect("there"), b"old");
    let kept = disk.crash_with(CrashPlan::Everything);
    assert!(missing(&kept, "temp").await);
    assert_eq!(read(&kept, "name").await.expect("there"), b"new");
}

#[tokio::test]
async fn a_removed_name_may_come_back() {
    let disk = disk();
    let file = make(&disk, "file", b"bytes").await;
    disk.sync_data(&file).await.expect("synced");
    disk.sync_dir(Path::new(DIR)).await.expect("synced");
    drop(file);
    disk.remove(&path("file")).await.expect("removed");
    assert_eq!(read(&disk.crash_with(CrashPlan::Nothing), "file").await.expect("back"), b"bytes");
    assert!(missing(&disk.crash_with(CrashPlan::Everything), "file").await);
    disk.sync_dir(Path::new(DIR)).await.expect("synced");
    assert!(missing(&disk.crash_with(CrashPlan::Nothing), "file").await);
}

#[tokio::test]
async fn each_change_has_a_fate_of_its_own() {
    let disk = disk();
    for name in ["a", "b", "c"] {
        make(&disk, name, b"bytes").await;
    }
    let unsynced = disk.unsynced();
    assert_eq!(unsynced.len(), 6, "three names and three writes: {unsynced:?}");
    for kept in 0..3 {
        let mut index = 0;
        let crashed = disk.crash(|_| {
            index += 1;
            if (index - 1) % 3 == kept { Fate::Kept } else { Fate::Lost }
        });
        let names = ["a", "b", "c"];
        assert_eq!(crashed.list(Path::new(DIR)).await.expect("listed").len(), 1);
        assert_eq!(read(&crashed, names[kept]).await.expect("there"), b"bytes");
    }
}

#[tokio::test]
async fn a_seed_gives_the_same_disk_again_and_others_give_others() {
    let disk = disk();
    let mut rng = Rng::new(1);
    for i in 0..10 {
        let file = disk.open(&path(&format!("file-{i}")), OpenMode::CREATE_NEW).await.expect("made");
        let mut bytes = vec![0; 10_000];
        rng.fill(&mut bytes);
        disk.write_at(&file, vec![bytes.into()], 0).await.expect("written");
    }
    let mut states = Vec::new();
    for seed in 0..20 {
        let mut contents = Vec::new();
        for _ in 0..2 {
            let crashed = disk.crash_with(CrashPlan::Seeded(seed));
            let mut content = Vec::new();
            for entry in crashed.list(Path::new(DIR)).await.expect("listed") {
                let name = entry.path.file_name().expect("a name").to_str().expect("text").to_owned();
                content.push((read(&crashed, &name).await.expect("there"), name));
            }
            contents.push(content);
        }
        assert!(contents[0] == contents[1], "seed {seed}");
        states.push(contents.swap_remove(0));
    }
    states.sort();
    states.dedup();
    assert!(states.len() > 10, "{} different disks of 20", states.len());
}

#[tokio::test]
async fn a_crashed_disk_has_nothing_more_to_lose() {
    let disk = disk();
    make(&disk, "file", b"bytes").await;
    for plan in [CrashPlan::Nothing, CrashPlan::Everything, CrashPlan::Seeded(3)] {
        assert_eq!(disk.crash_with(plan).unsynced(), []);
    }
}

#[tokio::test]
async fn a_kill_keeps_what_was_written_and_frees_the_locks() {
    let disk = disk();
    let file = make(&disk, "file", b"bytes").await;
    assert!(disk.try_lock(&file).await.expect("no error"));
    let killed = disk.kill();
    assert_eq!((killed.open_handles(), killed.unsynced()), (0, disk.unsynced()));
    let again = killed.open(&path("file"), OpenMode::WRITE).await.expect("there");
    assert!(killed.try_lock(&again).await.expect("no error"));
    assert_eq!(read(&killed, "file").await.expect("there"), b"bytes");
    // The old process's last gasp reaches only the old disk.
    disk.write_at(&file, vec![Bytes::from_static(b"gasp!")], 0).await.expect("written");
    assert_eq!(read(&killed, "file").await.expect("there"), b"bytes");
    drop(file);
    assert!(killed.try_lock(&again).await.expect("no error"));
}

#[tokio::test]
async fn a_recording_has_a_disk_for_every_change() {
    let disk = disk();
    disk.record();
    let file = make(&disk, "file", b"one").await;
    disk.write_at(&file, vec![Bytes::from_static(b"two")], 3).await.expect("written");
    disk.sync_data(&file).await.expect("synced");
    disk.set_len(&file, 1).await.expect("cut");
    disk.remove(&path("none")).await.expect_err("changes nothing");
    disk.rename(&path("file"), &path("name")).await.expect("renamed");
    disk.sync_dir(Path::new(DIR)).await.expect("synced");
    let steps = disk.recorded();
    let write = |offset| MemoryOp::Write { path: path("file"), offset, len: 3 };
    let ops: Vec<_> = steps.iter().map(|step| step.op.clone()).collect();
    assert_eq!(
        ops,
        [
            MemoryOp::Create(path("file")),
            write(0),
            write(3),
            MemoryOp::SyncData(path("file")),
            MemoryOp::SetLen(path("file"), 1),
            MemoryOp::Rename(path("file"), path("name")),
            MemoryOp::SyncDir(DIR.into()),
        ]
    );
    assert_eq!((disk.ops(), disk.recorded().len()), (7, 0));
    assert_eq!(read(&steps[1].after, "file").await.expect("there"), b"one");
    assert_eq!(read(&steps[2].after, "file").await.expect("there"), b"onetwo");
    assert_eq!(read(&steps[4].after, "file").await.expect("there"), b"o");
    let crashed = steps[6].after.crash_with(CrashPlan::Nothing);
    assert_eq!(read(&crashed, "name").await.expect("there"), b"onetwo", "the cut was not synced");
}

#[tokio::test]
async fn hooks_are_called_around_changes_and_may_copy_the_disk() {
    let disk = disk();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (log, copied) = (seen.clone(), disk.clone());
    disk.set_hook(move |op, phase| {
        let files = copied.fork().unsynced().len();
        log.lock().expect("not poisoned").push((matches!(op, MemoryOp::Create(_)), phase, files));
    });
    make(&disk, "file", b"bytes").await;
    disk.remove(&path("none")).await.expect_err("it is not there");
    let expected = [
        (true, Phase::Before, 0),
        (true, Phase::After, 1),
        (false, Phase::Before, 1),
        (false, Phase::After, 2),
        (false, Phase::Before, 2),
    ];
    assert_eq!(*seen.lock().expect("not poisoned"), expected, "a failed removal has no after");
}

#[tokio::test]
async fn a_failed_sync_is_not_healed_by_the_next_one() {
    let disk = disk();
    let file = make(&disk, "file", b"lost?").await;
    disk.sync_dir(Path::new(DIR)).await.expect("synced");
    file.fail_sync();
    disk.sync_data(&file).await.expect("it lies");
    assert_eq!(read(&disk.crash_with(CrashPlan::Nothing), "file").await.expect("there"), [0; 5]);
    assert_eq!(disk.unsynced().len(), 1);
    disk.write_at(&file, vec![Bytes::from_static(b"again")], 0).await.expect("written");
    disk.sync_data(&file).await.expect("synced");
    assert_eq!(read(&disk.crash_with(CrashPlan::Nothing), "file").await.expect("there"), b"again");
}

#[tokio::test]
async fn page_cache_reads_answer_only_when_told_to() {
    let disk = disk();
    let file = make(&disk, "file", b"bytes").await;
    let mut buf = BytesMut::new();
    assert_eq!(disk.try_read_cached(&file, &mut buf, 5, 0).expect("no error"), 0);
    disk.answer_cached_reads(true);
    assert_eq!(disk.try_read_cached(&file, &mut buf, 5, 0).expect("no error"), 5);
    assert_eq!(buf, &b"bytes"[..]);
}

#[tokio::test]
async fn free_space_is_what_it_was_told() {
    let disk = disk();
    assert_eq!(disk.free_space(Path::new(DIR)).await.expect("no error"), None);
    disk.set_free_space(Some(0));
    assert_eq!(disk.free_space(Path::new(DIR)).await.expect("no error"), Some(0));
}

#[tokio::test]
async fn files_that_nothing_can_reach_are_forgotten() {
    let disk = disk();
    for i in 0..100 {
        let name = format!("file-{i}");
        let file = make(&disk, &name, b"bytes").await;
        disk.remove(&path(&name)).await.expect("removed");
        drop(file);
    }
    disk.sync_dir(Path::new(DIR)).await.expect("synced");
    assert!(format!("{disk:?}").contains("files: 0"), "{disk:?}");
}
