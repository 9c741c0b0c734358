//! `PURGE` of more than one key; of one key it is Pingora's.

use super::caching::url;
use disk_cache::PurgeMode;
use pingora_disk_cache::DiskCacheStorage;
use pingora_error::Result;
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

/// `PURGE /images/*` purges all URLs of the host that begin so, `PURGE /` with `Surrogate-Key: news sport` all responses with
/// one of these tags. `X-Purge: soft` leaves them to be revalidated. Returns whether the request was answered here.
pub(crate) async fn answer(session: &mut Session, storage: &DiskCacheStorage) -> Result<bool> {
    let peer = session.client_addr().and_then(|addr| addr.as_inet());
    // A Unix socket has permissions of its own.
    let over_unix = session.server_addr().is_some_and(|addr| addr.as_inet().is_none());
    let from_here = over_unix || peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    if !from_here {
        return say(session, 403).await;
    }
    let request = session.req_header();
    let mode = if is_soft(request) { PurgeMode::Expire } else { PurgeMode::Remove };
    let tags = request.headers.get("surrogate-key").and_then(|tags| tags.to_str().ok());
    let url = url(request);
    let purged = if let Some(tags) = tags {
        let tags: Vec<_> = tags.split_whitespace().map(str::to_owned).collect();
        let mut purged = Ok(());
        for tag in tags {
            purged = purged.and(storage.purge_tag(tag, mode).await);
        }
        purged
    } else if let Some(prefix) = url.strip_suffix('*') {
        storage.purge_prefix("", prefix.to_owned(), mode).await
    } else {
        return Ok(false);
    };
    if let Err(unnoted) = &purged {
        log::error!("a purge is not noted on the disk: {unnoted}");
    }
    say(session, if purged.is_ok() { 200 } else { 500 }).await
}

/// Whether what is purged is to be revalidated rather than gone.
pub(crate) fn is_soft(request: &RequestHeader) -> bool {
    request.headers.get("x-purge").is_some_and(|how| how == "soft")
}

async fn say(session: &mut Session, status: u16) -> Result<bool> {
    let mut response = ResponseHeader::build(status, None)?;
    response.insert_header("content-length", 0)?;
    session.write_response_header(Box::new(response), true).await?;
    Ok(true)
}
