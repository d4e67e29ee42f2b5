//! seccomp filters, met by a workload. Reference: the OCI runtime specification's config-linux.md,
//! seccomp(2), seccomp_unotify(2).

use brig_integration::{Bundle, Lab, PATIENCE, Value, json, need, wait_until};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixListener;

/// A filter that allows all but what `rules` say.
fn filtered(bundle: Bundle, rules: Value) -> Bundle {
    let architectures = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
    let bundle = bundle.set("/linux/seccomp/defaultAction", "SCMP_ACT_ALLOW");
    bundle.set("/linux/seccomp/architectures", architectures).set("/linux/seccomp/syscalls", rules)
}

/// What a runtime's own last steps and a small program need.
const ENOUGH: &str = "
    read write close execve exit exit_group brk mmap mprotect munmap arch_prctl
    set_tid_address rt_sigaction rt_sigprocmask getuid geteuid getgid getegid setuid
    setgid prctl uname readlink readlinkat open openat fstat newfstatat set_robust_list
    rseq prlimit64 getrandom futex fcntl ioctl writev poll capget capset lseek getpid
    getppid sched_yield nanosleep clock_nanosleep sigaltstack rt_sigreturn epoll_ctl
    epoll_pwait tgkill gettid getdents64 close_range chdir fchdir getcwd faccessat2
    faccessat execveat landlock_restrict_self fstatfs statx dup3 epoll_create1 pipe2
    clone madvise sched_getaffinity eventfd2 kill getdents64 wait4 seccomp";

#[test]
fn errno_is_what_the_rule_says() {
    let lab = Lab::new();
    let rule = |errno: u32| json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno}]);
    lab.container(filtered(lab.bundle(), rule(1)).args(["/bin/mkdir", "/x"]))
        .run()
        .code(1)
        .says("not permitted");
    lab.container(filtered(lab.bundle(), rule(28)).args(["/bin/mkdir", "/x"]))
        .run()
        .code(1)
        .says("No space");
}

/// Programs are kept from one start to the next: for exactly the text that they were made of.
#[test]
fn a_profile_that_differs_in_one_number_is_not_taken_for_the_one_before() {
    let lab = Lab::new();
    let rule = |errno: u32| json!([{"names": ["mkdirat", "mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno}]);
    for _ in 0..3 {
        for (errno, message) in [(28, "No space"), (13, "Permission denied"), (30, "Read-only")] {
            let bundle = filtered(lab.bundle(), rule(errno)).args(["/bin/mkdir", "/x"]);
            lab.container(bundle).run().code(1).says(message);
        }
    }
}

/// Whatever becomes of the kept programs, the filter is the profile's.
#[test]
fn damaged_kept_programs_are_not_used() {
    let lab = Lab::new();
    let rules =
        json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]);
    let bundle = || filtered(lab.bundle(), rules.clone()).args(["/bin/mkdir", "/x"]);
    lab.container(bundle()).run().code(1).says("No space");
    let Ok(kept) = std::fs::read_dir("/run/brig/seccomp") else {
        return brig_integration::need::skipped("this runtime keeps no programs", true);
    };
    for file in kept.flatten().map(|entry| entry.path()) {
        // Other tests' containers may replace theirs meanwhile.
        if let Ok(mut bytes) = std::fs::read(&file)
            && let Some(last) = bytes.len().checked_sub(20)
        {
            bytes.truncate(last);
            let _ = std::fs::write(&file, bytes);
        }
    }
    lab.container(bundle()).run().code(1).says("No space");
    lab.container(bundle()).run().code(1).says("No space");
}

#[test]
fn errno_is_eperm_unless_said() {
    let lab = Lab::new();
    let rules = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]);
    lab.container(filtered(lab.bundle(), rules).args(["/bin/mkdir", "/x"]))
        .run()
        .code(1)
        .says("not permitted");
}

