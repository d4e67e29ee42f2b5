//! The library in a program of its own, as a shim links it: many threads, one process, and the command line beside it.

use brig::deadline::Deadline;
use brig::execute::Exit;
use brig::spec::{self, ContainerId, NamespaceType};
use brig::supervise::{
    Blueprint, Container, Error, ErrorKind, Event, ExecOptions, Force, HeldNamespaces, Io, Node,
    Observer, Options, Process, Status,
};
use brig_integration::bundle::Bundle;
use brig_integration::{Lab, leftovers, need};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

const THREADS: usize = 16;

fn lab() -> Lab {
    let lab = Lab::new();
    leftovers::leave_children_to_the_test();
    lab
}

fn options() -> Options {
    Options { preserve_fds: 0, sockets: None, new_keyring: true, notify: None }
}

fn id(name: &str) -> ContainerId {
    ContainerId::parse(name).expect("an id")
}

fn blueprint(node: &Node, name: &str, bundle: &Bundle) -> Result<Blueprint, Error> {
    bundle.write();
    node.blueprint(&id(name), &bundle.dir)
}

fn created(node: &Node, name: &str, bundle: &Bundle) -> (Container, Process) {
    let mut patient = Deadline::NEVER;
    let blueprint = blueprint(node, name, bundle).expect("a bundle");
    let made = node.create(&id(name), blueprint, &options(), Io::default(), &mut patient);
    made.expect("it is made")
}

fn exec_true(container: &Container) -> Process {
    exec_true_as(container, 0).expect("it runs")
}

fn exec_true_as(container: &Container, uid: u32) -> Result<Process, Error> {
    let process = container.spec().expect("it is read").process.clone();
    let args = ["/bin/true".to_owned()].to_vec();
    let user = spec::User { uid, ..process.user.clone() };
    let process = spec::Process { args, user, ..process };
    let options = ExecOptions { process, preserve_fds: 0, cgroup: None, ignore_paused: false };
    let mut patient = Deadline::NEVER;
    container.exec(&options, Io::default(), &mut patient)
}

/// How it ends, which must be soon.
fn end(process: &Process) -> Exit {
    let limit = Timespec { tv_sec: 30, tv_nsec: 0 };
    let mut set = [PollFd::new(process, PollFlags::IN)];
    assert_eq!(poll(&mut set, Some(&limit)), Ok(1), "it has not ended");
    process.try_wait().expect("it is ours").expect("it has ended")
}

/// Descriptors, threads, and KiB of memory that are this process's own.
fn holds() -> [usize; 3] {
    let count = |path: &str| fs::read_dir(path).expect("proc is mounted").count();
    let status = fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let memory = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let memory = memory.and_then(|text| text.trim().strip_suffix(" kB"));
    let memory = memory.and_then(|text| text.trim().parse().ok()).expect("a number");
    [count("/proc/self/fd"), count("/proc/self/task"), memory]
}

fn one_life(node: &Node, name: &str, bundle: &Bundle) {
    let (container, process) = created(node, name, bundle);
    let mut patient = Deadline::NEVER;
    container.start(&mut patient).expect("it starts");
    assert_eq!(end(&exec_true(&container)), Exit::Code(0));
    container.kill(9, false).expect("it runs");
    assert_eq!(end(&process), Exit::Signal(9));
    container.delete(Force::No).expect("it has ended");
}

