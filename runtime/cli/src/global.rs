//! The flags before the verb, and what they say.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use brig::caller::Caller;
use brig::node_policy;
use brig::policy::NodePolicy;
use brig::spec::ContainerId;
use brig::supervise::{Container, Error, ErrorKind, Node, Systemd};

use super::arguments::{Arguments, Usage};
use super::flags::{Flag, Flags, NONE, ignored, path, switch, text, value};
use super::log::{Log, LogFormat};

/// What the flags before the verb say.
#[derive(Clone, Debug, Default)]
pub(super) struct Global {
    /// `None` where nobody has said which, and none can be assumed.
    root: Option<PathBuf>,
    root_is_given: bool,
    systemd_cgroup: bool,
    profile: Option<String>,
    pub(super) log: Log,
    pub(super) version: bool,
    pub(super) help: bool,
}

pub(super) const FLAGS: Flags<Global> = Flags(&[("options", OPTIONS)]);

const OPTIONS: &[Flag<Global>] = &[
    path(
        "--root DIR  where containers' state is kept (default /run/brig/containers, or \
         $XDG_RUNTIME_DIR/brig for an ordinary user, and in a user namespace unless $USER is root); only the caller and root may be able to \
         write there",
        |it| &mut it.root,
    ),
    path("--log FILE  write errors to FILE too", |it| &mut it.log.file),
    value("--log-format FORMAT  text (default) or json, as runc writes it", |it, given| {
        it.log.format = LogFormat::parse(&given.text()?)?;
        Ok(())
    }),
    switch("--debug  log what is done", |it| &mut it.log.debug),
    switch(
        "--systemd-cgroup  let systemd make the cgroups; cgroupsPath is then slice:prefix:name",
        |it| &mut it.systemd_cgroup,
    ),
    text(
        "--profile NAME  the profile of the node's policy to apply, which must be selectable in the policy file \
         (default: the policy's, or NAME where brig is called as brig-NAME)",
        |it| &mut it.profile,
    ),
    ignored(
        "--rootless MODE  true, false or auto; accepted for compatibility; detected automatically",
    ),
    ignored("--criu PATH  accepted for compatibility"),
    switch("-v, --version  print the version", |it| &mut it.version),
    switch("-h, --help  print this, or with a verb its own help", |it| &mut it.help),
];

impl Global {
    /// Reads the flags before the verb.
    pub(super) fn read(arguments: &mut Arguments) -> anyhow::Result<Self> {
        let mut global = Self::default();
        FLAGS.read_leading(arguments, &mut global)?;
        if global.root.as_deref().is_some_and(|root| root.as_os_str().is_empty()) {
            return Err(Usage::new("--root: the directory has no name").into());
        }
        global.root_is_given = global.root.is_some();
        global.root = global.root.or_else(default_root);
        global.profile = global.profile.or_else(called_as);
        Ok(global)
    }

    /// What a policy in another file would grant them.
    pub(super) fn policy_of(&self, file: &Path) -> Result<NodePolicy, Error> {
        node_policy::read_file(file, self.profile.as_deref(), self.systemd_cgroup)
    }

    /// Where containers are kept, and what holds for them; what happens to them is logged.
    pub(super) fn node(&self) -> Result<Node, Error> {
        let root = self.root.as_deref().ok_or_else(|| {
            Error::plain("there is no directory for states: XDG_RUNTIME_DIR is not set")
                .with_hint("set it to your own run directory (as a login does), or give --root DIR")
        })?;
        Ok(self.node_at(root))
    }

    /// For verbs that look at no container: there need be no place for their states.
    pub(super) fn stateless_node(&self) -> Node {
        self.node_at(self.root.as_deref().unwrap_or(Path::new("/")))
    }

    fn node_at(&self, root: &Path) -> Node {
        let node = Node::new(root).with_observer(Arc::new(self.log.clone()));
        let node = match &self.profile {
            Some(name) => node.with_profile(name),
            None => node,
        };
        match self.systemd() {
            Some(systemd) => node.with_systemd(systemd),
            None => node,
        }
    }

    /// Fails where a root directory was given that is not there: mistyped, it would look as if there were no containers.
    pub(super) fn given_root_must_exist(&self) -> Result<(), Error> {
        match &self.root {
            Some(root) if self.root_is_given && !root.exists() => {
                let what = format!("{} does not exist", root.display());
                Err(Error::plain(what).of_kind(ErrorKind::NotFound).with_hint("look at --root"))
            }
            _ => Ok(()),
        }
    }

    /// The systemd that makes cgroups, where that is asked for. A user's own is found as by systemctl(1).
    fn systemd(&self) -> Option<Systemd> {
        self.systemd_cgroup.then(|| {
            let variable = std::env::var_os;
            let session = variable("DBUS_SESSION_BUS_ADDRESS").and_then(|a| a.into_string().ok());
            Systemd { user_bus: user_bus(session.as_deref(), variable("XDG_RUNTIME_DIR")) }
        })
    }

