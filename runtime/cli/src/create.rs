//! `brig create`, and the flags that it shares with `run`.

use std::path::{Path, PathBuf};

use brig::spec::ContainerId;
use brig::supervise::{Blueprint, Error, Force, Node, Options};

use super::activation;
use super::arguments::{Arguments, Usage};
use super::flags::{Flag, Flags, ignored, number, path, switch};
use super::foreground::{Notifier, Role, Told, Wanted, detached};
use super::global::{Global, container_id};
use super::self_protection;
use super::verb::{Does, Outcome, Verb};

pub(super) const VERB: Verb = Verb {
    name: "create",
    summary: "make a container that waits to be started",
    help: "\
usage: brig create [OPTION...] CONTAINER-ID

Makes the container of a bundle: everything but its program, which `brig start` runs. It inherits
standard input, output and error; a terminal is replaced by /dev/null.
With NOTIFY_SOCKET the program has a socket for sd_notify(3), to which `brig start` listens.
",
    flags: &FLAGS,
    does: Does::Run(create),
};

const FLAGS: Flags<ParsedFlags> = Flags(&[("options", OPTIONS)]);

/// The flags of `create` and `run` as typed.
#[derive(Debug, Default)]
pub(super) struct ParsedFlags {
    bundle: Option<PathBuf>,
    pub(super) console_socket: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    pidfd_socket: Option<PathBuf>,
    preserve_fds: u32,
    no_new_keyring: bool,
    /// `run` alone has this one, and the next.
    pub(super) detach: bool,
    pub(super) keep: bool,
}

/// The flags of `create`, which `run` has too.
pub(super) const OPTIONS: &[Flag<ParsedFlags>] = &[
    path("-b, --bundle DIR  the bundle (default: the current directory)", |it| &mut it.bundle),
    path(
        "--console-socket S  a unix socket that gets the terminal, if process.terminal is true",
        |it| &mut it.console_socket,
    ),
    path("--pid-file FILE  write the pid of the container's first process to FILE", |it| {
        &mut it.pid_file
    }),
    path(
        "--pidfd-socket S  a unix socket that gets a pidfd of the container's first process",
        |it| &mut it.pidfd_socket,
    ),
    number(
        "--preserve-fds N  let the program inherit N descriptors after standard error, and after the \
         sockets of LISTEN_FDS where LISTEN_PID is brig's pid",
        |it| &mut it.preserve_fds,
    ),
    ignored("--no-pivot  accepted for compatibility; brig never leaves an old root behind"),
    switch("--no-new-keyring  stay in the caller's session keyring", |it| &mut it.no_new_keyring),
];

fn create(global: &Global, mut arguments: Arguments) -> Outcome {
    let mut parsed = ParsedFlags::default();
    FLAGS.read(&mut arguments, &mut parsed)?;
    let (id, mut options) = parsed.options(global, arguments)?;
    let node = global.node()?;
    self_protection::ensure()?;
    let blueprint = parsed.blueprint(global, &node, &id)?;
    let wanted = Wanted::first(&blueprint.config, parsed.console_socket.as_deref());
    let told = parsed.told()?;
    let notifier = Notifier::of_environment()?;
    options.notify = notifier.as_ref().map(|notifier| notifier.socket().clone());
    detached(wanted, |io, wait| {
        let (container, process) = node.create(&id, blueprint, &options, io, wait)?;
        match told.tell(process) {
            Ok(_) => Ok(()),
            // Nobody waits for it who has not been told of it.
            Err(error) => Err(container.delete(Force::Yes).err().unwrap_or(error)),
        }
    })?;
    Ok(0)
}

impl ParsedFlags {
    fn bundle(&self) -> &Path {
        self.bundle.as_deref().unwrap_or(Path::new("."))
    }

    /// What is to be made of the bundle.
    pub(super) fn blueprint(
        &self,
        global: &Global,
        node: &Node,
        id: &ContainerId,
    ) -> Result<Blueprint, Error> {
        let blueprint = node.blueprint(id, self.bundle())?;
        let config = &blueprint.config;
        let (bytes, mounts) = (config.text.len(), config.spec.mounts.len());
        global.log.debug(format_args!("config.json of {bytes} bytes is read: {mounts} mounts"));
        for sentence in &config.spec.process.capabilities.left_out {
            global.log.warn(sentence);
        }
        Ok(blueprint)
    }

    /// Who is told of its first process.
    pub(super) fn told(&self) -> Result<Told<'_>, Error> {
        Told::of(self.pid_file.as_ref(), self.pidfd_socket.as_ref(), Role::Standard)
    }

    /// What is to be made, with the id, which is all that there may be besides flags.
    pub(super) fn options(
        &self,
        global: &Global,
        mut arguments: Arguments,
    ) -> anyhow::Result<(ContainerId, Options)> {
        let sockets = activation::of_environment()?;
        let id = container_id(&mut arguments)?;
        let count = sockets.as_ref().map_or(0, |sockets| sockets.count);
        check_open("LISTEN_FDS", count)?;
        let preserve_fds = self.preserve_fds.saturating_add(count);
        check_open("--preserve-fds", preserve_fds)?;
        let bundle = self.bundle().display();
        global.log.debug(format_args!("bundle {bundle} for container {:?}", id.as_str()));
        arguments.end()?;
        let options =
            Options { preserve_fds, sockets, new_keyring: !self.no_new_keyring, notify: None };
        Ok((id, options))
    }
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
