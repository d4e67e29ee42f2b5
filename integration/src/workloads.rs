//! Programs that people run, as a table: what each does when it is tried, what of the policy it needs beside a level, and
//! why it does not work under a stricter one. The tests try what docs/compatibility.md says, as both come from here.

use crate::binaries;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// A program, and a script that has it do its work and fails where it does not. The script runs as a container's first
/// process, in a shell of the tree.
#[derive(Debug)]
pub struct Workload {
    /// Its name.
    pub name: &'static str,
    /// The root file system that integration/setup makes with it.
    pub tree: &'static str,
    /// The package of the tree that its version is of; none for the tree that is busybox alone.
    /// With it, of how many numbers its version is: what comes after them changes with each update of the tree.
    pub package: Option<(&'static str, usize)>,
    /// What it does.
    pub does: &'static str,
    /// The shell, and the script.
    pub script: [&'static str; 2],
    /// Whether it keeps data in a volume at /data, which a second container goes on with.
    pub has_data: bool,
    /// What it needs of the policy under `restricted`.
    pub restricted: Needs,
    /// Why it does not work under `sandbox` as it is: what its failure says, and in words.
    pub fails: Option<[&'static str; 2]>,
    /// What it needs under `sandbox`.
    pub sandbox: Needs,
}

/// What it takes for a program to work under a level.
#[derive(Debug)]
pub struct Needs {
    /// Lines of a profile that extends the level.
    pub lines: &'static [&'static str],
    /// The user it is started as.
    pub user: u32,
    /// The environment variables that change it.
    pub env: &'static [&'static str],
    /// The same in words, beside the lines.
    pub words: &'static str,
}

/// Root, and the level as it is.
const NOTHING: Needs = Needs { lines: &[], user: 0, env: &[], words: "" };

/// Where nginx writes, as Debian packages it.
const NGINX: &[&str] = &[
    "read_only_root.tmpfs = [\"/run\", \"/tmp\", \"/var/lib/nginx\", \"/var/log/nginx\", \"/var/tmp\"]",
];

/// Each of them.
pub const WORKLOADS: &[Workload] = &[
    Workload {
        name: "nginx",
        tree: "debian",
        package: Some(("nginx", 2)),
        does: "starts as root, listens on port 80, and answers from a worker that is another user",
        script: ["/bin/bash", include_str!("../programs/workloads/nginx.sh")],
        has_data: false,
        restricted: Needs { lines: NGINX, ..NOTHING },
        fails: Some([
            "chown(\"/var/lib/nginx/body\", 33) failed",
            "root has no capability to give files away, to become another user, or to open port 80",
        ]),
        sandbox: Needs {
            lines: NGINX,
            user: 33,
            env: &["PORT=8080"],
            words: "started as www-data, on a port from 1024 on",
        },
    },
    Workload {
        name: "Redis",
        tree: "debian",
        package: Some(("redis-server", 2)),
        does: "as root; answers 4,000 commands, forks for a snapshot, and goes on with it after a restart",
        script: ["/bin/bash", include_str!("../programs/workloads/redis.sh")],
        has_data: true,
        restricted: NOTHING,
        fails: Some([
            "/srv/data, which is in nothing that may be bound, is refused",
            "nothing of the host is bound, no volume either",
        ]),
        sandbox: Needs { lines: &["bind_sources.allow = [\"/srv\"]"], ..NOTHING },
    },
    Workload {
        name: "PostgreSQL",
        tree: "debian",
        package: Some(("postgresql-15", 1)),
        does: "starts as root, becomes postgres, makes its database, and has it in the next container",
        script: ["/bin/bash", include_str!("../programs/workloads/postgresql.sh")],
        has_data: true,
        restricted: NOTHING,
        fails: Some([
            "/srv/data, which is in nothing that may be bound, is refused",
            "nothing of the host is bound, no volume either; root has no capability to become another user with",
        ]),
        sandbox: Needs {
            lines: &["bind_sources.allow = [\"/srv\"]"],
            user: 101,
            env: &[],
            words: "started as postgres, whose the volume is",
        },
    },
    Workload {
        name: "Python",
        tree: "programs",
        package: Some(("python3", 2)),
        does: "TLS, a web server, processes with shared semaphores, SQLite, asyncio, ctypes",
        script: ["/bin/bash", include_str!("../programs/workloads/python3.sh")],
        has_data: false,
        restricted: NOTHING,
        fails: None,
        sandbox: NOTHING,
    },
    Workload {
        name: "Node",
        tree: "programs",
        package: Some(("nodejs", 1)),
        does: "worker threads, a web server, a child process, its own compiler's code",
        script: ["/bin/bash", include_str!("../programs/workloads/node.sh")],
        has_data: false,
        restricted: NOTHING,
        fails: None,
        sandbox: NOTHING,
    },
    Workload {
        name: "busybox",
        tree: "busybox",
        package: None,
        does: "a web server and a client, archives, jobs of a shell",
        script: ["/bin/sh", include_str!("../programs/workloads/busybox.sh")],
        has_data: false,
        restricted: NOTHING,
        fails: None,
        sandbox: NOTHING,
    },
    Workload {
        name: "A shell with git",
        tree: "tools",
        package: Some(("git", 2)),
        does: "git, gcc and make in a volume, tar, openssl and curl, Perl, dpkg",
        script: ["/bin/bash", include_str!("../programs/workloads/tools.sh")],
        has_data: true,
        restricted: NOTHING,
        fails: Some([
            "/srv/data, which is in nothing that may be bound, is refused",
            "nothing of the host is bound, no volume either; nothing is executed that is not of the image",
        ]),
        sandbox: Needs {
            lines: &["bind_sources.allow = [\"/srv\"]", "landlock.exec_only_from_image = false"],
            ..NOTHING
        },
    },
];

impl Workload {
    /// The version of the program in its tree.
    ///
    /// # Panics
    /// When the tree does not say it.
    pub fn version(&self) -> String {
        let tree = binaries::rootfs(self.tree);
        let (full, numbers) = match self.package {
            Some((package, numbers)) => (installed(&tree, package), numbers),
            None => (busybox(&tree), 2),
        };
        let full = full.split_once(':').map_or(&*full, |(_, version)| version);
        let parts = full.split(|c: char| !c.is_ascii_digit()).take(numbers);
        parts.collect::<Vec<_>>().join(".")
    }
}

/// What dpkg(1) has noted down of a package.
fn installed(tree: &Path, package: &str) -> String {
    let status =
        fs::read_to_string(tree.join("var/lib/dpkg/status")).expect("read what is installed");
    let of_package = |part: &&str| part.lines().next() == Some(&*format!("Package: {package}"));
    let part = status.split("\n\n").find(of_package);
    let version =
        part.and_then(|part| part.lines().find_map(|line| line.strip_prefix("Version: ")));
    version.unwrap_or_else(|| panic!("no {package} in {}", tree.display())).to_owned()
}

/// What the program says of itself: its file has `BusyBox v1.35.0` in it.
fn busybox(tree: &Path) -> String {
    let program = fs::read(tree.join("bin/busybox")).expect("read busybox");
    let text = String::from_utf8_lossy(&program);
    let (_, rest) = text.split_once("BusyBox v").expect("its version");
    rest.split(' ').next().unwrap_or_default().to_owned()
}

/// docs/compatibility.md.
pub fn document() -> String {
    let mut text = HEAD.to_owned();
    for workload in WORKLOADS {
        let Workload { name, does, restricted, sandbox, fails, .. } = workload;
        let needs = |needs: &Needs| {
            let mut parts: Vec<_> = needs.lines.iter().map(|line| format!("`{line}`")).collect();
            parts.extend((!needs.words.is_empty()).then(|| needs.words.to_owned()));
            if parts.is_empty() { "nothing".to_owned() } else { parts.join("; ") }
        };
        let as_it_is = fails.map_or("works".to_owned(), |[_, why]| format!("no: {why}"));
        let _ = writeln!(
            text,
            "| {name} {} | {does} | {} | {as_it_is} | {} |",
            workload.version(),
            needs(restricted),
            needs(sandbox)
        );
    }
    text
}

const HEAD: &str = "\
# Programs under the levels

Made from what the tests try, by the tests; after a change there:
`BRIG_BLESS=1 cargo nextest run -p brig-integration --test compatibility document`.

Unmodified programs of Debian 12, started as root with Docker's default capabilities, each with ids of its own on the host
(`remapping`), under `restricted` and `sandbox` as they are but for the lines that are named, in a profile that extends the level. Each
is tried at the command line, and under `restricted` in images that Docker, Podman and containerd have loaded, which select the
profile as [policy.md](policy.md#which-profile) says. Where a line is named, it is tried that the program fails without it. Data is in a
volume, which a second container, with other ids, goes on with.

What no program has under `restricted`: a root that can be written to, and programs that are executed in `/tmp` (`noexec`): what is built is
built in a volume. Some images keep caches or logs in their root: `read_only_root.tmpfs` has the directories that are empty
and in memory in their place. A mount that is asked for below one of them, such as a token in `/run`, is there.

| program | does | needs under `restricted` | under `sandbox`, the same | works under `sandbox` with |
|---|---|---|---|---|
";
