//! `brig update`.
//!
//! Promises: a flag is the field of `linux.resources` that it stands for, and nothing else; all values
//! are read and checked before the first is written.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use brig::spec::{self, Resources};
use brig::supervise::Container;
use serde_json::{Map, Value, json};

use super::{Arguments, Global, Outcome, Usage, Verb, container_id, quantity};

pub(super) const VERB: Verb = Verb {
    name: "update",
    summary: "change the limits of a container",
    help: "\
usage: brig update [OPTION...] CONTAINER-ID

Changes the limits that are named, and leaves the others. SIZE is a number of bytes, with k, m, g or t
for powers of 1024, or -1 for no limit.

options:
  -r, --resources FILE    take them from FILE, or from standard input with -: JSON, as linux.resources
                          of config.json; then no other option is allowed
      --memory SIZE       memory
      --memory-reservation SIZE  memory that is kept when the host runs out of it
      --memory-swap SIZE  memory and swap together
      --pids-limit N      processes, -1 for no limit
      --cpu-share N       weight against other containers, 2 to 262144
      --cpu-period US     period of the quota, in microseconds
      --cpu-quota US      processor time in a period, -1 for no limit
      --cpu-burst US      processor time that may be saved up for later periods
      --cpu-rt-period US  period of the realtime quota
      --cpu-rt-runtime US realtime processor time in a period
      --cpu-idle 0|1      1: run only when nothing else wants to
      --cpuset-cpus LIST  processors, e.g. 0-2,7
      --cpuset-mems LIST  memory nodes
      --blkio-weight N    weight of block I/O, 10 to 1000
      --kernel-memory SIZE, --kernel-memory-tcp SIZE
                          accepted and ignored: kernels no longer have these limits
      --l3-cache-schema SCHEMA, --mem-bw-schema SCHEMA
                          refused: a resctrl group stays as create made it
",
    run,
};

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

/// The flag, the section and the field of `linux.resources` that it stands for.
const FLAGS: [(&str, &str, &str, Spelling); 14] = [
    ("--blkio-weight", "blockIO", "weight", Natural),
    ("--cpu-burst", "cpu", "burst", Natural),
    ("--cpu-idle", "cpu", "idle", Integer),
    ("--cpu-period", "cpu", "period", Natural),
    ("--cpu-quota", "cpu", "quota", Integer),
    ("--cpu-rt-period", "cpu", "realtimePeriod", Natural),
    ("--cpu-rt-runtime", "cpu", "realtimeRuntime", Integer),
    ("--cpu-share", "cpu", "shares", Natural),
    ("--cpuset-cpus", "cpu", "cpus", List),
    ("--cpuset-mems", "cpu", "mems", List),
    ("--memory", "memory", "limit", Size),
    ("--memory-reservation", "memory", "reservation", Size),
    ("--memory-swap", "memory", "swap", Size),
    ("--pids-limit", "pids", "limit", Integer),
];

fn run(global: &Global, mut arguments: Arguments) -> Outcome {
    let mut file = None;
    let mut changes = Map::new();
    while let Some(flag) = arguments.next_flag()? {
        match flag.as_str() {
            "-r" | "--resources" => file = Some(arguments.text()?),
            "--kernel-memory" | "--kernel-memory-tcp" => drop(arguments.text()?),
            "--l3-cache-schema" | "--mem-bw-schema" => refuse_resctrl(&flag, &arguments.text()?)?,
            flag => change(&mut changes, flag, &mut arguments)?,
        }
    }
    let id = container_id(&mut arguments)?;
    arguments.end()?;
    let resources = match file.filter(|file| !file.is_empty()) {
        None => spec::resources(&serde_json::to_vec(&changes)?)?,
        Some(_) if !changes.is_empty() => {
            return Err(Usage::new("--resources goes with no other limit").into());
        }
        Some(file) => read(&file)?,
    };
    Container::open(global.root()?, &id)?.update(&resources)?;
    Ok(0)
}

/// A resctrl group may be other containers' as well; what create made of it stays.
fn refuse_resctrl(flag: &str, schema: &str) -> anyhow::Result<()> {
    if schema.is_empty() {
        return Ok(());
    }
    let why = match Path::new("/sys/fs/resctrl/info").exists() {
        true => "a container's resctrl group stays as create made it; write to its schemata file",
        false => "Intel RDT is not enabled: resctrl is not mounted on this host",
    };
    bail!("{flag}: {why}")
}

/// Notes the value of a flag; an empty one says nothing, as with runc.
fn change(
    changes: &mut Map<String, Value>,
    flag: &str,
    arguments: &mut Arguments,
) -> Result<(), Usage> {
    let Some((_, section, field, spelling)) = FLAGS.iter().find(|(name, ..)| *name == flag) else {
        return Err(arguments.unknown());
    };
    let text = arguments.text()?;
    if text.is_empty() {
        return Ok(());
    }
    let value = value(&text, *spelling)
        .ok_or_else(|| Usage::new(format!("invalid value for {flag}: {text:?}")))?;
    let section = changes.entry(*section).or_insert_with(|| json!({}));
    section[*field] = value;
    Ok(())
}

fn value(text: &str, spelling: Spelling) -> Option<Value> {
    Some(match spelling {
        Natural => text.parse::<u64>().ok()?.into(),
        Integer => text.parse::<i64>().ok()?.into(),
        Size if text == "-1" => (-1).into(),
        Size => quantity::size_bytes(text)?.into(),
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
        let mut arguments = Arguments::new(args);
        let mut changes = Map::new();
        while let Some(flag) = arguments.next_flag().map_err(|error| error.to_string())? {
            change(&mut changes, &flag, &mut arguments).map_err(|error| error.to_string())?;
        }
        let bytes = serde_json::to_vec(&changes).unwrap();
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
        assert_eq!(cases.len(), FLAGS.len());
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
