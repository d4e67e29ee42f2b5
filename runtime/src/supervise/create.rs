//! `create`: from a bundle to a process that waits at the start gate.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use brig_cgroup::{Cgroup, CgroupFacts, CgroupPlan, Driver, PlannedCgroup, PlannedScope};
use brig_child::flags::namespace;
use bumpalo::Bump;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::geteuid;
use oci_spec::runtime::Spec;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

use super::activation::Listeners;
use super::listener::Listener;
use super::lock::Lock;
use super::process::RecordedProcess;
use super::record::{Record, StateDirectory};
use super::root::Root;
use super::run::wanted;
use super::state::{OciState, now};
use super::terminal::Given;
use super::{Error, Status, gate, home};
use crate::bundle::Configuration;
use crate::deadline::Deadline;
use crate::execute::{
    Event, HookStage, IdMaps, Inputs, Launch, Launched, NetDevices, Resctrl, Wait,
    network_namespace_of, run_hooks, write_id_maps,
};
use crate::filter::Filter;
use crate::host::Host;
use crate::plan::{self, IdMapping, Plan, Start};
use crate::spec::ContainerId;

/// How long a command waits for another one that works on the same container.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What the caller asks for, besides what the bundle says.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory of all state directories.
    pub root: PathBuf,
    /// The bundle.
    pub bundle: PathBuf,
    /// cgroups are made by systemd.
    pub systemd_cgroup: bool,
    /// Where the terminal's master goes.
    pub console_socket: Option<PathBuf>,
    /// A file that gets the pid.
    pub pid_file: Option<PathBuf>,
    /// Descriptors after standard error that the program inherits, the sockets among them.
    pub preserve_fds: u32,
    /// Sockets that are the program's, the first of these.
    pub listeners: Option<Listeners>,
    /// Whether the container gets a session keyring of its own.
    pub new_keyring: bool,
}

/// A container as it is to be made: a bundle on disk, or what `try` composes.
#[derive(Debug)]
pub struct Blueprint {
    /// Its configuration; the text is kept for later commands.
    pub config: Configuration,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// The root file system.
    pub root: Root,
    /// See [`plan::Request::read_only_tree`].
    pub read_only_tree: bool,
    /// A Landlock ruleset for the program.
    pub landlock: Option<Landlock>,
    /// Who gets the filter's listener, instead of whoever listens at `linux.seccomp.listenerPath`.
    pub watcher: Option<OwnedFd>,
}

impl Blueprint {
    /// Reads a bundle.
    ///
    /// # Errors
    /// Names what is missing, or the field that is refused.
    pub fn of_bundle(bundle: &Path) -> Result<Self, Error> {
        let (directory, bundle) = open_bundle(bundle).map_err(|error| {
            Error::system(format!("opening bundle {}", bundle.display()), error)
                .with_hint("--bundle must be a directory with a config.json")
        })?;
        let config = Configuration::load(&directory, &bundle)?;
        let path = config.spec.root().as_ref().map(|root| root.path().as_path());
        let path = path.unwrap_or(Path::new("rootfs"));
        let root = Root::of_bundle(directory.as_fd(), &bundle, path)?;
        let (read_only_tree, landlock, watcher) = (false, None, None);
        Ok(Self { config, bundle, root, read_only_tree, landlock, watcher })
    }

    /// Its filter, if it has one.
    pub(super) fn filter(&self) -> Result<Option<Filter>, Error> {
        Ok(Filter::of(&self.config, &self.bundle)?)
    }

    /// The plan of its cgroup.
    pub(super) fn plan_cgroup(
        &self,
        id: &ContainerId,
        facts: &CgroupFacts,
        systemd: bool,
    ) -> Result<CgroupPlan, Error> {
        let linux = linux(&self.config.spec);
        let request = brig_cgroup::Request {
            id: id.as_str(),
            cgroups_path: linux.and_then(|linux| linux.cgroups_path().as_ref()?.to_str()),
            resources: linux.and_then(|linux| linux.resources().as_ref()),
            driver: if systemd { Driver::Systemd } else { Driver::Fs },
            devices: &brig_cgroup::devices::default_rules(),
            rootless: !geteuid().is_root(),
            owner: None,
        };
        Ok(brig_cgroup::plan(facts, &request)?)
    }
}

