//! The command line: runc's verbs and flags, and brig's own.
//!
//! A file for each verb: its help, its flags, what it does. Exit codes: the container's for `run`,
//! `exec` and `try`, 1 for errors (255 for `exec`, as runc), 2 for usage.
#![forbid(unsafe_code)]

mod arguments;
mod container;
mod delete;
mod events;
mod exec;
mod features;
mod kill;
mod list;
mod log;
mod pause;
mod plan;
mod ps;
mod quantity;
mod resume;
mod run;
mod sandbox;
mod seccomp;
mod spec;
mod start;
mod state;
mod update;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use arguments::{Arguments, Usage};
use brig::printable;
use brig::spec::ContainerId;
use brig::supervise::{Container, Error};
use log::{Log, LogFormat};

#[global_allocator]
static ALLOCATOR: brig_sys::allocator::Allocator = brig_sys::allocator::Allocator::new();

/// How a verb ends when it does not fail: with an exit code.
type Outcome = anyhow::Result<u8>;

/// A verb: name, one line of help, the whole help, what it does.
struct Verb {
    name: &'static str,
    summary: &'static str,
    help: &'static str,
    run: fn(&Global, Arguments) -> Outcome,
}

/// All verbs, in the order in which help shows them.
const VERBS: &[Verb] = &[
    container::CREATE,
    start::VERB,
    run::VERB,
    state::VERB,
    kill::VERB,
    delete::VERB,
    exec::VERB,
    list::VERB,
    ps::VERB,
    events::VERB,
    pause::VERB,
    resume::VERB,
    update::VERB,
    spec::VERB,
    features::VERB,
    plan::VERB,
    sandbox::VERB,
    seccomp::VERB,
];

/// Flags before the verb.
#[derive(Clone, Debug)]
struct Global {
    /// `None` where nobody has said which, and none can be assumed.
    root: Option<PathBuf>,
    systemd_cgroup: bool,
    log: Log,
}

const HELP_HEAD: &str = "\
brig: a hardened OCI container runtime

usage: brig [OPTION...] VERB [OPTION...] [ARGUMENT...]

";

const HELP_OPTIONS: &str = "
options:
  --root DIR          where containers' state is kept (default /run/brig/containers,
                      or $XDG_RUNTIME_DIR/brig for an ordinary user); nobody but the
                      caller and root may be able to write there
  --log FILE          write errors to FILE too
  --log-format FORMAT text (default) or json, as runc writes it
  --debug             log what is done
  --systemd-cgroup    let systemd make the cgroups; cgroupsPath is then slice:prefix:name
  --rootless MODE     true, false or auto; accepted for compatibility: brig looks for itself
  --criu PATH         accepted for compatibility
  -v, --version       print the version
  -h, --help          print this, or with a verb its own help

exit status: the container's for run, exec and try, 1 for errors (exec: 255), 2 for usage
";

fn main() -> ExitCode {
    let mut arguments = Arguments::new(std::env::args_os().skip(1));
    let global = match Global::parse(&mut arguments) {
        Ok(ControlFlow::Continue(global)) => global,
        Ok(ControlFlow::Break(code)) => return code,
        Err(usage) => return usage_failed(&usage),
    };
    let Some(name) = arguments.verb() else {
        return refused(&global, &Usage::new("no verb is given"));
    };
    if name == "help" {
        return print_help(arguments);
    }
    let Some(verb) = VERBS.iter().find(|verb| name == verb.name) else {
        return refused(&global, &Usage::new(format!("unknown verb {name:?}")));
    };
    if arguments.wants_help() {
        return printed(verb.help);
    }
    match (verb.run)(&global, arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => match error.downcast_ref::<Usage>() {
            Some(usage) => refused(&global, usage),
            None => {
                global.log.error(verb.name, &error);
                let signal = error.downcast_ref().and_then(Error::signal);
                ExitCode::from(match signal.and_then(|signal| u8::try_from(128 + signal).ok()) {
                    Some(code) => code,
                    None if verb.name == "exec" => 255,
                    None => 1,
                })
            }
        },
    }
}

/// A wrong command line, once it is known where errors go.
fn refused(global: &Global, usage: &Usage) -> ExitCode {
    global.log.usage(usage);
    usage_failed(usage)
}

