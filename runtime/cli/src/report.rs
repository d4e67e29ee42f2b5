//! `brig report`.

use brig::policy::{Applied, ChosenProfile, RuleSet};
use brig::report::{
    Group, Host, Machine, Report, SCHEMA, Snapshot, Standard, Unseen, Verdict, judge,
};
use brig::spec::ContainerId;
use brig::supervise::{Container, Error, ErrorKind, Node, Status};
use serde_json::json;

use super::arguments::{Arguments, Format, Usage};
use super::flags::{Flag, Flags, format, json, switch, value};
use super::global::{Global, container_id};
use super::list::columns;
use super::verb::{Does, Outcome, Verb, print};

pub(super) const VERB: Verb = Verb {
    name: "report",
    summary: "what confines running containers, of any runtime, and where they are exposed",
    help: "\
usage: brig report [OPTION...] CONTAINER-ID
       brig report [OPTION...] --pid PID
       brig report [OPTION...] --all

Reads back from the kernel what confines a running container, which this or another runtime has
started, and holds it against its configuration, its first process and the node's policy: a line
holds, has drifted, or is unknown, where the kernel does not show it to this user. Then lists where
the container is exposed, with weights and their sum. Nothing is changed.

exit status: 0, 1 for errors, 2 for usage, 3 where a sum is above --max-exposure
",
    flags: &FLAGS,
    does: Does::Run(run),
};

const FLAGS: Flags<ParsedFlags> = Flags(&[("options", OPTIONS)]);

const OPTIONS: &[Flag<ParsedFlags>] = &[
    value("-p, --pid PID  the container of this process", |it, given| {
        it.pid = Some(given.number()?);
        Ok(())
    }),
    switch("-a, --all  every container of the machine, a line for each", |it| &mut it.all),
    value(
        "--max-exposure N  exit with 3 where exposure is more than N, or may be, as something is unknown",
        |it, given| {
            it.max_exposure = Some(given.number()?);
            Ok(())
        },
    ),
    format("-f, --format FORMAT  table (default) or json", |it| &mut it.format),
    json(|it| &mut it.format),
];

#[derive(Debug, Default)]
struct ParsedFlags {
    pid: Option<i32>,
    all: bool,
    max_exposure: Option<u32>,
    format: Format,
}

fn run(global: &Global, mut arguments: Arguments) -> Outcome {
    let mut parsed = ParsedFlags::default();
    FLAGS.read(&mut arguments, &mut parsed)?;
    let wanted = match (parsed.pid, parsed.all) {
        (None, false) => Wanted::Container(container_id(&mut arguments)?),
        (Some(pid), false) => Wanted::Process(pid),
        (None, true) => Wanted::All,
        (Some(_), true) => return Err(Usage::new("either --pid or --all can be given").into()),
    };
    arguments.end()?;
    let reports = match &wanted {
        Wanted::All => Looked::read(global, None)?.all(),
        Wanted::Process(pid) => vec![Looked::read(global, None)?.of_process(*pid)?],
        Wanted::Container(id) => {
            let known = Known::of(&global.node()?.container(id)?)?;
            vec![Looked::read(global, Some(known))?.of_first()?]
        }
    };
    let all = matches!(wanted, Wanted::All);
    print(&match (parsed.format, all) {
        (Format::Json, true) => {
            let list: Vec<_> = reports.iter().map(Report::to_json).collect();
            let all = json!({ "schema": SCHEMA, "containers": list });
            format!("{}\n", serde_json::to_string_pretty(&all)?)
        }
        (Format::Json, false) => {
            format!("{}\n", serde_json::to_string_pretty(&reports[0].to_json())?)
        }
        (Format::Table, true) => table(&reports),
        (Format::Table, false) => text(&reports[0]),
    })?;
    let most = reports.iter().map(|report| report.exposure_at_most).max().unwrap_or(0);
    Ok(if parsed.max_exposure.is_some_and(|max| most > max) { 3 } else { 0 })
}

/// What is to be reported on.
enum Wanted {
    Container(ContainerId),
    Process(i32),
    All,
}

