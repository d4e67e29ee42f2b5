//! The surroundings of one test: a directory, a mount namespace, a `--root` of its own; at its end
//! the check that nothing is left.

use crate::binaries;
use crate::bundle::Bundle;
use crate::command::{Call, Flavour, Running, flavour};
use crate::console::{Console, ConsoleSocket};
use crate::container::Container;
use crate::leftovers;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One test's surroundings.
pub struct Lab {
    dir: PathBuf,
    token: String,
    next: Cell<u32>,
    mounts_before: BTreeMap<String, usize>,
    processes_before: Vec<i32>,
    mounted: RefCell<Vec<PathBuf>>,
    _turn: MutexGuard<'static, ()>,
}

/// One test at a time in a process: descendants belong to the process. nextest gives each test its
/// own, so tests run in parallel there.
static TURN: Mutex<()> = Mutex::new(());

impl Lab {
    /// Fresh surroundings.
    ///
    /// # Panics
    /// Without root, or without what integration/setup makes.
    #[expect(clippy::new_without_default, reason = "it does far too much for a default")]
    pub fn new() -> Lab {
        assert!(nix::unistd::geteuid().is_root(), "the integration tests need root");
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seed = [0; 4];
        let random = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut seed));
        random.expect("random bytes");
        let token = format!("bt{:08x}{:06x}", u32::from_ne_bytes(seed), std::process::id());
        let dir = std::env::temp_dir().join(&token);
        fs::create_dir_all(dir.join("root")).expect("make the test's directory");
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .expect("become subreaper");
        leftovers::keep_reaping();
        enter_namespace(&dir);
        Lab {
            mounts_before: leftovers::mounts(),
            processes_before: leftovers_known(),
            dir,
            token,
            next: Cell::new(0),
            mounted: RefCell::default(),
            _turn: turn,
        }
    }

    /// The test's directory: gone at the end.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A word that is in every id and cgroup of this test, and nowhere else on the machine.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// A number that this test has not used.
    fn number(&self) -> u32 {
        self.next.replace(self.next.get() + 1)
    }

    /// A path in the test's directory that is not used.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}{}", self.number()))
    }

    /// A container id that nobody uses.
    pub fn id(&self) -> String {
        format!("{}-{}", self.token, self.number())
    }

    /// The runtime's `--root`.
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// Calls the runtime with its global options.
    pub fn runtime(&self) -> Call {
        Call::new(binaries::runtime(), &self.dir).arg("--root").arg(self.root())
    }

    /// Calls any program.
    pub fn call(&self, program: impl AsRef<std::ffi::OsStr>) -> Call {
        Call::new(program, &self.dir)
    }

    /// A bundle over a fresh copy-on-write busybox with the probe in it.
    pub fn bundle(&self) -> Bundle {
        self.overlay_bundle("busybox")
    }

    /// A bundle over a fresh copy-on-write Debian: Python, nginx, Redis, PostgreSQL.
    pub fn debian(&self) -> Bundle {
        self.overlay_bundle("debian").set("/process/env/-", "HOME=/root")
    }

    /// A bundle over a fresh copy-on-write Debian with python3 and node, and what
    /// `integration/programs` is compiled to.
    pub fn programs(&self) -> Bundle {
        self.overlay_bundle("programs").set("/process/env/-", "HOME=/root")
    }

    /// A bundle over a fresh copy-on-write root file system of this name, which integration/setup makes.
    pub fn tree(&self, name: &str) -> Bundle {
        self.overlay_bundle(name)
    }

    /// A bundle over a plain directory, with the files of busybox and the probe.
    pub fn plain_bundle(&self) -> Bundle {
        let (dir, cgroup) = self.bundle_dir();
        let rootfs = dir.join("rootfs");
        self.call("cp").arg("-a").arg(binaries::rootfs("busybox")).arg(&rootfs).go().ok();
        fs::copy(binaries::probe(), rootfs.join("probe")).expect("copy the probe");
        Bundle::new(dir, rootfs, &cgroup)
    }

    fn bundle_dir(&self) -> (PathBuf, String) {
        let number = self.number();
        let dir = self.dir.join(format!("bundle{number}"));
        fs::create_dir(&dir).expect("make a bundle");
        (dir, format!("/{}-{number}", self.token))
    }

    fn overlay_bundle(&self, base: &str) -> Bundle {
        let (dir, cgroup) = self.bundle_dir();
        for name in ["upper", "work", "rootfs"] {
            fs::create_dir(dir.join(name)).expect("make a bundle");
        }
        let options = format!(
            "lowerdir={}:{},upperdir={2}/upper,workdir={2}/work",
            self.layer().display(),
            binaries::rootfs(base).display(),
            dir.display(),
        );
        let rootfs = dir.join("rootfs");
        mount(Some("overlay"), &rootfs, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
            .expect("mount an overlay");
        self.mounted.borrow_mut().push(rootfs.clone());
        Bundle::new(dir, rootfs, &cgroup)
    }

    /// A lower layer with the probe.
    fn layer(&self) -> PathBuf {
        let layer = self.dir.join("layer");
        if !layer.exists() {
            fs::create_dir(&layer).expect("make the probe's layer");
            fs::copy(binaries::probe(), layer.join("probe")).expect("copy the probe");
        }
        layer
    }

    /// Mounts an empty tmpfs at `dir`, until the end of the test.
    ///
    /// # Panics
    /// When it cannot.
    pub fn tmpfs(&self, dir: &Path) {
        fs::create_dir_all(dir).expect("make a mount point");
        mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), None::<&str>)
            .expect("mount a tmpfs");
        self.mounted.borrow_mut().push(dir.to_owned());
    }

    /// Shows a file or directory at `place` too, until the end of the test; what is above it has to be the test's own.
    ///
    /// # Panics
    /// When it cannot.
    pub fn show_at(&self, place: &Path, what: &Path) {
        if what.is_dir() {
            fs::create_dir_all(place).expect("make a mount point");
        } else {
            fs::write(place, "").expect("make a mount point");
        }
        for (from, flags) in [(Some(what), MsFlags::MS_BIND), (None, MsFlags::MS_PRIVATE)] {
            mount(from, place, None::<&str>, flags, None::<&str>)
                .expect("bind it, and to nobody else");
        }
        self.mounted.borrow_mut().push(place.to_owned());
    }

    /// Gives this thread, and what it starts from now on, a network of its own: bridges and rules of engines are nobody
    /// else's. It has a way out, which leads nowhere.
    ///
    /// # Panics
    /// When it cannot.
    pub fn own_network(&self) {
        unshare(CloneFlags::CLONE_NEWNET).expect("make a network namespace");
        let script = "ip link set lo up && ip link add out type veth peer name far && ip address add 192.0.2.2/24 dev out && \
                      ip link set out up && ip link set far up && ip route add default via 192.0.2.1";
        self.call("sh").args(["-c", script]).go().ok();
    }

    /// Opens /dev/net/tun to all users, in this test only: some machines keep it for root.
    ///
    /// # Panics
    /// When it cannot.
    pub fn open_tun(&self) {
        let (tun, at) = (self.path("tun"), Path::new("/dev/net/tun"));
        self.call("mknod").args(["-m", "666"]).arg(&tun).args(["c", "10", "200"]).go().ok();
        mount(Some(&tun), at, None::<&str>, MsFlags::MS_BIND, None::<&str>).expect("bind it");
        self.mounted.borrow_mut().push(at.to_owned());
    }

    /// A container of `bundle`, with a fresh id; nothing is done yet.
    pub fn container(&self, bundle: Bundle) -> Container<'_> {
        self.container_named(&self.id(), bundle)
    }

    /// The same with the id `id`.
    pub fn container_named(&self, id: &str, bundle: Bundle) -> Container<'_> {
        bundle.write();
        Container::new(self, id, bundle)
    }

    /// Runs the probe in `bundle` and returns what it sees.
    #[track_caller]
    pub fn view(&self, bundle: Bundle) -> serde_json::Value {
        self.container(bundle.probe()).run().ok().json()
    }

    /// A console socket in the test's directory.
    pub fn console(&self) -> ConsoleSocket {
        ConsoleSocket::listen(self.path("console"))
    }

    /// A shell script on a terminal of its own, as an administrator has one; `brig` is the runtime.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn at_terminal(&self, script: &str) -> (Console, Running) {
        let (console, terminal) = Console::open();
        let script = format!("exec >&0 2>&0; brig() {{ $RUNTIME --root $ROOT \"$@\"; }}; {script}");
        let call = self.call("setsid").args(["--ctty", "--wait", "/bin/bash", "-c", &script]);
        let call = call.env("RUNTIME", binaries::runtime()).env("ROOT", self.root());
        (console, call.stdin_from(terminal.into()).spawn())
    }

    /// Everything that is left now.
    pub fn leftovers(&self) -> Vec<String> {
        let mut left = leftovers::mount_changes(&self.mounts_before, &leftovers::mounts());
        let own = |line: &String| {
            let mounted = self.mounted.borrow();
            mounted.iter().any(|m| line.contains(&format!(" on {} from ", m.display())))
        };
        left.retain(|line| !own(line));
        left.extend(leftovers::processes(&self.processes_before));
        left.extend(leftovers::cgroups(&self.token));
        left.extend(leftovers::files(&self.root()));
        left
    }

    /// Asserts that nothing is left, after a bounded wait: what is asynchronous in the kernel, such
    /// as the end of a killed process, has its time.
    ///
    /// # Panics
    /// When something is.
    #[track_caller]
    pub fn assert_clean(&self) {
        crate::wait_until(Duration::from_secs(5), || self.leftovers().is_empty());
        let left = self.leftovers();
        assert!(left.is_empty(), "left behind:\n  {}", left.join("\n  "));
    }

    fn clean_up(&self) {
        for entry in fs::read_dir(self.root()).into_iter().flatten().flatten() {
            let _ =
                self.runtime().arg("delete").arg("--force").arg(entry.file_name()).spawn().wait();
        }
        leftovers::sweep(&self.token, &self.processes_before);
        for path in self.mounted.borrow().iter().rev() {
            let _ = umount2(path, MntFlags::MNT_DETACH);
        }
        // A further lab of the same thread starts from the host's own; overlays stack only twice.
        for path in ["/etc", "/run/brig"] {
            let _ = umount2(path, MntFlags::MNT_DETACH);
        }
        leftovers::remove_tree(&self.dir);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let left = if std::thread::panicking() {
            Vec::new()
        } else {
            crate::wait_until(Duration::from_secs(5), || self.leftovers().is_empty());
            self.leftovers()
        };
        self.clean_up();
        assert!(left.is_empty(), "left behind:\n  {}", left.join("\n  "));
    }
}

