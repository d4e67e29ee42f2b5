//! What is asked for, held against a profile.
//!
//! Promises: a rule takes away, or refuses; what it puts in (a limit, a private namespace, an empty tmpfs) leaves the
//! container with less. Must never look at anything but its arguments.

mod bandwidth;
mod controls;
mod hooks;
mod kernel;
mod label;
mod landlock;
mod linux;
mod memory;
mod process;
mod remapping;
mod resources;
mod root;
pub(crate) mod seccomp;
mod securebits;
mod sources;

use brig_spec::{
    Asked, Config, IdMapping, Linux, NamespaceType, PersonalityDomain, Process, Resources,
    RlimitType,
};

use crate::chosen::ChosenProfile;
use crate::conditions::{self, Condition};
use crate::denial::Denial;
use crate::hardened::Hardened;
use crate::ids::IdPool;
use crate::pod;
use crate::profile::{Mode, Profile, SeccompListener};
use crate::source::{Program, Sources};
use crate::verdict::{Rule, Verdict, Verdicts};

/// Of what a rule speaks: `rule!(profile, capabilities)`.
macro_rules! rule {
    ($profile:expr, $name:ident) => {
        $crate::verdict::Rule(stringify!($name), $profile.$name.mode.unwrap_or_default())
    };
}
pub(crate) use rule;

pub use bandwidth::{Bandwidth, bandwidth};
pub use label::Modules;
pub use memory::write_xor_execute;
pub use remapping::{Remap, wants_range};
pub use root::root_attributes;
pub use seccomp::NodeFilter;
pub use securebits::securebits;

/// What a node grants a container: the profile chosen for it, and what of the machine decides what a rule comes to.
#[derive(Clone, Debug)]
pub struct NodePolicy {
    /// The profile.
    pub profile: ChosenProfile,
    /// What rules look at.
    pub facts: Facts,
    /// Rules that hold besides for containers with certain annotations.
    pub conditions: Vec<Condition>,
}

impl NodePolicy {
    /// That of a node which grants all that is asked for.
    #[must_use]
    pub fn oci() -> Self {
        Self { profile: ChosenProfile::oci(), facts: Facts::default(), conditions: Vec::new() }
    }
}

/// What of the machine decides what a rule comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whether the kernel accounts for swap, so that it can be limited.
    pub limits_swap: bool,
    /// Whether the host's cgroups are v2 alone, so that their files may be given by name (`linux.resources.unified`).
    pub cgroup_v2: bool,
    /// Sizes of huge pages that the host has, and can limit: `2MB`.
    pub huge_pages: Vec<String>,
    /// Whether systemd makes cgroups, so that `linux.cgroupsPath` names a slice and not a path.
    pub systemd: bool,
    /// The security modules that the host has.
    pub modules: Modules,
    /// The version of Landlock that the kernel has; 0 where it has none.
    pub landlock: u32,
    /// Whether a pid namespace can forbid programs in memory (`vm.memfd_noexec`, Linux 6.3).
    pub forbids_programs_in_memory: bool,
    /// Whether memory can be kept from being written and executed (`PR_SET_MDWE`, Linux 6.3).
    pub forbids_writable_code: bool,
    /// What of the caller counts.
    pub caller: CallerFacts,
    /// The ids that remapped containers have.
    pub pool: IdPool,
    /// Those that are this container's.
    pub remap: Remap,
    /// Limits that the caller cannot set.
    pub unlimitable: Unlimitable,
    /// Its root is an overlay that an engine has mounted, which can be mapped only where nothing is written to it.
    pub overlay_root: bool,
}

/// Limits that brig's caller cannot set: an ordinary user can where a cgroup is delegated with its controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unlimitable {
    /// Of memory and swap.
    pub memory: bool,
    /// Of processor time.
    pub processors: bool,
    /// Of tasks.
    pub pids: bool,
}

