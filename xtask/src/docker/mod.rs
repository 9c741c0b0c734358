//! The project on Linux, in a container: tests with io_uring allowed and denied, benches, a build.

pub(crate) mod base_image;
mod engine;
mod image;
pub(crate) mod linux;
mod look;
pub(crate) mod report;
pub(crate) mod seccomp;
pub(crate) mod step;