#[test]
fn killing_ends_the_process_with_sigsys() {
    let lab = Lab::new();
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS"] {
        let rules = json!([{"names": ["mkdir", "mkdirat"], "action": action}]);
        lab.container(filtered(lab.bundle(), rules).sh("/bin/mkdir /x; echo $?")).run().says("159"); // 128 + SIGSYS
    }
}

#[test]
fn a_trap_is_sigsys() {
    let lab = Lab::new();
    let rules = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_TRAP"}]);
    lab.container(filtered(lab.bundle(), rules).sh("/bin/mkdir /x; echo $?")).run().says("159");
}

#[test]
fn arguments_are_compared() {
    let lab = Lab::new();
    // kill(2) with signal 10 only.
    let rules = json!([{"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": [{"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}]}]);
    let script = "trap 'echo got 12' 12; kill -12 $$; kill -10 $$ || echo denied 10";
    lab.container(filtered(lab.bundle(), rules).sh(script))
        .run()
        .ok()
        .says("got 12")
        .says("denied 10");
}

#[test]
fn masked_arguments_are_compared() {
    let lab = Lab::new();
    // socket(2) of type SOCK_RAW (3) whatever its flags: runc's and Docker's way to say so.
    let rules = json!([{"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": [{"index": 1, "value": 8, "valueTwo": 8, "op": "SCMP_CMP_MASKED_EQ"}]}]);
    let script = "trap 'echo got 1' 1; kill -1 $$; kill -10 $$ || echo denied 10; kill -12 $$ || echo denied 12";
    lab.container(filtered(lab.bundle(), rules).sh(script))
        .run()
        .ok()
        .says("got 1")
        .says("denied 10")
        .says("denied 12");
}

#[test]
fn a_default_of_errno_with_an_allow_list() {
    let lab = Lab::new();
    let names: Vec<&str> = ENOUGH.split_whitespace().collect();
    let filter = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}],
    });
    let b = lab.bundle().set("/linux/seccomp", filter.clone());
    lab.container(b.args(["/bin/echo", "enough"])).run().ok().prints("enough");
    let b = lab.bundle().set("/linux/seccomp", filter);
    lab.container(b.args(["/bin/mkdir", "/x"])).run().code(1).says("not permitted");
}

#[test]
fn a_denied_system_call_that_does_not_exist_is_refused() {
    need!(Brig); // runc leaves the rule out, and with it what its author wanted
    let lab = Lab::new();
    let rules =
        json!([{"names": ["no_such_call_yet", "mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]);
    lab.container(filtered(lab.bundle(), rules).args(["/bin/mkdir", "/x"]))
        .run()
        .code(1)
        .says("linux.seccomp.syscalls[0].names[0]");
}

#[test]
fn the_filter_holds_without_no_new_privileges_too() {
    let lab = Lab::new();
    let rules = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]);
    let view = lab.view(filtered(lab.bundle(), rules).set("/process/noNewPrivileges", false));
    assert_eq!(view["seccomp"], 2);
    assert_eq!(view["no_new_privs"], 0);
    assert_eq!(view["seccomp_filters"], 1);
}

#[test]
fn the_filter_holds_for_an_ordinary_user() {
    let lab = Lab::new();
    let rules = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]);
    for nnp in [true, false] {
        let b = filtered(lab.bundle(), rules.clone())
            .set("/process/noNewPrivileges", nnp)
            .set("/process/user", json!({"uid": 1000, "gid": 1000}));
        lab.container(b.sh("mkdir /tmp/x")).run().code(1).says("not permitted");
    }
}

/// A startContainer hook is a program of the image: it and what it leaves running are confined as the
/// container's own program is.
#[test]
fn start_container_hooks_and_what_they_leave_have_the_filter() {
    need!(Brig); // runc 1.1 runs them without
    let lab = Lab::new();
    let rules =
        json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 42}]);
    let script = "mkdir /hooked 2>/says; (sleep 0.2; mkdir /later 2>>/says; \
        grep -E '^(Seccomp|NoNewPrivs|CapEff):' /proc/self/status >/left.new; mv /left.new /left) &";
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}]);
    for nnp in [true, false] {
        let b = filtered(lab.bundle(), rules.clone())
            .set("/process/noNewPrivileges", nnp)
            .set("/hooks/startContainer", hook.clone())
            .sh("mkdir /program; grep CapEff /proc/self/status; while [ ! -e /left ]; do sleep 0.05; done");
        let c = lab.container(b);
        let output = c.run().ok();
        for made in ["/hooked", "/later", "/program"] {
            assert!(!c.host_path(made).exists(), "{made}, no_new_privs {nnp}");
        }
        let read = |path: &str| std::fs::read_to_string(c.host_path(path)).expect("it ran");
        assert_eq!(
            read("/says").matches("No message of desired type").count(),
            2,
            "{}",
            read("/says")
        );
        let left = read("/left");
        let expected = format!("{}NoNewPrivs:\t{}\nSeccomp:\t2\n", output.stdout(), u8::from(nnp));
        assert_eq!(left, expected);
    }
}