    /// The container that a verb operates on, with arguments to come.
    pub(super) fn open(&self, arguments: &mut Arguments) -> anyhow::Result<Container> {
        let id = container_id(arguments)?;
        Ok(self.node()?.container(&id)?)
    }

    /// The container of a verb that takes nothing else.
    pub(super) fn only(&self, mut arguments: Arguments) -> anyhow::Result<Container> {
        NONE.read(&mut arguments, &mut ())?;
        let id = container_id(&mut arguments)?;
        arguments.end()?;
        Ok(self.node()?.container(&id)?)
    }
}

/// The profile in the name that brig is called by: engines that pass no flags take a link, `brig-baseline`.
fn called_as() -> Option<String> {
    let called = std::env::args_os().next()?;
    let name = Path::new(&called).file_name()?.to_str()?;
    name.strip_prefix("brig-").map(str::to_owned)
}

/// Where states are kept unless `--root` says.
fn default_root() -> Option<PathBuf> {
    let variable = std::env::var_os;
    state_directory(Caller::get(), variable("XDG_RUNTIME_DIR").map(PathBuf::from), variable("USER"))
}

/// The socket in the address of a session's bus, else the one in the run directory (dbus-daemon(1), sd_bus_open_user(3)).
fn user_bus(session: Option<&str>, runtime: Option<OsString>) -> Option<PathBuf> {
    let given = session.and_then(|a| a.split([',', ';']).next()?.strip_prefix("unix:path="));
    let own = || Some(PathBuf::from(runtime?).join("bus"));
    given.map(PathBuf::from).or_else(own)
}

/// For an ordinary user there is no place to fall back to that is not everybody's, so it is the user's own run
/// directory (basedir-spec: absolute) or none. Root of a user namespace is an ordinary user outside, unless
/// its name is root's too, as in a container that is a system of its own: as with runc.
fn state_directory(
    caller: Caller,
    runtime: Option<PathBuf>,
    user: Option<OsString>,
) -> Option<PathBuf> {
    let own = runtime.filter(|path| path.is_absolute()).map(|path| path.join("brig"));
    let machine = || PathBuf::from("/run/brig/containers");
    match caller {
        Caller::Root => Some(machine()),
        Caller::RootOfUserNamespace if user.is_some_and(|name| name == "root") => Some(machine()),
        Caller::RootOfUserNamespace => Some(own.unwrap_or_else(machine)),
        Caller::User => own,
    }
}

/// Reads the id that a verb operates on.
pub(super) fn container_id(arguments: &mut Arguments) -> anyhow::Result<ContainerId> {
    let id = arguments.positional("CONTAINER-ID")?;
    Ok(ContainerId::parse(&id)?)
}

#[cfg(test)]
mod tests {
    use super::{Caller, state_directory, user_bus};

    #[test]
    fn a_users_bus_is_the_sessions_or_in_the_run_directory() {
        let bus = |session, runtime: Option<&str>| {
            let found = user_bus(session, runtime.map(Into::into));
            found.map(|path| path.to_string_lossy().into_owned())
        };
        let own = Some("/r/bus".to_owned());
        assert_eq!(bus(Some("unix:path=/x,guid=7"), Some("/r")), Some("/x".to_owned()));
        assert_eq!(bus(Some("unix:path=/x;unix:path=/y"), None), Some("/x".to_owned()));
        assert_eq!(bus(Some("unix:abstract=/x"), Some("/r")), own);
        assert_eq!(bus(None, Some("/r")), own);
        assert_eq!(bus(None, None), None);
    }

    #[test]
    fn states_are_kept_where_only_the_caller_writes() {
        let place = |caller, runtime: Option<&str>, user: Option<&str>| {
            let found = state_directory(caller, runtime.map(Into::into), user.map(Into::into));
            found.map(|path| path.to_string_lossy().into_owned())
        };
        let (machine, own) = (Some("/run/brig/containers".to_owned()), Some("/r/brig".to_owned()));
        assert_eq!(place(Caller::Root, Some("/r"), Some("me")), machine);
        for user in [Some("me"), None] {
            assert_eq!(place(Caller::RootOfUserNamespace, Some("/r"), user), own);
        }
        assert_eq!(place(Caller::RootOfUserNamespace, Some("/r"), Some("root")), machine);
        assert_eq!(place(Caller::RootOfUserNamespace, None, Some("me")), machine);
        assert_eq!(place(Caller::User, Some("/r"), Some("root")), own);
        assert_eq!(place(Caller::User, None, None), None);
        assert_eq!(place(Caller::User, Some("r"), None), None);
    }
}
