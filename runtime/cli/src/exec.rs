//! `brig exec`.

use std::path::PathBuf;

use anyhow::Context;
use brig::spec::{self, Process, User, capability};
use brig::supervise::ExecOptions;

use super::arguments::{Arguments, Usage};
use super::create;
use super::flags::{Flag, Flags, ignored, number, path, switch, text, value};
use super::foreground::{Role, Signals, Stop, Told, Wanted, in_foreground};
use super::global::Global;
use super::self_protection;
use super::verb::{Does, Outcome, Verb};

pub(super) const VERB: Verb = Verb {
    name: "exec",
    summary: "run another process in a container",
    help: "\
usage: brig exec [OPTION...] CONTAINER-ID COMMAND [ARGUMENT...]
       brig exec [OPTION...] --process FILE CONTAINER-ID

Runs a process in a running container, with the container's capabilities, seccomp filter, labels
and limits unless options change them, and exits with its exit code. Without --tty, pipes replace
brig's own terminal, with --detach /dev/null.
",
    flags: &FLAGS,
    does: Does::Run(run),
};

const FLAGS: Flags<ParsedFlags> = Flags(&[("options", OPTIONS)]);

const OPTIONS: &[Flag<ParsedFlags>] = &[
    path(
        "-p, --process FILE  the process as JSON (the `process` of config.json); labels and limits \
         that it leaves out are the container's",
        |it| &mut it.process,
    ),
    switch("-d, --detach  do not wait", |it| &mut it.detach),
    switch("-t, --tty  give it a terminal", |it| &mut it.tty),
    path("--console-socket S  a unix socket that gets the terminal", |it| &mut it.console_socket),
    path("--pid-file FILE  write its pid to FILE", |it| &mut it.pid_file),
    path("--pidfd-socket S  a unix socket that gets a pidfd of it", |it| &mut it.pidfd_socket),
    text("--cwd DIR  its working directory", |it| &mut it.cwd),
    value("-e, --env NAME=VALUE  add to its environment (may be repeated)", |it, given| {
        it.env.push(given.text()?);
        Ok(())
    }),
    value("-u, --user UID[:GID]  its user", |it, given| {
        it.user = Some(user(&given.text()?)?);
        Ok(())
    }),
    value("-g, --additional-gids G  more groups (may be repeated)", |it, given| {
        it.gids.push(given.number()?);
        Ok(())
    }),
    value("-c, --cap CAPABILITY  add a capability (may be repeated)", |it, given| {
        it.capabilities.push(given.text()?);
        Ok(())
    }),
    switch("--no-new-privs  set no_new_privs", |it| &mut it.no_new_privs),
    text("--apparmor PROFILE  its AppArmor profile", |it| &mut it.apparmor),
    text("--process-label L  its SELinux label", |it| &mut it.label),
    number("--preserve-fds N  let it inherit N descriptors after standard error", |it| {
        &mut it.preserve_fds
    }),
    text("--cgroup PATH  run it in a cgroup below the container's", |it| &mut it.cgroup),
    switch("--ignore-paused  also in a paused container", |it| &mut it.ignore_paused),
    ignored("--no-subreaper  accepted for compatibility; brig does not become a subreaper"),
];

/// The flags as typed.
#[derive(Default)]
struct ParsedFlags {
    process: Option<PathBuf>,
    detach: bool,
    tty: bool,
    console_socket: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    pidfd_socket: Option<PathBuf>,
    cwd: Option<String>,
    env: Vec<String>,
    user: Option<(u32, Option<u32>)>,
    gids: Vec<u32>,
    capabilities: Vec<String>,
    no_new_privs: bool,
    apparmor: Option<String>,
    label: Option<String>,
    preserve_fds: u32,
    cgroup: Option<String>,
    ignore_paused: bool,
}

fn run(global: &Global, mut arguments: Arguments) -> Outcome {
    let mut parsed = ParsedFlags::default();
    FLAGS.read_leading(&mut arguments, &mut parsed)?;
    let container = global.open(&mut arguments)?;
    let command = arguments.rest()?;
    create::check_open("--preserve-fds", parsed.preserve_fds)?;
    self_protection::ensure()?;
    let process = match &parsed.process {
        Some(path) => {
            let bytes = brig::configuration::read_given(path, spec::SIZE_LIMIT_BYTES)?;
            let process = spec::process(&bytes)?;
            process.capabilities.left_out.iter().for_each(|sentence| global.log.warn(sentence));
            process
        }
        None => parsed.change(container.spec()?.process.clone(), command)?,
    };
    let wanted = Wanted::another(container.spec()?, &process, parsed.console_socket.as_deref());
    let options = ExecOptions {
        process,
        preserve_fds: parsed.preserve_fds,
        cgroup: parsed.cgroup,
        ignore_paused: parsed.ignore_paused,
    };
    let told = Told::of(parsed.pid_file.as_ref(), parsed.pidfd_socket.as_ref(), Role::Setns)?;
    let signals = if parsed.detach { None } else { Some(Signals::block()?) };
    let ended = in_foreground(signals.as_ref(), wanted, Stop::PassOn, |io, wait| {
        let process = container.exec(&options, io, wait)?;
        told.tell(process)
    })?;
    Ok(ended.code)
}

impl ParsedFlags {
    /// The container's own process, changed as the flags say.
    fn change(&self, mut process: Process, command: Vec<String>) -> anyhow::Result<Process> {
        if command.is_empty() {
            return Err(Usage::new("COMMAND is missing").into());
        }
        (process.args, process.terminal, process.console_size) = (command, self.tty, None);
        if let Some(cwd) = &self.cwd {
            process.cwd.clone_from(cwd);
        }
        if !self.env.is_empty() {
            for entry in &self.env {
                let name = entry.split_inclusive('=').next().unwrap_or_default();
                process.env.retain(|old| !(name.ends_with('=') && old.starts_with(name)));
                process.env.push(entry.clone());
            }
        }
        self.change_user(&mut process.user);
        if !self.capabilities.is_empty() {
            add_capabilities(&mut process, &self.capabilities)?;
        }
        if self.no_new_privs {
            process.no_new_privileges = true;
        }
        if self.apparmor.is_some() {
            process.apparmor_profile.clone_from(&self.apparmor);
        }
        if self.label.is_some() {
            process.selinux_label.clone_from(&self.label);
        }
        spec::check_process(&process).context("the process to execute is not acceptable")?;
        Ok(process)
    }

    fn change_user(&self, user: &mut User) {
        if let Some((uid, gid)) = self.user {
            user.uid = uid;
            user.gid = gid.unwrap_or(user.gid);
        }
        user.additional_gids.extend(&self.gids);
    }
}

/// `--cap` adds to the bounding, effective and permitted sets, as runc does.
fn add_capabilities(process: &mut Process, names: &[String]) -> anyhow::Result<()> {
    let added = capability::from_names("--cap", names)?;
    let sets = &mut process.capabilities.sets;
    for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
        *set |= added;
    }
    Ok(())
}

fn user(text: &str) -> Result<(u32, Option<u32>), Usage> {
    let number = |text: &str| {
        text.parse::<u32>().map_err(|_| Usage::new(format!("--user: {text:?} is not a number")))
    };
    match text.split_once(':') {
        None => Ok((number(text)?, None)),
        Some((uid, gid)) => Ok((number(uid)?, Some(number(gid)?))),
    }
}