/// The listener is the program's: a process has one.
#[test]
fn calls_that_notify_fail_in_start_container_hooks() {
    need!(Brig);
    let lab = Lab::new();
    let path = lab.path("listener");
    let listener = UnixListener::bind(&path).expect("bind");
    let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "listenerPath": path,
        "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]});
    let script = "mkdir /hooked 2>/says; true";
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}]);
    let b = lab.bundle().set("/linux/seccomp", filter).set("/process/noNewPrivileges", true);
    let c = lab.container(b.set("/hooks/startContainer", hook).sh("echo up"));
    c.run().ok().prints("up");
    let says = std::fs::read_to_string(c.host_path("/says")).expect("it ran");
    assert!(says.contains("Function not implemented"), "{says}");
    drop(listener);
}

#[test]
fn notifications_go_to_the_listener_with_the_containers_state() {
    let lab = Lab::new();
    let path = lab.path("listener");
    let listener = UnixListener::bind(&path).expect("bind");
    listener.set_nonblocking(true).expect("nonblocking");
    let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "listenerPath": path, "listenerMetadata": "note",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]});
    let c =
        lab.container(lab.bundle().set("/linux/seccomp", filter).sh("echo up; mkdir /x; echo $?"));
    let running = c.run_call(&[]).spawn();
    let mut stream = None;
    assert!(
        wait_until(PATIENCE, || {
            stream = listener.accept().ok();
            stream.is_some()
        }),
        "nobody connects: {}",
        running.stderr()
    );
    let (stream, _) = stream.expect("a connection");
    stream.set_nonblocking(false).expect("blocking");
    let mut text = vec![0; 65536];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message =
        recvmsg(&stream, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC)
            .expect("receive");
    let fds: usize = control
        .drain()
        .map(|m| if let RecvAncillaryMessage::ScmRights(fds) = m { fds.count() } else { 0 })
        .sum();
    let state: Value = brig_integration::from_slice(&text[..message.bytes]).expect("JSON");
    assert_eq!(state["metadata"], "note", "{state}");
    assert_eq!(state["state"]["id"], c.id());
    assert!(state["pid"].as_i64().is_some_and(|p| p > 0));
    assert_eq!(state["fds"], json!(["seccompFd"]));
    assert_eq!(fds, 1);
    // The listener is gone with its descriptor: the call fails with ENOSYS, and the workload ends.
    running.wait().ok().says("not implemented");
}

#[test]
fn a_listener_that_is_not_there_is_an_error() {
    let lab = Lab::new();
    let path = lab.path("nobody");
    let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "listenerPath": path,
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]});
    lab.container(lab.bundle().set("/linux/seccomp", filter)).run().failed();
    lab.assert_clean();
}