/// Sixteen threads, each one container after the other, while another allocates without a pause: what a thread holds when
/// another one clones is never in the way of the clone.
#[test]
fn a_thousand_containers_in_one_process_leave_nothing_in_it() {
    need!(Brig);
    let lab = lab();
    let (node, token) = (Node::new(lab.root()), lab.token().to_owned());
    let count =
        if std::env::var("BRIG_LANE").is_ok_and(|lane| lane != "host") { 100 } else { 1000 };
    let bundles: Vec<_> = (0..THREADS).map(|_| lab.bundle().idle()).collect();
    let (next, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let warm = Mutex::new(None);
    thread::scope(|scope| {
        let allocating = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let many: Vec<_> = (1..64).map(|size| vec![1_u8; size * 37]).collect();
                drop(many);
            }
        });
        let lives = |bundle: &Bundle| {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                if number == count / 4 {
                    *warm.lock().expect("no panic") = Some(holds()[2]);
                }
                one_life(&node, &format!("{token}-{number}"), bundle);
            }
        };
        let threads: Vec<_> =
            bundles.iter().map(|bundle| scope.spawn(move || lives(bundle))).collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        over.store(true, Ordering::Relaxed);
        allocating.join().expect("no panic");
    });
    let [descriptors, threads, memory] = holds();
    // Standard ones, the test's own, and the directory that is being read.
    assert!(descriptors <= 8, "{descriptors} descriptors");
    // The test's harness has one of its own.
    assert!(threads <= 2, "{threads} threads");
    let warm = warm.into_inner().expect("no panic").expect("a quarter has run");
    assert!(memory <= warm + 4096, "{warm} KiB after a quarter, {memory} KiB at the end");
    lab.assert_clean();
}

#[test]
fn each_kind_of_failure_is_told_by_its_kind() {
    need!(Brig);
    let lab = lab();
    let node = Node::new(lab.root());
    let mut patient = Deadline::NEVER;
    let kind = |result: Result<(), Error>| result.expect_err("it fails").kind();
    let name = lab.id();
    assert_eq!(kind(node.container(&id(&name)).map(drop)), ErrorKind::NotFound);
    let missing = node.blueprint(&id(&name), &lab.path("nowhere"));
    assert_eq!(kind(missing.map(drop)), ErrorKind::NotFound);
    let refused = lab.bundle().idle().set("/process/cwd", "relative");
    assert_eq!(kind(blueprint(&node, &name, &refused).map(drop)), ErrorKind::Refused);
    let bundle = lab.bundle().idle();
    let (container, process) = created(&node, &name, &bundle);
    let mut create = |name: &str| {
        let blueprint = blueprint(&node, name, &bundle).expect("a bundle");
        node.create(&id(name), blueprint, &options(), Io::default(), &mut patient)
    };
    assert!(matches!(kind(create(&name).map(drop)), ErrorKind::AlreadyExists));
    let occupied = create(&lab.id());
    assert_eq!(kind(occupied.map(drop)), ErrorKind::Busy, "its cgroup is another's");
    assert_eq!(kind(container.resume()), ErrorKind::WrongState);
    container.start(&mut patient).expect("it starts");
    assert_eq!(kind(container.start(&mut patient)), ErrorKind::WrongState);
    assert_eq!(kind(container.delete(Force::No)), ErrorKind::WrongState);
    let state = lab.root().join(&name).join("state.json");
    let record = fs::read(&state).expect("it is there");
    fs::write(&state, b"{").expect("it is written");
    let found = node.container(&id(&name)).expect("it is there");
    assert_eq!(kind(found.status().map(drop)), ErrorKind::Damaged);
    fs::write(&state, record).expect("it is written");
    container.delete(Force::Yes).expect("it is ended");
    assert_eq!(end(&process), Exit::Signal(9));
    assert_eq!(kind(container.status().map(drop)), ErrorKind::NotFound);
    let root = lab.path("planted");
    planted(&root);
    let denied = Node::new(root).find(&id("web"));
    assert_eq!(kind(denied.map(drop)), ErrorKind::Denied);
    lab.assert_clean();
}

/// A directory that everybody may write.
fn planted(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir(path).expect("it is new");
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("it is ours");
}

