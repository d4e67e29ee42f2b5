//! Socket activation: sockets that a service manager has opened for brig, which are the program's.
//!
//! Promises: none is taken but those that are said to be for this very process. The variables are inherited
//! by whatever a service starts, long after its sockets are closed, and what is open under their numbers then
//! is somebody else's. Reference: sd_listen_fds(3), whose rules these are; runc passes on the same.

use std::ffi::{OsStr, OsString};

use brig::supervise::{ActivationSockets, Error};

const COUNT: &str = "LISTEN_FDS";
const PID: &str = "LISTEN_PID";
const NAMES: &str = "LISTEN_FDNAMES";

/// The sockets of this process, if there are any; an error where they are for it, and the variables do not
/// say which they are.
pub(super) fn of_environment() -> Result<Option<ActivationSockets>, Error> {
    let own = std::process::id().to_string();
    if std::env::var_os(PID).is_none_or(|pid| pid != own.as_str()) {
        return Ok(None);
    }
    let Some(count) = std::env::var_os(COUNT) else { return Ok(None) };
    parse(&count, std::env::var_os(NAMES))
}

fn parse(count: &OsStr, names: Option<OsString>) -> Result<Option<ActivationSockets>, Error> {
    let wrong = |name: &str, value: &OsStr, fault: &str| {
        Error::plain(format!("{name}={}: {fault}", value.to_string_lossy()))
            .with_hint("see sd_listen_fds(3); unset LISTEN_PID where no sockets are meant for brig")
    };
    // Strictly digits: parse() takes a sign.
    let digits = count.to_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|text| text.parse().ok());
    let number: u32 = number.ok_or_else(|| wrong(COUNT, count, "is not a number"))?;
    if number == 0 {
        return Ok(None);
    }
    let names = names.map(|names| match names.to_str() {
        Some(text) if text.split(':').count() as u64 == u64::from(number) => Ok(text.to_owned()),
        _ => Err(wrong(NAMES, &names, &format!("are not the names of {number} sockets"))),
    });
    Ok(Some(ActivationSockets { count: number, names: names.transpose()? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(count: &str, names: Option<&str>) -> Result<Option<ActivationSockets>, String> {
        parse(OsStr::new(count), names.map(OsString::from)).map_err(|e| e.to_string())
    }

    #[test]
    fn a_number_is_digits_and_there_is_a_name_for_each() {
        assert_eq!(parsed("2", None), Ok(Some(ActivationSockets { count: 2, names: None })));
        let named = ActivationSockets { count: 2, names: Some("http:".to_owned()) };
        assert_eq!(parsed("2", Some("http:")), Ok(Some(named)));
        assert_eq!(parsed("0", Some("")), Ok(None));
        for bad in ["", "+1", "-1", " 1", "1 ", "0x1", "one", "4294967296", "١"] {
            assert!(parsed(bad, None).is_err(), "{bad:?}");
        }
        for bad in ["", "a", "a:b:c"] {
            assert!(parsed("2", Some(bad)).is_err(), "{bad:?}");
        }
    }
}
