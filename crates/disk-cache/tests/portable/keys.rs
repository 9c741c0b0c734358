//! Keys, tags, labels and metas are bytes, and never names of files.

use crate::common::{Ctx, LARGE, body, contents, get, hit, peek};
use disk_cache::{CacheKey, DiskCache, InsertOptions, MAX_KEY_LEN, PurgeScope};
use std::{collections::BTreeSet, fs, path::PathBuf};

/// Stores something different under every key, small or large, and finds it before and after a restart by the log.
async fn all_are_kept_apart(ctx: &Ctx, keys: &[CacheKey]) -> DiskCache {
    let len = |n: u64| if n.is_multiple_of(5) { LARGE } else { 300 };
    let cache = ctx.open().await;
    for (n, key) in (0..).zip(keys) {
        cache.insert(key, body(n, 1, len(n))).await.unwrap();
    }
    for (n, key) in (0..).zip(keys) {
        assert_eq!(get(&cache, key).await, Some(body(n, 1, len(n))), "{key:?}");
    }
    cache.close().await.unwrap();
    fs::remove_file(ctx.snapshot()).unwrap();
    let cache = ctx.open().await;
    assert_eq!(cache.stats().entries, keys.len() as u64);
    for (n, key) in (0..).zip(keys) {
        assert_eq!(get(&cache, key).await, Some(body(n, 1, len(n))), "{key:?}");
    }
    cache
}

fn paths_in(dir: &std::path::Path) -> BTreeSet<PathBuf> {
    contents(dir).into_keys().collect()
}

pub(crate) async fn keys_that_are_no_text_are_entries_like_any_other(ctx: Ctx) {
    let every_byte: Vec<u8> = (0..=255).collect();
    let keys = [
        CacheKey::new([0xff], [0xfe]),
        CacheKey::new([0xff], [0xff]),
        CacheKey::new("ns", &every_byte),
        CacheKey::new(&every_byte, "path"),
        CacheKey::new("ns", "path").with_variant(&every_byte),
        CacheKey::new("ns", [0xc3]),
        CacheKey::new("ns", [0xc3, 0x28]),
        CacheKey::new("ns", [0xed, 0xa0, 0x80]),
        CacheKey::new("ns", "nul\0inside"),
        CacheKey::new("ns", "nul"),
        CacheKey::new("ns", "\0"),
        CacheKey::new("ns", ""),
    ];
    all_are_kept_apart(&ctx, &keys).await;
}

pub(crate) async fn keys_that_look_like_paths_reach_no_file_of_that_name(ctx: Ctx) {
    let names = [
        "..",
        "../escaped",
        "../../escaped",
        "/escaped",
        "..\\escaped",
        "C:\\escaped",
        "\\\\?\\C:\\escaped",
        ".",
        "CON",
        "nul.txt",
        "COM1",
        "LPT1:",
        "CACHE",
        "LOCK",
        "index.snapshot",
        "segments/00000001.seg",
        "a:stream",
        "trailing.",
        "trailing ",
        "*?<>|\"",
        "~",
        "%2e%2e%2fescaped",
    ];
    fs::create_dir(ctx.base.join("beside")).unwrap();
    let ctx = Ctx { dir: ctx.base.join("beside/cache"), ..ctx };
    let keys: Vec<_> =
        names.iter().flat_map(|name| [CacheKey::new("ns", name), CacheKey::new(name, "path")]).collect();
    let cache = all_are_kept_apart(&ctx, &keys).await;
    cache.close().await.unwrap();
    let outside: Vec<_> =
        paths_in(&ctx.base).into_iter().filter(|path| !path.starts_with("beside/cache")).collect();
    assert_eq!(outside, [PathBuf::from("beside")]);
    assert!(paths_in(&ctx.dir).iter().all(|path| !path.to_string_lossy().contains("escaped")));
}

pub(crate) async fn keys_that_differ_in_case_or_normal_form_only_are_different(ctx: Ctx) {
    let spellings = [
        "path",
        "Path",
        "PATH",
        "stra\u{df}e",
        "strasse",
        "STRASSE",
        "\u{e9}",
        "e\u{301}",
        "\u{130}",
        "i",
        "I",
    ];
    let keys: Vec<_> = spellings
        .iter()
        .flat_map(|s| {
            [CacheKey::new("ns", s), CacheKey::new(s, "path"), CacheKey::new("v", "p").with_variant(s)]
        })
        .collect();
    let cache = all_are_kept_apart(&ctx, &keys).await;
    cache.purge(PurgeScope::Namespace("PATH".into())).await.unwrap();
    assert!(peek(&cache, &CacheKey::new("PATH", "path")).await.is_none());
    assert!(peek(&cache, &CacheKey::new("Path", "path")).await.is_some());
}