/// A Landlock ruleset. What it allows in the container's own mounts is added when they exist:
/// rules are about inodes, and those of a directory under a mount do not count.
#[derive(Debug)]
pub struct Landlock {
    /// The ruleset.
    pub ruleset: OwnedFd,
    /// Where the program may do what `access` says.
    pub paths: Vec<String>,
    /// `LANDLOCK_ACCESS_FS_*`.
    pub access: u64,
}

/// A container that has been made.
#[derive(Debug)]
pub struct Created {
    pub(super) directory: StateDirectory,
    pub(super) record: Record,
    pub(super) config: Configuration,
    /// Held since before anything of it was made.
    pub(super) lock: Lock,
    /// Its first process.
    pub process: Launched,
}

/// Makes a container.
///
/// # Errors
/// Names the field or the step; then nothing is left.
pub fn create(id: &ContainerId, options: &Options) -> Result<(), Error> {
    let blueprint = Blueprint::of_bundle(&options.bundle)?;
    let given = Given::detached(wanted(&blueprint, options).terminal)?;
    make(id, blueprint, options, Start::AtGate, given).map(drop)
}

/// Makes a container with what it is given of the caller's.
pub(super) fn make(
    id: &ContainerId,
    mut blueprint: Blueprint,
    options: &Options,
    start: Start,
    given: Given<'_>,
) -> Result<Created, Error> {
    if let Some(listeners) = &options.listeners {
        listeners.tell(&mut blueprint.config.spec);
    }
    let console_socket = console_socket(&blueprint.config.spec, options, given.console)?;
    let mut inputs = Inputs { console_socket, standard: given.standard, ..Inputs::default() };
    let filter = blueprint.filter()?;
    let cgroup = blueprint.plan_cgroup(id, &CgroupFacts::read()?, options.systemd_cgroup)?;
    let (directory, lock) = StateDirectory::make(&options.root, id)?;
    let record = new_record(id, &blueprint, &cgroup);
    let made = Made::default();
    let Given { wait, stop, .. } = given;
    let mut making =
        Making { id, options, start, directory, record, blueprint, cgroup, made, wait, stop };
    match making.attempt(filter.as_ref(), &mut inputs) {
        Ok(process) => {
            let Making { directory, record, blueprint, .. } = making;
            Ok(Created { directory, record, config: blueprint.config, lock, process })
        }
        Err(error) => Err(making.undo(error)),
    }
}

fn linux(spec: &Spec) -> Option<&oci_spec::runtime::Linux> {
    spec.linux().as_ref()
}

/// A directory, and its absolute path without links: what the kernel calls it (proc_pid_fd(5)).
fn open_bundle(directory: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = openat2(CWD, directory, flags, Mode::empty(), ResolveFlags::empty())?;
    let link = rustix::fs::readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new())?;
    Ok((fd, PathBuf::from(OsString::from_vec(link.into_bytes()))))
}

fn console_socket(
    spec: &Spec,
    options: &Options,
    terminal: Option<OwnedFd>,
) -> Result<Option<OwnedFd>, Error> {
    let wants = spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false);
    super::terminal::console(wants, options.console_socket.as_deref(), terminal)
}

fn new_record(id: &ContainerId, blueprint: &Blueprint, cgroup: &CgroupPlan) -> Record {
    let spec = &blueprint.config.spec;
    let annotations = spec.annotations().clone().unwrap_or_default();
    Record {
        id: id.as_str().to_owned(),
        oci_version: spec.version().clone(),
        bundle: blueprint.bundle.clone(),
        rootfs: blueprint.root.path().to_owned(),
        created: now(),
        owner: geteuid().as_raw(),
        process: None,
        planned_cgroup: PlannedCgroup::of(cgroup),
        cgroup: None,
        resctrl: None,
        annotations: annotations.into_iter().collect(),
        after_gate: (0, Vec::new()),
    }
}

