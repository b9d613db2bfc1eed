//! A sample that is the same every time.

/// `count` of these lines, spread evenly by the hash (FNV-1a) of their text,
/// in the order in which they came.
pub fn sample(lines: impl IntoIterator<Item = String>, count: usize) -> Vec<String> {
    let mut all: Vec<(u64, usize, String)> = lines
        .into_iter()
        .enumerate()
        .map(|(at, line)| (hash(line.as_bytes()), at, line))
        .collect();
    all.sort_unstable();
    all.truncate(count);
    all.sort_unstable_by_key(|(_, at, _)| *at);
    all.into_iter().map(|(_, _, line)| line).collect()
}

fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_the_same_every_time_and_in_order() {
        let lines = || (0..1000).map(|number| format!("{number:04}"));
        let some = sample(lines(), 50);
        assert_eq!(some, sample(lines(), 50));
        assert_eq!(some.len(), 50);
        assert!(some.is_sorted());
        assert_eq!(sample(lines(), 2000).len(), 1000);
    }
}