pub(crate) async fn separators_in_keys_are_bytes_like_any_other(ctx: Ctx) {
    let keys = [
        CacheKey::new("a", "b/c"),
        CacheKey::new("a/b", "c"),
        CacheKey::new("a", "b\\c"),
        CacheKey::new("a\\b", "c"),
        CacheKey::new("a", "b//c"),
        CacheKey::new("a", "b/./c"),
        CacheKey::new("a", "/b/c"),
        CacheKey::new("a", "b/c/"),
        CacheKey::new("a", "b").with_variant("c"),
        CacheKey::new("a", "b/").with_variant("c"),
    ];
    let cache = all_are_kept_apart(&ctx, &keys).await;
    let prefix = PurgeScope::Prefix { namespace: "a".into(), prefix: "b/".into() };
    cache.purge(prefix).await.unwrap();
    for (n, key) in keys.iter().enumerate() {
        let begins_so = key.namespace() == b"a" && key.path().starts_with(b"b/");
        assert_eq!(peek(&cache, key).await.is_some(), !begins_so, "key {n}");
    }
}

pub(crate) async fn the_length_of_a_key_shows_in_no_file_name(ctx: Ctx) {
    let names = |dir: &str| {
        let all = crate::common::names(&ctx.base.join(dir));
        all.iter().map(|p| p.file_name().unwrap().len()).collect::<BTreeSet<_>>()
    };
    for (dir, len) in [("short", 1), ("long", MAX_KEY_LEN - 12)] {
        let cache = ctx.builder_at(&ctx.base.join(dir)).open().await.unwrap();
        let key = CacheKey::new("", vec![b'k'; len]);
        cache.insert(&key, body(1, 1, LARGE)).await.unwrap();
        assert_eq!(get(&cache, &key).await, Some(body(1, 1, LARGE)));
        cache.close().await.unwrap();
    }
    assert_eq!(names("short"), names("long"));
    assert_eq!((names("short/objects"), names("long/objects")), ([20].into(), [20].into()));
}

pub(crate) async fn a_prefix_that_cuts_a_character_in_half_purges_by_bytes(ctx: Ctx) {
    let cache = ctx.open().await;
    // Both begin with the byte 0xc3.
    for path in ["\u{e9}t\u{e9}", "\u{fc}ber", "ete"] {
        cache.insert(&CacheKey::new("ns", path), body(1, 1, 100)).await.unwrap();
    }
    let half = "\u{e9}".as_bytes()[..1].to_vec();
    cache.purge(PurgeScope::Prefix { namespace: "ns".into(), prefix: half.into() }).await.unwrap();
    assert!(peek(&cache, &CacheKey::new("ns", "\u{e9}t\u{e9}")).await.is_none());
    assert!(peek(&cache, &CacheKey::new("ns", "\u{fc}ber")).await.is_none());
    assert!(peek(&cache, &CacheKey::new("ns", "ete")).await.is_some());
}

pub(crate) async fn tags_labels_and_metas_are_bytes_and_survive_a_restart(ctx: Ctx) {
    let odd: [&[u8]; 5] = [b"\0", b"\xff\xfe", b"a\nb\r\n", b"\xc3", b"\xc3\x28"];
    let cache = ctx.open().await;
    let of = |n: usize| CacheKey::new("ns", [n as u8]);
    for (n, odd) in odd.iter().enumerate() {
        let options =
            InsertOptions::new().meta(odd.to_vec()).tag(odd.to_vec()).label([b"label-", *odd].concat());
        cache.insert_with(&of(n), body(1, 1, if n == 0 { LARGE } else { 10 }), options).await.unwrap();
    }
    cache.close().await.unwrap();
    let cache = ctx.open().await;
    for (n, odd) in odd.iter().enumerate() {
        assert_eq!(hit(&cache, &of(n)).await.meta(), odd);
    }
    cache.purge(PurgeScope::Tag(odd[1].to_vec().into())).await.unwrap();
    // "\xc3\x28" begins with "\xc3" too.
    let prefix = [b"label-", odd[3]].concat().into();
    cache.purge(PurgeScope::Prefix { namespace: "ns".into(), prefix }).await.unwrap();
    for n in 0..odd.len() {
        assert_eq!(peek(&cache, &of(n)).await.is_some(), n == 0 || n == 2, "entry {n}");
    }
}

pub(crate) async fn namespaces_that_are_no_text_are_counted_and_purged(ctx: Ctx) {
    let cache = ctx.open().await;
    let (one, two) = (CacheKey::new([0xff, 0xfe], "p"), CacheKey::new([0xff, 0xfd], "p"));
    for key in [&one, &two] {
        cache.insert(key, body(1, 1, 10)).await.unwrap();
    }
    cache.purge(PurgeScope::Namespace(vec![0xff, 0xfe].into())).await.unwrap();
    assert!(get(&cache, &one).await.is_none());
    assert!(get(&cache, &two).await.is_some());
    let (one, two) = (cache.stats_of([0xff, 0xfe]), cache.stats_of([0xff, 0xfd]));
    assert_eq!((one.inserts, one.hits, one.misses, one.purges), (1, 0, 1, 1));
    assert_eq!((two.inserts, two.hits, two.misses, two.purges), (1, 1, 0, 0));
}
