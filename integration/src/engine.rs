//! Container engines which call the runtime under test: a containerd, a Podman and a Docker of the
//! test's own, with all of their state in the test's directory.

pub mod archive;
pub mod buildah;
pub mod docker;
mod user;

pub use archive::{Size, archive};
pub use buildah::Buildah;
pub use docker::Docker;

pub mod cri;

use crate::binaries;
use crate::command::{Call, Output, Running};
use crate::lab::Lab;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A containerd daemon with one image, `localhost/box:1`: busybox.
pub struct Containerd<'l> {
    lab: &'l Lab,
    socket: PathBuf,
    /// The command that becomes an ordinary user; empty for root.
    user: Vec<String>,
    runtime: PathBuf,
    daemon: Option<Running>,
}

/// The image's name in every engine.
pub const IMAGE: &str = "localhost/box:1";

/// Of Podman and Buildah. Without CAP_SYS_RESOURCE their default limits cannot be set; of the root of Debian sid
/// netavark has no nft(8).
const CONTAINERS_CONF: &str = r#"[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
[engine]
runtime_supports_json = ["brig", "runc", "crun"]
infra_image = "localhost/box:1"
infra_command = "/bin/idle"
[network]
firewall_driver = "iptables"
"#;

/// Plugins which only cost time here, or warn of what the machine lacks.
const DISABLED: &str = r#"["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs",
 "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs",
 "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt",
 "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]"#;

impl<'l> Containerd<'l> {
    /// Starts it and imports the image.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(lab: &'l Lab) -> Containerd<'l> {
        Containerd::empty(lab).with_image()
    }

    /// That of an ordinary user, with id 64322 and subordinate ids from 3000000: under rootlesskit, with a network by
    /// pasta, so that the test needs one of its own and /dev/net/tun.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn of_user(lab: &'l Lab) -> Containerd<'l> {
        let dir = lab.path("containerd");
        let runtime = user::moves_into(&dir);
        let user = user::command(&dir);
        Containerd::in_dir(lab, &dir, user, runtime).with_image()
    }

    fn with_image(self) -> Containerd<'l> {
        let archive = binaries::rootfs("image").join("box.tar");
        // By standard input, as an ordinary user may not open it.
        let archive = fs::File::open(archive).expect("open the image");
        let import = self.ctr(&["image", "import", "--index-name", IMAGE, "-"]);
        import.stdin_from(archive.into()).go().ok();
        self
    }

    /// Starts it without an image, as Docker needs it.
    fn empty(lab: &'l Lab) -> Containerd<'l> {
        let dir = lab.path("containerd");
        fs::create_dir(&dir).expect("make a directory");
        Containerd::in_dir(lab, &dir, Vec::new(), binaries::runtime().to_owned())
    }

    fn in_dir(lab: &'l Lab, dir: &Path, user: Vec<String>, runtime: PathBuf) -> Containerd<'l> {
        // An overlay's upper layer: on a guest, /tmp is a tmpfs, and so are these.
        let socket = dir.join("sock");
        let config = format!(
            "version = 2\nroot = \"{0}/root\"\nstate = \"{0}/state\"\ndisabled_plugins = {DISABLED}\n\
             [grpc]\naddress = \"{0}/sock\"\n[ttrpc]\naddress = \"{0}/ttrpc\"\n",
            dir.display()
        );
        fs::write(dir.join("config.toml"), config).expect("write the configuration");
        let mut containerd = Containerd { lab, socket, user, runtime, daemon: None };
        containerd.daemon = Some(containerd.launch());
        containerd
    }

    fn launch(&self) -> Running {
        let config = self.socket.with_file_name("config.toml");
        let limit = Duration::from_secs(600);
        let mut daemon = self.lab.call("containerd").arg("--config").arg(config).limit(limit);
        if !self.user.is_empty() {
            let rootlesskit = ["rootlesskit", "--net=pasta", "--disable-host-loopback"];
            let of_the_host = ["--copy-up=/etc", "--copy-up=/run", "--copy-up=/var/lib"];
            let more = ["--port-driver=implicit", "--propagation=rslave"].into_iter();
            let more = more
                .map(str::to_owned)
                .chain([format!("--state-dir={}", self.of_rootlesskit().display())]);
            let words = rootlesskit.iter().chain(&of_the_host).map(|word| (*word).to_owned());
            daemon = daemon.under(words.chain(more)).under(&self.user);
        }
        let daemon = daemon.spawn();
        let up = crate::wait_until(crate::PATIENCE * 2, || self.ctr(&["version"]).go().succeeded());
        assert!(up, "containerd does not come up: {}", daemon.stderr());
        daemon
    }

    /// Kills the daemon and starts it anew; shims and containers go on meanwhile.
    pub fn restart(&mut self) {
        self.stop();
        self.daemon = Some(self.launch());
    }

    fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill();
            daemon.wait();
        }
    }

    /// The runtime under test, where the daemon reaches it.
    pub fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// `ctr` with these arguments.
    pub fn ctr(&self, args: &[&str]) -> Call {
        let call = self.lab.call("ctr").arg("--address").arg(&self.socket).args(args);
        if self.user.is_empty() {
            return call;
        }
        // What it mounts and makes is where the daemon is.
        let pid = fs::read_to_string(self.of_rootlesskit().join("child_pid")).unwrap_or_default();
        let enter = ["nsenter", "--preserve-credentials", "--user", "--mount", "--net", "--target"];
        call.under(enter.iter().map(|word| (*word).to_owned()).chain([pid])).under(&self.user)
    }

    /// The directory of rootlesskit's state.
    fn of_rootlesskit(&self) -> PathBuf {
        self.socket.with_file_name("rootlesskit")
    }

    /// `ctr run` of the image under the runtime under test, as container `id`.
    pub fn run(&self, id: &str, options: &[&str], args: &[&str]) -> Call {
        let cgroup = format!("/{id}");
        self.run_under(&self.runtime, &["--cgroup", &cgroup])
            .args(options)
            .arg(IMAGE)
            .arg(id)
            .args(args)
    }

    /// `ctr run` with these arguments, under any runtime with runc's command line.
    pub fn run_under(&self, runtime: &Path, args: &[&str]) -> Call {
        self.ctr(&["run", "--runtime", "io.containerd.runc.v2", "--runc-binary"])
            .arg(runtime)
            .args(args)
    }

    /// `ctr tasks` with these arguments.
    pub fn task(&self, args: &[&str]) -> Call {
        self.ctr(&[&["tasks"], args].concat())
    }
}