/// A container while it is being made: knows what to undo.
struct Making<'m, 'w> {
    id: &'m ContainerId,
    options: &'m Options,
    start: Start,
    directory: StateDirectory,
    record: Record,
    blueprint: Blueprint,
    cgroup: CgroupPlan,
    made: Made,
    wait: Option<&'w mut dyn Wait>,
    stop: Option<BorrowedFd<'w>>,
}

/// Files with the container's state, each at its moment of life.
type StateFiles = Vec<(Status, fs::File)>;

/// What has been made, besides the directory and the process, and is undone if the rest fails.
#[derive(Default)]
struct Made {
    cgroup: Option<Cgroup>,
    devices: Option<NetDevices>,
    resctrl: Option<Resctrl>,
}

/// What is at hand outside for the process while it is set up.
struct Outside {
    scope: Option<PlannedScope>,
    /// The network namespace that it joins.
    network: Option<OwnedFd>,
    listener: Option<Listener>,
    states: StateFiles,
}

impl Making<'_, '_> {
    fn attempt(&mut self, filter: Option<&Filter>, inputs: &mut Inputs) -> Result<Launched, Error> {
        // Before anything is made: whoever finds the directory knows what to remove.
        self.directory.save_config(&self.blueprint.config.text)?;
        self.directory.save(&self.record)?;
        let mut host = Host::read();
        if wants_label(&self.blueprint.config.spec) {
            host = host.with_security_modules();
        }
        let (scope, join) = match brig_cgroup::create(&self.cgroup)? {
            brig_cgroup::Created::Scope(scope) => {
                (Some(scope), plan::Join { by_supervisor: true, ..plan::Join::default() })
            }
            brig_cgroup::Created::Cgroup(cgroup) => {
                (None, inputs.join(self.made.cgroup.insert(cgroup).join()?))
            }
        };
        let replaced = inputs.standard.each_ref().map(Option::is_some);
        let arena = Bump::with_capacity(plan::ARENA_BYTES);
        let plan = self.plan(&arena, filter, &host, join, replaced)?;
        let landlock = self.blueprint.landlock.take();
        inputs.landlock = landlock.map(|landlock| landlock.ruleset);
        inputs.empty_namespace = host.empty_namespace;
        self.launch(&plan, filter, std::mem::take(inputs), scope)
    }

