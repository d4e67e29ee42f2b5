//! Configurations and machines to plan for.

use brig::caller::Caller;
use brig::plan::{
    HostFacts, Plan, Refusal, Request, Root, RootDirectory, Start, Systemd, Volume, plan,
    plan_cgroup,
};
use brig::policy::{self, Hardened};
use brig::spec::{Asked, ContainerId};
use brig_cgroup::{CgroupFacts, CgroupPlan, Driver, Hierarchy, Layout, Unified};
use brig_seccomp::{Arch, BpfProgram};
use bumpalo::Bump;
use serde_json::{Value, json};
use std::ops::Deref;

/// A configuration as JSON, so that a test changes what it is about and nothing else.
pub(crate) fn config(rootless: Option<(u32, u32)>) -> Value {
    let text = brig::template::text(rootless);
    let mut value: Value = serde_json::from_str(&text).expect("the template is JSON");
    value["process"]["terminal"] = json!(false);
    value
}

/// A configuration that has been accepted, and its text.
pub(crate) struct Accepted {
    text: Vec<u8>,
    spec: Hardened,
}

impl Deref for Accepted {
    type Target = Hardened;

    fn deref(&self) -> &Hardened {
        &self.spec
    }
}

pub(crate) fn spec_of(config: &Value) -> Accepted {
    let text = serde_json::to_vec(config).expect("JSON");
    let spec = policy::kept(Asked::read(&text).expect("it is acceptable"));
    Accepted { text, spec }
}

/// Gives the container this namespace: new, or the one at a path.
pub(crate) fn namespace(config: &mut Value, kind: &str, path: Option<&str>) {
    let list = config["linux"]["namespaces"].as_array_mut().expect("a list");
    list.retain(|entry| entry["type"] != kind);
    match path {
        Some(path) => list.push(json!({"type": kind, "path": path})),
        None => list.push(json!({"type": kind})),
    }
}

/// A user namespace with a range of ids.
pub(crate) fn remap(config: &mut Value) {
    namespace(config, "user", None);
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
}

/// A machine, and how its cgroups are laid out.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) host: HostFacts,
    pub(crate) cgroups: CgroupFacts,
    pub(crate) driver: Driver,
}

fn hierarchy(names: &str, mount: &str) -> Hierarchy {
    let controllers = names.split(',').map(str::to_owned).collect();
    Hierarchy { controllers, mount: mount.into(), own: "/".into() }
}

fn unified(mount: &str) -> Unified {
    let controllers = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids"];
    let controllers = controllers.map(str::to_owned).to_vec();
    Unified { mount: mount.into(), own: "/".into(), controllers }
}

impl Machine {
    /// Root on cgroup v2 with a kept empty mount namespace.
    pub(crate) fn v2() -> Self {
        let host = HostFacts {
            caller: Caller::Root,
            setgroups: true,
            empty_namespace: true,
            apparmor: false,
            selinux: false,
            own_pid_max: false,
            detached_layers: true,
            no_new_privileges: false,
            descriptors: None,
        };
        let cgroups = CgroupFacts { layout: Layout::Unified(unified("/sys/fs/cgroup")) };
        Self { host, cgroups, driver: Driver::Fs }
    }

    pub(crate) fn v1() -> Self {
        let hierarchies = vec![
            hierarchy("cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct"),
            hierarchy("memory", "/sys/fs/cgroup/memory"),
            hierarchy("devices", "/sys/fs/cgroup/devices"),
            hierarchy("freezer", "/sys/fs/cgroup/freezer"),
            hierarchy("pids", "/sys/fs/cgroup/pids"),
        ];
        let layout = Layout::Legacy { hierarchies, unified: None };
        Self { cgroups: CgroupFacts { layout }, ..Self::v2() }
    }

    pub(crate) fn hybrid() -> Self {
        let mut machine = Self::v1();
        if let Layout::Legacy { unified: beside, .. } = &mut machine.cgroups.layout {
            *beside = Some(unified("/sys/fs/cgroup/unified"));
        }
        machine
    }

    pub(crate) fn rootless() -> Self {
        let mut machine = Self::v2();
        machine.host.caller = Caller::User;
        machine.host.empty_namespace = false;
        machine
    }

    pub(crate) fn cgroup(&self, spec: &Hardened) -> CgroupPlan {
        let id = ContainerId::parse("web").expect("an id");
        let systemd = (self.driver == Driver::Systemd).then(Systemd::default);
        plan_cgroup(&id, spec, &self.cgroups, systemd.as_ref(), self.host.caller)
            .expect("a cgroup plan")
    }
}

/// The compiled filter of the configuration.
pub(crate) fn filter(accepted: &Accepted) -> Option<BpfProgram> {
    let section = accepted.seccomp.clone()?;
    let profile = brig_seccomp::read_part(&accepted.text, section).expect("it is acceptable");
    Some(brig_seccomp::compile(&profile, Arch::X86_64).expect("it compiles"))
}

/// Plans, and hands the plan or the refusal to `look`.
pub(crate) fn planned<T>(
    spec: &Accepted,
    machine: &Machine,
    start: Start,
    look: impl FnOnce(Result<Plan<'_>, Refusal>) -> T,
) -> T {
    planned_of(spec, machine, start, &Given::default(), look)
}

/// What a plan depends on besides configuration and machine.
pub(crate) struct Given<'g> {
    /// Which standard descriptors are others than the caller's.
    pub(crate) standard: [bool; 3],
    pub(crate) root: Root<'g>,
    pub(crate) volumes: &'g [Volume],
}

/// The root of the tests' bundle.
pub(crate) const ROOT: RootDirectory<'_> =
    RootDirectory { path: "/bundle/rootfs", device: (8, 1), inode: 77, mount: 29 };

impl Default for Given<'_> {
    fn default() -> Self {
        Self { standard: [false; 3], root: Root::Directory(ROOT), volumes: &[] }
    }
}

/// The same with something else given.
pub(crate) fn planned_of<T>(
    spec: &Accepted,
    machine: &Machine,
    start: Start,
    given: &Given<'_>,
    look: impl FnOnce(Result<Plan<'_>, Refusal>) -> T,
) -> T {
    let arena = Bump::new();
    let id = ContainerId::parse("web").expect("an id");
    let cgroup = machine.cgroup(spec);
    let seccomp = filter(spec);
    let request = Request {
        start,
        standard: given.standard,
        volumes: given.volumes,
        seccomp: seccomp.as_ref(),
        ..Request::new(&id, spec, "/bundle", given.root, &machine.host, &cgroup)
    };
    look(plan(&arena, &request))
}
