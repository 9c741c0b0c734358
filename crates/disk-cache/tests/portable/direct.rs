//! Reads past the page cache: the same bytes, on both backends, wherever they lie.

use crate::common::{Ctx, LARGE, Skip, Verdict, body, get, hit, key, synced};
use disk_cache::{Builder, ByteSize, DiskCache, Error};

/// Opens without the page cache, or tells why that cannot be here.
async fn past(builder: Builder) -> Result<DiskCache, Skip> {
    match builder.direct_io(true).open().await {
        Err(Error::InvalidConfig { field: "direct_io", reason }) => Err(Skip(reason)),
        other => Ok(other.unwrap()),
    }
}

/// Room for all of [`length`].
fn roomy(ctx: &Ctx) -> Builder {
    ctx.builder().capacity(ByteSize::mib(64)).segment_size(ByteSize::mib(1))
}

/// Lengths around blocks and chunks, so that records begin and end anywhere in a block; the last are out of line.
fn length(n: u64) -> usize {
    match n {
        0..400 => n as usize * 13,
        400..440 => 4096 * (n as usize % 4 + 1) + n as usize - 420,
        440..460 => (64 << 10) + n as usize - 450,
        _ => (128 << 10) + (n as usize - 460) * 4099,
    }
}

const ENTRIES: u64 = 480;

pub(crate) async fn bodies_of_every_length_come_back_past_the_page_cache_and_after_a_restart(
    ctx: Ctx,
) -> Verdict {
    let cache = past(roomy(&ctx)).await?;
    for n in 0..ENTRIES {
        cache.insert(&key(n), body(n, 1, length(n))).await.unwrap();
    }
    for opened in 0..2 {
        let cache = if opened == 0 { cache.clone() } else { past(roomy(&ctx)).await? };
        cache.flush().await.unwrap();
        for n in 0..ENTRIES {
            assert_eq!(get(&cache, &key(n)).await, Some(body(n, 1, length(n))), "{n}");
        }
        let stats = cache.stats();
        assert_eq!((stats.fast_reads, stats.corruptions), (0, 0));
        cache.close().await.unwrap();
    }
    Ok(())
}

pub(crate) async fn ranges_of_a_large_body_come_back_past_the_page_cache(ctx: Ctx) -> Verdict {
    let cache = past(ctx.builder()).await?;
    let whole = body(1, 1, LARGE);
    cache.insert_with(&key(1), whole.clone(), synced()).await.unwrap();
    let found = hit(&cache, &key(1)).await;
    for start in [0, 1, 4095, 4096, 65_535, 65_536, 65_537, LARGE - 1] {
        for end in [start, start + 1, start + 4096, LARGE].map(|end| end.min(LARGE)) {
            assert_eq!(found.read_range(start as u64..end as u64).await.unwrap(), whole[start..end]);
        }
    }
    Ok(())
}

pub(crate) async fn a_crash_past_the_page_cache_is_recovered_with_and_without_it(ctx: Ctx) -> Verdict {
    let cache = past(roomy(&ctx)).await?;
    for n in 0..ENTRIES {
        cache.insert(&key(n), body(n, 1, length(n))).await.unwrap();
    }
    cache.flush().await.unwrap();
    for (name, direct) in [("with", false), ("without", true)] {
        let crashed = ctx.crash(name);
        let builder = roomy(&crashed);
        let opened = if direct { past(builder).await? } else { builder.open().await.unwrap() };
        for n in 0..ENTRIES {
            assert_eq!(get(&opened, &key(n)).await, Some(body(n, 1, length(n))), "{n}, {name}");
        }
    }
    Ok(())
}