    fn plan<'a>(
        &self,
        arena: &'a Bump,
        filter: Option<&Filter>,
        host: &Host,
        join: plan::Join,
        standard: [bool; 3],
    ) -> Result<Plan<'a>, Error> {
        let landlock = &self.blueprint.landlock;
        let home = home::of_spec(&self.blueprint.config.spec, &self.blueprint.root);
        let request = plan::Request {
            id: self.id,
            spec: &self.blueprint.config.spec,
            bundle: &self.blueprint.bundle.to_string_lossy(),
            root: self.blueprint.root.expected(),
            read_only_tree: self.blueprint.read_only_tree,
            start: self.start,
            host: &host.facts,
            cgroup: Some(&self.cgroup),
            join,
            standard,
            preserve_fds: self.options.preserve_fds,
            new_keyring: self.options.new_keyring,
            home: home.as_deref(),
            seccomp: filter.map(|filter| &filter.program),
            landlock: landlock.as_ref().map(|landlock| (&*landlock.paths, landlock.access)),
        };
        Ok(plan::plan(arena, &request)?)
    }

    fn launch(
        &mut self,
        plan: &Plan<'_>,
        filter: Option<&Filter>,
        mut inputs: Inputs,
        scope: Option<PlannedScope>,
    ) -> Result<Launched, Error> {
        let states = self.state_files(plan, &mut inputs)?;
        inputs.open_namespaces(plan)?;
        let network = inputs.namespace(namespace::NETWORK).map(|fd| fd.try_clone_to_owned());
        let network = network.transpose().map_err(|error| Error::system("fcntl", error))?;
        let watcher = self.blueprint.watcher.take();
        let listener = Listener::connect(filter, plan, watcher, &mut inputs)?;
        if self.start == Start::AtGate {
            inputs.gate = Some(gate::make(&self.directory)?);
            self.record.after_gate = (plan.after_gate, words_after_gate(plan));
        }
        // Before there is a process: if brig is killed it may live on without having been recorded
        // (from the moment on when it waits at the gate), and is known by its cgroup.
        remember(&self.directory, &mut self.record, &self.made)?;
        let mut launch = Launch::begin(plan, inputs, self.start)?;
        let served = self.serve(
            &mut launch,
            plan,
            filter,
            &mut Outside { scope, network, listener, states },
        );
        let launched = served.map_err(|error| launch.abort(error))?;
        if let Some(path) = &self.options.pid_file {
            write_pid_file(path, launched.pid)?;
        }
        Ok(launched)
    }

    /// Does what the process waits for, until it is ready.
    fn serve(
        &mut self,
        launch: &mut Launch<'_>,
        plan: &Plan<'_>,
        filter: Option<&Filter>,
        outside: &mut Outside,
    ) -> Result<Launched, Error> {
        let mut patient = Deadline::NEVER;
        let wait = self.wait.take().unwrap_or(&mut patient);
        loop {
            match launch.next(wait)? {
                Event::Born { pid, pidfd } => {
                    let process = RecordedProcess::new(pid, pidfd)
                        .map_err(|error| Error::system("recording the process", error))?;
                    self.directory.save_process(&process)?;
                    self.record.process = Some(process);
                }
                Event::Setup { pid } => {
                    let spec = &self.blueprint.config.spec;
                    if plan.wants_id_maps {
                        write_id_maps(pid, &id_maps(spec))?;
                    }
                    let attaches = outside.scope.is_some();
                    let (scope, network) = (outside.scope.take(), outside.network.as_ref());
                    set_up(spec, self.id, pid, scope, network, &mut self.made)?;
                    if attaches || self.made.resctrl.is_some() {
                        remember(&self.directory, &mut self.record, &self.made)?;
                    }
                }
                Event::Hooks { pid } => {
                    if let Some(listener) = &outside.listener {
                        listener.tell(filter, &self.record, Status::Creating, pid)?;
                    }
                    let spec = &self.blueprint.config.spec;
                    hooks(spec, &self.record, &mut outside.states, self.stop)?;
                }
                Event::Ready(launched) => return Ok(launched),
            }
        }
    }

    /// The files with the container's state for the hooks that the child runs.
    fn state_files(&self, plan: &Plan<'_>, inputs: &mut Inputs) -> Result<StateFiles, Error> {
        let mut files = StateFiles::default();
        let wanted = [
            (plan::SlotUse::State, Status::Creating, &mut inputs.state),
            (plan::SlotUse::CreatedState, Status::Created, &mut inputs.created_state),
        ];
        for (slot, status, input) in wanted {
            if plan.slots.contains(&slot) {
                let doing = "making the state file for hooks";
                let fd = memfd_create(c"brig-state", MFdFlags::MFD_CLOEXEC)
                    .map_err(|errno| Error::system(doing, errno))?;
                let file = fs::File::from(fd);
                let clone = file.try_clone().map_err(|error| Error::system(doing, error))?;
                *input = Some(OwnedFd::from(clone));
                files.push((status, file));
            }
        }
        Ok(files)
    }

    /// Removes what has been made, and says what could not be.
    fn undo(mut self, error: Error) -> Error {
        let mut left = Vec::new();
        // Before the process's namespace ends, and the kernel with it what is in there.
        let devices = self.made.devices.take().and_then(|devices| devices.undo().err());
        left.extend(devices.map(|error| error.to_string()));
        if let Some(cgroup) = self.made.cgroup.take() {
            let removed = cgroup.kill().and_then(|_| cgroup.delete());
            left.extend(removed.err().map(|error| error.to_string()));
        }
        let group = self.made.resctrl.take().and_then(|group| group.remove().err());
        left.extend(group.map(|error| error.to_string()));
        // The record stays with what is left: `delete` tries again.
        if left.is_empty() {
            left.extend(self.directory.remove().err().map(|error| error.to_string()));
        }
        if left.is_empty() {
            return error;
        }
        Error::because(format!("cannot clean up ({}) after a failure", left.join("; ")), error)
    }
}

