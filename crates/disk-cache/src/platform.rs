//! The backend choice, and the one `cfg` for it.

#[cfg(all(target_os = "linux", feature = "io-uring"))]
#[path = "platform/either.rs"]
mod chosen;
#[cfg(not(all(target_os = "linux", feature = "io-uring")))]
#[path = "platform/portable.rs"]
mod chosen;

pub(crate) use chosen::{Platform, choose};
