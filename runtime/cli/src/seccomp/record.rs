//! `brig seccomp record`.
//!
//! Promises that a profile is written whole or not at all, and that nothing is written of a run
//! that failed: a profile of the failure would be worse than none. What is learnt, and how it
//! becomes a profile, is `brig_seccomp::record`'s; how a program is watched, `watch`'s.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::Context;
use brig::printable;
use brig::replace::{Lasting, replace};
use brig::spec::ContainerId;
use brig::supervise::{Blueprint, Error, HANDOVER_FLAGS, Node, Options};
use brig_seccomp::Arch;
use brig_seccomp::interpret::SeccompData;
use brig_seccomp::record::{
    Answer, Observations, Privileges, RefusedCall, Verification, allowed_calls, synthesize,
    watching, watching_the_rest,
};
use oci_spec::runtime::LinuxSeccomp;
use rustix::fs::CWD;

use super::profile::Profile;
use super::watch::{Watched, Watcher, watch};
use super::words::pretty;
use crate::arguments::{Arguments, Usage};
use crate::flags::{Flag, Flags, number, path, switch, value};
use crate::global::Global;
use crate::sandbox::{self, Sandbox};
use crate::self_protection;
use crate::verb::{Does, Outcome, Verb, print};

pub(super) const VERB: Verb = Verb {
    name: "seccomp record",
    summary: "record the system calls of a program as a profile",
    help: "\
usage: brig seccomp record [OPTION...] --bundle DIR
       brig seccomp record [OPTION...] [--] COMMAND [ARGUMENT...]

Runs a bundle as `brig run` does, or COMMAND in the sandbox of `brig try`, records every system call
of its processes and threads, and writes the seccomp profile (the linux.seccomp object of the OCI
runtime specification) that allows only these. Where an argument selects what a call does (the
family of a socket, the command of an ioctl) the profile allows the values that were seen.

A run under recording is not confined by seccomp, only by the rest of its sandbox: record programs
and input that you trust. Let the program do all of its work, error paths too; what was not seen
will be denied. SIGINT (Ctrl-C) or SIGTERM, which is passed on, stops a server; a second signal kills
it. Then the calls recorded so far are written, and no further run begins.

clone3 fails with ENOSYS, in recording and under the profile, so that libraries use clone, whose
flags a filter can see; so do calls that brig does not know. 32-bit programs are refused. Operations
of io_uring are not system calls: only io_uring_setup is recorded. Processes of `brig exec` do not
belong to the recorded program. A program cannot have a seccomp listener of its own meanwhile. Where
it handles a signal without SA_RESTART, calls may fail with EINTR although they normally do not.
",
    flags: &FLAGS,
    does: Does::Run(run),
};

const FLAGS: Flags<Request> =
    Flags(&[("options", OPTIONS), ("what COMMAND gets, as with `brig try`", &sandbox::options())]);

const OPTIONS: &[Flag<Request>] = &[
    path("-b, --bundle DIR  the bundle", |it| &mut it.bundle),
    path(
        "-o, --output FILE  where the profile goes; without it, to standard output, and what the \
         program prints there to standard error",
        |it| &mut it.output,
    ),
    number(
        "--runs N  run N times, and allow what any run did (default 1); from the second on only calls \
         that are not known yet are recorded, so that the program runs at full speed",
        |it| &mut it.runs,
    ),
    value(
        "--merge PROFILE  allow what this profile allows too (may be repeated); it must list what is \
         allowed, as recorded profiles and brig's own do",
        |it, given| {
            it.merge.push(given.text()?);
            Ok(())
        },
    ),
    switch(
        "--verify  then run once more under the profile: fails if that run ends otherwise or a call is denied",
        |it| &mut it.verify,
    ),
    value("--exit-code N  the exit code that runs must end with (default 0)", |it, given| {
        it.exit_code = given.number()?;
        Ok(())
    }),
];

/// Most runs: more teach nothing.
const MOST_RUNS: u32 = 1000;

struct Request {
    bundle: Option<PathBuf>,
    sandbox: Sandbox,
    command: Vec<String>,
    runs: u32,
    merge: Vec<String>,
    output: Option<PathBuf>,
    verify: bool,
    exit_code: u8,
}

