//! The built-in file server.

use super::*;
use std::fs;

fn folder() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("sub/deep")).unwrap();
    fs::write(root.path().join("a.txt"), "0123456789").unwrap();
    fs::write(root.path().join("empty"), "").unwrap();
    fs::write(root.path().join("large.bin"), vec![7; MAX_BODY as usize + 1]).unwrap();
    fs::write(root.path().join("sub/index.html"), "<p>").unwrap();
    fs::write(root.path().join("sub/deep/a b&<c>.txt"), "odd").unwrap();
    fs::write(root.path().join(".secret"), "secret").unwrap();
    fs::create_dir(root.path().join(".git")).unwrap();
    fs::write(root.path().join(".git/config"), "secret").unwrap();
    root
}

#[tokio::test]
async fn a_file_comes_with_what_a_cache_needs() {
    let root = folder();
    let setup = Setup::serving(root.path()).await;
    let first = setup.get("/a.txt").await;
    assert_eq!((first.status, first.cache(), first.text()), (StatusCode::OK, "MISS", "0123456789"));
    assert_eq!(first.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!((first.header("cache-control"), first.header("content-length")), ("max-age=60", "10"));
    assert!(first.header("etag").starts_with('"') && !first.header("last-modified").is_empty());
    let second = setup.get("/a.txt").await;
    assert_eq!((second.cache(), second.text()), ("HIT", "0123456789"));
    for cache in ["MISS", "HIT"] {
        let empty = setup.get("/empty").await;
        assert_eq!((empty.cache(), empty.text(), empty.header("content-length")), (cache, "", "0"));
    }
}

#[tokio::test]
async fn a_file_is_confirmed_until_it_changes() {
    let root = folder();
    let setup = Setup::serving(root.path()).await;
    setup.get("/a.txt").await;
    setup.pass_time(61);
    assert_eq!(setup.get("/a.txt").await.cache(), "HIT");
    fs::write(root.path().join("a.txt"), "changed").unwrap();
    assert_eq!(setup.get("/a.txt").await.text(), "0123456789");
    setup.pass_time(61);
    let answer = setup.get("/a.txt").await;
    assert_eq!((answer.cache(), answer.text()), ("MISS", "changed"));
}

#[tokio::test]
async fn parts_of_a_file_that_is_not_cached_come_from_the_server() {
    let root = folder();
    let setup = Setup::serving(root.path()).await;
    let part = setup.get_with("/large.bin", &[("range", "bytes=998-")]).await;
    assert_eq!((part.status, part.cache()), (StatusCode::PARTIAL_CONTENT, "BYPASS"));
    assert_eq!((part.header("content-range"), part.text().len()), ("bytes 998-1000/1001", 3));
    let whole = setup.get("/large.bin").await;
    assert_eq!((whole.cache(), whole.text().len()), ("BYPASS", 1001));
}

#[tokio::test]
async fn a_folder_shows_its_index_or_its_names() {
    let root = folder();
    let setup = Setup::serving(root.path()).await;
    assert_eq!(setup.get("/sub/").await.text(), "<p>");
    let redirect = setup.get("//sub").await;
    assert_eq!((redirect.status, redirect.header("location")), (StatusCode::MOVED_PERMANENTLY, "/sub/"));
    let listing = setup.get("/").await;
    assert!(listing.text().contains("\"./a.txt\"") && listing.text().contains("\"./sub/\""));
    assert!(!listing.text().contains("secret") && !listing.text().contains(".git"));
    let listing = setup.get("/sub/deep/").await;
    assert!(listing.text().contains("<a href=\"./a%20b&amp;%3Cc%3E.txt\">a b&amp;&lt;c&gt;.txt</a>"));
    assert_eq!(setup.get("/sub/deep/a%20b&%3Cc%3E.txt").await.text(), "odd");
    assert_eq!(setup.head("/").await.text(), "");
}

#[tokio::test]
async fn what_lies_outside_or_is_hidden_is_refused() {
    let outer = tempfile::tempdir().unwrap();
    fs::write(outer.path().join("outside.txt"), "secret").unwrap();
    let root = outer.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join(".hidden"), "secret").unwrap();
    fs::write(root.join("inside.txt"), "fine").unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink(outer.path().join("outside.txt"), root.join("out")).unwrap();
        symlink(outer.path(), root.join("up")).unwrap();
        symlink(".hidden", root.join("dotted")).unwrap();
        symlink("inside.txt", root.join("in")).unwrap();
    }
    let setup = Setup::serving(&root).await;
    for path in [
        "/../outside.txt",
        "/%2e%2e/outside.txt",
        "/..%2foutside.txt",
        "/x/../../outside.txt",
        "/..%5coutside.txt",
        "/.hidden",
        "/%2ehidden",
        "/inside.txt%00",
        "/%2foutside.txt",
        "/out",
        "/up/outside.txt",
        "/up/",
        "/dotted",
        "/%ff",
        "/inside.txt/",
        "/inside.txt/x",
        "/missing",
    ] {
        let answer = setup.get(path).await;
        assert!(answer.status.is_client_error(), "{path}: {}", answer.status);
        assert_eq!((answer.cache(), answer.text().contains("secret")), ("BYPASS", false), "{path}");
    }
    assert_eq!(setup.entries(), 0);
    #[cfg(unix)]
    assert_eq!(setup.get("/in").await.text(), "fine");
    let answer = setup.send(Method::PUT, "/inside.txt", &[], "x").await;
    assert_eq!((answer.status, answer.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD"));
}

#[tokio::test]
async fn folders_do_not_share_entries_in_one_cache() {
    let (first, second) = (folder(), folder());
    let one = FileServer::new(first.path()).unwrap();
    let two = FileServer::new(second.path()).unwrap();
    assert_ne!(Origin::Files(one).namespace(), Origin::Files(two).namespace());
    assert!(FileServer::new(&first.path().join("a.txt")).is_err());
    assert!(FileServer::new(&first.path().join("none")).is_err());
}