fn leftovers_known() -> Vec<i32> {
    leftovers::reap();
    let own = std::process::id().cast_signed();
    crate::machine::descendants(own).iter().map(|p| p.pid).collect()
}

/// Gives this thread, and what it starts, a mount namespace, with propagation as under systemd.
fn enter_namespace(dir: &Path) {
    unshare(CloneFlags::CLONE_NEWNS).expect("make a mount namespace");
    for flags in [MsFlags::MS_SLAVE, MsFlags::MS_SHARED] {
        mount(None::<&str>, "/", None::<&str>, flags | MsFlags::MS_REC, None::<&str>)
            .expect("set the propagation of mounts");
    }
    own_configuration(dir);
    if flavour() == Flavour::Crun {
        // It refuses a hybrid layout.
        let _ = umount2("/sys/fs/cgroup/unified", MntFlags::empty());
    }
}

/// The node's policy that tests start from: what is asked for holds, as most test what becomes of config.json. A node
/// without a file grants less.
pub const POLICY: &str =
    "version = 1\ndefault = \"oci\"\nselectable = [\"baseline\", \"restricted\", \"sandbox\"]\n";

/// An /etc with ids for the user namespaces of Podman (`containers`), of Docker (any user: here
/// `daemon`) and of an ordinary user (`boxer`), with a policy, and an empty /run/brig, in this namespace only.
fn own_configuration(dir: &Path) {
    let (upper, work) = (dir.join("etc"), dir.join("etc-work"));
    fs::create_dir_all(&upper).expect("make a directory");
    fs::create_dir_all(&work).expect("make a directory");
    for file in ["subuid", "subgid"] {
        fs::write(
            upper.join(file),
            "containers:1000000:1000000\ndaemon:2000000:65536\nboxer:3000000:65536\n",
        )
        .expect("write subordinate ids");
    }
    // Of a name without a user, Debian sid knows no ids.
    let users = fs::read_to_string("/etc/passwd").expect("read the users");
    let users = users
        + "containers:x:64321:64321::/nonexistent:/usr/sbin/nologin\nboxer:x:64322:64322::/nonexistent:/bin/sh\n";
    let groups = fs::read_to_string("/etc/group").expect("read the groups");
    fs::write(upper.join("group"), groups + "boxer:x:64322:\n").expect("write the groups");
    fs::write(upper.join("passwd"), users).expect("write the users");
    let options = format!("lowerdir=/etc,upperdir={},workdir={}", upper.display(), work.display());
    mount(Some("overlay"), "/etc", Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .expect("mount an overlay on /etc");
    // Nothing of the machine's own shows through.
    let _ = fs::remove_dir_all("/etc/brig");
    fs::create_dir("/etc/brig").expect("make a directory");
    fs::write("/etc/brig/policy.toml", POLICY).expect("write a policy");
    fs::create_dir_all("/run/brig").expect("make /run/brig");
    mount(Some("tmpfs"), "/run/brig", Some("tmpfs"), MsFlags::empty(), Some("mode=700"))
        .expect("mount a tmpfs on /run/brig");
}