impl AsMut<Sandbox> for Request {
    fn as_mut(&mut self) -> &mut Sandbox {
        &mut self.sandbox
    }
}

fn run(global: &Global, arguments: Arguments) -> Outcome {
    let request = parse(arguments)?;
    let merge =
        request.merge.iter().map(|name| read_profile(name)).collect::<Result<Vec<_>, _>>()?;
    if let Some(output) = &request.output {
        check_output(output)?;
    }
    self_protection::ensure()?;
    let stdout = match request.output {
        None => Some(divert_stdout()?),
        Some(_) => None,
    };
    let mut session = Session { node: global.node()?, request: &request, number: 0 };
    let (observations, privileges) = session.record()?;
    let profile = synthesized(&observations, privileges, &merge)?;
    report(&observations, &profile)?;
    write_profile(&profile, request.output.as_deref(), stdout)?;
    match request.verify {
        true => session.verify(&profile),
        false => Ok(0),
    }
}

fn parse(mut arguments: Arguments) -> anyhow::Result<Request> {
    let mut request = Request {
        bundle: None,
        sandbox: Sandbox::default(),
        command: Vec::new(),
        runs: 1,
        merge: Vec::new(),
        output: None,
        verify: false,
        exit_code: 0,
    };
    FLAGS.read_leading(&mut arguments, &mut request)?;
    request.command = sandbox::command(arguments)?;
    let usage = |what: &str| Err(Usage::new(what).into());
    match (&request.bundle, request.command.is_empty()) {
        (None, true) => return usage("neither --bundle nor COMMAND is given"),
        (Some(_), false) => return usage("both --bundle and COMMAND are given"),
        (Some(_), true) if request.sandbox.is_typed() => {
            return usage("--memory, --pids and --env are for COMMAND; a bundle says them itself");
        }
        _ => {}
    }
    match request.runs {
        1..=MOST_RUNS => Ok(request),
        runs => usage(&format!("--runs: {runs} is not between 1 and {MOST_RUNS}")),
    }
}

/// A profile to merge, which must be of a kind that can be: known before a program runs.
fn read_profile(name: &str) -> anyhow::Result<LinuxSeccomp> {
    let profile = Profile::read(name)?.seccomp;
    let nothing = Observations::new(Arch::native());
    synthesized(&nothing, Privileges::NoNewPrivileges, std::slice::from_ref(&profile)).map_err(
        |error| {
            let hint = error.hint().map(str::to_owned);
            Error::because(format!("--merge {name}"), error).with_hint_of(hint.as_deref())
        },
    )?;
    Ok(profile)
}

fn synthesized(
    seen: &Observations,
    privileges: Privileges,
    others: &[LinuxSeccomp],
) -> Result<LinuxSeccomp, Error> {
    synthesize(seen, privileges, others).map_err(|(_, error)| Error::from(error))
}

/// That the profile can be written is known before a program runs for an hour.
fn check_output(path: &Path) -> Result<(), Error> {
    let doing = || format!("--output {}", path.display());
    if path.is_dir() || path.file_name().is_none() {
        return Err(Error::plain(format!("{} is a directory", doing()))
            .with_hint("name the file that is to be written"));
    }
    // It is replaced by rename, and so would a device be.
    if path.symlink_metadata().is_ok_and(|data| !data.is_file()) {
        return Err(Error::plain(format!("{} is there already, and is no regular file", doing()))
            .with_hint("name another file, or leave --output out for standard output"));
    }
    let directory = directory_of(path);
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).map_err(|errno| {
        Error::system(doing(), errno).with_hint("its directory must exist, and be writable")
    })
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Keeps standard output for the profile alone: what the program prints there goes to standard
/// error.
fn divert_stdout() -> Result<OwnedFd, Error> {
    let failed = |errno: std::io::Error| Error::system("keeping standard output", errno);
    let kept = rustix::io::fcntl_dupfd_cloexec(std::io::stdout(), 3);
    let kept = kept.map_err(|errno| failed(errno.into()))?;
    rustix::stdio::dup2_stdout(std::io::stderr()).map_err(|errno| failed(errno.into()))?;
    Ok(kept)
}

