//! The known word that a person most likely meant.

/// Longer ones are nobody's slip, and would take long.
const LONGEST_BYTES: usize = 64;

/// The one of `known` that is nearest to `word`, with a third of its letters off at the most (of a short
/// one two, and half), in whatever case; of several the longest.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST_BYTES {
        return None;
    }
    let word = word.to_ascii_lowercase();
    let most = |name: &str| (name.len() / 2).min(2).max(name.len() / 3);
    let all = known.into_iter().filter(|name| name.len().abs_diff(word.len()) <= most(name));
    all.map(|name| (edits(word.as_bytes(), name.to_ascii_lowercase().as_bytes()), name))
        .filter(|(off, name)| *off <= most(name))
        .min_by_key(|(off, name)| (*off, usize::MAX - name.len()))
        .map(|(_, name)| name)
}

/// Letters to insert, remove, replace, or swap with the next one (the optimal string alignment distance).
fn edits(a: &[u8], b: &[u8]) -> usize {
    let (mut before, mut row) = (Vec::new(), (0..=b.len()).collect::<Vec<usize>>());
    for at in 0..a.len() {
        let mut next = vec![at + 1];
        for to in 0..b.len() {
            let replaced = row[to] + usize::from(a[at] != b[to]);
            let fewest = replaced.min(row[to + 1] + 1).min(next[to] + 1);
            let swapped = at > 0 && to > 0 && a[at] == b[to - 1] && a[at - 1] == b[to];
            next.push(if swapped { fewest.min(before[to - 1] + 1) } else { fewest });
        }
        before = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let known = ["CAP_CHOWN", "CAP_KILL"];
        assert_eq!(nearest("cap_chwon", known), Some("CAP_CHOWN"));
        assert_eq!(nearest("frobnicate", known), None);
    }
}
