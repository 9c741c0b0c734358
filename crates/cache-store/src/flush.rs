//! The writer: takes buffers that are full or old enough to their segments.
//!
//! **Invariant**: a buffer is written once; a failure loses it and all of its segment past the last good sync.

use crate::{log::Ready, shared::Shared};
use cache_core::{Advice, DiskBackend, Error};
use std::{pin::pin, sync::Arc};
use tokio::time::Instant;

impl<B: DiskBackend> Shared<B> {
    /// Runs until the cache shuts.
    pub(crate) async fn writer(self: Arc<Self>) {
        loop {
            let mut woken = pin!(self.signals.flush.notified());
            woken.as_mut().enable();
            let (ready, deadline, shut) = self.take_ready();
            let idle = ready.is_empty();
            for ready in ready {
                ready.segment.write_begins();
                self.spawn(self.clone().write(ready));
            }
            match deadline {
                _ if !idle => {}
                _ if shut => return,
                Some(deadline) => {
                    tokio::select! {
                        () = woken => {}
                        () = tokio::time::sleep_until(deadline) => {}
                    }
                }
                None => woken.await,
            }
        }
    }

    /// The buffers to write now, when the open one is due, and whether the cache shuts.
    fn take_ready(&self) -> (Vec<Ready<B>>, Option<Instant>, bool) {
        let mut log = self.log.lock();
        let due = log
            .active
            .as_ref()
            .and_then(|a| a.buffer.as_ref())
            .map(|(_, since)| *since + self.config.flush_interval);
        let now = std::mem::take(&mut log.flush_now) || log.shut;
        let deadline = match due {
            Some(due) if now || due <= Instant::now() => {
                log.freeze();
                None
            }
            due => due,
        };
        (log.ready.drain(..).collect(), deadline, log.shut)
    }

    async fn write(self: Arc<Self>, ready: Ready<B>) {
        let Ready { segment, buffer } = ready;
        let bufs = buffer.to_write();
        let len = buffer.len();
        let written = match segment.failure() {
            Some(_) => None,
            None => Some(self.backend.write_at(&segment.file, bufs, buffer.start()).await),
        };
        segment.write_ends(&buffer, matches!(written, Some(Ok(()))));
        match written {
            Some(Ok(())) => {
                self.backend.advise(&segment.file, buffer.start(), len, Advice::StartWriteback);
            }
            Some(Err(error)) => {
                self.fail_segment(&segment, &Error::io("write", &segment.path, error));
            }
            None => {}
        }
        let mut log = self.log.lock();
        log.buffers -= 1;
        if log.free.len() < self.limits.buffers
            && let Some(memory) = buffer.recycle()
        {
            log.free.push(memory);
        }
        // Debts may have waited for this buffer; where they wait for a segment they go on waiting.
        self.pay_debts_unasked(&mut log);
        drop(log);
        self.signals.room.notify_waiters();
    }
}
