//! `brig kill`.

use super::arguments::{Arguments, Usage};
use super::flags::{Flags, switch};
use super::global::{Global, container_id};
use super::verb::{Does, Outcome, Verb};

pub(super) const VERB: Verb = Verb {
    name: "kill",
    summary: "send a signal to a container",
    help: "\
usage: brig kill [OPTION...] CONTAINER-ID [SIGNAL]

Sends SIGNAL (default SIGTERM) to the container's first process. SIGNAL is a name with or without
SIG, a number, or RTMIN+N, RTMAX-N. 0 sends nothing, and only tests whether the process exists.
KILL reaches every process of a container without a pid namespace of its own, even if the first has
ended.
",
    flags: &FLAGS,
    does: Does::Run(run),
};

const FLAGS: Flags<ParsedFlags> = Flags(&[(
    "options",
    &[switch("-a, --all  to every process of the container's cgroup", |it| &mut it.all)],
)]);

#[derive(Debug, Default)]
struct ParsedFlags {
    all: bool,
}

fn run(global: &Global, mut arguments: Arguments) -> Outcome {
    let mut parsed = ParsedFlags::default();
    FLAGS.read(&mut arguments, &mut parsed)?;
    let id = container_id(&mut arguments)?;
    let signal = match arguments.optional("SIGNAL")? {
        None => libc::SIGTERM,
        Some(text) => signal_number(&text)?,
    };
    arguments.end()?;
    global.node()?.container(&id)?.kill(signal, parsed.all)?;
    Ok(0)
}

/// Real-time signals as signal(7) counts them on Linux with glibc and musl: 34 to 64.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// The number of a signal.
pub(super) fn signal_number(text: &str) -> Result<i32, Usage> {
    let unknown = || Usage::new(format!("unknown signal {text:?}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (0..=RTMAX).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |text: &str| text.get(1..).and_then(|text| text.parse::<i32>().ok());
    let real_time = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => Some(RTMIN),
        (_, Some("")) => Some(RTMAX),
        (Some(rest), _) if rest.starts_with('+') => offset(rest).map(|offset| RTMIN + offset),
        (_, Some(rest)) if rest.starts_with('-') => offset(rest).map(|offset| RTMAX - offset),
        _ => None,
    };
    if let Some(number) = real_time {
        return if (RTMIN..=RTMAX).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let name = match name {
        "CLD" => "CHLD",
        "POLL" => "IO",
        "IOT" => "ABRT",
        name => name,
    };
    let signal = format!("SIG{name}").parse::<nix::sys::signal::Signal>();
    signal.map(|signal| signal as i32).map_err(|_| unknown())
}

#[cfg(test)]
mod tests {
    use super::signal_number;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("9", 9),
            ("0", 0),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("64", 64),
            ("WINCH", 28),
        ] {
            assert_eq!(signal_number(text).ok(), Some(number), "{text}");
        }
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        for text in ["", "SIG", "KIL", "65", "-1", "RTMIN+40", "RTMAX-", "RTMIN-1"] {
            assert!(signal_number(text).is_err(), "{text}");
        }
    }
}
