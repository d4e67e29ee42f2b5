//! `brig events`.
//!
//! Promises: the JSON of `runc events`, one object a line; an out-of-memory event is told before the
//! end that it causes. Reference: opencontainers/runc `types/events.go`.

use std::time::Duration;

use brig::supervise::Happened;
use brig_cgroup::Stats;
use serde::Serialize;

use super::arguments::{Arguments, Usage};
use super::flags::{Flags, switch, value};
use super::global::{Global, container_id};
use super::verb::{Does, Outcome, Verb, print};

pub(super) const VERB: Verb = Verb {
    name: "events",
    summary: "print what a container uses, and when its memory runs out",
    help: "\
usage: brig events [OPTION...] CONTAINER-ID

Prints JSON, an object a line: {\"type\":\"stats\",…} after each interval, {\"type\":\"oom\",…} when memory
runs out, until the container ends.
",
    flags: &FLAGS,
    does: Does::Run(run),
};

const FLAGS: Flags<ParsedFlags> = Flags(&[(
    "options",
    &[
        value("--interval TIME  between statistics, e.g. 500ms, 5s (default), 1m", |it, given| {
            it.interval = positive(&given.text()?)?;
            Ok(())
        }),
        switch("--stats  print the statistics once and end", |it| &mut it.once),
    ],
)]);

#[derive(Debug)]
struct ParsedFlags {
    interval: Duration,
    once: bool,
}

/// A line of output.
#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data>,
}

/// The statistics, and the parts of runc's that brig has nothing for.
#[derive(Serialize)]
struct Data {
    #[serde(flatten)]
    stats: Stats,
    intel_rdt: Nothing,
    network_interfaces: Option<Nothing>,
}

#[derive(Serialize)]
struct Nothing {}

fn run(global: &Global, mut arguments: Arguments) -> Outcome {
    let mut parsed = ParsedFlags { interval: Duration::from_secs(5), once: false };
    FLAGS.read(&mut arguments, &mut parsed)?;
    let id = container_id(&mut arguments)?;
    arguments.end()?;
    let container = global.node()?.container(&id)?;
    if parsed.once {
        tell(&stats(id.as_str(), container.stats()?))?;
        return Ok(0);
    }
    container.watch(parsed.interval, |happened| {
        tell(&match happened {
            Happened::OutOfMemory => Event { kind: "oom", id: id.as_str(), data: None },
            Happened::Interval(usage) => stats(id.as_str(), *usage),
        })
    })?;
    Ok(0)
}

fn positive(text: &str) -> Result<Duration, Usage> {
    match brig::spec::quantity::duration(text) {
        Some(Duration::ZERO) => Err(Usage::new("--interval: must be greater than 0")),
        Some(interval) => Ok(interval),
        None => Err(Usage::new(format!("--interval: {text:?} is not a duration such as 5s"))),
    }
}

fn stats(id: &str, stats: Stats) -> Event<'_> {
    let data = Data { stats, intel_rdt: Nothing {}, network_interfaces: None };
    Event { kind: "stats", id, data: Some(data) }
}

/// Prints a line at once; fails when nobody reads any more.
fn tell(event: &Event<'_>) -> anyhow::Result<()> {
    print(&(serde_json::to_string(event)? + "\n"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn events_have_runcs_shape() {
        let oom = Event { kind: "oom", id: "c1", data: None };
        assert_eq!(serde_json::to_string(&oom).unwrap(), r#"{"type":"oom","id":"c1"}"#);
        let text = serde_json::to_string(&stats("c1", Stats::default())).unwrap();
        assert!(text.starts_with(r#"{"type":"stats","id":"c1","data":{"cpu":{"usage":"#), "{text}");
        assert!(
            text.ends_with(r#""hugetlb":{},"intel_rdt":{},"network_interfaces":null}}"#),
            "{text}"
        );
    }

    #[test]
    fn an_interval_is_positive() {
        assert_eq!(positive("250ms").unwrap(), Duration::from_millis(250));
        for text in ["0s", "-1s", "5", "soon"] {
            assert!(positive(text).unwrap_err().to_string().starts_with("--interval: "), "{text}");
        }
    }
}
