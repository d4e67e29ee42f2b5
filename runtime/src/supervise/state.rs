//! The state of a container in the OCI's form (runtime.md, "State"), and the time of day.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::Serialize;

use super::record::Record;
use super::{Error, Status};

/// What hooks get, and what `state` prints with more fields.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OciState<'r> {
    oci_version: &'r str,
    id: &'r str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    bundle: &'r std::path::Path,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    annotations: &'r std::collections::BTreeMap<String, String>,
}

impl<'r> OciState<'r> {
    pub(super) fn of(record: &'r Record, status: Status) -> Self {
        Self {
            oci_version: &record.oci_version,
            id: &record.id,
            status: status.name(),
            pid: record
                .process
                .as_ref()
                .filter(|_| status != Status::Stopped)
                .map(|process| process.pid),
            bundle: &record.bundle,
            annotations: &record.annotations,
        }
    }

    /// The same of a process that has this pid where the state is read.
    pub(super) fn with_pid(mut self, pid: Option<i32>) -> Self {
        self.pid = pid;
        self
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// A file in memory for the state that brig writes and its child hands on, and a second descriptor of it.
pub(super) fn file_for(reader: &str) -> Result<(File, OwnedFd), Error> {
    let doing = || format!("making the state file for {reader}");
    let file = memfd_create(c"brig-state", MFdFlags::MFD_CLOEXEC)
        .map(File::from)
        .map_err(|errno| Error::system(doing(), errno))?;
    let copy = file.try_clone().map_err(|error| Error::system(doing(), error))?;
    Ok((file, OwnedFd::from(copy)))
}

/// The time of day in UTC as RFC 3339 writes it, with nanoseconds.
#[must_use]
pub fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    rfc3339(since.as_secs(), since.subsec_nanos())
}

fn rfc3339(seconds: u64, nanoseconds: u32) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanoseconds:09}Z")
}

/// The date, so many days after 1970-01-01: counted in eras of 400 years that begin on 1 March.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(rfc3339(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(rfc3339(951_782_400, 1), "2000-02-29T00:00:00.000000001Z");
        assert_eq!(rfc3339(1_709_251_199, 0), "2024-02-29T23:59:59.000000000Z");
        assert_eq!(rfc3339(4_107_542_400, 0), "2100-03-01T00:00:00.000000000Z");
    }
}
