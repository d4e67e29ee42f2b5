//! Who serves a bus: whether brig may tell it a pid.
//!
//! Promises: what systemd is told of a process it takes as brig means it. systemd moves the process that has the pid in
//! its own pid namespace; a brig in another one (a container that has the host's bus) would name a stranger. Must never:
//! need more privilege than brig has; the namespaces of another process are hidden from root of a user namespace
//! (ptrace(2)), its status is not.
//! Reference: unix(7) `SO_PEERCRED` (who called listen(2); the pid is 0 where it is not visible), proc_pid_status(5)
//! `NSpid`.

use std::io;
use std::os::unix::net::UnixStream;

use brig_pseudofs::small_file;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::process::geteuid;

/// That the server is in brig's pid namespace, and where it is to be the `user`'s own, that user's or root's: its address
/// comes from the environment then, and who listens there decides whether limits are in force, and says so.
pub(super) fn check(stream: &UnixStream, user: bool) -> io::Result<()> {
    let peer = getsockopt(stream, PeerCredentials)?;
    let (uid, pid) = (peer.uid(), peer.pid());
    if user && uid != geteuid().as_raw() && uid != 0 {
        return Err(io::Error::other(format!("the server runs as another user, {uid}")));
    }
    let own = is_alone_in(&small_file::read_text("/proc/self/status")?);
    match own && pid > 0 && is_alone_in(&small_file::read_text(format!("/proc/{pid}/status"))?) {
        true => Ok(()),
        false => Err(io::Error::other(
            "the server is not in brig's pid namespace, or /proc is not that one's: pids mean other processes there",
        )),
    }
}

/// Whether the process has one pid, counted from the pid namespace of this procfs: it is in that one.
fn is_alone_in(status: &str) -> bool {
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    pids.is_some_and(|pids| pids.split_ascii_whitespace().count() == 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::path::Path;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    use super::*;

    /// Set for the server alone: where it listens.
    const SERVER: &str = "BRIG_TEST_SERVER";

    /// Of another process, and so in the place of a test.
    #[test]
    fn a_server_of_another_test() {
        let Some(path) = std::env::var_os(SERVER) else { return };
        let _listener = UnixListener::bind(path).unwrap();
        std::thread::sleep(Duration::from_secs(60));
    }

    /// A server in another process, called by `wrapper`.
    fn serve(path: &Path, wrapper: &[&str]) -> Child {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(std::env::current_exe().unwrap());
        command.args(["--exact", "systemd::peer::tests::a_server_of_another_test"]);
        command.env(SERVER, path).stdout(Stdio::null()).spawn().unwrap()
    }

    /// A connection, once the server is there.
    fn connected(path: &Path) -> UnixStream {
        for _ in 0..1000 {
            if let Ok(stream) = UnixStream::connect(path) {
                return stream;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the server does not come up");
    }

    #[test]
    fn a_server_of_another_pid_namespace_is_told_no_pid() {
        if !geteuid().is_root() {
            println!("skipped: only root makes a pid namespace");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (same, other) = (dir.path().join("same"), dir.path().join("other"));
        let mut here = serve(&same, &["env"]);
        let mut below = serve(&other, &["unshare", "--pid", "--fork", "--kill-child"]);
        let accepted = check(&connected(&same), true);
        let refused = check(&connected(&other), false);
        let look = |text: &str| is_alone_in(text);
        for server in [&mut here, &mut below] {
            server.kill().unwrap();
            server.wait().unwrap();
        }
        accepted.unwrap();
        assert!(refused.unwrap_err().to_string().contains("not in brig's pid namespace"));
        assert!(look("Name:\tx\nNSpid:\t7\n") && !look("NSpid:\t7\t1\n") && !look("Name:\tx\n"));
    }
}
