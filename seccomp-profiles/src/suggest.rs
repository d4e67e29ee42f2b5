//! The known word that a person most likely meant.

use brig_spec::nearest;

use crate::arch::TABLE;

/// The known system call name nearest to a misspelt one, as [`nearest`] says.
#[must_use]
pub fn nearest_call(name: &str) -> Option<&'static str> {
    nearest(name, TABLE.iter().flat_map(|table| table.calls.iter()).map(|(known, _)| known))
}

#[cfg(test)]
mod tests {
    use super::nearest_call;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        assert_eq!(nearest_call("ptrce"), Some("ptrace"));
        assert_eq!(nearest_call("unsahre"), Some("unshare"));
        assert_eq!(nearest_call("wriet"), Some("write"));
        assert_eq!(nearest_call("frobnicate"), None);
        assert_eq!(nearest_call(&"x".repeat(100_000)), None);
    }
}