/// A container of brig's that runs.
struct Known {
    container: Container,
    pid: i32,
    applied: Applied,
}

impl Known {
    fn of(container: &Container) -> Result<Self, Error> {
        let (status, shown) = (container.status()?, container.show()?);
        if !matches!(status, Status::Running | Status::Paused) {
            let what = format!("container {:?} is {}, not running", shown.id, shown.status);
            return Err(Error::plain(what)
                .of_kind(ErrorKind::WrongState)
                .with_hint("a report is read from the processes of a container: start it first"));
        }
        Ok(Self { container: container.clone(), pid: shown.pid, applied: container.applied()? })
    }

    /// Whether its first process still runs: then what was read of that pid since was of this process.
    fn runs(&self) -> bool {
        matches!(self.container.init(), Ok(Some(_)))
    }
}

/// All containers that can be told of by name. Those that cannot be looked at are reported like any other runtime's.
fn known(node: &Node) -> Vec<Known> {
    let listed = node.list().map(|listed| listed.ids).unwrap_or_default();
    let found = listed.iter().filter_map(|id| node.container(id).ok());
    found.filter_map(|container| Known::of(&container).ok()).collect()
}

/// What has been read of the machine, once for any number of containers.
struct Looked {
    machine: Machine,
    host: Host,
    /// Those of brig's.
    known: Vec<Known>,
    first: i32,
    nodes: ChosenProfile,
}

impl Looked {
    /// `only` is the one container that is told of, if it is one of brig's.
    fn read(global: &Global, only: Option<Known>) -> anyhow::Result<Self> {
        let nodes = global.stateless_node().policy()?.profile;
        let first = only.as_ref().map_or(0, |known| known.pid);
        let known = match only {
            Some(known) => vec![known],
            None => global.node().map(|node| known(&node)).unwrap_or_default(),
        };
        let unread = |unseen: Unseen| Error::plain(format!("reading /proc: {unseen}"));
        let (machine, mut host) = (Machine::read().map_err(unread)?, Host::read().map_err(unread)?);
        let profiles = known.iter().map(|known| &known.applied.profile);
        for set in profiles.chain([&nodes]).flat_map(ChosenProfile::sets) {
            let RuleSet { rules, .. } = set;
            let masked = rules.masked_paths.paths.iter().chain(&rules.read_only_paths.paths);
            host.look_for(masked.flatten().map(String::as_str));
        }
        for spec in known.iter().filter_map(|known| known.container.spec().ok()) {
            let paths = spec.linux.masked_paths.iter().chain(&spec.linux.readonly_paths);
            host.look_for(paths.map(String::as_str));
        }
        Ok(Self { machine, host, known, first, nodes })
    }

    fn judge(&self, group: &Group) -> Result<Report, Unseen> {
        let snapshot = Snapshot::read(&self.machine, group, &self.host)?;
        let first = snapshot.first().process.pid;
        let known = self.known.iter().find(|known| known.pid == first && known.runs());
        Ok(judge(
            &snapshot,
            &Standard {
                id: known.map(|known| known.container.id().as_str()),
                spec: known.and_then(|known| known.container.spec().ok()),
                profile: known.map_or(&self.nodes, |known| &known.applied.profile),
            },
        ))
    }

    fn of_first(&self) -> Result<Report, Error> {
        let group = self.machine.container_from(self.first).ok_or_else(|| ended(self.first))?;
        let report = self.judge(&group).map_err(|_| ended(self.first))?;
        if report.id.is_none() { Err(ended(self.first)) } else { Ok(report) }
    }

    fn of_process(&self, pid: i32) -> Result<Report, Error> {
        let group = self.machine.container_of(pid).ok_or_else(|| ended(pid))?;
        self.judge(&group).map_err(|_| ended(pid))
    }

    /// Those that end meanwhile are left out.
    fn all(&self) -> Vec<Report> {
        self.machine.containers().iter().filter_map(|group| self.judge(group).ok()).collect()
    }
}

