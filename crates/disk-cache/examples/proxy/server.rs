//! Accepts connections and lets them finish.

use crate::{
    body::{Body, BoxError},
    proxy::Proxy,
};
use http_body_util::BodyExt as _;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use std::{convert::Infallible, future::Future, net::IpAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

/// Connections at a time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;
/// How long a client may take over a request's header, and may leave a connection unused.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a request's header, and of an answer that waits for a slow client.
const BUFFER: usize = 64 << 10;
/// How long requests under way may take when the proxy is to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until `stop`, then lets requests under way finish.
pub(crate) async fn serve(listener: TcpListener, proxy: Arc<Proxy>, stop: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut stop = pin!(stop);
    loop {
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            biased;
            () = &mut stop => break,
            next = next => next,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = graceful.watch(connection(stream, peer.ip(), Arc::clone(&proxy)));
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "connection ended");
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: some must be closed first.
                tracing::warn!(%error, "no connection accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests that were still under way are broken off");
    }
}

fn connection(
    stream: TcpStream,
    peer: IpAddr,
    proxy: Arc<Proxy>,
) -> impl hyper_util::server::graceful::GracefulConnection<Output = Result<(), hyper::Error>> + Send {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "latency may suffer");
    }
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let request = request.map(|body| -> Body { body.map_err(BoxError::from).boxed_unsync() });
        let proxy = Arc::clone(&proxy);
        async move { Ok::<_, Infallible>(Box::pin(proxy.handle(request, peer)).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service)
}
