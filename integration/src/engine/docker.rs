//! Docker: a daemon over a containerd of its own, and the client that talks to it.

use super::{Containerd, IMAGE, user, words};
use crate::binaries;
use crate::command::{Call, Output, Running};
use crate::lab::Lab;
use nix::mount::{MntFlags, umount2};
pub use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::json;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A Docker daemon with one image, `localhost/box:1`: busybox. Its runtime is the one under test,
/// and `--runtime runc` names the other to compare with; with `--runtime hardened` it is called with the policy's
/// profile of that name.
pub struct Docker<'l> {
    lab: &'l Lab,
    dir: PathBuf,
    /// The command that becomes an ordinary user; empty for root.
    user: Vec<String>,
    options: Vec<String>,
    daemon: Option<Running>,
    // Dropped last: the daemon needs it to the end. An ordinary user's has its own.
    containerd: Option<Containerd<'l>>,
}

impl<'l> Docker<'l> {
    /// Starts it and imports the image.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(lab: &'l Lab) -> Docker<'l> {
        Docker::start_with(lab, &["--cgroup-parent", &format!("/{}", lab.token())])
    }

    /// The same with options of the daemon's in place of the cgroup that holds the containers'.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_with(lab: &'l Lab, options: &[&str]) -> Docker<'l> {
        // Nothing of the machine's network is touched.
        let alone = ["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-masq=false"];
        Docker::with_options(lab, &[options, &alone].concat())
    }

    /// The same with its own bridge and rules, for a test that is in a network of its own.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn with_networks(lab: &'l Lab) -> Docker<'l> {
        Docker::with_options(lab, &["--cgroup-parent", &format!("/{}", lab.token())])
    }

    /// The same with its run-time files where an installed one has them, in a /run of the test's own. The hook that connects
    /// networks names the place.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn installed(lab: &'l Lab) -> Docker<'l> {
        lab.tmpfs(Path::new("/run"));
        let parent = format!("/{}", lab.token());
        Docker::with_options(lab, &["--exec-root", "/var/run/docker", "--cgroup-parent", &parent])
    }

    /// That of an ordinary user, with id 64322 and subordinate ids from 3000000: under rootlesskit, with a network by
    /// pasta, so that the test needs one of its own and /dev/net/tun.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn of_user(lab: &'l Lab) -> Docker<'l> {
        let dir = lab.path("docker");
        let runtime = user::moves_into(&dir);
        let user = user::command(&dir);
        Docker::load(lab, dir, user, &runtime, &[])
    }

    fn with_options(lab: &'l Lab, options: &[&str]) -> Docker<'l> {
        let dir = lab.path("docker");
        fs::create_dir(&dir).expect("make a directory");
        Docker::load(lab, dir, Vec::new(), binaries::runtime(), options)
    }

    fn load(
        lab: &'l Lab,
        dir: PathBuf,
        user: Vec<String>,
        runtime: &Path,
        options: &[&str],
    ) -> Docker<'l> {
        let configuration = json!({
            "runtimes": {
                "tested": {"path": runtime},
                "hardened": {"path": runtime, "runtimeArgs": ["--profile", "hardened"]},
            },
            "default-runtime": "tested",
            "live-restore": true,
        });
        fs::write(dir.join("daemon.json"), configuration.to_string()).expect("configure Docker");
        // What BuildKit calls for each RUN.
        let builder = dir.join("builder");
        let script = format!(
            "#!/bin/sh\necho \"$*\" >>{}.log\nexec {} \"$@\"\n",
            builder.display(),
            runtime.display()
        );
        fs::write(&builder, script).expect("write a script");
        fs::set_permissions(&builder, fs::Permissions::from_mode(0o755))
            .expect("make it a program");
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let containerd = user.is_empty().then(|| Containerd::empty(lab));
        let mut docker = Docker { lab, dir, user, options, daemon: None, containerd };
        docker.daemon = Some(docker.launch());
        let archive = binaries::rootfs("docker").join("box.tar");
        docker
            .call(&["import", "--change", "CMD /bin/idle", "--change", "ENV PATH=/sbin:/bin"])
            .arg(archive)
            .arg(IMAGE)
            .go()
            .ok();
        docker
    }

    fn launch(&self) -> Running {
        let path = |name: &str| self.dir.join(name);
        let daemon = match &self.containerd {
            Some(containerd) => {
                let call = self.lab.call(program("sbin/dockerd"));
                call.arg("--containerd").arg(&containerd.socket)
            }
            None => {
                let call = self.lab.call("/usr/share/docker.io/contrib/dockerd-rootless.sh");
                call.env("DOCKERD_ROOTLESS_ROOTLESSKIT_NET", "pasta")
            }
        };
        let daemon = daemon
            .env("DOCKER_BUILDKIT_RUNC_COMMAND", path("builder"))
            .arg("--config-file")
            .arg(path("daemon.json"))
            .arg("--host")
            .arg(self.host())
            .arg("--data-root")
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .arg("--init-path")
            .arg(program("bin/tini-static"))
            .args(["--storage-driver", "overlay2"])
            .args(&self.options)
            .limit(Duration::from_secs(600));
        let daemon = if self.user.is_empty() { daemon } else { daemon.under(&self.user) }.spawn();
        let up = crate::wait_until(crate::PATIENCE * 6, || self.answers());
        assert!(up, "Docker does not come up: {}", daemon.stderr());
        daemon
    }

    /// Whether the daemon is ready. Asked by hand, as the client takes seconds to start on an emulated
    /// machine.
    fn answers(&self) -> bool {
        let Ok(mut socket) = UnixStream::connect(self.dir.join("sock")) else { return false };
        let mut answer = String::new();
        let _ = socket.set_read_timeout(Some(crate::PATIENCE));
        let asked = socket.write_all(b"GET /_ping HTTP/1.0\r\n\r\n");
        asked.is_ok()
            && socket.read_to_string(&mut answer).is_ok()
            && answer.starts_with("HTTP/1.0 200")
    }

    /// Ends the daemon with `signal` and starts it anew; containers go on meanwhile.
    pub fn restart(&mut self, signal: Signal) {
        self.stop(signal);
        self.daemon = Some(self.launch());
    }

    fn stop(&mut self, signal: Signal) {
        if let Some(daemon) = self.daemon.take() {
            let _ = kill(Pid::from_raw(daemon.pid()), signal);
            daemon.wait();
        }
        // A killed one leaves it, and the next one sees the process in it no more.
        let _ = fs::remove_file(self.dir.join("pid"));
    }

    fn host(&self) -> String {
        format!("unix://{}", self.dir.join("sock").display())
    }

    /// `docker` with these arguments.
    pub fn call(&self, args: &[&str]) -> Call {
        self.lab
            .call(program("bin/docker"))
            .env("DOCKER_CONFIG", self.dir.join("client"))
            .arg("--host")
            .arg(self.host())
            .args(args)
            .limit(Duration::from_secs(180))
    }

    /// What `docker` says to a line of arguments, divided at blanks; a tab stands for a blank
    /// within one.
    pub fn says(&self, line: &str) -> Output {
        let words = words(line);
        self.call(&words.iter().map(String::as_str).collect::<Vec<_>>()).go()
    }

    /// `docker run` of the image, with the `options` of a line; the image comes after them.
    pub fn run(&self, options: &str, args: &[&str]) -> Call {
        let words = words(options);
        self.call(&["run"]).args(words.iter().filter(|word| !word.is_empty())).arg(IMAGE).args(args)
    }

    /// `docker run --rm` of a shell's `script`, without a network unless the options name one.
    pub fn sh(&self, options: &str, script: &str) -> Output {
        let network = if options.contains("--network") { "" } else { "--network none" };
        self.run(&format!("--rm {network} {options}"), &["/bin/sh", "-c", script]).go()
    }

    /// Each call of the runtime by BuildKit so far, a line for each.
    pub fn builder_log(&self) -> String {
        fs::read_to_string(self.dir.join("builder.log")).unwrap_or_default()
    }

    /// What `docker inspect` says of a container.
    pub fn inspect(&self, name: &str, what: &str) -> String {
        let format = format!("{{{{{what}}}}}");
        let output = self.call(&["inspect", "--format", &format, name]).go();
        output.stdout().trim().to_owned()
    }

    /// The line that a shell, under script(1), calls the client with.
    pub fn line(&self, args: &str) -> String {
        let program = program("bin/docker");
        format!("{} --host {} {args}", program.display(), self.host())
    }
}

impl Drop for Docker<'_> {
    fn drop(&mut self) {
        let all = self.says("ps --all --quiet").stdout();
        if !all.trim().is_empty() {
            self.call(&["rm", "--force", "--volumes"]).args(all.split_whitespace()).go();
        }
        self.stop(Signal::SIGTERM);
        // What is Docker's to make, and nobody's to remove.
        for dir in crate::machine::cgroups_named(self.lab.token()) {
            let _ = fs::remove_dir(dir);
        }
        let networks = fs::read_dir(self.dir.join("exec/netns")).into_iter().flatten().flatten();
        for network in networks {
            let _ = umount2(&network.path(), MntFlags::MNT_DETACH);
        }
    }
}

/// A program of Docker's: this root's own, or of Debian 12's packages, which integration/setup unpacks, as
/// installed they would start a daemon of the machine's.
///
/// # Panics
/// When there is neither.
pub fn program(name: &str) -> PathBuf {
    let own = Path::new("/usr").join(name);
    if own.exists() {
        return own;
    }
    let path = binaries::rootfs("docker").join("usr").join(name);
    assert!(path.exists(), "no {}: run integration/setup", path.display());
    path
}