#[test]
fn a_handle_follows_what_the_command_line_does() {
    need!(Brig);
    let lab = lab();
    let node = Node::new(lab.root());
    let c = lab.container(lab.bundle().idle());
    c.create().ok();
    let handle = node.container(&id(c.id())).expect("it is there");
    let status = || handle.status().expect("it can be known");
    assert_eq!(status(), Status::Created);
    c.start().ok();
    assert_eq!(status(), Status::Running);
    c.verb("pause").ok();
    assert_eq!(status(), Status::Paused);
    handle.resume().expect("it is paused");
    assert_eq!(c.status(), "running");
    assert_eq!(end(&exec_true(&handle)), Exit::Code(0));
    c.delete_force().ok();
    let gone = || handle.status().expect_err("it is gone").kind();
    assert_eq!(gone(), ErrorKind::NotFound);
    c.run_detached();
    assert_eq!(gone(), ErrorKind::NotFound, "another one has its id");
    assert_eq!(handle.kill(9, false).expect_err("it is gone").kind(), ErrorKind::NotFound);
    c.delete_force().ok();
    lab.assert_clean();
}

#[derive(Debug, Default)]
struct Heard(Mutex<Vec<String>>);

impl Observer for Heard {
    fn observe(&self, id: &ContainerId, event: &Event<'_>) {
        let told = match event {
            Event::Born { pid } => format!("{} is born: {}", id.as_str(), *pid > 1),
            Event::Planned { .. } => format!("{} is planned", id.as_str()),
            Event::Started => format!("{} has started", id.as_str()),
            Event::Warned(words) => format!("{}: {words}", id.as_str()),
            Event::Exited { exit, .. } => format!("{} has exited: {exit:?}", id.as_str()),
            Event::Denied(denial) => format!("{} is denied: {denial}", id.as_str()),
            other => format!("{other:?}"),
        };
        self.0.lock().expect("no panic").push(told);
    }
}

#[test]
fn an_observer_hears_of_plan_birth_and_start_and_of_what_is_left_out() {
    need!(Brig);
    let lab = lab();
    let heard = Arc::new(Heard::default());
    let node = Node::new(lab.root()).with_observer(heard.clone());
    let (name, mut patient) = (lab.id(), Deadline::NEVER);
    let failing = serde_json::json!({ "poststop": [{ "path": "/bin/false" }] });
    let (container, process) = created(&node, &name, &lab.bundle().idle().set("/hooks", failing));
    container.start(&mut patient).expect("it starts");
    container.delete(Force::Yes).expect("it is ended");
    assert_eq!(end(&process), Exit::Signal(9));
    let heard = heard.0.lock().expect("no panic");
    let hook = format!("{name}: hooks.poststop[0] (/bin/false)");
    let life = ["is planned", "is born: true", "has started"].map(|what| format!("{name} {what}"));
    assert_eq!(heard[..3], life);
    assert!(heard[3].starts_with(&hook) && heard.len() == 5, "{heard:?}");
    assert_eq!(heard[4], format!("{name} has exited: Signal(9)"));
    lab.assert_clean();
}

#[test]
fn an_observer_hears_of_what_the_policy_denies() {
    need!(Brig);
    let lab = lab();
    let heard = Arc::new(Heard::default());
    let node = Node::new(lab.root()).with_observer(heard.clone());
    let (name, mut patient) = (lab.id(), Deadline::NEVER);
    policy("pids = { mode = \"refuse\", max = 100 }");
    let read = |pids: u32| {
        let bundle =
            lab.bundle().idle().set("/linux/resources/pids", serde_json::json!({"limit": pids}));
        blueprint(&node, &name, &bundle)
    };
    let refused = read(200).expect_err("it is more than the node allows");
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert!(refused.denial().is_some_and(|denial| denial.profile == "it"), "{refused}");
    let made = node.create(
        &id(&name),
        read(50).expect("a bundle"),
        &options(),
        Io::default(),
        &mut patient,
    );
    let (container, process) = made.expect("it is made");
    let more = brig::spec::Resources::default();
    let more = brig::spec::Resources { pids: Some(brig::spec::Pids { limit: Some(101) }), ..more };
    container.update(&more).expect_err("it is more than the node allows");
    container.delete(Force::Yes).expect("it is ended");
    assert_eq!(end(&process), Exit::Signal(9));
    let heard = heard.0.lock().expect("no panic");
    let denied =
        heard.iter().filter(|told| told.starts_with(&format!("{name} is denied: "))).count();
    assert_eq!(denied, 2, "{heard:?}");
    lab.assert_clean();
}

