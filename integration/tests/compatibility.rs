//! Programs that people run, under the levels of the node's policy: docs/compatibility.md is what these tests try.

use brig_integration::command::Call;
use brig_integration::engine::{Containerd, Docker, Podman, Size, archive};
use brig_integration::workloads::{Needs, WORKLOADS, Workload, document};
use brig_integration::{Bundle, Lab, Output, binaries, json, need};
use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};

/// Of Docker's default.
const CAPABILITIES: &[&str] = &[
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

fn workload(name: &str) -> &'static Workload {
    WORKLOADS.iter().find(|one| one.name == name).expect("a program of the table")
}

/// The node's policy: a level, and what a program needs beside it.
fn policy(level: &str, lines: &[&str]) {
    let text = format!(
        "version = 1\ndefault = \"it\"\n[profile.it]\nextends = \"{level}-1\"\n{}\n",
        lines.join("\n")
    );
    fs::write("/etc/brig/policy.toml", text).expect("write a policy");
}

/// What the container prints first: the host's id of its root.
const IDS: &str = "read -r _ first _ </proc/self/uid_map; echo \"root is $first\"; ";

fn bundle(lab: &Lab, workload: &Workload, needs: &Needs, runs: u32) -> Bundle {
    let [shell, script] = workload.script;
    let user = json!({"uid": needs.user, "gid": needs.user});
    let mut bundle = lab.tree(workload.tree).caps(CAPABILITIES).set("/process/user", user);
    bundle = bundle.args([shell, "-c", &format!("{IDS}{script}")]);
    for env in needs.env.iter().map(|env| (*env).to_owned()).chain([format!("RUNS={runs}")]) {
        bundle = bundle.set("/process/env/-", env);
    }
    let at = Path::new("/srv/data");
    if workload.has_data { bundle.bind(at, "/data", &["rw"]) } else { bundle }
}

/// An empty volume of this user's.
fn volume(user: u32) {
    let _none = fs::remove_dir_all("/srv/data");
    fs::create_dir("/srv/data").expect("make a directory");
    chown("/srv/data", Some(user), Some(user)).expect("give it to the user");
}

/// The host's id of the root of the container that printed this.
fn root(output: &Output) -> u32 {
    let printed = output.stdout();
    let id = printed.lines().find_map(|line| line.strip_prefix("root is ")?.parse().ok());
    id.unwrap_or_else(|| panic!("no ids: {printed}"))
}

/// It works with what it needs, and in another container with other ids goes on with its data.
fn works(lab: &Lab, workload: &Workload, level: &str, needs: &Needs) {
    volume(needs.user);
    policy(level, needs.lines);
    let first = lab.container(bundle(lab, workload, needs, 0)).run().ok();
    assert!(root(&first) >= 65_536, "{}", root(&first));
    if workload.has_data {
        let keeps_the_ids = lab.container(lab.bundle().idle());
        keeps_the_ids.run_detached();
        let second = lab.container(bundle(lab, workload, needs, 1)).run().ok();
        assert_ne!(root(&first), root(&second));
        keeps_the_ids.delete_force().ok();
    }
}

fn try_it(name: &str) {
    need!(Brig, Idmap);
    let lab = Lab::new();
    lab.tmpfs(Path::new("/srv"));
    let workload = workload(name);
    for (level, needs) in [("restricted", &workload.restricted), ("sandbox", &workload.sandbox)] {
        // No line too many.
        for left_out in needs.lines {
            let rest: Vec<_> =
                needs.lines.iter().copied().filter(|line| line != left_out).collect();
            volume(needs.user);
            policy(level, &rest);
            let output = lab.container(bundle(&lab, workload, needs, 0)).run();
            assert!(!output.succeeded(), "{level} needs no {left_out}");
        }
        works(&lab, workload, level, needs);
    }
    // As it is packaged, with what it needs under `restricted`.
    volume(0);
    policy("sandbox", workload.restricted.lines);
    let output = lab.container(bundle(&lab, workload, &workload.restricted, 0)).run();
    match workload.fails {
        Some([words, _]) => drop(output.failed().says(words)),
        None => drop(output.ok()),
    }
    lab.assert_clean();
}

macro_rules! tried {
    ($($test:ident: $name:literal),+ $(,)?) => {
        const TRIED: &[&str] = &[$($name),+];
        $(#[test]
        fn $test() {
            try_it($name);
        })+
    };
}

tried! {
    nginx: "nginx", redis: "Redis", postgresql: "PostgreSQL", python: "Python", node: "Node", busybox: "busybox",
    tools: "A shell with git",
}

/// What is tried with each engine: the servers, from images without what is large; with `BRIG_WORKLOADS=all` all, whole.
fn by_engine() -> (Vec<&'static Workload>, Size) {
    let all = std::env::var_os("BRIG_WORKLOADS").is_some_and(|what| what == "all");
    let is_meant = |one: &&Workload| all || ["debian", "busybox"].contains(&one.tree);
    (WORKLOADS.iter().filter(is_meant).collect(), if all { Size::Whole } else { Size::Slim })
}

/// An engine, as the tests need it: it loads an image, and runs a program in it under the profile `hardened`, which the node's
/// own configuration of the engine selects.
trait Engine {
    fn load(&self, archive: &Path);
    fn run(&self, options: Options) -> Call;
}

