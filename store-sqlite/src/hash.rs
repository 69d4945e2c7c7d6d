//! A small hash that is stable across processes and releases. It is not cryptographic; whatever it finds is compared
//! in full.

/// FNV-1a over the parts. Each part is terminated, so that `["ab", "c"]` and `["a", "bc"]` differ.
pub(crate) fn hash(parts: &[&[u8]]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in part.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}