fn usage_failed(usage: &Usage) -> ExitCode {
    printable::note(&format!("error: {usage}"));
    printable::note(&format!("hint: {}", usage.hint().unwrap_or_default()));
    ExitCode::from(2)
}

/// Prints what a verb has to say; that nobody could read it is a failure.
fn print(text: &str) -> anyhow::Result<()> {
    printable::print(text).context("writing to standard output")
}

/// Prints help or the version, which is all there is to do.
fn printed(text: &str) -> ExitCode {
    match print(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// `brig help [VERB]`.
fn print_help(mut arguments: Arguments) -> ExitCode {
    let verb = match arguments.optional() {
        Ok(Some(name)) => VERBS.iter().find(|verb| verb.name == name),
        _ => None,
    };
    printed(&verb.map_or_else(help, |verb| verb.help.to_owned()))
}

/// In the form that engines parse: `NAME version VERSION`, then `spec: VERSION`.
fn version() -> String {
    format!("brig version {}\nspec: {}\n", env!("CARGO_PKG_VERSION"), brig::spec::VERSION)
}

fn help() -> String {
    let mut text = String::from(HELP_HEAD);
    text.push_str("verbs:\n");
    for verb in VERBS {
        text.push_str(&format!("  {:<19} {}\n", verb.name, verb.summary));
    }
    text + HELP_OPTIONS
}

impl Global {
    /// Breaks where help or the version was printed.
    fn parse(arguments: &mut Arguments) -> Result<ControlFlow<ExitCode, Self>, Usage> {
        let mut root = None;
        let mut systemd_cgroup = false;
        let mut log = Log::default();
        while let Some(flag) = arguments.next_flag()? {
            match flag.as_str() {
                "--root" => root = Some(PathBuf::from(arguments.value()?)),
                "--log" => log.file = Some(PathBuf::from(arguments.value()?)),
                "--log-format" => log.format = LogFormat::parse(&arguments.text()?)?,
                "--debug" => log.debug = arguments.switch()?,
                "--systemd-cgroup" => systemd_cgroup = arguments.switch()?,
                "--rootless" | "--criu" => drop(arguments.text()?),
                "-v" | "--version" => return Ok(ControlFlow::Break(printed(&version()))),
                "-h" | "--help" => return Ok(ControlFlow::Break(printed(&help()))),
                _ => return Err(arguments.unknown()),
            }
        }
        let root = root.or_else(default_root);
        Ok(ControlFlow::Continue(Self { root, systemd_cgroup, log }))
    }

    /// The directory of all state directories.
    fn root(&self) -> Result<&Path, Error> {
        self.root.as_deref().ok_or_else(|| {
            Error::plain("there is no directory for states: XDG_RUNTIME_DIR is not set")
                .with_hint("set it to your own run directory (as a login does), or give --root DIR")
        })
    }
}

/// Where states are kept unless `--root` says. For an ordinary user there is no place to fall back to
/// that is not everybody's, so it is the user's own run directory (basedir-spec: absolute) or none.
fn default_root() -> Option<PathBuf> {
    if nix::unistd::geteuid().is_root() {
        return Some(PathBuf::from("/run/brig/containers"));
    }
    let directory = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    directory.filter(|directory| directory.is_absolute()).map(|directory| directory.join("brig"))
}

/// Reads the id that a verb operates on.
fn container_id(arguments: &mut Arguments) -> anyhow::Result<ContainerId> {
    let id = arguments.positional("CONTAINER-ID")?;
    Ok(ContainerId::parse(&id)?)
}

/// The container of a verb that takes nothing else.
fn only(global: &Global, mut arguments: Arguments) -> anyhow::Result<Container> {
    if arguments.next_flag()?.is_some() {
        return Err(arguments.unknown().into());
    }
    let id = container_id(&mut arguments)?;
    arguments.end()?;
    Ok(Container::open(global.root()?, &id)?)
}

/// The container that a verb operates on, with arguments to come.
fn open(global: &Global, arguments: &mut Arguments) -> anyhow::Result<Container> {
    let id = container_id(arguments)?;
    Ok(Container::open(global.root()?, &id)?)
}