impl Unlimitable {
    /// Whether nothing can be written to a file of a container's cgroup.
    fn has(self, file: &str) -> bool {
        match file.split_once('.') {
            Some(("memory", _)) => self.memory,
            _ => self.memory && self.processors && self.pids,
        }
    }
}

/// What of brig's caller decides what a process comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallerFacts {
    /// Its oom_score_adj, which a process has that asks for none; where it was not looked at, none.
    pub oom_score: Option<i32>,
    /// Its limits, soft and hard, which a process has that asks for none; none where they were not looked at.
    pub rlimits: Vec<(RlimitType, u64, u64)>,
    /// Its nice value, which the program has as well.
    pub nice: i32,
    /// It is scheduled before all usual processes.
    pub is_real_time: bool,
    /// What it reads and writes comes before that of all others.
    pub has_real_time_io: bool,
    /// The maps of users and of groups of its user namespace, where that is not the machine's own.
    pub maps: Option<[Vec<IdMapping>; 2]>,
}

impl CallerFacts {
    /// Whether it is in a user namespace, in which nobody is root of the host.
    fn is_remapped(&self) -> bool {
        let has_root = |map: &Vec<IdMapping>| map.iter().any(|line| line.outside == 0);
        self.maps.as_ref().is_some_and(|maps| !maps.iter().any(has_root))
    }
}

/// What of a container's limits is in force, and bears on a change that does not name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Present {
    /// The period of the quota of processor time, microseconds.
    pub period_us: u64,
    /// The limit of swap beside the memory, as cgroup v2 has it: 0 on v1, where the limit is of both together.
    pub swap_bytes: i64,
}

impl Default for Present {
    /// That of a new cgroup, which is given a limit of swap with that of memory.
    fn default() -> Self {
        Self { period_us: 100_000, swap_bytes: 0 }
    }
}

/// What holds for a container, and each thing that it is not given, or given only because a rule is audited. `sources`
/// are what [`Profile::bind_sources`] judges: a source that is not among them is refused by it.
///
/// # Errors
/// The profile refuses something of it.
pub fn harden(
    asked: Asked,
    node: &NodePolicy,
    sources: &Sources,
) -> Result<(Hardened, Vec<Verdict>), Denial> {
    let unclaimed = wants_range(asked.config(), &node.profile, &node.facts);
    let (config, mut verdicts) = decide(asked, node, sources);
    if unclaimed {
        let asked = "ids of the pool, of which none are claimed";
        verdicts.refuse(Rule("remapping", Mode::Refuse), "linux.namespaces", asked);
    }
    let verdicts = Denial::or(&node.profile.name, verdicts)?;
    Ok((Hardened(config), verdicts))
}

/// All that a profile decides about what is asked for, also where it refuses something of it.
#[must_use]
pub fn judge(asked: Asked, node: &NodePolicy, sources: &Sources) -> Vec<Verdict> {
    decide(asked, node, sources).1.all
}

fn decide(asked: Asked, node: &NodePolicy, sources: &Sources) -> (Box<Config>, Verdicts) {
    let mut config = asked.into_config();
    let mut verdicts = Verdicts::of(&node.profile, |index, rules, verdicts| {
        decide_by(rules, &mut config, &node.facts, (sources, index), verdicts);
    });
    // Last, as nobody asked for what these put in: no set judges that, whichever put it in.
    verdicts.add_by(&node.profile, |_, rules, verdicts| {
        landlock::judge(&mut config, rules, &node.facts, verdicts);
        seccomp::nested(&mut config, rules, verdicts);
    });
    remapping::keep_ports(&mut config, &node.profile, &verdicts);
    verdicts.tell(&node.profile.exceptions);
    pod::tell(&mut verdicts.all, &config.annotations);
    (config, verdicts)
}

