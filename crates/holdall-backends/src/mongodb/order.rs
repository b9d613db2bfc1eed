//! Sort keys as texts: MongoDB orders binaries by their length first, and texts
//! by their bytes.

/// A text that is ordered as the bytes are: each byte becomes the character
/// after it, so that none is U+0000.
pub(super) fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| shifted(*byte)).collect()
}

fn shifted(byte: u8) -> char {
    char::from_u32(u32::from(byte) + 1).unwrap_or('\u{1}')
}

/// The first text after all that start with this one, which is made of bytes and
/// not empty.
pub(super) fn after(prefix: &str) -> String {
    let mut end = prefix.to_owned();
    if let Some(next) = end
        .pop()
        .and_then(|last| char::from_u32(u32::from(last) + 1))
    {
        end.push(next);
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_ordered_as_their_bytes() {
        let all: Vec<Vec<u8>> = (0..=255)
            .flat_map(|a| [vec![a], vec![a, 0], vec![a, 255]])
            .collect();
        for a in &all {
            for b in &all {
                assert_eq!(
                    a.cmp(b),
                    text(a).as_bytes().cmp(text(b).as_bytes()),
                    "{a:?} {b:?}"
                );
                let within = text(b).starts_with(&text(a));
                assert_eq!(
                    within,
                    text(b) >= text(a) && text(b) < after(&text(a)),
                    "{a:?} {b:?}"
                );
            }
        }
    }
}
