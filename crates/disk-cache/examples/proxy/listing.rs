//! The page that lists a folder.

use crate::file_server::ESCAPED;
use bytes::Bytes;
use percent_encoding::utf8_percent_encode;
use std::{io, path::Path};

/// A page that lists a folder's names, those with a dot in front left out, folders with a slash at their end.
///
/// # Errors
/// A folder that does not read.
pub(crate) async fn listing(folder: &Path, is_root: bool) -> io::Result<Bytes> {
    let mut names = Vec::new();
    let mut entries = tokio::fs::read_dir(folder).await?;
    while let Some(entry) = entries.next_entry().await? {
        // A name that is not UTF-8 cannot be asked for either.
        let Ok(mut name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') {
            continue;
        }
        if entry.file_type().await.is_ok_and(|kind| kind.is_dir()) {
            name.push('/');
        }
        names.push(name);
    }
    names.sort_unstable();
    let up = (!is_root).then(|| "../".to_owned());
    let mut page = String::from("<!doctype html>\n<meta charset=\"utf-8\">\n<title>Index</title>\n<ul>\n");
    for name in up.iter().chain(&names) {
        // "./" in front: a name may look like a scheme.
        let link = utf8_percent_encode(name, ESCAPED).to_string().replace('&', "&amp;");
        page.extend(["<li><a href=\"./", &link, "\">", &escaped(name), "</a>\n"]);
    }
    page.push_str("</ul>\n");
    Ok(page.into())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
