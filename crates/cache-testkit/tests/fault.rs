//! Planted faults, over files in memory.

use bytes::{Bytes, BytesMut};
use cache_core::{DiskBackend, OpenMode};
use cache_testkit::{CrashPlan, Fault, FaultBackend, Gate, MemoryBackend, Rule, Verb};
use futures_util::FutureExt;
use std::{
    io,
    path::{Path, PathBuf},
};

const EIO: i32 = 5;

type Disk = FaultBackend<MemoryBackend>;
type File = <Disk as DiskBackend>::File;

fn disk() -> Disk {
    FaultBackend::new(MemoryBackend::with_dir("/cache"))
}

fn path(name: &str) -> PathBuf {
    Path::new("/cache").join(name)
}

async fn make(disk: &Disk, name: &str) -> File {
    let file = disk.open(&path(name), OpenMode::CREATE_NEW).await.expect("made");
    write(disk, &file, b"0123456789").await.expect("written");
    file
}

async fn write(disk: &Disk, file: &File, bytes: &'static [u8]) -> io::Result<()> {
    disk.write_at(file, vec![Bytes::from_static(bytes)], 0).await
}

async fn read(disk: &Disk, file: &File) -> io::Result<Vec<u8>> {
    let (result, buf) = disk.read_at(file, BytesMut::new(), 10, 0).await;
    result.map(|n| buf[..n].to_vec())
}

#[tokio::test]
async fn the_nth_operation_fails_once() {
    let disk = disk();
    let file = make(&disk, "file").await;
    disk.plant(Rule::new(Fault::Errno(EIO)).nth(3));
    disk.len(&file).await.expect("the first");
    read(&disk, &file).await.expect("the second");
    assert_eq!(disk.sync_data(&file).await.expect_err("the third").raw_os_error(), Some(EIO));
    disk.sync_data(&file).await.expect("the fourth");
    assert_eq!((disk.operations(), disk.fired()), (6, 1));
    assert_eq!((disk.operations_of(Verb::SyncData), disk.operations_of(Verb::Write)), (2, 1));
}

#[tokio::test]
async fn from_then_on_everything_fails_until_the_rules_are_cleared() {
    let disk = disk();
    let file = make(&disk, "file").await;
    disk.plant(
        Rule::new(Fault::Kind(io::ErrorKind::ReadOnlyFilesystem)).verbs(Verb::CHANGING).from_then_on(),
    );
    for _ in 0..3 {
        let e = write(&disk, &file, b"lost").await.expect_err("read-only");
        assert_eq!(e.kind(), io::ErrorKind::ReadOnlyFilesystem);
        disk.remove(&path("file")).await.expect_err("read-only");
        assert_eq!(read(&disk, &file).await.expect("reads go on"), b"0123456789");
    }
    disk.clear();
    write(&disk, &file, b"again").await.expect("written");
}

#[tokio::test]
async fn a_rule_for_a_path_leaves_the_others_alone() {
    let disk = disk();
    let (one, two) = (make(&disk, "one").await, make(&disk, "two").await);
    disk.plant(Rule::new(Fault::Errno(EIO)).path(path("one")).from_then_on());
    read(&disk, &one).await.expect_err("struck");
    read(&disk, &two).await.expect("not struck");
    disk.rename(&path("two"), &path("one")).await.expect_err("where it goes counts");
}

#[tokio::test]
async fn a_torn_write_is_half_there() {
    let disk = disk();
    let file = make(&disk, "file").await;
    disk.plant(Rule::new(Fault::Torn(EIO)).verbs([Verb::Write]));
    let bufs = ["ab", "cde", "f"].map(|text| Bytes::from_static(text.as_bytes())).to_vec();
    assert_eq!(disk.write_at(&file, bufs, 0).await.expect_err("torn").raw_os_error(), Some(EIO));
    assert_eq!(read(&disk, &file).await.expect("read"), b"abc3456789");
}

#[tokio::test]
async fn a_short_read_stops_half_way_and_a_short_write_tells() {
    let disk = disk();
    let file = make(&disk, "file").await;
    disk.plant(Rule::new(Fault::Short).times(2));
    assert_eq!(read(&disk, &file).await.expect("short"), b"01234");
    assert_eq!(write(&disk, &file, b"abcd").await.expect_err("short").kind(), io::ErrorKind::WriteZero);
    assert_eq!(read(&disk, &file).await.expect("read"), b"ab23456789");
}

#[tokio::test]
async fn a_refused_operation_does_not_happen_and_a_lost_answer_does() {
    let disk = disk();
    let file = make(&disk, "file").await;
    disk.plant(Rule::new(Fault::Errno(EIO)));
    write(&disk, &file, b"refused").await.expect_err("refused");
    assert_eq!(read(&disk, &file).await.expect("read"), b"0123456789");
    disk.plant(Rule::new(Fault::DoneThenErrno(EIO)));
    write(&disk, &file, b"done").await.expect_err("and yet");
    assert_eq!(read(&disk, &file).await.expect("read"), b"done456789");
}

