//! Header fields that a proxy drops, adds or joins.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, Entry},
};
use std::net::IpAddr;

/// Fields that belong to one connection (RFC 9110, 7.6.1), whether or not `Connection` names them.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Fields by which an origin may choose its answer while the cache does not tell requests apart by them: a client that
/// could set them would choose what the next client is served.
const UNKEYED: [HeaderName; 4] = [
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-proto"),
];

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Removes the fields that belong to one connection.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = list(headers, &header::CONNECTION)
        .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Makes a client's header that of the request to the origin.
pub(crate) fn forward(headers: &mut HeaderMap, peer: IpAddr, host: &HeaderValue) {
    strip_hop_by_hop(headers);
    // `Expect` was answered by our own server; a second `100 Continue` from the origin would reach nobody.
    for name in UNKEYED.iter().chain(&[header::EXPECT]) {
        headers.remove(name);
    }
    headers.insert(header::HOST, host.clone());
    let mut hops: Vec<String> = list(headers, &X_FORWARDED_FOR).map(str::to_owned).collect();
    hops.push(peer.to_canonical().to_string());
    if let Ok(value) = HeaderValue::from_str(&hops.join(", ")) {
        headers.insert(X_FORWARDED_FOR, value);
    }
}

/// The members of a comma-separated field, over all its lines.
pub(crate) fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|member| !member.is_empty())
}

/// The words of a field, over all its lines.
pub(crate) fn words(headers: &HeaderMap, name: &HeaderName) -> Vec<Bytes> {
    let lines = headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
    let words = lines.flat_map(|line| line.split(u8::is_ascii_whitespace)).filter(|word| !word.is_empty());
    words.map(Bytes::copy_from_slice).collect()
}

/// A directive of `Cache-Control`: `None` where it is missing, otherwise its value, empty where it has none.
pub(crate) fn directive<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    list(headers, &header::CACHE_CONTROL).find_map(|member| {
        let (key, value) = member.split_once('=').unwrap_or((member, ""));
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

/// The header with one line a field: the rules of http-cache-semantics look at one line only.
pub(crate) fn joined(headers: &HeaderMap) -> HeaderMap {
    let mut out = HeaderMap::with_capacity(headers.keys_len());
    for (name, value) in headers {
        match out.entry(name) {
            Entry::Vacant(entry) => drop(entry.insert(value.clone())),
            Entry::Occupied(mut entry) => {
                let separator: &[u8] = if name == header::COOKIE { b"; " } else { b", " };
                let line = [entry.get().as_bytes(), separator, value.as_bytes()].concat();
                if let Ok(line) = HeaderValue::from_bytes(&line) {
                    entry.insert(line);
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|&(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn fields_that_connection_names_are_dropped_with_it() {
        let mut all = HeaderMap::new();
        all.append("connection", HeaderValue::from_static("close, X-Private"));
        all.append("x-private", HeaderValue::from_static("1"));
        all.append("x-public", HeaderValue::from_static("2"));
        strip_hop_by_hop(&mut all);
        assert_eq!(all, headers(&[("x-public", "2")]));
    }

    #[test]
    fn directives_are_found_in_any_case_and_with_quotes() {
        let all = headers(&[("cache-control", "public, Stale-If-Error=\"60\" , no-cache")]);
        assert_eq!(directive(&all, "stale-if-error"), Some("60"));
        assert_eq!(directive(&all, "no-cache"), Some(""));
        assert_eq!(directive(&all, "no-store"), None);
    }

    #[test]
    fn the_chain_of_addresses_grows_by_the_peer() {
        let mut all = headers(&[("x-forwarded-for", "203.0.113.7"), ("x-forwarded-host", "evil.example")]);
        forward(&mut all, IpAddr::from([127, 0, 0, 1]), &HeaderValue::from_static("origin"));
        assert_eq!(all, headers(&[("x-forwarded-for", "203.0.113.7, 127.0.0.1"), ("host", "origin")]));
    }
}
