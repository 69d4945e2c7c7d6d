//! A small hash that every process and every release computes alike. It protects nothing; what it finds is compared.

/// FNV-1a over the parts, each closed off, so that `["ab", "c"]` and `["a", "bc"]` differ.
pub(crate) fn hash(parts: &[&[u8]]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in part.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}