fn ended(pid: i32) -> Error {
    Error::plain(format!("there is no process {pid}, or it has ended"))
        .of_kind(ErrorKind::NotFound)
        .with_hint("pids are those of this pid namespace; /proc must show them (hidepid)")
}

/// A line for each container.
fn table(reports: &[Report]) -> String {
    let titles = [
        "CONTAINER",
        "PID",
        "PROCESSES",
        "ROOT",
        "WRITABLE",
        "FILTER",
        "HOST'S",
        "STATE",
        "EXPOSURE",
        "CGROUP",
    ];
    let mut rows = vec![titles.map(str::to_owned)];
    rows.extend(reports.iter().map(|report| {
        let has = |item: &str| match report.exposures.iter().find(|one| one.item == item) {
            Some(one) if one.is_known() => Some(true),
            Some(_) => None,
            None => Some(false),
        };
        let word = |item: &str, yes: &str, no: &str| match has(item) {
            Some(true) => yes.to_owned(),
            Some(false) => no.to_owned(),
            None => "unknown".to_owned(),
        };
        let hosts = [
            ("host mounts", "mnt"),
            ("host network", "net"),
            ("host processes", "pid"),
            ("host IPC", "ipc"),
            ("users are the host's", "user"),
            ("host cgroups", "cgroup"),
            ("host name", "uts"),
        ];
        let hosts = hosts.iter().filter(|(item, _)| has(item) == Some(true));
        let hosts: Vec<_> = hosts.map(|(_, name)| *name).collect();
        [
            report.id.clone().unwrap_or_else(|| report.name.clone()),
            report.pid.to_string(),
            report.processes.to_string(),
            word("root of the host", "root", "no"),
            word("writable root", "yes", "no"),
            word("no filter of system calls", "none", "yes"),
            if hosts.is_empty() { "-".to_owned() } else { hosts.join(",") },
            match report.verdict {
                Verdict::Told => "-".to_owned(),
                verdict => state(verdict).to_owned(),
            },
            sum(report),
            report.cgroup.clone().unwrap_or_default(),
        ]
    }));
    let unread = reports.first().map_or(0, |report| report.unread);
    let unread = unread_words(unread);
    let note = reports.first().map_or(String::new(), |report| format!("\n{}\n", report.note));
    format!("{}{unread}{note}", columns(&rows))
}

fn state(verdict: Verdict) -> &'static str {
    if verdict == Verdict::Told { "" } else { verdict.name() }
}

fn sum(report: &Report) -> String {
    match report.exposure_at_most {
        most if most == report.exposure => report.exposure.to_string(),
        most => format!("{} to {most}", report.exposure),
    }
}

fn unread_words(unread: usize) -> String {
    match unread {
        0 => String::new(),
        count => format!(
            "{count} processes of the machine are not shown to this user, and may be in any container\n"
        ),
    }
}

/// All of one container.
fn text(report: &Report) -> String {
    let called =
        report.id.as_ref().map_or_else(|| "of another runtime".to_owned(), |id| format!("{id:?}"));
    let (pid, name, processes, profile) =
        (report.pid, &report.name, report.processes, &report.profile);
    let mut text = format!(
        "container {called}: pid {pid} ({name}), {processes} processes, held against the profile {profile}\n{}\n",
        unread_words(report.unread)
    );
    for item in &report.items {
        text.push_str(&format!("{:8} {:14} {}\n", state(item.verdict), item.item, item.found));
        for check in item.checks.iter().filter(|check| check.verdict > Verdict::Holds) {
            let words = format!("{}: {}: {}", state(check.verdict), check.against, check.why);
            text.push_str(&format!("{:23} {words}\n", ""));
        }
    }
    text.push_str(&format!("\nexposure {} (model {}): the sum of\n", sum(report), report.model));
    for one in &report.exposures {
        let what = one.what.as_deref().unwrap_or("unknown");
        text.push_str(&format!("{:>4}  {}: {what}\n", one.weight, one.item));
        text.push_str(&format!("      why: {}\n      fix: {}\n", one.why, one.fix));
    }
    text.push_str(&format!("\n{}\n", report.note));
    text
}
