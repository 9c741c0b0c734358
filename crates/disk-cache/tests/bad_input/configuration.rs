//! Configurations out of bounds, and those that are read from text.

use crate::common::{Ctx, body, hit, key};
use disk_cache::{Builder, ByteSize, Config, DiskCache, Error};
use serde_json::json;
use std::time::Duration;

pub(crate) async fn a_capacity_that_is_too_small_is_refused_before_anything_is_made(ctx: Ctx) {
    let small = ctx.builder().capacity(ByteSize::bytes_of(8 * crate::common::SEGMENT - 1));
    match small.open().await {
        Err(Error::InvalidConfig { field, reason }) => {
            assert_eq!(field, "capacity");
            assert!(reason.contains("512KiB"), "it says what would do: {reason}");
        }
        other => panic!("{other:?}"),
    }
    assert!(!ctx.dir.exists());
    ctx.builder().capacity(ByteSize::bytes_of(8 * crate::common::SEGMENT)).open().await.unwrap();
}

pub(crate) async fn a_capacity_is_required(ctx: Ctx) {
    let refused = DiskCache::builder(&ctx.dir).backend(ctx.backend).open().await;
    assert!(matches!(refused, Err(Error::InvalidConfig { field: "capacity", .. })), "{refused:?}");
    assert!(!ctx.dir.exists());
}

pub(crate) async fn every_value_out_of_bounds_is_refused_by_name_before_anything_is_made(ctx: Ctx) {
    let b = || ctx.builder();
    for (name, builder) in [
        ("segment_size", b().segment_size(ByteSize::bytes_of(5000))),
        ("segment_size", b().segment_size(ByteSize::bytes_of(0))),
        ("segment_size", b().segment_size(ByteSize::gib(2))),
        ("max_entry_size", b().max_entry_size(ByteSize::bytes_of(0))),
        ("max_entry_size", b().max_entry_size(ByteSize::gib(1))),
        ("write_buffer", b().write_buffer(ByteSize::bytes_of(0))),
        ("flush_interval", b().flush_interval(Duration::ZERO)),
        ("flush_interval", b().flush_interval(Duration::from_secs(61))),
        ("max_write_amplification", b().max_write_amplification(0.9)),
        ("max_write_amplification", b().max_write_amplification(f64::NAN)),
        ("max_write_amplification", b().max_write_amplification(f64::INFINITY)),
    ] {
        for refused in [builder.clone().open().await, builder.open_blocking()] {
            match refused {
                Err(Error::InvalidConfig { field, .. }) => assert_eq!(field, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
    assert!(!ctx.dir.exists());
}

pub(crate) async fn a_configuration_reads_from_json(ctx: Ctx) {
    let backend = serde_json::to_value(ctx.backend).unwrap();
    let config: Config = serde_json::from_value(json!({
        "dir": ctx.dir, "capacity": "2MiB", "segment_size": 65536, "backend": backend, "durability": "written",
        "default_ttl_ms": 60000, "stale_window_ms": 1, "max_entry_size": "1MiB", "write_buffer": "256 kib",
        "flush_interval_ms": 5, "min_free_space": "0B", "max_write_amplification": 2.5, "on_damage": "recreate",
    }))
    .unwrap();
    assert_eq!((config.capacity, config.default_ttl), (ByteSize::mib(2), Some(Duration::from_secs(60))));
    let cache = Builder::from_config(config).clock(ctx.clock.clone()).open().await.unwrap();
    cache.insert(&key(1), body(1, 1, 10)).await.unwrap();
    assert_eq!(
        hit(&cache, &key(1)).await.expires_at(),
        Some(crate::common::epoch() + Duration::from_secs(60))
    );
}

pub(crate) async fn a_configuration_with_an_unknown_field_is_refused(_: Ctx) {
    let read =
        serde_json::from_value::<Config>(json!({ "dir": "d", "capacity": "1GiB", "compression": "lz4" }));
    let refused = read.unwrap_err().to_string();
    assert!(refused.contains("compression"), "{refused}");
}

pub(crate) async fn a_configuration_without_directory_or_capacity_is_refused(_: Ctx) {
    for (text, field) in [(json!({ "capacity": "1GiB" }), "dir"), (json!({ "dir": "d" }), "capacity")] {
        let refused = serde_json::from_value::<Config>(text).unwrap_err().to_string();
        assert!(refused.contains(field), "{refused}");
    }
}

pub(crate) async fn a_configuration_with_a_value_of_the_wrong_kind_is_refused(_: Ctx) {
    for (field, value) in [
        ("capacity", json!("ten")),
        ("capacity", json!(-1)),
        ("capacity", json!(null)),
        ("backend", json!("uring")),
        ("durability", json!("maybe")),
        ("default_ttl_ms", json!("1h")),
        ("flush_interval_ms", json!(-5)),
        ("on_damage", json!("ignore")),
    ] {
        let mut text = json!({ "dir": "d", "capacity": "1GiB" });
        text[field] = value.clone();
        assert!(serde_json::from_value::<Config>(text).is_err(), "{field}: {value}");
    }
}

pub(crate) async fn a_configuration_survives_being_written_and_read(ctx: Ctx) {
    let mut config = Config::new(&ctx.dir, ByteSize::gib(10));
    config.backend = ctx.backend;
    config.default_ttl = Some(Duration::from_millis(1500));
    config.segment_size = Some(ByteSize::mib(64));
    let read: Config = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
    assert_eq!(read, config);
    assert!(read.validate().is_ok());
}

pub(crate) async fn sizes_that_are_none_are_refused(_: Ctx) {
    for text in [
        "",
        " ",
        "GiB",
        "-1",
        "1 2",
        "1e9",
        "0x10",
        "10 apples",
        "18446744073709551616",
        "99999999TiB",
        "1.2.3MB",
    ] {
        assert!(text.parse::<ByteSize>().is_err(), "{text:?}");
    }
    assert_eq!("18446744073709551615".parse(), Ok(ByteSize::bytes_of(u64::MAX)));
}
