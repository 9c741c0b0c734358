//! The origin: a process that does nothing but send bodies, and counts what it was asked for.
//!
//! `GET /LENGTH/NUMBER` is a body that may be cached for a day, sent `?wait=MS` milliseconds after the request came; `GET /count`
//! says how many bodies were asked for.

use crate::{
    Result,
    bench::Bench,
    http::{bodies::Bodies, client::Connection, held::Held},
};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Up to here head and body go in one write.
const ONE_WRITE: usize = 64 << 10;
/// No request is longer.
const MAX_HEAD: usize = 16 << 10;

/// The origin's process.
#[derive(Debug)]
pub struct Origin {
    held: Held,
}

impl Origin {
    /// Starts it, for bodies of up to so many bytes.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start(bench: &Bench, longest: usize) -> Result<Self> {
        let program = std::env::current_exe()?;
        let held = Held::start(&program, &bench.path("origin.log"), |addr| {
            ["part", "origin", &addr.to_string(), &longest.to_string()].map(Into::into).to_vec()
        })?;
        Ok(Self { held })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.held.addr()
    }

    /// How many bodies it was asked for since it began.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn asked(&self) -> Result<usize> {
        let mut digits = Vec::new();
        let mut connection = Connection::open(self.addr()).await?;
        connection.get("/count", |piece| digits.extend_from_slice(piece)).await?;
        Ok(std::str::from_utf8(&digits)?.parse()?)
    }
}

/// Is the origin.
///
/// # Errors
/// Where it cannot listen.
pub async fn serve(addr: SocketAddr, longest: usize) -> Result<()> {
    let (bodies, asked) = (Bodies::new(longest), Arc::new(AtomicUsize::new(0)));
    let listener = TcpListener::bind(addr).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (bodies, asked) = (bodies.clone(), asked.clone());
        tokio::spawn(async move {
            // Whoever hangs up has what it wanted.
            drop(answer_all(stream, &bodies, &asked).await);
        });
    }
}

async fn answer_all(mut stream: TcpStream, bodies: &Bodies, asked: &AtomicUsize) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    loop {
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() > MAX_HEAD || stream.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let target = std::str::from_utf8(&head)?.split(' ').nth(1).unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (body, rules) = if path == "/count" {
            (asked.load(Ordering::Relaxed).to_string().into(), "no-store")
        } else {
            asked.fetch_add(1, Ordering::Relaxed);
            (bodies.of(path)?, "max-age=86400")
        };
        if let Some(wait) = query.strip_prefix("wait=") {
            tokio::time::sleep(Duration::from_millis(wait.parse()?)).await;
        }
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\nCache-Control: {rules}\r\n\
             ETag: \"{path}\"\r\n\r\n",
            body.len()
        )
        .into_bytes();
        if body.len() <= ONE_WRITE {
            answer.extend_from_slice(&body);
            stream.write_all(&answer).await?;
        } else {
            stream.write_all(&answer).await?;
            stream.write_all(&body).await?;
        }
    }
}