/// What one set of rules decides about what the ones before it have left; its index is for what it lists of sources.
fn decide_by(
    rules: &Profile,
    config: &mut Config,
    facts: &Facts,
    sources: (&Sources, usize),
    verdicts: &mut Verdicts,
) {
    remapping::judge(config, rules, facts, verdicts);
    let (process, linux) = (&mut config.process, &config.linux);
    process::judge(process, linux, rules, &facts.caller, verdicts);
    label::judge(process, facts.modules, rules, verdicts);
    process::mapped_mounts(config, rules, verdicts);
    linux::judge(&mut config.linux, rules, facts, verdicts);
    root::judge(config, rules, verdicts);
    remapping::judge_root(config, rules, facts, verdicts);
    sources::judge(config, rules, sources, verdicts);
    kernel::judge(&mut config.mounts, rules, verdicts);
    kernel::judge_view(&mut config.mounts, rules, verdicts);
    // In a user namespace only cgroups of v2 are given to the container.
    let has_host_root = config.linux.namespace(NamespaceType::User).is_none();
    let writes_cgroups = has_host_root && !is_on(rule!(rules, kernel_mounts));
    let resources = config.linux.resources.get_or_insert_default();
    resources::judge(resources, rules, facts, verdicts);
    controls::judge(resources, rules, Some(facts), writes_cgroups, verdicts);
    if config.linux.resources.as_ref().is_some_and(|all| *all == Resources::default()) {
        config.linux.resources = None;
    }
    seccomp::judge(config, rules, verdicts);
    memory::judge(rules, facts, verdicts);
    hooks::judge(config, rules, &sources.0.programs, verdicts);
    forbid(config, rules, verdicts);
    conditions::judge(&config.annotations, rules, verdicts);
    conditions::judge_image(&config.annotations, rules, verdicts);
}

/// What holds for a further process of a container. Where it names no label or limit of its own it has those of the
/// container's: without them it would be the one process in there that nothing confines.
///
/// # Errors
/// The profile with which the container was made refuses something of it.
pub fn harden_process(
    mut asked: Process,
    container: &Hardened,
    profile: &ChosenProfile,
    caller: &CallerFacts,
) -> Result<(Hardened<Process>, Vec<Verdict>), Denial> {
    let own = &container.process;
    asked.selinux_label = asked.selinux_label.or_else(|| own.selinux_label.clone());
    asked.apparmor_profile = asked.apparmor_profile.or_else(|| own.apparmor_profile.clone());
    asked.oom_score_adj = asked.oom_score_adj.or(own.oom_score_adj);
    if asked.rlimits.is_empty() {
        asked.rlimits.clone_from(&own.rlimits);
    }
    // What confines the container is there.
    let modules =
        Modules { apparmor: own.apparmor_profile.is_some(), selinux: own.selinux_label.is_some() };
    let verdicts = Verdicts::of(profile, |_, rules, verdicts| {
        process::judge(&mut asked, &container.linux, rules, caller, verdicts);
        label::judge(&asked, modules, rules, verdicts);
    });
    let verdicts = Denial::or(&profile.name, verdicts)?;
    Ok((Hardened(Box::new(asked)), verdicts))
}

/// What holds for new limits of a container. A limit that is not named stays as it is `present`.
///
/// # Errors
/// The profile with which the container was made refuses something of it.
pub fn harden_resources(
    mut asked: Resources,
    present: &Present,
    profile: &ChosenProfile,
) -> Result<(Hardened<Resources>, Vec<Verdict>), Denial> {
    let verdicts = Verdicts::of(profile, |_, rules, verdicts| {
        resources::judge_change(&mut asked, present, rules, verdicts);
        controls::judge(&mut asked, rules, None, false, verdicts);
    });
    let verdicts = Denial::or(&profile.name, verdicts)?;
    Ok((Hardened(Box::new(asked)), verdicts))
}

