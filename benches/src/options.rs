//! The command line: as typed, resolved to subjects, and run.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lexopt::{Arg, Parser, ValueExt};

use crate::bench::Bench;
use crate::budget::judge_all;
use crate::ground::{Ground, is_cgroup_v2, require_root};
use crate::interrupt::Interrupt;
use crate::programs::{Programs, target_dir};
use crate::report::{Machine, Style, json, render, render_budgets};
use crate::scenario::{Extent, Results, Scenario, scenario_named};
use crate::subject::{Kind, Subject};

const USAGE: &str = "\
usage: compare [OPTION...] [SCENARIO...]

Measures OCI runtimes side by side: brig, crun, runc, floor, and youki where it is installed.
Needs root. Without SCENARIO: all of run, run-gap, run-docker, create, start, exec, mounts,
containers, memory, size.

  --brig PATH          brig's program (default: the release build for musl)
  --without NAME       leave a subject out
  --also NAME=PATH     measure one more runtime, such as another build of brig
  --arg NAME=ARG       an option for a subject, before its verb
  --iterations N       runs of each subject in each scenario (default 100)
  --gap MS             idle time of run-gap in milliseconds (default 100)
  --mounts N           additional mounts of the scenario mounts (default 1000)
  --containers N       running containers of the scenario containers (default 200)
  --json FILE          write everything measured to FILE
  --markdown           write the tables as Markdown
  --check              judge brig by its budgets; status 1 when one is missed
";

/// What brig is called in tables and budgets.
const CANDIDATE: &str = "brig";
/// Looked for in PATH. All but the last must be there, unless left out.
const FROM_PATH: [&str; 3] = ["crun", "runc", "youki"];
const OPTIONAL: &str = "youki";

/// The command line as typed.
struct Typed {
    brig: Option<PathBuf>,
    without: Vec<String>,
    also: Vec<(String, OsString)>,
    options: Vec<(String, OsString)>,
    scenarios: Vec<Scenario>,
    extent: Extent,
    json: Option<PathBuf>,
    style: Style,
    is_check: bool,
}

