//! Offsets beyond 32 bits, in sparse files, at the backends themselves.

use crate::common::{Ctx, Skip, Verdict, body};
use backend_tokio::TokioBackend;
use bytes::BytesMut;
use cache_core::{DiskBackend, OpenMode};
use disk_cache::BackendChoice;
use tokio::runtime::Handle;

/// Just past what 32 bits can say, and far past it.
const FAR: [u64; 3] = [(4 << 30) - 8, (4 << 30) + 8, (64 << 30) + 3];

/// A case over whichever backend the suite runs.
macro_rules! on_backend {
    ($ctx:ident, $case:ident) => {{
        sparse()?;
        match $ctx.backend {
            #[cfg(all(target_os = "linux", feature = "io-uring"))]
            BackendChoice::IoUring => {
                let (handle, dir) = (Handle::current(), $ctx.base.clone());
                let rings = tokio::task::spawn_blocking(move || {
                    backend_uring::UringBackend::open(handle, backend_uring::UringOptions::default(), &dir)
                });
                $case(&rings.await.unwrap().unwrap(), &$ctx).await;
            }
            BackendChoice::Tokio => $case(&TokioBackend::new(Handle::current()), &$ctx).await,
            other => panic!("{other:?} is no backend here"),
        }
        Ok(())
    }};
}

/// A file of 64 GiB needs holes.
fn sparse() -> Verdict {
    if cfg!(windows) { Err(Skip("a file has no holes here unless it is told to".to_owned())) } else { Ok(()) }
}

pub(crate) async fn bytes_beyond_four_gib_lie_where_they_were_written(ctx: Ctx) -> Verdict {
    async fn case(backend: &impl DiskBackend, ctx: &Ctx) {
        let file = backend.open(&ctx.base.join("file"), OpenMode::CREATE_NEW).await.unwrap();
        for (n, at) in (0..).zip(FAR) {
            backend.write_at(&file, vec![body(n, 1, 700), body(n, 2, 300)], at + 4096 * n).await.unwrap();
        }
        backend.sync_data(&file).await.unwrap();
        for (n, at) in (0..).zip(FAR) {
            let (read, bytes) = backend.read_at(&file, BytesMut::new(), 1000, at + 4096 * n).await;
            assert_eq!(read.unwrap(), 1000);
            assert_eq!(
                (&bytes[..700], &bytes[700..]),
                (&body(n, 1, 700)[..], &body(n, 2, 300)[..]),
                "at {at}"
            );
        }
        // Nothing came to lie at what is left of the offset in 32 bits.
        let (read, bytes) = backend.read_at(&file, BytesMut::new(), 8192, 0).await;
        assert_eq!((read.unwrap(), bytes.iter().all(|b| *b == 0)), (8192, true));
    }
    on_backend!(ctx, case)
}

pub(crate) async fn a_file_longer_than_four_gib_tells_its_length_and_is_cut_there(ctx: Ctx) -> Verdict {
    async fn case(backend: &impl DiskBackend, ctx: &Ctx) {
        let file = backend.open(&ctx.base.join("file"), OpenMode::CREATE_NEW).await.unwrap();
        for len in FAR {
            backend.set_len(&file, len).await.unwrap();
            assert_eq!(backend.len(&file).await.unwrap(), len);
            let listed = backend.list(&ctx.base).await.unwrap();
            assert_eq!(listed.iter().find(|f| f.path.ends_with("file")).unwrap().len, len);
            let (read, bytes) = backend.read_at(&file, BytesMut::new(), 100, len - 10).await;
            assert_eq!((read.unwrap(), bytes.len()), (10, 10), "the file ends at {len}");
        }
    }
    on_backend!(ctx, case)
}

pub(crate) async fn the_page_cache_is_asked_beyond_four_gib(ctx: Ctx) -> Verdict {
    async fn case(backend: &impl DiskBackend, ctx: &Ctx) {
        let file = backend.open(&ctx.base.join("file"), OpenMode::CREATE_NEW).await.unwrap();
        let at = FAR[2];
        backend.write_at(&file, vec![body(1, 1, 1000)], at).await.unwrap();
        let mut bytes = BytesMut::new();
        let cached = backend.try_read_cached(&file, &mut bytes, 1000, at).unwrap();
        // As much as is there: all, some or nothing, but no other bytes.
        assert_eq!(bytes, body(1, 1, 1000)[..cached]);
        let (read, bytes) = backend.read_at(&file, bytes, 1000 - cached, at + cached as u64).await;
        assert_eq!((read.unwrap() + cached, bytes.freeze()), (1000, body(1, 1, 1000)));
    }
    on_backend!(ctx, case)
}