#[tokio::test]
async fn a_sync_made_to_fail_leaves_pages_that_no_later_sync_saves() {
    let disk = disk();
    let file = make(&disk, "file").await;
    disk.sync_dir(Path::new("/cache")).await.expect("synced");
    disk.plant(Rule::new(Fault::Errno(EIO)).verbs([Verb::SyncData]));
    disk.sync_data(&file).await.expect_err("struck");
    disk.sync_data(&file).await.expect("it lies");
    let crashed = Disk::new(disk.inner().crash_with(CrashPlan::Nothing));
    let file = crashed.open(&path("file"), OpenMode::READ).await.expect("there");
    assert_eq!(read(&crashed, &file).await.expect("read"), [0; 10]);
}

#[tokio::test]
async fn cached_reads_are_struck_only_when_told_to() {
    let disk = disk();
    disk.inner().answer_cached_reads(true);
    let file = make(&disk, "file").await;
    disk.plant(Rule::new(Fault::Errno(EIO)).verbs([Verb::ReadCached]).from_then_on());
    let cached = |disk: &Disk| disk.try_read_cached(&file, &mut BytesMut::new(), 10, 0);
    assert_eq!(cached(&disk).expect("not struck"), 10);
    let before = disk.operations();
    disk.fault_cached_reads(true);
    assert_eq!(cached(&disk).expect_err("struck").raw_os_error(), Some(EIO));
    assert_eq!(disk.operations(), before + 1);
}

#[tokio::test]
async fn an_operation_stands_at_its_gate_until_it_is_let_through() {
    let disk = disk();
    let file = make(&disk, "file").await;
    let gate = Gate::new();
    disk.plant(Rule::new(Fault::HoldBefore(gate.clone())).verbs([Verb::Write]).times(2));
    let held = |bytes| {
        let (disk, file) = (disk.clone(), file.clone());
        tokio::spawn(async move { write(&disk, &file, bytes).await })
    };
    let first = held(b"first");
    gate.arrived().await;
    let second = held(b"SECOND");
    gate.arrived().await;
    assert_eq!(read(&disk, &file).await.expect("read"), b"0123456789", "nothing has happened");
    gate.release_one();
    first.await.expect("no panic").expect("written");
    assert_eq!(read(&disk, &file).await.expect("read"), b"first56789");
    assert!(!second.is_finished());
    gate.open();
    second.await.expect("no panic").expect("written");
    write(&disk, &file, b"third").await.expect("the rule is used up");
}

#[tokio::test]
async fn an_operation_held_after_has_happened() {
    let disk = disk();
    let file = make(&disk, "file").await;
    let gate = Gate::new();
    disk.plant(Rule::new(Fault::HoldAfter(gate.clone())).verbs([Verb::Write]));
    let mut held = Box::pin(write(&disk, &file, b"done"));
    assert!((&mut held).now_or_never().is_none());
    gate.arrived().await;
    assert_eq!(read(&disk, &file).await.expect("read"), b"done456789");
    gate.open();
    held.await.expect("written");
}

#[tokio::test]
async fn a_held_operation_whose_caller_goes_never_happens() {
    let disk = disk();
    let file = make(&disk, "file").await;
    let gate = Gate::new();
    disk.plant(Rule::new(Fault::HoldBefore(gate.clone())).verbs([Verb::Write]));
    drop(write(&disk, &file, b"gone").now_or_never());
    gate.open();
    assert_eq!(read(&disk, &file).await.expect("read"), b"0123456789");
}

#[tokio::test]
async fn every_operation_of_a_run_can_be_made_to_fail_until_one_is_clean() {
    let run = async |disk: &Disk| -> io::Result<()> {
        disk.create_dir(Path::new("/cache/deep")).await?;
        let file = disk.open(&path("temp"), OpenMode::CREATE_NEW).await?;
        write(disk, &file, b"bytes").await?;
        disk.set_len(&file, 3).await?;
        disk.sync_data(&file).await?;
        disk.rename(&path("temp"), &path("name")).await?;
        disk.sync_dir(Path::new("/cache")).await?;
        disk.try_lock(&file).await?;
        disk.len(&file).await?;
        disk.list(Path::new("/cache")).await?;
        disk.free_space(Path::new("/cache")).await?;
        read(disk, &file).await?;
        disk.remove(&path("name")).await
    };
    for nth in 1.. {
        let disk = disk();
        disk.plant(Rule::new(Fault::Errno(EIO)).nth(nth));
        let outcome = run(&disk).await;
        if disk.fired() == 0 {
            outcome.expect("a clean run");
            assert_eq!(nth, 14, "thirteen operations were struck");
            break;
        }
        assert_eq!(outcome.expect_err("struck").raw_os_error(), Some(EIO));
        assert_eq!(disk.operations(), nth);
    }
}