/// The plan that is carried out, as text.
#[derive(Debug, Default)]
struct Carried(Mutex<String>);

impl Observer for Carried {
    fn observe(&self, _: &ContainerId, event: &Event<'_>) {
        if let Event::Planned { plan, .. } = event {
            *self.0.lock().expect("no panic") = brig::plan::render(plan);
        }
    }
}

/// Says where the bundle is, for the same test as another user.
const BUNDLE: &str = "BRIG_TEST_BUNDLE";

/// What is shown for a bundle is what is done, in all; what is shown of its cgroup.
fn shown_as_done(root: &Path, name: &str, bundle: &Path) -> Vec<String> {
    let carried = Arc::new(Carried::default());
    let node = Node::new(root).with_observer(carried.clone());
    let shown = node.preview(&id(name), bundle).expect("it can be planned");
    let (cgroup, shown): (Vec<_>, Vec<_>) =
        shown.lines().partition(|line| line.starts_with("cgroup  "));
    let read = node.blueprint(&id(name), bundle).expect("a bundle");
    let mut patient = Deadline::NEVER;
    // What is shown is for a caller without terminal and /dev/null.
    let io = Io { null: Some([false; 3]), ..Io::default() };
    let made = node.create(&id(name), read, &options(), io, &mut patient);
    let (container, process) = made.expect("it is made");
    container.delete(Force::Yes).expect("it is ended");
    assert_eq!(end(&process), Exit::Signal(9));
    let carried = carried.0.lock().expect("no panic");
    assert!(shown.len() > 20, "{shown:?}");
    assert_eq!(shown, carried.lines().collect::<Vec<_>>());
    cgroup.into_iter().map(str::to_owned).collect()
}

/// `brig plan` shows what `create` does, with each layout of cgroups that the machine has, and for each kind of caller.
#[test]
fn what_is_planned_is_what_is_done() {
    need!(Brig);
    if let Some(bundle) = std::env::var_os(BUNDLE) {
        let root = std::env::var_os("XDG_RUNTIME_DIR").expect("a place of its own");
        let cgroup = shown_as_done(&Path::new(&root).join("state"), "planned", Path::new(&bundle));
        assert_eq!(cgroup, [""; 0], "none that it may make");
        return;
    }
    let lab = lab();
    let limit = serde_json::json!([{ "pageSize": "2MB", "limit": 0 }]);
    let plain = lab.bundle().idle();
    // On a hybrid host this limit is of the side with version 2, beside those of version 1.
    let both = lab.bundle().idle().set("/linux/resources/hugepageLimits", limit);
    for bundle in [plain, both] {
        bundle.write();
        let cgroup = shown_as_done(&lab.root(), &lab.id(), &bundle.dir);
        assert!(cgroup.iter().any(|line| line.contains("mkdir")), "{cgroup:?}");
    }
    let test = lab.path("test");
    fs::copy(std::env::current_exe().expect("itself"), &test).expect("it is copied");
    for (wrapper, mapped) in [("env", 12_345), ("unshare -Urm", 0)] {
        let bundle = lab.plain_bundle().idle().of_ordinary_user(mapped, 1);
        bundle.write();
        lab.call("chown").args(["-R", "12345:12345"]).arg(lab.dir()).go().ok();
        let user = ["--reuid", "12345", "--regid", "12345", "--clear-groups"];
        let call = lab.call("setpriv").args(user).args(["--inh-caps=-all", "--bounding-set=-all"]);
        let call = call.args(wrapper.split(' ')).env("XDG_RUNTIME_DIR", lab.dir());
        let call = call.env(BUNDLE, &bundle.dir).arg(&test);
        let run = call.args(["--exact", "what_is_planned_is_what_is_done"]).go().ok();
        assert!(run.stdout().contains("1 passed"), "{}", run.stdout());
    }
    lab.assert_clean();
}

