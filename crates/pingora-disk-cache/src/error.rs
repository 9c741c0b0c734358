//! The cache's errors as Pingora's: the type says whether reading or writing failed, the cause is kept.
#![expect(clippy::unnecessary_box_returns, reason = "Pingora's results have their errors boxed")]

use disk_cache::Error;
use pingora_error::{BError, ErrorType};

pub(crate) fn read(error: Error) -> BError {
    pingora_error::Error::because(ErrorType::FileReadError, "disk cache", error)
}

pub(crate) fn write(error: Error) -> BError {
    pingora_error::Error::because(ErrorType::FileWriteError, "disk cache", error)
}
