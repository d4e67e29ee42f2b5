//! A container under the runtime's command line, and its end.

use crate::bundle::Bundle;
use crate::command::{Call, Output};
use crate::console::Console;
use crate::lab::Lab;
use crate::machine;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A container: an id and a bundle. What is left of it goes with it, without a word: that a
/// runtime cleans up is asserted by deleting it in the test.
pub struct Container<'l> {
    lab: &'l Lab,
    id: String,
    /// Its bundle.
    pub bundle: Bundle,
}

impl<'l> Container<'l> {
    /// Nothing is done yet.
    pub fn new(lab: &'l Lab, id: &str, bundle: Bundle) -> Container<'l> {
        Container { lab, id: id.into(), bundle }
    }

    /// The id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The runtime with `verb` and `options`, then this container's id.
    pub fn call<S: AsRef<str>>(&self, verb: &str, options: impl IntoIterator<Item = S>) -> Call {
        let call = self.lab.runtime().arg(verb);
        options.into_iter().fold(call, |call, o| call.arg(o.as_ref())).arg(&self.id)
    }

    /// A verb that takes the bundle.
    fn with_bundle(&self, verb: &str, options: &[&str]) -> Call {
        let dir = self.bundle.dir.to_string_lossy();
        self.call(verb, [&["--bundle", &dir], options].concat())
    }

    /// `run`, in the foreground.
    pub fn run(&self) -> Output {
        self.run_call(&[]).go()
    }

    /// `run` with options, to be started.
    pub fn run_call(&self, options: &[&str]) -> Call {
        self.with_bundle("run", options)
    }

    /// `run --detach`, which must succeed.
    #[track_caller]
    pub fn run_detached(&self) -> Output {
        self.run_call(&["--detach"]).go().ok()
    }

    /// `run --detach` with a console socket: the terminal that comes over it.
    #[track_caller]
    pub fn run_on_terminal(&self) -> Console {
        let socket = self.lab.console();
        let path = socket.path().to_string_lossy().into_owned();
        let running = self.run_call(&["--detach", "--console-socket", &path]).spawn();
        let console = socket.accept();
        running.wait().ok();
        console
    }

    /// `run` by the shell's `"$@"` in `script`, for what a caller may have done before.
    pub fn run_from(&self, script: &str) -> Output {
        let runtime = crate::binaries::runtime();
        let call = self.lab.call("/bin/sh").args(["-c", script, "sh"]).arg(runtime);
        let call = call.arg("--root").arg(self.lab.root()).args(["run", "--bundle"]);
        call.arg(&self.bundle.dir).arg(&self.id).go()
    }

    /// `create`.
    pub fn create(&self) -> Output {
        self.create_call(&[]).go()
    }

    /// `create` with options, to be started.
    pub fn create_call(&self, options: &[&str]) -> Call {
        self.with_bundle("create", options)
    }

    /// `start`.
    pub fn start(&self) -> Output {
        self.call("start", [""; 0]).go()
    }

    /// `exec` of `args`, in the foreground.
    pub fn exec(&self, args: &[&str]) -> Output {
        self.exec_call(&[], args).go()
    }

    /// `exec` of a shell script.
    pub fn exec_sh(&self, script: &str) -> Output {
        self.exec(&["/bin/sh", "-c", script])
    }

    /// `exec` with options, to be started.
    pub fn exec_call(&self, options: &[&str], args: &[&str]) -> Call {
        self.call("exec", options).args(args)
    }

    /// `kill` with a signal's name or number.
    pub fn kill(&self, signal: &str) -> Output {
        self.call("kill", [""; 0]).arg(signal).go()
    }

    /// `delete`.
    pub fn delete(&self) -> Output {
        self.call("delete", [""; 0]).go()
    }

    /// `delete --force`.
    pub fn delete_force(&self) -> Output {
        self.call("delete", ["--force"]).go()
    }

    /// A verb without arguments.
    pub fn verb(&self, verb: &str) -> Output {
        self.call(verb, [""; 0]).go()
    }

    /// What `state` prints.
    #[track_caller]
    pub fn state(&self) -> Value {
        self.verb("state").ok().json()
    }

    /// The `status` that `state` prints, or "gone" where it fails.
    pub fn status(&self) -> String {
        let output = self.verb("state");
        if !output.succeeded() {
            return "gone".into();
        }
        output.json()["status"].as_str().unwrap_or_default().into()
    }

    /// Waits for a status.
    ///
    /// # Panics
    /// When it does not come in time.
    #[track_caller]
    pub fn wait_status(&self, status: &str) {
        let mut last = String::new();
        let came = crate::wait_until(crate::PATIENCE, || {
            last = self.status();
            last == status
        });
        assert!(came, "must become {status}, is {last}");
    }

    /// Waits until a shell script succeeds inside.
    ///
    /// # Panics
    /// When it does not in time.
    #[track_caller]
    pub fn wait_until_ok(&self, script: &str) {
        let mut said = String::new();
        let ok = crate::wait_until(crate::PATIENCE, || {
            let output = self.exec_sh(script);
            said = output.stdout() + &output.stderr();
            output.succeeded()
        });
        assert!(ok, "never succeeded: {script}: {said}");
    }

    /// Ends it by `SIGTERM`, deletes it, and sees that nothing is left.
    #[track_caller]
    pub fn ends_well(&self) {
        self.kill("TERM").ok();
        self.wait_status("stopped");
        self.delete().ok();
        self.lab.assert_clean();
    }

    /// The host's pid of its init.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let state = self.state();
        let pid = state["pid"].as_i64().and_then(|p| i32::try_from(p).ok());
        assert!(pid.is_some_and(|p| p > 0), "no pid in {state}");
        pid.unwrap_or_default()
    }

    /// Whether its init is alive.
    pub fn is_alive(&self) -> bool {
        machine::is_alive(self.pid())
    }

    /// Where a path of the container is on the host, for root file systems under the harness's
    /// control.
    pub fn host_path(&self, path: &str) -> PathBuf {
        self.bundle.rootfs.join(path.trim_start_matches('/'))
    }

    /// Its cgroup in the hierarchy of `controller`.
    pub fn cgroup(&self, controller: &str) -> PathBuf {
        machine::cgroup_dir(controller, self.bundle.cgroup())
    }

    /// A file of its cgroup.
    ///
    /// # Panics
    /// When it cannot be read.
    #[track_caller]
    pub fn cgroup_file(&self, controller: &str, file: &str) -> String {
        let path = self.cgroup(controller).join(file);
        match std::fs::read_to_string(&path) {
            Ok(text) => text.trim().to_owned(),
            Err(error) => panic!("cannot read {}: {error}", path.display()),
        }
    }

    /// The directory of its state.
    fn state_dir(&self) -> PathBuf {
        self.lab.root().join(Path::new(&self.id).file_name().unwrap_or_default())
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if self.state_dir().exists() && !std::thread::panicking() {
            self.delete_force();
        }
    }
}
