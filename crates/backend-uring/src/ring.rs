//! A ring's thread: it starts, takes requests in batches, and ends when nothing is in flight.
//!
//! **Invariant**: the runtime is dropped only after the last completion; where the drain itself fails it is leaked, because
//! tokio-uring 0.5 would free the buffers of live operations.

use crate::{
    flight::Flights,
    options::UringOptions,
    probe::{self, ProbeError, ProbeStep},
    request::Message,
    serve::{Local, serve},
    shared::{Lane, Shared, panic_text},
    submit,
};
use std::{
    io, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    rc::Rc,
    sync::{Arc, mpsc as blocking},
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_uring::Runtime;

/// Requests taken at once.
const BATCH: usize = 64;

/// How long a no-op may take before the queue is flushed again: the kernel may have refused a submission for want of memory.
const FLUSH_AGAIN: Duration = Duration::from_millis(20);

/// Starts a ring's thread and waits until the ring works. With `probe_dir` it also tries the operations on a file there.
///
/// # Errors
/// The first step that failed.
pub(crate) fn start(
    index: usize,
    options: UringOptions,
    shared: Arc<Shared>,
    probe_dir: Option<&Path>,
) -> Result<(Arc<Lane>, JoinHandle<()>), ProbeError> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let lane = Arc::new(Lane::new(sender, options.depth));
    let (ready, started) = blocking::channel();
    let (own, dir) = (lane.clone(), probe_dir.map(Path::to_owned));
    let thread = thread::Builder::new()
        .name(format!("disk-cache-ring-{index}"))
        .spawn(move || run(index, options, &shared, own, receiver, dir, &ready))
        .map_err(ProbeError::at(ProbeStep::Thread))?;
    match started.recv() {
        Ok(Ok(())) => Ok((lane, thread)),
        Ok(Err(e)) => Err(e),
        Err(_) => Err(ProbeError { step: ProbeStep::Setup, source: io::Error::other("the thread panicked") }),
    }
}

fn run(
    index: usize,
    options: UringOptions,
    shared: &Arc<Shared>,
    lane: Arc<Lane>,
    mut receiver: mpsc::UnboundedReceiver<Message>,
    probe_dir: Option<PathBuf>,
    ready: &blocking::Sender<Result<(), ProbeError>>,
) {
    let started = runtime(options.entries()).and_then(|runtime| {
        if let Some(dir) = probe_dir {
            probe::opcodes()?;
            runtime.block_on(probe::round_trip(&dir))?;
        }
        Ok(runtime)
    });
    let (runtime, news) = match started {
        Ok(runtime) => (Some(runtime), Ok(())),
        Err(e) => (None, Err(e)),
    };
    // Where nobody waits for the news, the channel for requests is closed too and the loop below ends at once.
    let heard = ready.send(news).is_ok();
    let Some(runtime) = runtime.filter(|_| heard) else { return };

    let local = Rc::new(Local { shared: shared.clone(), lane, flights: Rc::new(Flights::default()) });
    let mut batch = Vec::with_capacity(BATCH);
    let served =
        catch_unwind(AssertUnwindSafe(|| runtime.block_on(dispatch(&mut receiver, &mut batch, &local))));
    if let Err(panic) = served {
        shared.fall_back(format!("io_uring thread {index} panicked: {}", panic_text(&*panic)));
    }

    // From here on requests are handed back: those that wait for a place, those taken and not begun, those in the channel,
    // those to come.
    local.lane.slots.close();
    receiver.close();
    batch.into_iter().for_each(Message::hand_back);
    while let Some(message) = receiver.blocking_recv() {
        message.hand_back();
    }
    let flights = local.flights.clone();
    let drained = catch_unwind(AssertUnwindSafe(|| runtime.block_on(flights.landed())));
    if drained.is_err() || flights.count() > 0 {
        tracing::warn!(
            ring = index,
            in_flight = flights.count(),
            "an io_uring runtime is leaked, it cannot be drained"
        );
        mem::forget(runtime);
    }
}

fn runtime(entries: u32) -> Result<Runtime, ProbeError> {
    let mut plain = tokio_uring::uring_builder();
    plain.dontfork();
    let mut newer = plain.clone();
    // No interrupt for a completion while the thread is busy (5.19), no lock against other submitters (6.0).
    newer.setup_coop_taskrun().setup_single_issuer();
    // On a bare ring first: a runtime whose ring cannot be set up is never taken down, so that its descriptors are lost.
    let flags = match newer.build(entries) {
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => plain.build(entries).map(|_| plain),
        other => other.map(|_| newer),
    }
    .map_err(ProbeError::at(ProbeStep::Setup))?;
    Runtime::new(tokio_uring::builder().entries(entries).uring_builder(&flags))
        .map_err(ProbeError::at(ProbeStep::Setup))
}

/// Takes requests until it is told to stop or nobody can ask any more. What it took and did not begin stays in `batch`.
async fn dispatch(
    receiver: &mut mpsc::UnboundedReceiver<Message>,
    batch: &mut Vec<Message>,
    local: &Rc<Local>,
) {
    while receiver.recv_many(batch, BATCH).await > 0 {
        batch.reverse();
        while let Some(message) = batch.pop() {
            match message {
                Message::Request(request) => {
                    // In flight from here on and not from the task's first poll: the end waits for it.
                    let flight = local.flights.start(request.slot);
                    tokio_uring::spawn(serve(request.file, request.op, flight, local.clone()));
                }
                Message::Stop => return,
                Message::Panic => panic!("planted in the thread"),
            }
        }
        submitted().await;
    }
}

/// Waits until all that was pushed has reached the kernel. While this waits nobody wakes the runtime's root task for
/// requests, so the runtime parks, and before it parks it flushes.
async fn submitted() {
    let mut nothing = std::pin::pin!(submit::nothing());
    while tokio::time::timeout(FLUSH_AGAIN, &mut nothing).await.is_err() {}
}