/// Puts a policy of one profile with these rules in the place of the node's, which only this test sees.
fn policy(rules: &str) {
    let text = format!(
        "version = 1\ndefault = \"it\"\nselectable = [\"other\"]\n[profile.other]\n[profile.it]\n{rules}\n"
    );
    fs::create_dir_all("/etc/brig").expect("make a directory");
    fs::write("/etc/brig/policy.toml", text).expect("write a policy");
}

/// A program that lives long makes containers by the policy of the moment, without being told that it has changed; what is
/// done to a container later is judged by the policy that it was made by.
#[test]
fn a_node_holds_its_policy_at_each_verb_while_the_file_changes() {
    need!(Brig);
    let lab = lab();
    let rules = |pids| {
        policy(&format!(
            "pids = {{ mode = \"refuse\", max = {pids} }}\nusers = {{ mode = \"enforce\", min_uid = 1000, min_gid = 0 }}"
        ));
    };
    let node = Node::new(lab.root());
    let name = lab.id();
    let asks = |pids: u32, at: &Node| {
        let limit = serde_json::json!({ "limit": pids });
        let bundle = lab.bundle().idle().set("/process/user/uid", 1000);
        let bundle = bundle.set("/linux/resources/pids", limit);
        blueprint(at, &name, &bundle).map(drop).map_err(|error| error.kind())
    };
    rules(50);
    assert_eq!(asks(51, &node), Err(ErrorKind::Refused));
    assert_eq!(asks(51, &node.clone().with_profile("other")), Ok(()));
    let limit = serde_json::json!({ "limit": 50 });
    let bundle = lab.bundle().idle().set("/process/user/uid", 1000);
    let (container, process) = created(&node, &name, &bundle.set("/linux/resources/pids", limit));
    let mut patient = Deadline::NEVER;
    container.start(&mut patient).expect("it starts");
    // As many bytes, and of the same moment: nothing tells but the text.
    rules(99);
    assert_eq!(asks(51, &node), Ok(()));
    assert_eq!(asks(100, &node), Err(ErrorKind::Refused));
    let handle = node.container(&id(&name)).expect("it is there");
    for container in [&container, &handle] {
        let pids = |limit| {
            let pids = Some(spec::Pids { limit: Some(limit) });
            let more = spec::Resources { pids, ..spec::Resources::default() };
            container.update(&more).map_err(|error| error.kind())
        };
        assert_eq!([pids(51), pids(40)], [Err(ErrorKind::Refused), Ok(())]);
        assert_eq!(end(&exec_true_as(container, 1001).expect("it runs")), Exit::Code(0));
        let refused = exec_true_as(container, 999).expect_err("the user is refused");
        assert_eq!(refused.kind(), ErrorKind::Refused);
    }
    policy("pids = { mode = \"no mode\" }");
    asks(1, &node).expect_err("a policy that is not understood is none to go by");
    fs::remove_file("/etc/brig/policy.toml").expect("it is there");
    assert_eq!(asks(100, &node), Ok(()));
    container.delete(Force::Yes).expect("it is ended");
    assert_eq!(end(&process), Exit::Signal(9));
    lab.assert_clean();
}

/// A namespace of a process, held.
fn held_by(pid: &str, name: &str) -> fs::File {
    fs::File::open(format!("/proc/{pid}/ns/{name}")).expect("it has one")
}

