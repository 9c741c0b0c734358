//! The built-in origin: a read-only server of one folder.
//!
//! **Invariants**: nothing outside the folder is served, whatever the path spells and wherever links lead; no name that
//! begins with a dot is served or listed; a file that changes while it is sent ends in an error, never in a mixed body.

use crate::{
    body::{Body, BoxError, empty, full, streamed},
    conditions::Conditions,
    headers,
    listing::listing,
};
use bytes::BytesMut;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use std::{
    fs::Metadata,
    io,
    ops::Range,
    path::{Component, Path, PathBuf},
    time::UNIX_EPOCH,
};
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _, SeekFrom},
};

/// What a name in a path must not have unescaped.
pub(crate) const ESCAPED: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?').add(b'`').add(b'\\');

/// Bytes read from a file at once.
const PIECE: usize = 128 << 10;

/// A read-only server of one folder.
#[derive(Debug)]
pub(crate) struct FileServer {
    root: PathBuf,
}

/// A request that gets no file, with what the client is told.
#[derive(Debug)]
struct Refusal(StatusCode, &'static str);

const NOT_FOUND: Refusal = Refusal(StatusCode::NOT_FOUND, "no such file\n");
const FORBIDDEN: Refusal = Refusal(StatusCode::FORBIDDEN, "this path is not served\n");
const MALFORMED: Refusal = Refusal(StatusCode::BAD_REQUEST, "this path does not read\n");
const FAILED: Refusal = Refusal(StatusCode::INTERNAL_SERVER_ERROR, "the file does not read\n");

impl FileServer {
    /// A server of `root`.
    ///
    /// # Errors
    /// Where `root` is not a folder that can be entered.
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        let root = root.canonicalize()?;
        if !root.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { root })
    }

    /// The folder, without links in its path.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Answers a request.
    pub(crate) async fn fetch(&self, request: Request<Body>) -> Response<Body> {
        let head_only = request.method() == Method::HEAD;
        if !head_only && request.method() != Method::GET {
            let mut response = refusal(&Refusal(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n"));
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let mut fields = headers::joined(request.headers());
        let conditions = Conditions::take(&mut fields);
        let conditions = if head_only { conditions.without_range() } else { conditions };
        let path = request.uri().path().to_owned();
        let answer = self.answer(&path, &conditions).await;
        let mut response = answer.unwrap_or_else(|refused| refusal(&refused));
        if head_only {
            *response.body_mut() = empty();
        }
        response
    }

    async fn answer(&self, path: &str, conditions: &Conditions) -> Result<Response<Body>, Refusal> {
        let names = names(path)?;
        let found = self.resolve(&names).await?;
        let metadata = tokio::fs::metadata(&found).await.map_err(|e| refused(&e))?;
        if !metadata.is_dir() {
            return if path.ends_with('/') { Err(NOT_FOUND) } else { file(&found, conditions).await };
        }
        if !path.ends_with('/') {
            return redirect(&names);
        }
        let index = self.resolve(&[names.as_slice(), &["index.html".to_owned()]].concat()).await;
        if let Ok(index) = index {
            return file(&index, conditions).await;
        }
        let page = listing(&found, names.is_empty()).await.map_err(|e| refused(&e))?;
        let mut response = Response::new(());
        describe(response.headers_mut(), &metadata, "text/html; charset=utf-8");
        let (mut head, ()) = response.into_parts();
        let selection = conditions.select(head.status, &head.headers, page.len() as u64);
        let range = selection.apply(&mut head, page.len() as u64);
        Ok(Response::from_parts(head, full(page.slice(range.start as usize..range.end as usize))))
    }

    /// The file or folder that a path means, links followed, if it lies inside the root.
    async fn resolve(&self, names: &[String]) -> Result<PathBuf, Refusal> {
        let path = names.iter().fold(self.root.clone(), |path, name| path.join(name));
        let found = tokio::fs::canonicalize(&path).await.map_err(|e| refused(&e))?;
        let inside = found.strip_prefix(&self.root).map_err(|_| FORBIDDEN)?;
        let hidden = inside.components().any(|c| c.as_os_str().as_encoded_bytes().starts_with(b"."));
        if hidden { Err(FORBIDDEN) } else { Ok(found) }
    }
}

/// The names in a path. Each is looked at after it was decoded, so that no encoding hides anything.
fn names(path: &str) -> Result<Vec<String>, Refusal> {
    let mut names = Vec::new();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let name = percent_decode_str(name).decode_utf8().map_err(|_| MALFORMED)?.into_owned();
        if name.contains('\0') {
            return Err(MALFORMED);
        }
        let mut parts = Path::new(&name).components();
        let plain =
            matches!((parts.next(), parts.next()), (Some(Component::Normal(n)), None) if n == name.as_str());
        if name.starts_with('.') || name.contains(['/', '\\']) || !plain {
            return Err(FORBIDDEN);
        }
        names.push(name);
    }
    Ok(names)
}

async fn file(path: &Path, conditions: &Conditions) -> Result<Response<Body>, Refusal> {
    // Looked at before it is opened: opening a pipe waits for its other end.
    let metadata = tokio::fs::metadata(path).await.map_err(|e| refused(&e))?;
    if !metadata.is_file() {
        return Err(FORBIDDEN);
    }
    let mut file = File::open(path).await.map_err(|e| refused(&e))?;
    let metadata = file.metadata().await.map_err(|e| refused(&e))?;
    let mime = mime_guess::from_path(path).first_or_octet_stream();
    let mime = if mime.type_() == "text" { format!("{mime}; charset=utf-8") } else { mime.to_string() };
    let mut response = Response::new(());
    describe(response.headers_mut(), &metadata, &mime);
    let (mut head, ()) = response.into_parts();
    let selection = conditions.select(head.status, &head.headers, metadata.len());
    let range = selection.apply(&mut head, metadata.len());
    if range.is_empty() {
        return Ok(Response::from_parts(head, empty()));
    }
    file.seek(SeekFrom::Start(range.start)).await.map_err(|e| refused(&e))?;
    Ok(Response::from_parts(head, pieces(file, range, etag(&metadata))))
}

/// What is sent of a file, if it is still the same at the end.
fn pieces(file: File, range: Range<u64>, etag: String) -> Body {
    let state = Some((file, range.end - range.start));
    streamed(stream::unfold(state, move |state| {
        let etag = etag.clone();
        async move {
            let (mut file, left) = state.filter(|(_, left)| *left > 0)?;
            let piece = async {
                let mut piece = BytesMut::with_capacity(PIECE.min(left as usize));
                let n = (&mut file).take(left).read_buf(&mut piece).await? as u64;
                if n == 0 || n == left && self::etag(&file.metadata().await?) != etag {
                    return Err(BoxError::from("the file changed while it was sent"));
                }
                Ok((piece.freeze(), left - n))
            };
            Some(match piece.await {
                Ok((piece, left)) => (Ok(piece), Some((file, left))),
                Err(error) => (Err(error), None),
            })
        }
    }))
}

/// Sets the fields that let a cache keep a file.
fn describe(headers: &mut HeaderMap, metadata: &Metadata, mime: &str) {
    let mut set = |name, value: &str| {
        HeaderValue::from_str(value).ok().and_then(|value| headers.insert(name, value));
    };
    set(header::CONTENT_TYPE, mime);
    set(header::CACHE_CONTROL, "max-age=60");
    set(header::ETAG, &etag(metadata));
    if let Ok(modified) = metadata.modified() {
        set(header::LAST_MODIFIED, &httpdate::fmt_http_date(modified));
    }
}

/// Length and time of change, to the nanosecond.
fn etag(metadata: &Metadata) -> String {
    let modified = metadata.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
    format!("\"{:x}-{:x}\"", metadata.len(), modified.map_or(0, |t| t.as_nanos()))
}

/// To the folder's path with a slash at its end. Built of its names: the path as it came might begin with two slashes,
/// which would mean another host.
fn redirect(names: &[String]) -> Result<Response<Body>, Refusal> {
    let escaped = names.iter().map(|name| format!("/{}", utf8_percent_encode(name, ESCAPED)));
    let location = escaped.collect::<String>() + "/";
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let fields = response.headers_mut();
    fields.insert(header::LOCATION, HeaderValue::from_str(&location).map_err(|_| MALFORMED)?);
    fields.insert(header::CONTENT_LENGTH, 0.into());
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn refused(error: &io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => NOT_FOUND,
        io::ErrorKind::PermissionDenied => FORBIDDEN,
        _ => FAILED,
    }
}

fn refusal(&Refusal(status, text): &Refusal) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    fields.insert(header::CONTENT_LENGTH, text.len().into());
    // A file that is made later is to be seen at once.
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
