//! What a thread may meet half way through an operation of another, under a model checker:
//! `cargo xtask faults interleavings`. What waits asynchronously is woken by tokio's own, unmodelled, primitives.
#![allow(clippy::unwrap_used, reason = "clippy does not take a module of two conditions for tests")]

use crate::{
    buffer::Buffer,
    counters::Counters,
    growth::{Following, Growth},
    inflight::{Flight, Inflight},
    segment::Segment,
    space::Space,
    sync::Mutex,
};
use bytes::{Bytes, BytesMut};
use cache_core::{
    CacheKey, DiskBackend, Durability, Error, GrowingBody, InsertOptions, OpenMode, PurgeScope,
};
use cache_index::{SegmentId, Tag, sync::explore};
use cache_testkit::MemoryBackend;
use shuttle::{future::block_on, thread};
use std::{path::Path, sync::Arc};

/// Bytes of a record in these tests.
const LEN: usize = 16;

fn record(n: usize) -> [u8; LEN] {
    [n as u8 + 1; LEN]
}

fn segment() -> Arc<Segment<MemoryBackend>> {
    let disk = MemoryBackend::with_dir("/");
    let file = block_on(disk.open(Path::new("/a"), OpenMode::CREATE_NEW)).unwrap();
    let lease = Space::new(4096).try_lease(4096, 0).unwrap();
    Segment::new(SegmentId::new(1), file, "/a".into(), lease, 0)
}

/// A buffer with the `n`th record, in its segment.
fn buffer(segment: &Segment<MemoryBackend>, n: usize, memory: BytesMut) -> Arc<Buffer> {
    let buffer = Arc::new(Buffer::new((n * LEN) as u64, memory));
    segment.push(buffer.clone());
    buffer.append([&record(n), &[], &[], &[]], &Bytes::new(), 0);
    buffer
}

#[test]
fn a_record_is_in_its_buffer_until_it_is_in_the_file_in_whatever_order_writes_end() {
    explore(|| {
        let (segment, file) = (segment(), Arc::new(Mutex::new(vec![0; 2 * LEN])));
        let buffers = [0, 1].map(|n| buffer(&segment, n, BytesMut::with_capacity(LEN)));
        let writers = buffers.map(|buffer| {
            let (segment, file) = (segment.clone(), file.clone());
            segment.write_begins();
            thread::spawn(move || {
                let (from, bytes) = (buffer.start() as usize, buffer.to_write().concat());
                if from == 0 {
                    // The device takes longer for the first.
                    (0..8).for_each(|_| thread::yield_now());
                }
                file.lock()[from..from + LEN].copy_from_slice(&bytes);
                segment.write_ends(&buffer, true);
                // Its memory serves the next record at once.
                buffer.recycle().map(|memory| {
                    let next = Buffer::new((2 * LEN) as u64, memory);
                    next.append([&record(9), &[], &[], &[]], &Bytes::new(), 0);
                })
            })
        });
        for n in [1, 0] {
            let from = n * LEN;
            match segment.buffered(from as u64, LEN) {
                Some(bytes) => assert_eq!(bytes[..], record(n)),
                None => assert_eq!(file.lock()[from..from + LEN], record(n)),
            }
        }
        for writer in writers {
            writer.join().unwrap();
        }
        block_on(segment.reached(2 * LEN as u64, Durability::Written)).unwrap();
    });
}

#[test]
fn a_record_is_readable_while_others_are_appended_and_the_buffer_is_frozen() {
    explore(|| {
        let segment = segment();
        let buffer = buffer(&segment, 0, BytesMut::with_capacity(4 * LEN));
        let appending = {
            let buffer = buffer.clone();
            thread::spawn(move || {
                buffer.append([&record(1), &[], &[], &[]], &Bytes::new(), 0);
                assert_eq!(buffer.to_write().concat(), [record(0), record(1)].concat());
            })
        };
        assert_eq!(segment.buffered(0, LEN).unwrap()[..], record(0));
        if let Some(second) = buffer.read(LEN as u64, LEN) {
            assert_eq!(second[..], record(1));
        }
        appending.join().unwrap();
    });
}

#[test]
fn whoever_waits_for_a_write_and_a_sync_is_woken() {
    explore(|| {
        let segment = segment();
        let buffer = buffer(&segment, 0, BytesMut::with_capacity(LEN));
        segment.write_begins();
        let writer = {
            let segment = segment.clone();
            thread::spawn(move || {
                segment.write_ends(&buffer, true);
                segment.mark_synced(LEN as u64);
            })
        };
        block_on(segment.reached(LEN as u64, Durability::Synced)).unwrap();
        block_on(segment.quiet());
        writer.join().unwrap();
    });
}

#[test]
fn a_record_of_a_failed_segment_is_told_as_lost_or_was_synced() {
    explore(|| {
        let segment = segment();
        let failing = {
            let segment = segment.clone();
            thread::spawn(move || segment.fail(&Error::Closed))
        };
        segment.mark_synced(LEN as u64);
        let told = block_on(segment.reached(LEN as u64, Durability::Synced));
        let from = failing.join().unwrap();
        assert_eq!(told.is_ok(), from == Some(LEN as u64));
    });
}

