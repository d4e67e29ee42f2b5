//! `brig update`.
//!
//! Promises: a flag is the field of `linux.resources` that it stands for, and nothing else; all values
//! are read and checked before the first is written.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use brig::spec::{self, Resources};
use serde_json::{Map, Value as Json, json};

use super::arguments::{Arguments, Usage, Value};
use super::flags::{Flag, Flags, ignored, text, value};
use super::global::{Global, container_id};
use super::verb::{Does, Outcome, Verb};

pub(super) const VERB: Verb = Verb {
    name: "update",
    summary: "change the limits of a container",
    help: "\
usage: brig update [OPTION...] CONTAINER-ID

Changes the named limits and leaves the others. SIZE is a number of bytes, with k, m, g or t
for powers of 1024, or -1 for no limit.
",
    flags: &FLAGS,
    does: Does::Run(run),
};

const FLAGS: Flags<ParsedFlags> = Flags(&[("options", OPTIONS)]);

const OPTIONS: &[Flag<ParsedFlags>] = &[
    text(
        "-r, --resources FILE  take them from FILE, or from standard input with -: JSON, as \
         linux.resources of config.json; then no other option is allowed",
        |it| &mut it.file,
    ),
    value("--memory SIZE  limit of memory", |it, given| it.set("memory", "limit", Size, given)),
    value("--memory-reservation SIZE  memory protected from reclaim (soft limit)", |it, given| {
        it.set("memory", "reservation", Size, given)
    }),
    value("--memory-swap SIZE  limit of memory and swap together", |it, given| {
        it.set("memory", "swap", Size, given)
    }),
    value(
        "--pids-limit N  limit of processes, -1 for no limit; 0 forbids new ones",
        |it, given| it.set("pids", "limit", Integer, given),
    ),
    value("--cpu-share N  weight against other containers, 2 to 262144", |it, given| {
        it.set("cpu", "shares", Natural, given)
    }),
    value("--cpu-period US  period of the CPU quota, in microseconds", |it, given| {
        it.set("cpu", "period", Natural, given)
    }),
    value(
        "--cpu-quota US  CPU quota: processor time in each period, -1 for no limit",
        |it, given| it.set("cpu", "quota", Integer, given),
    ),
    value(
        "--cpu-burst US  CPU burst: unused quota that may accumulate for later periods",
        |it, given| it.set("cpu", "burst", Natural, given),
    ),
    value("--cpu-rt-period US  period of the realtime quota", |it, given| {
        it.set("cpu", "realtimePeriod", Natural, given)
    }),
    value("--cpu-rt-runtime US  realtime quota: processor time in each period", |it, given| {
        it.set("cpu", "realtimeRuntime", Integer, given)
    }),
    value("--cpu-idle 0|1  1: run only when nothing else wants to", |it, given| {
        it.set("cpu", "idle", Integer, given)
    }),
    value("--cpuset-cpus LIST  processors, e.g. 0-2,7", |it, given| {
        it.set("cpu", "cpus", List, given)
    }),
    value("--cpuset-mems LIST  memory nodes", |it, given| it.set("cpu", "mems", List, given)),
    value("--blkio-weight N  weight of block I/O, 10 to 1000", |it, given| {
        it.set("blockIO", "weight", Natural, given)
    }),
    ignored("--kernel-memory SIZE  accepted and ignored: kernels no longer have this limit"),
    ignored("--kernel-memory-tcp SIZE  accepted and ignored: kernels no longer have this limit"),
    value(
        "--l3-cache-schema SCHEMA  not supported: create fixes the settings of a resctrl group",
        ParsedFlags::schema,
    ),
    value(
        "--mem-bw-schema SCHEMA  not supported: create fixes the settings of a resctrl group",
        ParsedFlags::schema,
    ),
];

#[derive(Debug, Default)]
struct ParsedFlags {
    file: Option<String>,
    /// `linux.resources`, as far as flags name it.
    changes: Map<String, Json>,
    /// Flags about resctrl, with their values.
    schemas: Vec<(String, String)>,
}

/// How the value of a flag is spelled.
#[derive(Clone, Copy)]
enum Spelling {
    Natural,
    Integer,
    /// Bytes, or -1.
    Size,
    List,
}

use Spelling::{Integer, List, Natural, Size};

fn run(global: &Global, mut arguments: Arguments) -> Outcome {
    let mut parsed = ParsedFlags::default();
    FLAGS.read(&mut arguments, &mut parsed)?;
    let id = container_id(&mut arguments)?;
    arguments.end()?;
    if let Some((flag, _)) = parsed.schemas.iter().find(|(_, schema)| !schema.is_empty()) {
        return refuse_resctrl(flag);
    }
    let changes = parsed.changes;
    let resources = match parsed.file.filter(|file| !file.is_empty()) {
        None => spec::resources(&serde_json::to_vec(&changes)?)?,
        Some(_) if !changes.is_empty() => {
            return Err(
                Usage::new("--resources cannot be combined with other limit options").into()
            );
        }
        Some(file) => read(&file)?,
    };
    global.node()?.container(&id)?.update(&resources)?;
    Ok(0)
}

/// A resctrl group may be other containers' as well; what create made of it stays.
fn refuse_resctrl(flag: &str) -> Outcome {
    let why = match Path::new("/sys/fs/resctrl/info").exists() {
        true => {
            "not supported: create fixes the settings of a resctrl group; write to its schemata file"
        }
        false => "Intel RDT is not enabled: resctrl is not mounted on this host",
    };
    bail!("{flag}: {why}")
}

