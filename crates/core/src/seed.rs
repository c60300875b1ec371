//! Seeds as pure functions of where we are, so that resuming needs no generator state.

/// Mixes `parts` into one seed (SplitMix64 finaliser, Steele et al. 2014).
///
/// `derive(&[run_seed, epoch, index])` gives sample `index` of `epoch` the same random numbers
/// whatever thread draws them and wherever training was resumed.
pub fn derive(parts: &[u64]) -> u64 {
    parts.iter().fold(0x9E37_79B9_7F4A_7C15, |state, &part| {
        let mut z = (state ^ part).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::derive;

    #[test]
    fn order_and_value_matter() {
        assert_ne!(derive(&[1, 2]), derive(&[2, 1]));
        assert_ne!(derive(&[0]), derive(&[0, 0]));
        assert_eq!(derive(&[7, 3]), derive(&[7, 3]));
    }
}