struct Options<'o> {
    id: String,
    image: String,
    volume: Option<&'o Path>,
    env: Vec<String>,
    args: [&'o str; 3],
}

/// Everything that is tried of an engine, under `restricted`.
fn try_all(lab: &Lab, engine: &dyn Engine) {
    let (workloads, size) = by_engine();
    let mut loaded = Vec::new();
    let data = lab.dir().join("data");
    for workload in workloads {
        let Workload { tree, restricted, .. } = workload;
        if !loaded.contains(tree) {
            let archive = archive(lab, tree, size);
            engine.load(&archive);
            fs::remove_file(archive).expect("remove the archive");
            loaded.push(*tree);
        }
        // Engines of tests have what is theirs below the test's directory, and the Docker of Debian 12 is not at its place.
        let text = format!(
            "version = 1\ndefault = \"oci\"\nselectable = [\"hardened\"]\n[profile.hardened]\nextends = \"restricted-1\"\n\
             bind_sources.allow = [{:?}]\nhooks.mode = \"off\"\n{}\n",
            lab.dir(),
            restricted.lines.join("\n")
        );
        fs::write("/etc/brig/policy.toml", text).expect("write a policy");
        fs::create_dir(&data).expect("make a volume");
        let script = format!("{IDS}{}", workload.script[1]);
        for runs in 0..=u32::from(workload.has_data) {
            let mut env: Vec<_> = restricted.env.iter().map(|env| (*env).to_owned()).collect();
            env.push(format!("RUNS={runs}"));
            let output = engine
                .run(Options {
                    id: lab.id(),
                    image: format!("localhost/{tree}:1"),
                    volume: workload.has_data.then_some(&*data),
                    env,
                    args: [workload.script[0], "-c", &script],
                })
                .go()
                .ok();
            assert!(root(&output) >= 65_536, "{}", root(&output));
        }
        fs::remove_dir_all(&data).expect("remove the volume");
    }
}

impl Engine for Docker<'_> {
    fn load(&self, archive: &Path) {
        self.call(&["load", "--quiet", "--input"]).arg(archive).go().ok();
    }

    fn run(&self, options: Options) -> Call {
        let call = self.call(&["run", "--rm", "--network", "none", "--runtime", "hardened"]);
        with_flags(call, &options)
    }
}

impl Engine for Podman<'_> {
    fn load(&self, archive: &Path) {
        self.call(&["load", "--quiet", "--input"]).arg(archive).go().ok();
    }

    fn run(&self, options: Options) -> Call {
        let call =
            self.call(&["--runtime-flag", "profile=hardened", "run", "--rm", "--network", "none"]);
        with_flags(call.args(["--cgroups", "no-conmon", "--name"]).arg(&options.id), &options)
    }
}

/// What Docker and Podman call the same.
fn with_flags(mut call: Call, options: &Options) -> Call {
    if let Some(volume) = options.volume {
        call = call.arg("--volume").arg(format!("{}:/data", volume.display()));
    }
    let call = options.env.iter().fold(call, |call, env| call.arg("--env").arg(env));
    call.arg(&options.image).args(options.args)
}

/// containerd, and the link to the runtime whose name selects the profile.
struct Linked<'l> {
    containerd: Containerd<'l>,
    link: PathBuf,
}

impl Engine for Linked<'_> {
    fn load(&self, archive: &Path) {
        self.containerd.ctr(&["image", "import"]).arg(archive).go().ok();
    }

    fn run(&self, options: Options) -> Call {
        let cgroup = format!("/{}", options.id);
        let mut call = self.containerd.run_under(&self.link, &["--rm", "--cgroup", &cgroup]);
        if let Some(volume) = options.volume {
            let mount = format!("type=bind,src={},dst=/data,options=rbind:rw", volume.display());
            call = call.arg("--mount").arg(mount);
        }
        let call = options.env.iter().fold(call, |call, env| call.arg("--env").arg(env));
        call.arg(&options.image).arg(&options.id).args(options.args)
    }
}

#[test]
fn by_docker() {
    need!(Brig, Idmap);
    let lab = Lab::new();
    let docker = Docker::start(&lab);
    try_all(&lab, &docker);
    drop(docker);
    lab.assert_clean();
}

#[test]
fn by_podman() {
    need!(Brig, Idmap);
    let lab = Lab::new();
    let podman = Podman::start(&lab);
    try_all(&lab, &podman);
    drop(podman);
    lab.assert_clean();
}

#[test]
fn by_containerd() {
    need!(Brig, Idmap);
    let lab = Lab::new();
    let link = lab.dir().join("brig-hardened");
    symlink(binaries::runtime(), &link).expect("link");
    let linked = Linked { containerd: Containerd::start(&lab), link };
    try_all(&lab, &linked);
    drop(linked);
    lab.assert_clean();
}

#[test]
fn the_document_is_what_is_tried() {
    assert!(WORKLOADS.iter().map(|one| one.name).eq(TRIED.iter().copied()), "{TRIED:?}");
    let path = binaries::workspace().join("docs/compatibility.md");
    let document = document();
    if std::env::var_os("BRIG_BLESS").is_some() {
        fs::write(&path, &document).expect("write");
    }
    assert_eq!(fs::read_to_string(&path).expect("read"), document, "run with BRIG_BLESS=1");
}