impl ParsedFlags {
    /// Notes the value of a field of `linux.resources`; an empty one says nothing, as with runc.
    fn set(
        &mut self,
        section: &str,
        field: &str,
        spelling: Spelling,
        given: Value,
    ) -> Result<(), Usage> {
        let flag = given.flag.clone();
        let text = given.text()?;
        if text.is_empty() {
            return Ok(());
        }
        let value = number(&text, spelling)
            .ok_or_else(|| Usage::new(format!("invalid value for {flag}: {text:?}")))?;
        self.changes.entry(section).or_insert_with(|| json!({}))[field] = value;
        Ok(())
    }

    fn schema(&mut self, given: Value) -> Result<(), Usage> {
        self.schemas.push((given.flag.clone(), given.text()?));
        Ok(())
    }
}

fn number(text: &str, spelling: Spelling) -> Option<Json> {
    Some(match spelling {
        Natural => text.parse::<u64>().ok()?.into(),
        Integer => text.parse::<i64>().ok()?.into(),
        Size if text == "-1" => (-1).into(),
        Size => brig::spec::quantity::size_bytes(text)?.into(),
        List => text.into(),
    })
}

/// The resources in a file, which may be a pipe, or on standard input.
fn read(file: &str) -> anyhow::Result<Resources> {
    let source: Box<dyn Read> = match file {
        "-" => Box::new(std::io::stdin().lock()),
        file => Box::new(File::open(file).with_context(|| format!("--resources: opening {file}"))?),
    };
    let mut bytes = Vec::new();
    // One more than `spec` takes, so that it sees what is too much.
    let limit_bytes = spec::SIZE_LIMIT_BYTES as u64 + 1;
    let read = source.take(limit_bytes).read_to_end(&mut bytes);
    read.with_context(|| format!("--resources: reading {file}"))?;
    Ok(spec::resources(&bytes)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn changed(args: &[&str]) -> Result<Resources, String> {
        let args: Vec<_> = args.iter().map(std::ffi::OsString::from).collect();
        let mut arguments = Arguments::new(args, &crate::flags::NONE);
        let mut parsed = ParsedFlags::default();
        FLAGS.read(&mut arguments, &mut parsed).map_err(|error| error.to_string())?;
        let bytes = serde_json::to_vec(&parsed.changes).unwrap();
        spec::resources(&bytes).map_err(|error| error.to_string())
    }

    #[test]
    fn every_flag_sets_its_own_field() {
        let cases = [
            ("--blkio-weight", "500", json!({"blockIO": {"weight": 500}})),
            ("--cpu-burst", "0", json!({"cpu": {"burst": 0}})),
            ("--cpu-idle", "1", json!({"cpu": {"idle": 1}})),
            ("--cpu-period", "50000", json!({"cpu": {"period": 50000}})),
            ("--cpu-quota", "-1", json!({"cpu": {"quota": -1}})),
            ("--cpu-rt-period", "10000", json!({"cpu": {"realtimePeriod": 10000}})),
            ("--cpu-rt-runtime", "5000", json!({"cpu": {"realtimeRuntime": 5000}})),
            ("--cpu-share", "512", json!({"cpu": {"shares": 512}})),
            ("--cpuset-cpus", "0-1", json!({"cpu": {"cpus": "0-1"}})),
            ("--cpuset-mems", "0", json!({"cpu": {"mems": "0"}})),
            ("--memory", "1g", json!({"memory": {"limit": 1 << 30}})),
            ("--memory-reservation", "1k", json!({"memory": {"reservation": 1024}})),
            ("--memory-swap", "-1", json!({"memory": {"swap": -1}})),
            ("--pids-limit", "7", json!({"pids": {"limit": 7}})),
        ];
        // The others are --resources, two that are ignored, and two that are refused.
        assert_eq!(cases.len(), OPTIONS.len() - 5);
        for (flag, text, expected) in cases {
            let expected = spec::resources(expected.to_string().as_bytes()).unwrap();
            assert_ne!(expected, Resources::default(), "{flag}");
            assert_eq!(changed(&[flag, text]).unwrap(), expected, "{flag}");
        }
    }

    #[test]
    fn sizes_have_units_or_are_without_limit() {
        let resources = changed(&["--memory=64M", "--memory-swap", "-1"]).unwrap();
        let memory = resources.memory.unwrap();
        assert_eq!((memory.limit, memory.swap), (Some(64 << 20), Some(-1)));
    }

    #[test]
    fn empty_values_change_nothing() {
        let resources = changed(&["--memory", "", "--cpuset-cpus="]).unwrap();
        assert_eq!(resources, Resources::default());
    }

    #[test]
    fn what_is_wrong_names_the_flag() {
        for (flag, text) in [
            ("--memory", "64X"),
            ("--memory", "-2"),
            ("--cpu-quota", "x"),
            ("--cpu-period", "-1"),
            ("--cpu-share", "1.5"),
            ("--pids-limit", "many"),
            ("--blkio-weight", "5M"),
        ] {
            let error = changed(&[flag, text]).unwrap_err();
            assert_eq!(error, format!("invalid value for {flag}: {text:?}"));
        }
        assert!(changed(&["--frob", "1"]).unwrap_err().contains("--frob"));
    }
}
