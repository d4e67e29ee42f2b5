//! Lists of processors and memory nodes, as the kernel reads them: `0-3,7`, `0-31:2/4`.
//!
//! Promises: accepts what `bitmap_parselist` of the kernel (lib/bitmap-str.c) accepts, but for the words
//! `all` and `N`, whose meaning only the machine knows; work and memory are bounded whatever the text.
//! Must never: drop a part that it does not understand.
//! Reference: cpuset(7) "List format".

/// One more than the largest number: the kernel's `NR_CPUS` is at most 8192 (arch/x86/Kconfig).
const NUMBERS_LIMIT: u16 = 8192;
/// The kernel takes no longer text for a cpuset file (`max_write_len` of kernel/cgroup/cpuset.c).
const TEXT_LIMIT_BYTES: usize = 100 + 6 * NUMBERS_LIMIT as usize;

/// A set of small numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NumberList(Vec<u64>);

impl NumberList {
    /// The numbers that `text` lists; regions are separated by commas or white space, and there may be none.
    /// `None` where the text is no list, or has a number above 8191.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > TEXT_LIMIT_BYTES {
            return None;
        }
        let mut list = Self::default();
        let separates = |c: char| c == ',' || c.is_ascii_whitespace();
        for region in text.split(separates).filter(|region| !region.is_empty()) {
            list.add(region)?;
        }
        Some(list)
    }

    /// Adds `N`, `N-M` or `N-M:USED/GROUP`: of each group of numbers the first `USED`.
    fn add(&mut self, region: &str) -> Option<()> {
        let Some((low, rest)) = region.split_once('-') else {
            self.insert(number(region)?);
            return Some(());
        };
        let (high, used, group) = match rest.split_once(':') {
            None => (rest, u16::MAX, u16::MAX),
            Some((high, pattern)) => {
                let (used, group) = pattern.split_once('/')?;
                (high, number(used)?, number(group)?)
            }
        };
        let (low, high) = (number(low)?, number(high)?);
        if low > high || group == 0 || used > group {
            return None;
        }
        for number in low..=high {
            if (number - low) % group < used {
                self.insert(number);
            }
        }
        Some(())
    }

    fn insert(&mut self, number: u16) {
        let word = usize::from(number / 64);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (number % 64);
    }

    /// Whether no number is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// As a bit mask, the lowest word first: what sched_setaffinity(2) and set_mempolicy(2) take.
    #[must_use]
    pub fn mask(&self) -> &[u64] {
        &self.0
    }

    /// As a bit mask, the lowest byte first and no zero at the end: what systemd takes
    /// (org.freedesktop.systemd1(5), `AllowedCPUs`).
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.0.iter().flat_map(|word| word.to_le_bytes()).collect();
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(used);
        bytes
    }

    /// The numbers, upwards.
    pub fn numbers(&self) -> impl Iterator<Item = u16> + '_ {
        (0..NUMBERS_LIMIT).filter(|number| {
            let word = self.0.get(usize::from(number / 64));
            word.is_some_and(|word| word & (1 << (number % 64)) != 0)
        })
    }
}

/// Digits only, below the limit.
fn number(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number < NUMBERS_LIMIT)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Vec<u16> {
        NumberList::parse(text).unwrap_or_else(|| panic!("{text:?}")).numbers().collect()
    }

    #[test]
    fn lists_are_read_as_the_kernel_reads_them() {
        assert_eq!(numbers("0"), [0]);
        assert_eq!(numbers("0-3,7"), [0, 1, 2, 3, 7]);
        assert_eq!(numbers("7,0-1,1"), [0, 1, 7]);
        assert_eq!(numbers("0-2,7\n"), [0, 1, 2, 7]);
        assert_eq!(numbers(" 1 2\t3 "), [1, 2, 3]);
        assert_eq!(numbers("0,,1,"), [0, 1]);
        assert_eq!(numbers("0-15:2/4"), [0, 1, 4, 5, 8, 9, 12, 13]);
        assert_eq!(numbers("2-6:1/3"), [2, 5]);
        assert_eq!(numbers("0-3:0/2"), [0_u16; 0]);
        assert_eq!(numbers("8191"), [8191]);
        assert_eq!(numbers("\n"), [0_u16; 0]);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in [
            "a",
            "3-1",
            "0-",
            "-1",
            "+1",
            "0-3:2",
            "0:1/2",
            "0-3:2/0",
            "0-3:3/2",
            "0-3:/2",
            "0 - 3",
            "0-3-5",
            "1.5",
            "8192",
            "99999999999",
            "all",
            "N",
            "0-N",
            "\u{661}",
            "0\u{a0}1",
        ] {
            assert_eq!(NumberList::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn masks_have_the_lowest_number_first() {
        let list = NumberList::parse("0,9,64").unwrap();
        assert_eq!(list.mask(), [1 | 1 << 9, 1]);
        assert_eq!(list.bytes(), [1, 2, 0, 0, 0, 0, 0, 0, 1]);
        let none = NumberList::parse("").unwrap();
        assert!(none.is_empty() && none.bytes().is_empty());
    }

    #[test]
    fn a_long_text_costs_no_more_than_the_kernel_would_take() {
        let long = "0-8191:1/2,".repeat(200_000);
        let start = std::time::Instant::now();
        assert_eq!(NumberList::parse(&long), None);
        let allowed = &long[..TEXT_LIMIT_BYTES / 11 * 11];
        assert_eq!(NumberList::parse(allowed).unwrap().numbers().count(), 4096);
        assert!(start.elapsed().as_secs() < 10);
    }
}