fn wants_label(spec: &Spec) -> bool {
    let some = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    spec.process()
        .as_ref()
        .is_some_and(|process| some(process.apparmor_profile()) || some(process.selinux_label()))
        || linux(spec).is_some_and(|linux| some(linux.mount_label()))
}

/// Says in the state directory what has been made.
fn remember(directory: &StateDirectory, record: &mut Record, made: &Made) -> Result<(), Error> {
    record.cgroup = made.cgroup.as_ref().map(Cgroup::record).transpose()?;
    record.resctrl = made.resctrl.as_ref().map(Resctrl::record).transpose()?;
    directory.save(record)
}

/// The maps of the container's user namespace.
fn id_maps(spec: &Spec) -> IdMaps {
    let of = |list: &Option<Vec<_>>| list.iter().flatten().map(IdMapping::from).collect();
    linux(spec).map_or_else(IdMaps::default, |linux| IdMaps {
        uids: of(linux.uid_mappings()),
        gids: of(linux.gid_mappings()),
    })
}

/// What only the supervisor can do for the waiting process.
fn set_up(
    spec: &Spec,
    id: &ContainerId,
    pid: i32,
    scope: Option<PlannedScope>,
    network: Option<&OwnedFd>,
    made: &mut Made,
) -> Result<(), Error> {
    if let Some(scope) = scope {
        let attached = scope.attach(pid).map_err(|error| {
            let hint = error.hint().map(|hint| hint.to_string());
            Error::because("moving the process into its cgroup", error)
                .with_hint_of(hint.as_deref())
        });
        made.cgroup = Some(attached?);
    }
    let Some(linux) = linux(spec) else { return Ok(()) };
    if let Some(rdt) = linux.intel_rdt() {
        made.resctrl = Some(Resctrl::assign(id.as_str(), rdt, pid)?);
    }
    if let Some(devices) = linux.net_devices().as_ref().filter(|devices| !devices.is_empty()) {
        // The same that the process joins, or that it has got.
        let inside = match network {
            Some(joined) => joined.try_clone().map_err(|error| Error::system("fcntl", error))?,
            None => network_namespace_of(&pid.to_string())?,
        };
        made.devices = Some(NetDevices::move_into(devices, inside)?);
    }
    Ok(())
}

/// Hooks that run before the container's root is entered; the state for those that run later.
fn hooks(
    spec: &Spec,
    record: &Record,
    states: &mut StateFiles,
    stop: Option<BorrowedFd<'_>>,
) -> Result<(), Error> {
    let creating = OciState::of(record, Status::Creating).to_json();
    for (status, file) in states {
        let written = file.write_all(&OciState::of(record, *status).to_json());
        written.map_err(|error| Error::system("writing the state", error))?;
    }
    let Some(hooks) = spec.hooks() else { return Ok(()) };
    let of = |list: &Option<Vec<_>>| list.clone().unwrap_or_default();
    run_hooks(HookStage::Prestart, &of(hooks.prestart()), &creating, stop)?;
    run_hooks(HookStage::CreateRuntime, &of(hooks.create_runtime()), &creating, stop)
}

fn words_after_gate(plan: &Plan<'_>) -> Vec<String> {
    let after = plan.ops.get(plan.after_gate..).unwrap_or_default();
    after.iter().map(|op| crate::execute::words(op, plan)).collect()
}

/// Writes a pid so that a reader never sees half of it.
pub(super) fn write_pid_file(path: &Path, pid: i32) -> Result<(), Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!(".{name}.{}", std::process::id()));
    // Nobody else may have made it, as a link to another file.
    let made = fs::File::options().write(true).create_new(true).mode(0o644).open(&new);
    made.and_then(|mut file| file.write_all(pid.to_string().as_bytes()))
        .and_then(|()| fs::rename(&new, path))
        .map_err(|error| Error::system(format!("writing the pid file {}", path.display()), error))
}