impl Drop for Containerd<'_> {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A Podman with one image, `localhost/box:1`: busybox.
pub struct Podman<'l> {
    lab: &'l Lab,
    dir: PathBuf,
    /// The command that becomes an ordinary user; empty for root.
    user: Vec<String>,
    runtime: PathBuf,
}

impl<'l> Podman<'l> {
    /// Makes its storage and loads the image.
    ///
    /// # Panics
    /// When that fails.
    pub fn start(lab: &'l Lab) -> Podman<'l> {
        let dir = lab.path("podman");
        fs::create_dir(&dir).expect("make a directory");
        Podman::load(lab, dir, Vec::new(), binaries::runtime().to_owned())
    }

    /// The same of an ordinary user, with id 64322 and subordinate ids from 3000000.
    ///
    /// # Panics
    /// When that fails.
    pub fn of_user(lab: &'l Lab) -> Podman<'l> {
        let dir = lab.path("podman");
        let runtime = user::moves_into(&dir);
        let user = user::command(&dir);
        Podman::load(lab, dir, user, runtime)
    }

    fn load(lab: &'l Lab, dir: PathBuf, user: Vec<String>, runtime: PathBuf) -> Podman<'l> {
        fs::write(dir.join("containers.conf"), CONTAINERS_CONF).expect("write the configuration");
        let archive = dir.join("box.tar");
        fs::copy(binaries::rootfs("image").join("box.tar"), &archive).expect("copy the image");
        let podman = Podman { lab, dir, user, runtime };
        podman.call(&["load", "--quiet", "--input"]).arg(archive).go().ok();
        podman.call(&["tag", "localhost/box:latest", IMAGE]).go().ok();
        podman
    }

    /// `podman` with these arguments.
    pub fn call(&self, args: &[&str]) -> Call {
        let path = |name: &str| self.dir.join(name);
        let call = self
            .lab
            .call("podman")
            .env("CONTAINERS_CONF", path("containers.conf"))
            .env("DISABLE_HC_SYSTEMD", "true")
            // conmon leaves a file named `oom` where it was started.
            .cwd(&self.dir)
            .arg("--root")
            .arg(path("root"))
            .arg("--runroot")
            .arg(path("run"))
            .arg("--tmpdir")
            .arg(path("tmp"))
            .arg("--runtime")
            .arg(&self.runtime)
            .args([
                "--cgroup-manager",
                "cgroupfs",
                "--events-backend",
                "file",
                "--storage-driver",
                "overlay",
            ])
            .args(args)
            .limit(Duration::from_secs(120));
        if self.user.is_empty() { call } else { call.under(&self.user) }
    }

    /// The directory that is Podman's, and the user's.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What `podman` says to a line of arguments, divided at blanks; a tab stands for a blank
    /// within one.
    pub fn says(&self, line: &str) -> Output {
        let words = words(line);
        self.call(&words.iter().map(String::as_str).collect::<Vec<_>>()).go()
    }

    /// `podman run` of the image, without a network.
    pub fn run(&self, name: &str, options: &[&str], args: &[&str]) -> Call {
        let parent = format!("/{}", self.lab.token());
        self.call(&[
            "run",
            "--network",
            "none",
            "--cgroups",
            "no-conmon",
            "--cgroup-parent",
            &parent,
            "--name",
            name,
        ])
        .args(options)
        .arg(IMAGE)
        .args(args)
    }
}

impl Drop for Podman<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.call(&["pod", "rm", "--all", "--force", "--time", "0"]).go();
            self.call(&["rm", "--all", "--force", "--time", "0"]).go();
        }
        if !self.user.is_empty() {
            // Ends the process that holds the user's namespaces.
            self.call(&["system", "migrate"]).go();
        }
        // Its parent cgroup is Podman's to make, and nobody's to remove.
        for dir in crate::machine::cgroups_named(self.lab.token()) {
            let _ = fs::remove_dir(dir);
        }
        // conmon calls `podman container cleanup` after a container's end, which mounts the storage.
        crate::wait_until(Duration::from_secs(10), || !is_in_a_command_line(&self.dir));
        // Podman keeps its storage mounted on itself, now and then several times.
        let storage = self.dir.join("root/overlay");
        while nix::mount::umount2(&storage, nix::mount::MntFlags::MNT_DETACH).is_ok() {}
    }
}

/// A line of arguments, divided at blanks; a tab stands for a blank within one.
fn words(line: &str) -> Vec<String> {
    line.split(' ').map(|word| word.replace('\t', " ")).collect()
}

/// Whether some process has the path among its arguments.
fn is_in_a_command_line(path: &Path) -> bool {
    let path = path.as_os_str().as_bytes();
    let names_it = |pid: PathBuf| {
        let line = fs::read(pid.join("cmdline")).unwrap_or_default();
        line.windows(path.len()).any(|window| window == path)
    };
    fs::read_dir("/proc").into_iter().flatten().flatten().any(|entry| names_it(entry.path()))
}
