//! An origin, a client, and the example's proxy between them, all in this process.
#![allow(dead_code, unreachable_pub, reason = "not every suite uses all of it")]

pub mod client;
pub mod origin;
pub mod proxy;

/// Longer than anything here takes.
pub const FOREVER: std::time::Duration = std::time::Duration::from_secs(60);

/// Asks again and again for what somebody else is about to do.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, ask: impl Fn() -> F) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(FOREVER, asking).await.expect(what)
}

/// A body in which every byte tells its place, and differs from that of another seed.
pub fn body(seed: u64, len: usize) -> bytes::Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}
