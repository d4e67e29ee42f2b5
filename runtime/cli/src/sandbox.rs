//! `brig try`.

mod blueprint;
mod host_mounts;

use std::path::PathBuf;

use brig::printable;
use brig::spec::ContainerId;
use brig::supervise::{Confinement, Options};

use super::arguments::{Arguments, Usage};
use super::flags::{Flag, Flags, switch, value};
use super::foreground::{Signals, Stop, Wanted, in_foreground, remove_after};
use super::global::Global;
use super::self_protection;
use super::verb::{Does, Outcome, Verb};
pub(super) use blueprint::SandboxOptions;

pub(super) const VERB: Verb = Verb {
    name: "try",
    summary: "run a command at once in a hardened sandbox",
    help: "\
usage: brig try [OPTION...] [--] COMMAND [ARGUMENT...]

Runs COMMAND in a sandbox over this machine's own root file system, read-only: nothing needs to be
prepared. /tmp, /run and /var/tmp are empty and writable, homes are hidden except the current
directory, there is no network but loopback, and no capability. Called by root, COMMAND is a user
that the machine does not have, and tmpfs, network and FUSE mounts are hidden (empty), except the
one with the current directory. Called by another user, it has the rights of that user.
Servers that listen on unix sockets outside those directories can still be reached by path, where
their files allow it to everybody.
Prints what confines the command, as read back from the kernel, to standard error, and exits with
its exit code.
",
    flags: &FLAGS,
    does: Does::Run(run),
};

const FLAGS: Flags<ParsedFlags> = Flags(&[
    ("options", &options()),
    ("", &[switch("-q, --quiet  do not print what confines it", |it| &mut it.quiet)]),
]);

#[derive(Debug, Default)]
struct ParsedFlags {
    quiet: bool,
    sandbox: Sandbox,
}

impl AsMut<Sandbox> for ParsedFlags {
    fn as_mut(&mut self) -> &mut Sandbox {
        &mut self.sandbox
    }
}

/// The flags that are about the sandbox, as typed.
#[derive(Debug, Default)]
pub(super) struct Sandbox {
    memory_bytes: Option<i64>,
    pids: Option<i64>,
    env: Vec<(String, String)>,
}

/// The flags that are about the sandbox, for a verb that has others too.
pub(super) const fn options<T: AsMut<Sandbox>>() -> [Flag<T>; 3] {
    [
        value(
            "-m, --memory SIZE  limit of its memory, e.g. 512M or 1.5G (default 1G)",
            |it, given| {
                it.as_mut().memory_bytes = Some(size(&given.text()?)?);
                Ok(())
            },
        ),
        value("--pids N  limit of its processes (default 256)", |it, given| {
            it.as_mut().pids = Some(given.number()?);
            Ok(())
        }),
        value("-e, --env NAME=VALUE  add to its environment (may be repeated)", |it, given| {
            it.as_mut().env.push(variable(&given.text()?)?);
            Ok(())
        }),
    ]
}

/// Variables that are passed on: what a terminal program needs, and nothing that may be secret.
const PASSED: [&str; 6] = ["PATH", "TERM", "LANG", "LC_ALL", "COLORTERM", "TZ"];

fn run(global: &Global, mut arguments: Arguments) -> Outcome {
    let mut parsed = ParsedFlags::default();
    FLAGS.read_leading(&mut arguments, &mut parsed)?;
    let quiet = parsed.quiet;
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stdin());
    let sandbox = SandboxOptions { terminal, ..parsed.sandbox.options(command(arguments)?) };
    if sandbox.command.is_empty() {
        return Err(Usage::new("COMMAND is missing").into());
    }
    let node = global.node()?;
    self_protection::ensure()?;
    let id = ContainerId::parse(&format!("try-{}", std::process::id()))?;
    let options = Options { preserve_fds: 0, sockets: None, new_keyring: true, notify: None };
    let blueprint = sandbox.blueprint(&node.policy()?)?;
    let landlock = blueprint.landlock.is_some();
    let wanted = Wanted::first(&blueprint.config, None);
    let signals = Signals::block()?;
    let mut container = None;
    let ended = in_foreground(Some(&signals), wanted, Stop::PassOn, |io, wait| {
        let (new, process) = node.create(&id, blueprint, &options, io, wait)?;
        // From here on it is removed, whatever fails.
        let new = container.insert(new);
        let mut confinement = Confinement::read(process.pid(), &new.cgroup()?)?;
        new.start(wait)?;
        confinement.refresh(process.pid())?;
        if !quiet {
            show(&confinement, landlock);
        }
        Ok(process)
    });
    Ok(remove_after(ended, container, Some(&signals))?.code)
}

/// Says what confines the command.
fn show(confinement: &Confinement, landlock: bool) {
    let landlock = match landlock {
        true => "in force (the kernel shows no more of it)",
        false => "none: this kernel has no Landlock",
    };
    printable::note("brig: what confines the command, read back from the kernel:");
    printable::tell(&format!("{confinement}  landlock      {landlock}\n"));
}

impl Sandbox {
    /// Whether any of them was typed.
    pub(super) fn is_typed(&self) -> bool {
        self.memory_bytes.is_some() || self.pids.is_some() || !self.env.is_empty()
    }

    /// A sandbox for `command`, without a terminal.
    pub(super) fn options(&self, command: Vec<String>) -> SandboxOptions {
        SandboxOptions {
            command,
            memory_bytes: self.memory_bytes.unwrap_or(1 << 30),
            pids: self.pids.unwrap_or(256),
            terminal: false,
            env: passed_on().into_iter().chain(self.env.iter().cloned()).collect(),
            cwd: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
        }
    }
}

/// The command that is left.
pub(super) fn command(arguments: Arguments) -> Result<Vec<String>, Usage> {
    let mut command = arguments.rest()?;
    if command.first().is_some_and(|first| first == "--") {
        command.remove(0);
    }
    Ok(command)
}

fn passed_on() -> Vec<(String, String)> {
    let passed =
        PASSED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    passed.chain([("HOME".to_owned(), "/tmp".to_owned())]).collect()
}

fn variable(text: &str) -> Result<(String, String), Usage> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| Usage::new(format!("--env: {text:?} is not NAME=VALUE")))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// A size as `update` takes it, which must be more than nothing.
fn size(text: &str) -> Result<i64, Usage> {
    brig::spec::quantity::size_bytes(text)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| Usage::new(format!("--memory: {text:?} is not a size such as 64M or 1.5G")))
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_those_of_update() {
        assert_eq!(size("64M").ok(), Some(64 << 20));
        assert_eq!(size("1.5G").ok(), Some(3 << 29));
        assert_eq!(size("4096").ok(), Some(4096));
        for bad in ["", "M", "-1", "0", "1X", "9999999999G"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