/// Judges a namespace that is joined by path, once it is open: whatever its path, it may be the host's. Of mount
/// namespaces that cannot be told: each service of systemd may have one with all that is the host's. There is no pivot_root(2)
/// in one that is joined, so who may call chroot(2) gets out of the root there.
///
/// # Errors
/// It is the host's, or a mount namespace, and the profile wants one of the container's own.
pub fn judge_joined(
    kind: NamespaceType,
    is_the_hosts: bool,
    profile: &ChosenProfile,
) -> Result<Vec<Verdict>, Denial> {
    let asked = match kind {
        _ if is_the_hosts => Some(format!("the host's {} namespace", kind.name())),
        NamespaceType::Mount => Some("a mount namespace of others".to_owned()),
        _ => None,
    };
    let verdicts = Verdicts::of(profile, |_, rules, verdicts| {
        let rule = match kind {
            NamespaceType::User => Some(rule!(rules, remapping)),
            _ => linux::private_by(kind, rules),
        };
        if let Some((rule, asked)) = rule.zip(asked.as_deref()) {
            verdicts.refuse(rule, "linux.namespaces", asked);
        }
    });
    Denial::or(&profile.name, verdicts)
}

/// Judges the socket by which somebody is told of system calls (`linux.seccomp.listenerPath`), once it is open: whether it
/// is one that the rule lists.
///
/// # Errors
/// The rule does not list it.
pub fn judge_listener(
    path: &str,
    is_listed: impl Fn(&SeccompListener) -> bool,
    profile: &ChosenProfile,
) -> Result<Vec<Verdict>, Denial> {
    let verdicts = Verdicts::of(profile, |_, rules, verdicts| {
        if !is_listed(&rules.seccomp_listener) {
            let rule = rule!(rules, seccomp_listener);
            verdicts.refuse(rule, "linux.seccomp.listenerPath", format!("the socket {path:?}"));
        }
    });
    Denial::or(&profile.name, verdicts)
}

/// Judges the programs of hooks once more, before they run in a later verb.
///
/// # Errors
/// The rule does not allow one of them.
pub fn judge_hooks(
    hooks: &brig_spec::Hooks,
    programs: &[Program],
    profile: &ChosenProfile,
) -> Result<(), Denial> {
    let verdicts = Verdicts::of(profile, |_, rules, verdicts| {
        hooks::refuse(hooks, rules, programs, verdicts);
    });
    Denial::or(&profile.name, verdicts).map(drop)
}

/// Judges the maps of a user namespace that is joined by path, of users and of groups, once a process is in it.
///
/// # Errors
/// They are not those by which users were judged, and the profile has a rule about users.
pub fn judge_joined_maps(
    linux: &Linux,
    found: [&[IdMapping]; 2],
    profile: &ChosenProfile,
    caller: &CallerFacts,
) -> Result<Vec<Verdict>, Denial> {
    let verdicts = Verdicts::of(profile, |_, rules, verdicts| {
        process::joined_maps(linux, found, rules, verdicts);
        if !caller.is_remapped() {
            remapping::joined_maps(found, rules, verdicts);
        }
    });
    Denial::or(&profile.name, verdicts)
}

/// What cannot be had in part.
fn forbid(config: &Config, profile: &Profile, verdicts: &mut Verdicts) {
    for name in config.linux.net_devices.keys() {
        let field = format!("linux.netDevices[{name:?}]");
        verdicts.refuse(rule!(profile, net_devices), field, "an interface of the host");
    }
    if config.linux.personality.as_ref().is_some_and(|one| one.domain != PersonalityDomain::Linux) {
        let asked = "another execution domain than LINUX";
        verdicts.refuse(rule!(profile, personality), "linux.personality.domain", asked);
    }
    if config.linux.intel_rdt.is_some() {
        verdicts.refuse(rule!(profile, intel_rdt), "linux.intelRdt", "a group of resctrl");
    }
}

/// Whether a rule has something to say.
fn is_on(rule: Rule) -> bool {
    rule.1 != Mode::Off
}