/// Does what the command line says.
///
/// # Errors
/// When it is wrong, a subject is missing, or the measurement fails or is interrupted.
pub fn run_command_line() -> Result<ExitCode> {
    let Some(typed) = parse(Parser::from_env())? else {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    };
    require_root()?;
    let programs = Programs::build()?;
    let subjects = resolve_subjects(&typed, &programs)?;
    let machine = Machine::look();
    if machine.load() > 0.5 {
        eprintln!(
            "note: load average {} on {} processors: trust ratios, not times",
            machine.load(),
            machine.processors()
        );
    }
    let results = measure(&typed, &programs, &subjects)?;
    print!("{}", render(&results, &machine, &subjects, typed.style));
    if let Some(path) = &typed.json {
        let text = format!("{:#}\n", json(&results, &machine, &subjects, typed.extent));
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    report_failures(&results);
    Ok(if typed.is_check { check(&typed, &results) } else { ExitCode::SUCCESS })
}

fn measure(typed: &Typed, programs: &Programs, subjects: &[Subject]) -> Result<Results> {
    let interrupt = Interrupt::block()?;
    let names: Vec<String> = subjects.iter().map(|subject| subject.name.clone()).collect();
    let mut ground = Ground::prepare(programs, &names)?;
    let measured = Bench::new(subjects, &mut ground, &interrupt, programs, typed.extent)
        .and_then(|mut bench| bench.measure(&typed.scenarios));
    match (measured, ground.clear()) {
        (Err(error), Err(clean_up)) => Err(error.context(clean_up)),
        (measured, cleared) => measured.and_then(|results| cleared.map(|()| results)),
    }
}

fn check(typed: &Typed, results: &Results) -> ExitCode {
    let judged = judge_all(results, &typed.scenarios, CANDIDATE, &typed.without);
    print!("{}", render_budgets(&judged, typed.style));
    let failed: Vec<String> = judged
        .iter()
        .filter(|(_, verdict)| verdict.is_failure())
        .map(|(budget, _)| budget.describe())
        .collect();
    for budget in &failed {
        eprintln!("missed: {budget}");
    }
    let is_reliable = results
        .outcomes
        .iter()
        .flat_map(|outcome| &outcome.lanes)
        .all(|lane| lane.subject != CANDIDATE || lane.failures.is_empty());
    if !is_reliable {
        eprintln!("missed: every run of {CANDIDATE} succeeds");
    }
    let is_clean = !results.left_behind.iter().any(|cgroup| is_of(cgroup, CANDIDATE));
    if !is_clean {
        eprintln!("missed: {CANDIDATE} leaves no cgroup behind");
    }
    if failed.is_empty() && is_reliable && is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether a cgroup is of one of the subject's containers: their names end with its name.
fn is_of(cgroup: &Path, subject: &str) -> bool {
    let name = cgroup.file_name().unwrap_or_default().to_string_lossy();
    // The name itself may contain dashes: see Ground::next_id.
    name.splitn(4, '-').nth(3) == Some(subject)
}

fn report_failures(results: &Results) {
    if let Some(first) = results.left_behind.first() {
        let count = results.left_behind.len();
        eprintln!("warning: {count} cgroups were left behind (and now removed), first: {first:?}");
    }
    for outcome in &results.outcomes {
        for lane in &outcome.lanes {
            if let Some(first) = lane.failures.first() {
                let count = lane.failures.len();
                let scenario = outcome.scenario.name();
                eprintln!(
                    "warning: {scenario}: {} failed {count} times, first: {first}",
                    lane.subject
                );
            }
        }
    }
}

/// Nothing when help was asked for.
fn parse(mut parser: Parser) -> Result<Option<Typed>> {
    let mut typed = Typed {
        brig: None,
        without: Vec::new(),
        also: Vec::new(),
        options: Vec::new(),
        scenarios: Vec::new(),
        extent: Extent {
            iterations: 100,
            gap: Duration::from_millis(100),
            mounts: 1000,
            containers: 200,
        },
        json: None,
        style: Style::Text,
        is_check: false,
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            Arg::Long("brig") => typed.brig = Some(parser.value()?.into()),
            Arg::Long("without") => typed.without.push(parser.value()?.string()?),
            Arg::Long("also") => typed.also.push(named(&parser.value()?)?),
            Arg::Long("arg") => typed.options.push(named(&parser.value()?)?),
            Arg::Long("iterations") => typed.extent.iterations = parser.value()?.parse()?,
            Arg::Long("gap") => typed.extent.gap = Duration::from_millis(parser.value()?.parse()?),
            Arg::Long("mounts") => typed.extent.mounts = parser.value()?.parse()?,
            Arg::Long("containers") => typed.extent.containers = parser.value()?.parse()?,
            Arg::Long("json") => typed.json = Some(std::path::absolute(parser.value()?)?),
            Arg::Long("markdown") => typed.style = Style::Markdown,
            Arg::Long("check") => typed.is_check = true,
            Arg::Value(name) => typed.scenarios.push(scenario_named(&name.string()?)?),
            _ => return Err(argument.unexpected().into()),
        }
    }
    if typed.scenarios.is_empty() {
        typed.scenarios = Scenario::ALL.to_vec();
    }
    ensure!(typed.extent.iterations > 0, "--iterations must be at least 1");
    ensure!(
        !(typed.is_check && typed.without.iter().any(|name| name == CANDIDATE)),
        "--check is about {CANDIDATE}, which --without leaves out"
    );
    Ok(Some(typed))
}

/// `NAME=VALUE`.
fn named(value: &OsStr) -> Result<(String, OsString)> {
    let text = value.to_str().context("an argument is not UTF-8")?;
    let Some((name, value)) = text.split_once('=') else {
        bail!("{text:?} is not NAME=VALUE");
    };
    let is_plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    ensure!(is_plain, "{name:?} is not a name: letters, digits and dashes only");
    Ok((name.to_owned(), value.into()))
}

fn resolve_subjects(typed: &Typed, programs: &Programs) -> Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    let is_wanted = |name: &str| !typed.without.iter().any(|without| without == name);
    if is_wanted(CANDIDATE) {
        let path = match &typed.brig {
            Some(path) => std::path::absolute(path)?,
            None => target_dir()?.join("x86_64-unknown-linux-musl/release/brig"),
        };
        subjects.push(runtime(CANDIDATE, path));
    }
    for name in FROM_PATH.into_iter().filter(|name| is_wanted(name)) {
        match in_path(name) {
            Some(path) => subjects.push(runtime(name, path)),
            None if name == OPTIONAL => {}
            None => bail!("{name} is not installed (--without {name} measures without it)"),
        }
    }
    for (name, path) in &typed.also {
        subjects.push(runtime(name, std::path::absolute(path)?));
    }
    if is_wanted("floor") {
        let flags = is_cgroup_v2().then_some("+cg2");
        let kind = Kind::Floor { docker_filter: programs.docker_filter.clone(), flags };
        let program = programs.floor.clone();
        subjects.push(Subject { name: "floor".into(), kind, program, options: Vec::new() });
    }
    ensure!(!subjects.is_empty(), "nothing is left to measure");
    for (index, subject) in subjects.iter().enumerate() {
        let is_repeated = subjects[..index].iter().any(|other| other.name == subject.name);
        ensure!(!is_repeated, "two subjects are called {}", subject.name);
        ensure!(
            subject.program.is_file(),
            "{} is not there: {} (--without {} measures without it)",
            subject.name,
            subject.program.display(),
            subject.name
        );
    }
    for (name, option) in &typed.options {
        let subject = subjects.iter_mut().find(|subject| subject.name == *name);
        let subject =
            subject.with_context(|| format!("--arg is for {name}, which is no subject"))?;
        subject.options.push(option.clone());
    }
    Ok(subjects)
}

fn runtime(name: &str, program: PathBuf) -> Subject {
    Subject { name: name.into(), kind: Kind::Runtime, program, options: Vec::new() }
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let dirs = env::split_paths(&path).chain([Path::new("/usr/sbin").to_path_buf()]);
    dirs.map(|dir| dir.join(name)).find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Option<Typed>> {
        parse(Parser::from_args(words))
    }

    #[test]
    fn without_scenarios_all_are_measured() {
        let typed = parsed(&["--iterations", "7"]).expect("valid").expect("no help");
        assert_eq!(typed.scenarios, Scenario::ALL);
        assert_eq!(typed.extent.iterations, 7);
    }

    #[test]
    fn a_check_without_its_candidate_is_refused() {
        assert!(parsed(&["--check", "--without", "brig"]).is_err());
        assert!(parsed(&["--without", "brig"]).is_ok());
    }

    #[test]
    fn a_left_cgroup_is_told_from_another_subjects() {
        let cgroup = Path::new("/sys/fs/cgroup/cpu/brigbench-7-000001-brig");
        assert!(is_of(cgroup, "brig"));
        assert!(!is_of(&cgroup.with_file_name("brigbench-7-000001-old-brig"), "brig"));
    }

    #[test]
    fn names_become_directories_and_are_checked() {
        assert!(named(OsStr::new("old=/bin/brig")).is_ok());
        assert!(named(OsStr::new("../old=/bin/brig")).is_err());
        assert!(named(OsStr::new("old")).is_err());
    }
}
