//! A store that writes down what it is asked, and misbehaves when told to.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use object_store::{
    CopyOptions, Error, Extensions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    path::Path,
};
use std::{
    fmt,
    ops::Range,
    sync::{Arc, Mutex},
};
use tokio::sync::watch;

/// One get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Head,
    Whole,
    Part(Range<u64>),
}

/// How the next gets go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Every get is refused.
    Refused,
    /// Bodies end a byte early.
    Truncated,
    /// Conditions are not looked at.
    Heedless,
    /// Objects have no `ETag`.
    Nameless,
    /// Objects have a weak `ETag`.
    Weak,
}

#[derive(Debug)]
pub(crate) struct Watched {
    inner: Arc<dyn ObjectStore>,
    asked: Mutex<Vec<Asked>>,
    fault: Mutex<Option<Fault>>,
    /// Answers are held back while it says so.
    held: watch::Sender<bool>,
    /// How many answers have been held back.
    waiting: watch::Sender<usize>,
}

impl Watched {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            asked: Mutex::default(),
            fault: Mutex::default(),
            held: watch::Sender::new(false),
            waiting: watch::Sender::new(0),
        })
    }

    /// What it was asked since the last call.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().expect("not poisoned"))
    }

    pub(crate) fn fails(&self, fault: impl Into<Option<Fault>>) {
        *self.fault.lock().expect("not poisoned") = fault.into();
    }

    /// From here on answers are held back.
    pub(crate) fn hold(&self) {
        self.held.send_replace(true);
    }

    /// An answer has been made and is held back.
    pub(crate) async fn holds_one(&self) {
        self.waiting.subscribe().wait_for(|waiting| *waiting > 0).await.expect("the store is there");
    }

    pub(crate) fn release(&self) {
        self.held.send_replace(false);
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watched({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Watched {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.asked.lock().expect("not poisoned").push(match &options.range {
            _ if options.head => Asked::Head,
            Some(GetRange::Bounded(range)) => Asked::Part(range.clone()),
            _ => Asked::Whole,
        });
        let fault = *self.fault.lock().expect("not poisoned");
        if fault == Some(Fault::Refused) {
            return Err(Error::PermissionDenied { path: location.to_string(), source: "as planted".into() });
        }
        let options =
            GetOptions { if_match: options.if_match.filter(|_| fault != Some(Fault::Heedless)), ..options };
        let mut answer = self.inner.get_opts(location, options).await;
        if *self.held.borrow() {
            self.waiting.send_modify(|waiting| *waiting += 1);
            self.held.subscribe().wait_for(|held| !held).await.expect("the store is there");
        }
        if let Ok(answer) = &mut answer {
            match fault {
                Some(Fault::Nameless) => answer.meta.e_tag = None,
                Some(Fault::Weak) => answer.meta.e_tag = Some("W/\"always the same\"".to_owned()),
                _ => {}
            }
        }
        if fault == Some(Fault::Truncated) {
            return cut(answer?).await;
        }
        answer
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// An answer whose body ends a byte early.
async fn cut(answer: GetResult) -> Result<GetResult> {
    let (meta, range, attributes) = (answer.meta.clone(), answer.range.clone(), answer.attributes.clone());
    let mut body = answer.bytes().await?;
    body.truncate(body.len().saturating_sub(1));
    let payload = GetResultPayload::Stream(stream::iter([Ok::<Bytes, Error>(body)]).boxed());
    Ok(GetResult { payload, meta, range, attributes, extensions: Extensions::new() })
}