/// No path leads there: the process that was in them has ended, and nothing is bound to them.
#[test]
fn namespaces_are_joined_by_what_is_held_of_them() {
    need!(Brig);
    let lab = lab();
    let node = Node::new(lab.root());
    let kinds =
        [(NamespaceType::Network, "net"), (NamespaceType::Ipc, "ipc"), (NamespaceType::Uts, "uts")];
    let (container, process) = created(&node, &lab.id(), &lab.bundle().idle());
    let pid = process.pid().to_string();
    let held = kinds.map(|(kind, name)| (kind, name, held_by(&pid, name)));
    container.delete(Force::Yes).expect("it is ended");
    assert_eq!(end(&process), Exit::Signal(9));
    let inode = |file: &fs::File| file.metadata().expect("it is open").ino();
    let inodes = held.each_ref().map(|(.., file)| inode(file));
    let namespaces = held
        .into_iter()
        .fold(HeldNamespaces::default(), |all, (kind, _, file)| all.with(kind, file));
    // One is listed as new, one is not listed.
    let bundle = lab.bundle().idle().without_namespace("uts").unset("/hostname");
    bundle.write();
    let (name, mut patient) = (lab.id(), Deadline::NEVER);
    let joining = node.blueprint_joining(&id(&name), &bundle.dir, namespaces).expect("a bundle");
    let made = node.create(&id(&name), joining, &options(), Io::default(), &mut patient);
    let (container, process) = made.expect("it is made");
    container.start(&mut patient).expect("it starts");
    let pid = process.pid().to_string();
    assert_eq!(kinds.map(|(_, name)| inode(&held_by(&pid, name))), inodes);
    assert_eq!(end(&exec_true(&container)), Exit::Code(0));
    // Who reads the record later does not take them for the container's own.
    let recorded = node.container(&id(&name)).expect("it is there");
    for (kind, _) in kinds {
        let entry = recorded.spec().expect("it is read").linux.namespace(kind).cloned();
        assert!(entry.expect("it is listed").path.is_some(), "{kind:?}");
    }
    recorded.delete(Force::Yes).expect("it is ended");
    assert_eq!(end(&process), Exit::Signal(9));
    lab.assert_clean();
}

#[test]
fn what_is_no_namespace_of_the_type_is_refused_by_type_and_field() {
    need!(Brig);
    let lab = lab();
    let node = Node::new(lab.root());
    let network = NamespaceType::Network;
    let joining = |bundle: Bundle, file: fs::File| {
        bundle.write();
        let namespaces = HeldNamespaces::default().with(network, file);
        let refused = node.blueprint_joining(&id("refused"), &bundle.dir, namespaces);
        let refused = refused.expect_err("it is no network namespace");
        assert_eq!(refused.kind(), ErrorKind::Refused);
        refused.to_string()
    };
    let index = |bundle: &Bundle| {
        let all = bundle.spec["linux"]["namespaces"].as_array().expect("a list");
        all.iter().position(|entry| entry["type"] == "network").expect("it is listed")
    };
    let bundle = || lab.bundle().idle();
    let field = format!("linux.namespaces[{}]", index(&bundle()));
    let other = joining(bundle(), held_by("self", "ipc"));
    assert!(other.starts_with(&field) && other.contains("network"), "{other}");
    assert!(other.ends_with("another type: ipc"), "{other}");
    let none = joining(bundle(), fs::File::open("/dev/null").expect("a device"));
    assert!(none.starts_with(&field) && none.ends_with("is not a namespace"), "{none}");
    let twice = bundle().namespace("network", Some("/proc/self/ns/net"));
    let field = format!("linux.namespaces[{}].path", index(&twice));
    let twice = joining(twice, held_by("self", "net"));
    assert!(twice.starts_with(&field), "{twice}");
    lab.assert_clean();
}

/// The policy looks at what is joined, whoever names it.
#[test]
fn a_namespace_of_the_host_is_refused_by_the_policy_where_it_is_held_too() {
    need!(Brig);
    let lab = lab();
    let node = Node::new(lab.root());
    let mut patient = Deadline::NEVER;
    for (kind, name, rule) in [
        (
            NamespaceType::Network,
            "net",
            "namespaces = { mode = \"enforce\", private = [\"network\"] }",
        ),
        (NamespaceType::Cgroup, "cgroup", "cgroup_namespace = { mode = \"enforce\" }"),
    ] {
        policy(rule);
        let bundle = lab.bundle().idle();
        bundle.write();
        let namespaces = HeldNamespaces::default().with(kind, held_by("self", name));
        let name = id(&lab.id());
        let joining = node.blueprint_joining(&name, &bundle.dir, namespaces).expect("a bundle");
        let refused = node.create(&name, joining, &options(), Io::default(), &mut patient);
        let refused = refused.expect_err("it is the host's");
        assert!(refused.denial().is_some(), "{refused}");
        lab.assert_clean();
    }
}