/// What the sequencer saw, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Saw {
    FlightBegun,
    Overtaken,
    FlightStored,
}

/// A flight of a key, and what another caller says of the key, each in the sequencer's section as in the engine; and a flight
/// of another key that ends meanwhile, which it does outside.
fn overtake(options: &InsertOptions, say: fn(&Inflight<MemoryBackend>, &[u8; 16])) {
    let inflight = Arc::new(Inflight::<MemoryBackend>::new());
    let (digest, sequencer) = ([2; 16], Arc::new(Mutex::new(Vec::new())));
    let other = Flight::new(&CacheKey::new("n", "other"), [1; 16], 1);
    inflight.enter(&other);
    let ending = {
        let inflight = inflight.clone();
        thread::spawn(move || inflight.remove(&other))
    };
    let overtaking = {
        let (inflight, sequencer) = (inflight.clone(), sequencer.clone());
        thread::spawn(move || {
            let mut saw = sequencer.lock();
            say(&inflight, &digest);
            saw.push(Saw::Overtaken);
        })
    };
    let flight = Flight::new(&CacheKey::new("n", "p"), digest, 2);
    {
        let mut saw = sequencer.lock();
        inflight.enter(&flight);
        saw.push(Saw::FlightBegun);
    }
    {
        let _section = sequencer.lock();
        flight.describe(options);
    }
    {
        let mut saw = sequencer.lock();
        if !flight.is_doomed() {
            saw.push(Saw::FlightStored);
        }
    }
    inflight.remove(&flight);
    overtaking.join().unwrap();
    ending.join().unwrap();
    let saw = sequencer.lock();
    assert_ne!(saw[..], [Saw::FlightBegun, Saw::Overtaken, Saw::FlightStored]);
    assert_eq!(inflight.ids(), []);
}

#[test]
fn a_flight_that_another_write_of_its_key_overtook_is_not_stored_whatever_else_ends() {
    explore(|| overtake(&InsertOptions::new(), |inflight, digest| inflight.doom_key(digest, None)));
}

#[test]
fn a_flight_that_a_purge_by_tag_overtook_is_not_stored_whenever_its_tags_are_known() {
    explore(|| {
        let options = InsertOptions::new().tag("t");
        overtake(&options, |inflight, _| inflight.doom_scope(&PurgeScope::Tag("t".into())));
    });
}

#[test]
fn leases_never_pass_the_capacity_and_all_come_back() {
    explore(|| {
        let space = Space::new(100);
        let leasing = [40, 60].map(|bytes| {
            let space = space.clone();
            thread::spawn(move || {
                if let Some(lease) = space.try_lease(bytes, 0) {
                    if let Some(more) = space.try_lease(20, 0) {
                        lease.absorb(&more);
                    }
                    assert!(space.used() <= 100);
                    lease.shrink_to(10);
                }
            })
        });
        assert!(space.used() <= 100);
        for leased in leasing {
            leased.join().unwrap();
        }
        assert_eq!(space.used(), 0);
    });
}

#[test]
fn a_follower_gets_every_byte_and_then_the_end() {
    explore(|| {
        let growth = Growth::<MemoryBackend>::new();
        let followed = Following::new(&growth);
        let writing = thread::spawn(move || {
            growth.push(Bytes::from_static(b"ab"));
            growth.push(Bytes::from_static(b"cd"));
            growth.end();
        });
        let (reader, mut got) = (followed.reader(), Vec::new());
        loop {
            let piece = block_on(reader.read(got.len() as u64..u64::MAX)).unwrap();
            if piece.is_empty() {
                break;
            }
            got.extend_from_slice(&piece);
        }
        assert_eq!(got, b"abcd");
        writing.join().unwrap();
    });
}

#[test]
fn a_follower_of_a_write_that_is_given_up_gets_an_error_and_no_end() {
    explore(|| {
        let growth = Growth::<MemoryBackend>::new();
        let followed = Following::new(&growth);
        let writing = thread::spawn(move || {
            growth.push(Bytes::from_static(b"ab"));
            growth.abort();
            growth.end();
        });
        let (reader, mut got) = (followed.reader(), 0);
        loop {
            match block_on(reader.read(got..u64::MAX)) {
                Ok(piece) => {
                    assert!(!piece.is_empty(), "an end after {got} bytes");
                    got += piece.len() as u64;
                }
                Err(error) => break assert!(matches!(error, Error::WriterAborted)),
            }
        }
        assert_eq!(followed.len(), None);
        writing.join().unwrap();
    });
}

#[test]
fn a_namespace_is_counted_in_full_by_whichever_stripe_meets_it_first() {
    explore(|| {
        let counters = Arc::new(Counters::default());
        let counting = [0, 1].map(|n| {
            let counters = counters.clone();
            thread::spawn(move || {
                let stripe = counters.stripe(n);
                let _under_way = stripe.enter();
                counters.namespace(stripe, b"ns", |stats| stats.hits += 1);
            })
        });
        assert!(counters.of_namespace(b"ns").hits <= 2);
        for counted in counting {
            counted.join().unwrap();
        }
        assert_eq!((counters.of_namespace(b"ns").hits, counters.in_flight()), (2, 0));
    });
}