/// The runs of one call of the verb.
struct Session<'s> {
    node: Node,
    request: &'s Request,
    number: u32,
}

impl Session<'_> {
    /// Runs the program as often as was asked for, and learns.
    fn record(&mut self) -> anyhow::Result<(Observations, Privileges)> {
        printable::note("brig: recording; seccomp does not confine the program meanwhile");
        let mut all = Observations::new(Arch::native());
        let mut privileges = Privileges::NoNewPrivileges;
        for run in 1..=self.request.runs {
            let blueprint = self.blueprint()?;
            privileges = privileges_of(&blueprint.1);
            let filter = match run {
                1 => watching(HANDOVER_FLAGS),
                _ => watching_the_rest(&synthesized(&all, privileges, &[])?, HANDOVER_FLAGS),
            };
            let ended = self.watch(
                blueprint,
                filter,
                Answering::Learns(Observations::new(Arch::native())),
            )?;
            let seen = ended.watcher.learnt()?;
            refuse_foreign(&seen)?;
            if !ended.stopped {
                self.expect_code(run, ended.code)?;
            }
            let before = all.distinct();
            all.merge(&seen);
            if self.request.runs > 1 {
                let new = all.distinct() - before;
                printable::note(&format!("brig: run {run}: {new} calls that were not seen before"));
            }
            if ended.stopped {
                printable::note("brig: stopped; the calls recorded so far are written");
                break;
            }
        }
        Ok((all, privileges))
    }

    fn expect_code(&self, run: u32, code: u8) -> Result<(), Error> {
        let expected = self.request.exit_code;
        if code == expected {
            return Ok(());
        }
        let how = match code {
            129..=192 => format!("{code}, by signal {},", code - 128),
            _ => code.to_string(),
        };
        let what = format!(
            "the program ended with code {how} in run {run}, not {expected}; no profile is written"
        );
        Err(Error::plain(what).with_hint(
            "see what the program says; --exit-code if it is meant to end so, SIGTERM to brig to stop it",
        ))
    }

    /// Runs the program once more under its profile.
    fn verify(&mut self, profile: &LinuxSeccomp) -> Outcome {
        printable::note("brig: verifying: the program runs again, under the profile");
        let (verification, filter) =
            Verification::new(profile, Arch::native(), HANDOVER_FLAGS).map_err(Error::from)?;
        let blueprint = self.blueprint()?;
        let ended = self.watch(blueprint, filter, Answering::Verifies(verification))?;
        let refused = ended.watcher.refused()?;
        for call in &refused {
            let args: Vec<_> =
                call.args.iter().map(|(index, value)| format!("arg{index}={value:#x}")).collect();
            printable::note(&format!(
                "brig: refused {} times: {} {}",
                call.times,
                call.name,
                args.join(" ")
            ));
        }
        let expected = self.request.exit_code;
        let same = ended.stopped || ended.code == expected;
        if same && refused.is_empty() {
            printable::note("brig: verified: the same exit code, no call refused");
            return Ok(0);
        }
        let what = match same {
            true => "the verified run had calls refused".to_owned(),
            false => format!("the verified run ended with code {}, not {expected}", ended.code),
        };
        Err(Error::plain(what)
            .with_hint("record more runs (--runs), and --merge what was recorded before")
            .into())
    }

    fn blueprint(&mut self) -> anyhow::Result<(ContainerId, Blueprint)> {
        self.number += 1;
        let id = ContainerId::parse(&format!("record-{}-{}", std::process::id(), self.number))?;
        let blueprint = match &self.request.bundle {
            Some(bundle) => self.node.blueprint(&id, bundle)?,
            None => {
                let command = self.request.command.clone();
                self.request.sandbox.options(command).blueprint(&self.node.policy()?)?
            }
        };
        Ok((id, blueprint))
    }

    fn watch(
        &self,
        (id, blueprint): (ContainerId, Blueprint),
        filter: LinuxSeccomp,
        watcher: Answering,
    ) -> anyhow::Result<Watched<Answering>> {
        let options = Options { preserve_fds: 0, sockets: None, new_keyring: true, notify: None };
        Ok(watch(&self.node, &id, blueprint, &options, filter, watcher)?)
    }
}

