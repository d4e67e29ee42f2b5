//! `brig exec`.

use std::path::PathBuf;

use anyhow::Context;
use brig::execute::self_protection;
use brig::spec::{self, Process, User, capability};
use brig::supervise::{self, ExecOptions, Foreground};

use super::{Arguments, Global, Outcome, Usage, Verb, container, open};

pub(super) const VERB: Verb = Verb {
    name: "exec",
    summary: "run another process in a container",
    help: "\
usage: brig exec [OPTION...] CONTAINER-ID COMMAND [ARGUMENT...]
       brig exec [OPTION...] --process FILE CONTAINER-ID

Runs a process in a running container, with the container's capabilities, seccomp filter, labels
and limits unless told otherwise, and exits with its exit code. Without --tty it gets pipes in place
of brig's own terminal, with --detach /dev/null.

options:
  -p, --process FILE      the process as JSON (the `process` of config.json); what labels and
                          limits it leaves out are the container's
  -d, --detach            do not wait
  -t, --tty               give it a terminal
      --console-socket S  a unix socket that gets the terminal
      --pid-file FILE     write its pid to FILE
      --cwd DIR           its working directory
  -e, --env NAME=VALUE    add to its environment (may be repeated)
  -u, --user UID[:GID]    its user
  -g, --additional-gids G more groups (may be repeated)
  -c, --cap CAPABILITY    add a capability (may be repeated)
      --no-new-privs      set no_new_privs
      --apparmor PROFILE  its AppArmor profile
      --process-label L   its SELinux label
      --preserve-fds N    let it inherit N descriptors after standard error
      --cgroup PATH       run it in a cgroup below the container's
      --ignore-paused     also in a paused container
",
    run,
};

/// The flags as typed.
#[derive(Default)]
struct Flags {
    process: Option<PathBuf>,
    detach: bool,
    tty: bool,
    console_socket: Option<PathBuf>,
    pid_file: Option<PathBuf>,
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
    arguments.stop_at_positional();
    let flags = Flags::parse(&mut arguments)?;
    let container = open(global, &mut arguments)?;
    let command = arguments.rest()?;
    container::check_open("--preserve-fds", flags.preserve_fds)?;
    self_protection::ensure()?;
    let process = match &flags.process {
        Some(path) => {
            let bytes = brig::bundle::read_small(path, spec::SIZE_LIMIT_BYTES)?;
            spec::process(&bytes)?
        }
        None => flags.change(container.spec()?.process.clone(), command)?,
    };
    let options = ExecOptions {
        process,
        console_socket: flags.console_socket,
        pid_file: flags.pid_file,
        preserve_fds: flags.preserve_fds,
        cgroup: flags.cgroup,
        ignore_paused: flags.ignore_paused,
    };
    let foreground = if flags.detach { Foreground::Detach } else { Foreground::Wait };
    Ok(supervise::exec(&container, &options, foreground)?)
}

impl Flags {
    fn parse(arguments: &mut Arguments) -> Result<Self, Usage> {
        let mut flags = Self::default();
        while let Some(flag) = arguments.next_flag()? {
            match flag.as_str() {
                "-p" | "--process" => flags.process = Some(PathBuf::from(arguments.value()?)),
                "-d" | "--detach" => flags.detach = arguments.switch()?,
                "-t" | "--tty" => flags.tty = arguments.switch()?,
                "--console-socket" => {
                    flags.console_socket = Some(PathBuf::from(arguments.value()?));
                }
                "--pid-file" => flags.pid_file = Some(PathBuf::from(arguments.value()?)),
                "--cwd" => flags.cwd = Some(arguments.text()?),
                "-e" | "--env" => flags.env.push(arguments.text()?),
                "-u" | "--user" => flags.user = Some(user(&arguments.text()?)?),
                "-g" | "--additional-gids" => flags.gids.push(arguments.number()?),
                "-c" | "--cap" => flags.capabilities.push(arguments.text()?),
                "--no-new-privs" => flags.no_new_privs = arguments.switch()?,
                "--apparmor" => flags.apparmor = Some(arguments.text()?),
                "--process-label" => flags.label = Some(arguments.text()?),
                "--preserve-fds" => flags.preserve_fds = arguments.number()?,
                "--cgroup" => flags.cgroup = Some(arguments.text()?),
                "--ignore-paused" => flags.ignore_paused = arguments.switch()?,
                "--no-subreaper" => drop(arguments.switch()?),
                _ => return Err(arguments.unknown()),
            }
        }
        Ok(flags)
    }

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
    let sets = &mut process.capabilities;
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
