//! Configuration files.

use crate::common::{Ctx, body, get, key};
use disk_cache::{BackendChoice, Builder, ByteSize, Config, Durability, OnDamage};
use std::time::Duration;

/// A configuration in which nothing is as it is by default.
fn another() -> Config {
    let mut config = Config::new("some/d\u{ef}r with space", ByteSize::gib(20));
    config.segment_size = Some(ByteSize::mib(32));
    config.backend = BackendChoice::IoUring;
    config.durability = Durability::Synced;
    config.default_ttl = Some(Duration::from_secs(86_400 * 365));
    config.stale_window = Duration::from_millis(1);
    config.max_entry_size = Some(ByteSize::bytes_of(5_000_000_001));
    config.write_buffer = ByteSize::mib(3);
    config.flush_interval = Duration::from_millis(25);
    config.min_free_space = ByteSize::bytes_of(1);
    config.max_write_amplification = 1.25;
    config.on_damage = OnDamage::Recreate;
    config.direct_io = true;
    config
}

fn through_json(config: &Config) -> Config {
    serde_json::from_str(&serde_json::to_string(config).unwrap()).unwrap()
}

fn through_toml(config: &Config) -> Config {
    toml::from_str(&toml::to_string(config).unwrap()).unwrap()
}

pub(crate) async fn every_field_of_a_configuration_survives_json_and_toml(_: Ctx) {
    let plain = Config::new("d", ByteSize::mib(8));
    let text = serde_json::to_value(another()).unwrap();
    for (field, default) in serde_json::to_value(&plain).unwrap().as_object().unwrap() {
        assert_ne!(&text[field], default, "{field} is to differ, or its loss would go unnoticed");
    }
    for config in [plain, another()] {
        assert_eq!(through_json(&config), config);
        assert_eq!(through_toml(&config), config);
    }
}

pub(crate) async fn the_configuration_that_the_readme_shows_is_one(_: Ctx) {
    let readme = include_str!("../../../../README.md");
    let text = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let config: Config = toml::from_str(text).unwrap();
    assert_eq!((config.capacity, config.default_ttl), (ByteSize::gib(20), Some(Duration::from_secs(3600))));
}

pub(crate) async fn a_cache_is_set_up_from_a_toml_file(ctx: Ctx) {
    let backend = serde_json::to_value(ctx.backend).unwrap();
    let dir = serde_json::to_string(&ctx.dir).unwrap();
    let text = format!(
        "dir = {dir}\ncapacity = \"2MiB\"\nsegment_size = 65_536\nbackend = {backend}\ndurability = \"synced\"\n\
         default_ttl_ms = 60_000\nmin_free_space = \"0B\"\nmax_write_amplification = 2.0\n"
    );
    let config: Config = toml::from_str(&text).unwrap();
    let cache = Builder::from_config(config).clock(ctx.clock.clone()).open().await.unwrap();
    cache.insert(&key(1), body(1, 1, 700)).await.unwrap();
    assert_eq!(cache.stats().capacity, 2 << 20);
    // Synced by default, as the file says: it is there after a crash without a flush.
    let copy = ctx.crash("crashed").open().await;
    assert_eq!(get(&copy, &key(1)).await, Some(body(1, 1, 700)));
    ctx.clock.advance(Duration::from_secs(60));
    assert!(get(&cache, &key(1)).await.is_none());
}

pub(crate) async fn a_duration_below_a_millisecond_survives_being_written_and_read(_: Ctx) {
    for micros in [1, 250, 999, 1000, 1500, 10_000, 59_999_999] {
        let mut config = Config::new("d", ByteSize::mib(8));
        config.flush_interval = Duration::from_micros(micros);
        config.stale_window = Duration::from_micros(3 * micros);
        config.default_ttl = Some(Duration::from_micros(7 * micros));
        for read in [through_json(&config), through_toml(&config)] {
            assert_eq!(read, config);
            assert!(read.validate().is_ok(), "{micros} us");
        }
    }
}

pub(crate) async fn sizes_beyond_32_bits_are_kept_exactly(ctx: Ctx) {
    let odd = ByteSize::bytes_of((5 << 40) + 4096 + 1);
    let mut config = Config::new(&ctx.dir, odd);
    config.segment_size = Some(ByteSize::gib(1));
    for read in [through_json(&config), through_toml(&config)] {
        assert_eq!(read.capacity.bytes(), (5 << 40) + 4097);
        assert_eq!(read.max_entry_bytes(), (5 << 39) + 2048);
    }
    assert_eq!(odd.to_string().parse(), Ok(odd));
    // The quota of a cache that large is not cut off either; its segments are small here, so that the disk needs no more.
    let builder = ctx.builder().capacity(ByteSize::bytes_of((5 << 30) + 1)).segment_size(ByteSize::mib(1));
    let cache = builder.open().await.unwrap();
    assert_eq!(cache.stats().capacity, (5 << 30) + 1);
    cache.insert(&key(1), body(1, 1, 10)).await.unwrap();
    assert_eq!(get(&cache, &key(1)).await, Some(body(1, 1, 10)));
}
