//! Ids of the host's users and groups, and the ranges that users may map.

use std::io;
use std::path::Path;

use brig_pseudofs::small_file;

use crate::failure::Failure;
use crate::policy::RANGE_IDS;

/// Ids, by the ranges of 65,536 that they are in.
#[derive(Debug, Default)]
pub(super) struct Ranges(Vec<std::ops::RangeInclusive<u32>>);

impl Ranges {
    /// Adds `count` ids from `first` on.
    pub(super) fn add(&mut self, first: u32, count: u32) {
        if let Some(more) = count.checked_sub(1) {
            let last = first.saturating_add(more);
            self.0.push(first / RANGE_IDS..=last / RANGE_IDS);
        }
    }

    /// Whether one of them is in this range.
    pub(super) fn overlaps(&self, range: u32) -> bool {
        self.0.iter().any(|ranges| ranges.contains(&range))
    }
}

/// Those of the files in `directory`, which is /etc. A file that is not there lists nobody; a line that is none is skipped, as
/// by those who read these files for others.
pub(super) fn read(directory: &Path) -> Result<Ranges, Failure> {
    let mut ranges = Ranges::default();
    for (name, is_range) in
        [("passwd", false), ("group", false), ("subuid", true), ("subgid", true)]
    {
        let path = directory.join(name);
        let text = match small_file::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(Failure::system(format!("reading {}", path.display()), error));
            }
        };
        for line in String::from_utf8_lossy(&text).lines() {
            add(&mut ranges, line, is_range);
        }
    }
    Ok(ranges)
}

/// `name:first:count`, or `name:password:id:…` (subuid(5), passwd(5), group(5)).
fn add(ranges: &mut Ranges, line: &str, is_range: bool) {
    let mut fields = line.split(':').skip(1);
    let (one, two) = (fields.next(), fields.next());
    let number = |text: Option<&str>| text.and_then(|text| text.trim().parse::<u32>().ok());
    match is_range {
        true => {
            // More than there are is up to the last.
            let count = two.and_then(|text| text.trim().parse::<u64>().ok());
            if let (Some(first), Some(count)) = (number(one), count) {
                ranges.add(first, u32::try_from(count).unwrap_or(u32::MAX));
            }
        }
        false => {
            if let Some(id) = number(two) {
                ranges.add(id, 1);
            }
        }
    }
}
