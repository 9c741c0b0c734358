//! When to try again, and how long to wait before.

use std::{io, time::Duration};

/// How long the waits are: 1, 2, 4, ... milliseconds, about a second together.
const WAITS: u32 = 10;

/// Counts the tries of one operation that made no progress.
#[derive(Debug, Default)]
pub(crate) struct Retry(u32);

impl Retry {
    /// The operation got on: later trouble starts anew.
    pub(crate) fn progress(&mut self) {
        self.0 = 0;
    }

    /// Waits as long as this error wants before another try.
    ///
    /// # Errors
    /// The error itself where trying again is no use: it is neither an interruption nor a shortage of kernel resources, or
    /// the shortage went on for about a second.
    pub(crate) async fn after(&mut self, error: io::Error) -> io::Result<()> {
        match error.kind() {
            io::ErrorKind::Interrupted => Ok(()),
            io::ErrorKind::WouldBlock if self.0 < WAITS => {
                tokio::time::sleep(Duration::from_millis(1 << self.0)).await;
                self.0 += 1;
                Ok(())
            }
            _ => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
    }

    #[test]
    fn a_shortage_is_waited_for_and_then_an_error() {
        runtime().block_on(async {
            let (mut retry, start) = (Retry(6), std::time::Instant::now());
            for _ in 6..WAITS {
                retry.after(io::ErrorKind::WouldBlock.into()).await.expect("another try");
            }
            assert!(start.elapsed() >= Duration::from_millis(64 + 128 + 256 + 512), "it does not spin");
            let e = retry.after(io::ErrorKind::WouldBlock.into()).await.expect_err("it went on too long");
            assert_eq!(e.kind(), io::ErrorKind::WouldBlock);
            retry.progress();
            retry.after(io::ErrorKind::WouldBlock.into()).await.expect("it starts anew");
        });
    }

    #[test]
    fn only_interruptions_and_shortages_are_tried_again() {
        runtime().block_on(async {
            let mut retry = Retry::default();
            for _ in 0..1000 {
                retry.after(io::ErrorKind::Interrupted.into()).await.expect("at once, any number of times");
            }
            for errno in [libc::EIO, libc::ENOSPC, libc::ECANCELED, libc::EBADF] {
                let e = retry.after(io::Error::from_raw_os_error(errno)).await.expect_err("no use");
                assert_eq!(e.raw_os_error(), Some(errno));
            }
        });
    }
}
