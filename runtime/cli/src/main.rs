//! The command line: runc's verbs and flags, and brig's own.
//!
//! A file for each verb: its flags, its help, what it does. Exit codes: the container's for `run`,
//! `exec` and `try`, 1 for errors (255 for `exec`, as runc), 2 for usage.
#![forbid(unsafe_code)]

mod activation;
mod arguments;
mod create;
mod delete;
mod events;
mod exec;
mod features;
mod flags;
mod foreground;
mod global;
mod kill;
mod layout;
mod list;
mod log;
mod pause;
mod plan;
mod policy;
mod ps;
mod report;
mod resume;
mod run;
mod sandbox;
mod seccomp;
mod self_protection;
mod spec;
mod start;
mod state;
mod unusable;
mod update;
mod verb;

use std::process::ExitCode;

use arguments::{Arguments, Usage};
use brig::supervise::Error;
use brig_unwind as _;
use global::Global;
use log::Log;
use verb::{Verb, print};

#[global_allocator]
static ALLOCATOR: brig_sys::allocator::Allocator = brig_sys::allocator::Allocator::new();

/// All verbs, in the order in which help shows them.
const VERBS: &[Verb] = &[
    create::VERB,
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
    policy::VERB,
    report::VERB,
    sandbox::VERB,
    seccomp::VERB,
];

const HELP_HEAD: &str = "\
brig: a hardened OCI container runtime

usage: brig [OPTION...] VERB [OPTION...] [ARGUMENT...]

verbs:
";

const HELP_END: &str = "
exit status: the container's for run, exec and try, 1 for errors (exec: 255), 2 for usage
";

fn main() -> ExitCode {
    brig_sys::signal::catch_ignored();
    let mut arguments = Arguments::new(std::env::args_os().skip(1), &global::FLAGS);
    let global = match Global::read(&mut arguments) {
        Ok(global) => global,
        Err(error) => return failed(&Log::default(), "", &error),
    };
    if global.version {
        return printed(&version());
    }
    if global.help {
        return printed(&help());
    }
    let verb = match arguments.verb() {
        None => Err(Usage::new("no verb is given")),
        Some(name) if name == "help" => return print_help(arguments),
        Some(name) => Verb::find(VERBS, &name),
    };
    let verb = match verb {
        Ok(verb) => verb,
        Err(usage) => return failed(&global.log, "", &usage.into()),
    };
    let version = env!("CARGO_PKG_VERSION");
    global.log.debug(format_args!("brig {version} ({}): {}", env!("BRIG_COMMIT"), verb.name));
    match global.log.check().and_then(|()| verb.call(&global, arguments)) {
        Ok(code) => {
            global.log.debug(format_args!("{} is done, exit code {code}", verb.name));
            ExitCode::from(code)
        }
        Err(error) => failed(&global.log, verb.name, &error),
    }
}

/// Says what failed; `verb` is the one that did, if it was one.
fn failed(log: &Log, verb: &str, error: &anyhow::Error) -> ExitCode {
    if let Some(usage) = error.downcast_ref::<Usage>() {
        log.usage(usage);
        return ExitCode::from(2);
    }
    log.error(verb, error);
    let signal = error.downcast_ref().and_then(Error::signal);
    ExitCode::from(match signal.and_then(|signal| u8::try_from(128 + signal).ok()) {
        Some(code) => code,
        None if verb == "exec" => 255,
        None => 1,
    })
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
    // Whatever else is typed: help is what is wanted.
    let _ = flags::NONE.read(&mut arguments, &mut ());
    let verb = arguments.verb().and_then(|name| Verb::find(VERBS, &name).ok());
    printed(&verb.map_or_else(help, Verb::help))
}

/// In the form that engines parse: `NAME version VERSION`, `commit: COMMIT` (which `docker info` shows), `spec: VERSION`.
fn version() -> String {
    let (version, spec) = (env!("CARGO_PKG_VERSION"), brig::spec::VERSION);
    format!("brig version {version}\ncommit: {}\nspec: {spec}\n", env!("BRIG_COMMIT"))
}

fn help() -> String {
    format!("{HELP_HEAD}{}{}{HELP_END}", verb::list(VERBS), verb::of_flags(&global::FLAGS))
}

#[cfg(test)]
mod tests;
