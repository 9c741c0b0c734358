//! A connection that asks for one body after the other. It understands no more than the proxies under measurement send, so that
//! most of the machine is theirs.

use crate::Result;
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Bytes taken from the socket at a time.
const BUFFER: usize = 256 << 10;

/// A connection to a proxy or an origin.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Box<[u8]>,
    request: Vec<u8>,
}

/// What an answer's head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the body.
    pub len: u64,
    /// `X-Cache` in capitals; empty where there is none.
    pub cache: String,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// That of `connect(2)`.
    pub async fn open(addr: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; BUFFER].into(), request: Vec::new() })
    }

    /// Asks for a body; `piece` sees it as it comes.
    ///
    /// # Errors
    /// An answer that is no 200 of known length, or that ends early.
    pub async fn get(&mut self, path: &str, mut piece: impl FnMut(&[u8])) -> Result<Head> {
        use std::io::Write as _;
        self.request.clear();
        write!(self.request, "GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n")?;
        self.stream.write_all(&self.request).await?;
        let mut have = 0;
        let end = loop {
            let read = self.stream.read(&mut self.buffer[have..]).await?;
            if read == 0 {
                return Err(format!("{path}: the connection ended in the middle of a head").into());
            }
            have += read;
            if let Some(at) = self.buffer[..have].windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let head = read(std::str::from_utf8(&self.buffer[..end])?).map_err(|e| format!("{path}: {e}"))?;
        piece(&self.buffer[end..have]);
        let mut left = head.len.checked_sub((have - end) as u64).ok_or("a body longer than announced")?;
        while left > 0 {
            let most = self.buffer.len().min(usize::try_from(left)?);
            let read = self.stream.read(&mut self.buffer[..most]).await?;
            if read == 0 {
                return Err(format!("{path}: the connection ended {left} bytes before the body").into());
            }
            piece(&self.buffer[..read]);
            left -= read as u64;
            // Clients are machines of their own: none of them takes all that there is before another takes its first byte.
            tokio::task::yield_now().await;
        }
        Ok(head)
    }
}

/// Reads a head.
///
/// # Errors
/// Another status than 200; no length.
fn read(head: &str) -> Result<Head> {
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(format!("the answer is {status}").into());
    }
    let field = |name: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let len = field("content-length").ok_or("an answer without a length")?.parse()?;
    Ok(Head { len, cache: field("x-cache").unwrap_or_default().to_ascii_uppercase() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_whatever_the_case_of_its_names() {
        let head = read("HTTP/1.1 200 OK\r\ncontent-Length: 7\r\nX-CACHE: hit\r\n\r\n").expect("a head");
        assert_eq!(head, Head { len: 7, cache: "HIT".to_owned() });
        assert!(read("HTTP/1.1 200 OK\r\n\r\n").is_err() && read("HTTP/1.1 404 no\r\n\r\n").is_err());
    }
}
