//! `brig create`, and the flags that it shares with `run`.

use std::path::PathBuf;

use brig::execute::self_protection;
use brig::spec::ContainerId;
use brig::supervise::{self, Listeners, Options};

use super::{Arguments, Global, Outcome, Usage, Verb, container_id};

pub(super) const CREATE: Verb = Verb {
    name: "create",
    summary: "make a container that waits to be started",
    help: "\
usage: brig create [OPTION...] CONTAINER-ID

Makes the container of a bundle: everything but its program, which `brig start` runs. It keeps
standard input, output and error, but for a terminal, in whose place it gets /dev/null.

options:
  -b, --bundle DIR        the bundle (default: the current directory)
      --console-socket S  a unix socket that gets the terminal, if process.terminal is true
      --pid-file FILE     write the pid of the container's first process to FILE
      --preserve-fds N    let the program inherit N descriptors after standard error, and after
                          the sockets of LISTEN_FDS where LISTEN_PID is brig's pid
      --no-pivot          accepted for compatibility; brig never leaves an old root behind
      --no-new-keyring    stay in the caller's session keyring
",
    run: create,
};

fn create(global: &Global, mut arguments: Arguments) -> Outcome {
    let (id, options) = options(global, &mut arguments, |_, arguments| Err(arguments.unknown()))?;
    arguments.end()?;
    self_protection::ensure()?;
    supervise::create(&id, &options)?;
    Ok(0)
}

/// Reads the flags of `create`; `other` gets those that it does not know.
pub(super) fn options(
    global: &Global,
    arguments: &mut Arguments,
    mut other: impl FnMut(&str, &mut Arguments) -> Result<(), Usage>,
) -> anyhow::Result<(ContainerId, Options)> {
    let mut options = Options {
        root: global.root()?.to_owned(),
        bundle: PathBuf::from("."),
        systemd_cgroup: global.systemd_cgroup,
        console_socket: None,
        pid_file: None,
        preserve_fds: 0,
        listeners: Listeners::of_environment()?,
        new_keyring: true,
    };
    while let Some(flag) = arguments.next_flag()? {
        match flag.as_str() {
            "-b" | "--bundle" => options.bundle = PathBuf::from(arguments.value()?),
            "--console-socket" => options.console_socket = Some(PathBuf::from(arguments.value()?)),
            "--pid-file" => options.pid_file = Some(PathBuf::from(arguments.value()?)),
            "--preserve-fds" => options.preserve_fds = arguments.number()?,
            "--no-pivot" => drop(arguments.switch()?),
            "--no-new-keyring" => options.new_keyring = !arguments.switch()?,
            flag => other(flag, arguments)?,
        }
    }
    let id = container_id(arguments)?;
    let sockets = options.listeners.as_ref().map_or(0, Listeners::count);
    check_open("LISTEN_FDS", sockets)?;
    options.preserve_fds = options.preserve_fds.saturating_add(sockets);
    check_open("--preserve-fds", options.preserve_fds)?;
    global.log.debug(&format!("bundle {} for container {id:?}", options.bundle.display()));
    Ok((id, options))
}

/// Descriptors that are to be inherited must be there; `source` is who asks for them.
///
/// What brig has opened itself by now (the log, a state directory) is close-on-exec, which nothing can be that
/// brig was executed with: it is not the caller's to give.
pub(super) fn check_open(source: &str, count: u32) -> Result<(), Usage> {
    let flags = |fd: &u32| {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        libc::c_int::from_str_radix(flags.trim(), 8).ok()
    };
    let missing = |fd: &u32| flags(fd).is_none_or(|flags| flags & libc::O_CLOEXEC != 0);
    match (3..count.saturating_add(3)).find(missing) {
        Some(fd) => Err(Usage::new(format!("{source}: descriptor {fd} is not open"))),
        None => Ok(()),
    }
}
