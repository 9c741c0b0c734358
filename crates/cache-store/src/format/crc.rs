//! CRC-32C, the checksum of what is read back whole: payloads of records, chunks of large bodies.

use crc_fast::{CrcAlgorithm::Crc32Iscsi, Digest};

/// The checksum of `bytes`.
pub(crate) fn of(bytes: &[u8]) -> u32 {
    crc_fast::checksum(Crc32Iscsi, bytes) as u32
}

/// The checksum of what `crc` is the checksum of, and `bytes` behind it. From 0 it is that of `bytes`.
pub(crate) fn append(crc: u32, bytes: &[u8]) -> u32 {
    let mut digest = Digest::new_with_init_state(Crc32Iscsi, u64::from(!crc));
    digest.update(bytes);
    digest.finalize() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_is_that_of_the_catalogue() {
        assert_eq!(of(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn pieces_add_up_to_the_whole_at_every_cut() {
        let bytes: Vec<u8> = (0..700u32).map(|n| (n * 31 % 251) as u8).collect();
        for cut in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(append(append(0, head), tail), of(&bytes), "cut at {cut}");
        }
    }
}
