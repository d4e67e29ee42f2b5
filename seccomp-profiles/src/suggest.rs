//! The known system call name nearest to a misspelt one.

use crate::arch::TABLE;

/// More edits than this are another word, not a slip.
const MAX_EDITS: usize = 2;

/// The known system call name nearest to a misspelt one; none if none is near. Of several, the
/// first in the table.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static str> {
    let mut best = None;
    // Longer ones are nobody's slip, and would take long.
    if name.len() > 64 {
        return None;
    }
    for (known, _) in TABLE.iter().flat_map(|table| table.calls.iter()) {
        // Each edit changes the length by one at most.
        if known.len().abs_diff(name.len()) > MAX_EDITS {
            continue;
        }
        let edits = edits(name.as_bytes(), known.as_bytes());
        if edits <= MAX_EDITS && best.is_none_or(|(fewest, _)| edits < fewest) {
            best = Some((edits, known));
        }
    }
    best.map(|(_, known)| known)
}

/// Levenshtein's distance.
fn edits(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, from) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (to_at, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[to_at + 1];
            row[to_at + 1] = replaced.min(diagonal + 1).min(row[to_at] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        assert_eq!(nearest("ptrce"), Some("ptrace"));
        assert_eq!(nearest("unsahre"), Some("unshare"));
        assert_eq!(nearest("frobnicate"), None);
        assert_eq!(nearest(&"x".repeat(100_000)), None);
    }
}