/// When other runtimes load the filter of this container.
fn privileges_of(blueprint: &Blueprint) -> Privileges {
    match blueprint.config.spec.process.no_new_privileges {
        true => Privileges::NoNewPrivileges,
        false => Privileges::MayGain,
    }
}

/// Who answers the calls. One type for both, so that there is one copy of what runs it.
#[derive(Debug)]
enum Answering {
    /// Lets every call go on, and takes note.
    Learns(Observations),
    /// Refuses what the profile refuses.
    Verifies(Verification),
}

impl Answering {
    fn learnt(self) -> Result<Observations, Error> {
        match self {
            Self::Learns(observations) => Ok(observations),
            Self::Verifies(_) => Err(Error::plain("nothing was learnt in a run for verifying")),
        }
    }

    fn refused(&self) -> Result<Vec<RefusedCall>, Error> {
        match self {
            Self::Verifies(verification) => Ok(verification.refused()),
            Self::Learns(_) => Err(Error::plain("nothing was refused in a run for learning")),
        }
    }
}

impl Watcher for Answering {
    fn answer(&mut self, call: &SeccompData) -> Answer {
        match self {
            Self::Learns(observations) => observations.observe(call),
            Self::Verifies(verification) => verification.answer(call),
        }
    }
}

/// Names would open the calls of one architecture on another.
fn refuse_foreign(seen: &Observations) -> Result<(), Error> {
    if seen.foreign().is_empty() {
        return Ok(());
    }
    let calls = seen.foreign().iter().take(3).map(|call| {
        let name = call.name.map_or_else(|| call.number.to_string(), str::to_owned);
        format!("{name} of {}", call.arch)
    });
    let what = format!(
        "the program makes calls of another architecture ({}), which fail in recording; no profile \
         is written",
        calls.collect::<Vec<_>>().join(", ")
    );
    Err(Error::plain(what)
        .with_hint("only native programs can be recorded; write its rules by hand"))
}

/// What was learnt, in a few lines.
fn report(seen: &Observations, profile: &LinuxSeccomp) -> Result<(), Error> {
    let native = Arch::native();
    let size = |profile: &LinuxSeccomp| -> Result<String, Error> {
        let (calls, checked) = allowed_calls(profile, native);
        let instructions = brig_seccomp::compile(profile, native)?.instructions.len();
        Ok(format!(
            "{calls} calls, {checked} with certain arguments only, {instructions} instructions"
        ))
    };
    printable::note(&format!(
        "brig: saw {} different calls, {} in all",
        seen.distinct(),
        seen.made()
    ));
    printable::note(&format!("brig: the profile allows {}", size(profile)?));
    if let Some(default) = brig_seccomp::builtin("default") {
        printable::note(&format!("brig: brig's default allows {}", size(&default)?));
    }
    if seen.has("io_uring_setup") {
        printable::note("brig: note: the program uses io_uring, whose operations no filter sees");
    }
    if seen.wants_own_listener() {
        printable::note(
            "brig: note: the program wanted a seccomp listener, which it cannot get (EBUSY)",
        );
    }
    if !seen.newer().is_empty() {
        printable::note(&format!(
            "brig: note: calls without a name failed with ENOSYS: {:?}",
            seen.newer()
        ));
    }
    Ok(())
}

/// Writes the profile: to a file by renaming a whole one, else to what was standard output.
fn write_profile(
    profile: &LinuxSeccomp,
    output: Option<&Path>,
    stdout: Option<OwnedFd>,
) -> anyhow::Result<()> {
    let text = serde_json::to_string(profile).context("writing the profile as JSON")?;
    let text = serde_json::from_str(&text)?;
    let text = pretty(&text)?;
    match (output, stdout) {
        (Some(path), _) => {
            replace(CWD, path, 0o666, text.as_bytes(), Lasting::Machine).map_err(|error| {
                Error::system(format!("writing the profile {}", path.display()), error).into()
            })
        }
        (None, Some(stdout)) => {
            File::from(stdout).write_all(text.as_bytes()).context("writing to standard output")
        }
        (None, None) => print(&text),
    }
}
