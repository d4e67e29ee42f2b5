//! The node's pool of ids: what remapped containers are given ranges of.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// How many ids a container has: as many as programs expect that were written for ids of 16 bits.
pub const RANGE_IDS: u32 = 65_536;

/// Whole ranges of 65,536 ids, which begin at a multiple of that: two are the same, or have no id in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct IdPool {
    first: u32,
    count: u32,
}

impl Default for IdPool {
    /// From 2,000,224,256 to 2,147,352,575: above the users of SSSD (to 2,000,200,000) and what systemd-nspawn (to
    /// 1,879,048,191) and shadow (to 600,099,999) give containers and users, below systemd's foreign ids (from
    /// 2,147,352,576) and what older programs take for negative. See systemd's "Users, Groups, UIDs and GIDs", sssd-ad(5)
    /// `ldap_idmap_range_max` and login.defs(5) `SUB_UID_MAX`.
    fn default() -> Self {
        Self { first: 30_521 * RANGE_IDS, count: 2_245 * RANGE_IDS }
    }
}

impl IdPool {
    /// `count` ids from `first` on; `None` where these are not whole ranges, or the first range, which is the host's own, or
    /// the last, which has an id that is none (`(uid_t) -1`), is among them.
    #[must_use]
    pub fn new(first: u32, count: u32) -> Option<Self> {
        let is_whole = |number: u32| number != 0 && number.is_multiple_of(RANGE_IDS);
        let end = first.checked_add(count)?;
        let is_pool = is_whole(first) && is_whole(count) && end <= u32::MAX - (RANGE_IDS - 1);
        is_pool.then_some(Self { first, count })
    }

    /// The numbers of its ranges: the first id of one divided by 65,536.
    #[must_use]
    pub fn ranges(&self) -> std::ops::Range<u32> {
        let first = self.first / RANGE_IDS;
        first..first + self.count / RANGE_IDS
    }

    /// Whether one of `count` ids from `first` on is in it.
    #[must_use]
    pub fn overlaps(&self, first: u32, count: u32) -> bool {
        let [own, other] = [(self.first, self.count), (first, count)]
            .map(|(first, count)| u64::from(first)..u64::from(first) + u64::from(count));
        own.start < other.end && other.start < own.end
    }
}

impl<'de> Deserialize<'de> for IdPool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            first: u32,
            count: u32,
        }
        let Written { first, count } = Written::deserialize(deserializer)?;
        Self::new(first, count).ok_or_else(|| {
            D::Error::custom(format_args!(
                "ids: {first} and {count} are no pool of ranges\0first and count are multiples of 65536, not 0, and the \
                 last id is 4294901759 at most"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_of_whole_ranges_between_the_hosts_own_and_the_last() {
        let pool = IdPool::new(RANGE_IDS, 2 * RANGE_IDS).expect("a pool");
        assert_eq!(pool.ranges(), 1..3);
        assert!(IdPool::new(65_535 * RANGE_IDS - RANGE_IDS, RANGE_IDS).is_some());
        for (first, count) in [
            (0, RANGE_IDS),
            (RANGE_IDS, 0),
            (RANGE_IDS + 1, RANGE_IDS),
            (RANGE_IDS, RANGE_IDS - 1),
            (65_535 * RANGE_IDS, RANGE_IDS),
            (2 * RANGE_IDS, u32::MAX / RANGE_IDS * RANGE_IDS),
        ] {
            assert_eq!(IdPool::new(first, count), None, "{first} {count}");
        }
        let default = IdPool::default();
        assert_eq!(IdPool::new(default.first, default.count), Some(default));
    }

    #[test]
    fn what_overlaps_has_an_id_in_common() {
        let pool = IdPool::new(RANGE_IDS, RANGE_IDS).expect("a pool");
        for (first, count, overlaps) in [
            (0, RANGE_IDS, false),
            (0, RANGE_IDS + 1, true),
            (2 * RANGE_IDS - 1, 1, true),
            (2 * RANGE_IDS, 1, false),
            (0, u32::MAX, true),
            (0, 0, false),
        ] {
            assert_eq!(pool.overlaps(first, count), overlaps, "{first} {count}");
        }
    }
}
