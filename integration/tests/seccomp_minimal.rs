//! Filters that allow what the program itself calls, and execve: nothing of the runtime's is confined by them.
//! Reference: seccomp(2), capabilities(7).

use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;

use brig_integration::command::Call;
use brig_integration::{
    Bundle, Container, Lab, PATIENCE, Value, binaries, json, need, programs, wait_until,
};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// What refuses all other calls: as if they were not permitted, as if the kernel had none of them, and by death.
const DEFAULTS: [(&str, Option<u32>); 3] =
    [("SCMP_ACT_ERRNO", None), ("SCMP_ACT_ERRNO", Some(38)), ("SCMP_ACT_KILL_PROCESS", None)];

/// A filter that allows these calls.
fn only(calls: &[&str], (action, errno): (&str, Option<u32>)) -> Value {
    let mut filter = json!({"defaultAction": action, "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": calls, "action": "SCMP_ACT_ALLOW"}]});
    if let Some(errno) = errno {
        filter["defaultErrnoRet"] = json!(errno);
    }
    filter
}

/// Programs that make one call: `/exits` (with code 7), `/succeeds` and `/pauses`.
fn with_programs(bundle: Bundle) -> Bundle {
    let all = [
        ("exits", programs::that_exits(7)),
        ("succeeds", programs::that_exits(0)),
        ("pauses", programs::that_pauses()),
    ];
    for (name, program) in all {
        let path = bundle.rootfs.join(name);
        fs::write(&path, program).expect("write a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    bundle
}

/// Who the program is.
fn users(lab: &Lab) -> [Bundle; 4] {
    let ordinary = json!({"uid": 1000, "gid": 1000, "additionalGids": [4]});
    [
        with_programs(lab.bundle()),
        with_programs(lab.bundle()).set("/process/user", ordinary.clone()),
        with_programs(lab.bundle()).user_namespace(200_000),
        with_programs(lab.bundle()).user_namespace(200_000).set("/process/user", ordinary),
    ]
}

fn set(bundle: &Bundle, no_new_privileges: bool, filter: Value) -> Bundle {
    let bundle = bundle.clone().set("/process/noNewPrivileges", no_new_privileges);
    bundle.set("/linux/seccomp", filter)
}

/// A line of the first process's /proc/PID/status.
fn status(c: &Container<'_>, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{}/status", c.pid())).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.expect("a field").trim().to_owned()
}

#[test]
fn a_program_runs_under_a_filter_of_its_own_calls() {
    need!(Brig); // runc needs some fifty calls more without noNewPrivileges, and write and the like with it
    let lab = Lab::new();
    for bundle in users(&lab) {
        for (nnp, default) in [true, false].into_iter().flat_map(|nnp| DEFAULTS.map(|it| (nnp, it)))
        {
            let bundle = set(&bundle, nnp, only(&["execve", "exit"], default)).args(["/exits"]);
            lab.container(bundle).run().code(7);
        }
    }
    lab.assert_clean();
}

/// Loading the filter took a privilege: of that nothing is left.
#[test]
fn what_is_started_has_the_filter_and_no_more_privileges_than_it_should() {
    need!(Brig);
    let lab = Lab::new();
    for (number, bundle) in users(&lab).into_iter().enumerate() {
        for nnp in [true, false] {
            let bundle =
                set(&bundle, nnp, only(&["execve", "pause"], DEFAULTS[2])).args(["/pauses"]);
            let c = lab.container(bundle);
            c.create().ok();
            c.start().ok();
            // CAP_AUDIT_WRITE, CAP_KILL and CAP_NET_BIND_SERVICE.
            let (own, none) = ("0000000020000420", "0000000000000000");
            let held = if number % 2 == 0 { own } else { none };
            let expected = [
                ("CapInh", none),
                ("CapPrm", held),
                ("CapEff", held),
                ("CapBnd", own),
                ("CapAmb", none),
                ("NoNewPrivs", if nnp { "1" } else { "0" }),
                ("Seccomp", "2"),
                ("Seccomp_filters", "1"),
                ("Threads", "1"),
            ];
            for (name, value) in expected {
                assert_eq!(status(&c, name), value, "{name}, no_new_privs {nnp}, user {number}");
            }
            c.kill("KILL").ok();
            c.wait_status("stopped");
            c.delete().ok();
        }
    }
    lab.assert_clean();
}

#[test]
fn exec_runs_under_a_filter_of_the_programs_calls() {
    need!(Brig);
    let lab = Lab::new();
    for bundle in users(&lab) {
        let user = bundle.spec["process"]["user"].clone();
        let filter = only(&["execve", "pause", "exit"], DEFAULTS[2]);
        let c = lab.container(set(&bundle, false, filter).args(["/pauses"]));
        c.run_detached();
        for nnp in [true, false] {
            let process = json!({"args": ["/exits"], "cwd": "/", "user": user, "noNewPrivileges": nnp,
                "capabilities": {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"],
                    "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]}});
            let path = lab.path("process.json");
            fs::write(&path, process.to_string()).expect("write");
            c.call("exec", ["--process", &path.to_string_lossy()]).go().code(7);
        }
        c.delete_force().ok();
    }
    lab.assert_clean();
}

#[test]
fn a_terminal_takes_no_calls_more() {
    need!(Brig);
    let lab = Lab::new();
    for nnp in [true, false] {
        let bundle =
            set(&with_programs(lab.bundle()), nnp, only(&["execve", "pause"], DEFAULTS[2]));
        let c = lab.container(bundle.set("/process/terminal", true).args(["/pauses"]));
        let console = c.run_on_terminal();
        assert_eq!(status(&c, "Seccomp"), "2");
        c.kill("KILL").ok();
        c.wait_status("stopped");
        drop(console);
        c.delete().ok();
    }
    lab.assert_clean();
}

#[test]
fn start_container_hooks_run_under_a_filter_of_their_own_calls() {
    need!(Brig);
    let lab = Lab::new();
    for nnp in [true, false] {
        let bundle = set(&with_programs(lab.bundle()), nnp, only(&["execve", "exit"], DEFAULTS[2]));
        let hook = |path: &str| json!([{"path": path}]);
        let bundle = bundle.args(["/exits"]);
        let good = bundle.clone().set("/hooks/startContainer", hook("/succeeds"));
        lab.container(good).run().code(7);
        let bad = bundle.set("/hooks/startContainer", hook("/exits"));
        lab.container(bad).run().failed().says("hook /exits ended with exit code 7");
    }
    lab.assert_clean();
}

const USER: u32 = 12345;

/// As an ordinary user, with a copy of brig that this user can execute.
fn as_user(lab: &Lab) -> Call {
    let brig = lab.dir().join("runtime");
    if !brig.exists() {
        fs::copy(binaries::runtime(), &brig).expect("copy");
        lab.call("chown").args(["-R", &format!("{USER}:{USER}")]).arg(lab.dir()).go().ok();
    }
    let id = USER.to_string();
    let call = lab.call("setpriv").args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
    let call = call.args(["--inh-caps=-all", "--bounding-set=-all"]);
    call.env("XDG_RUNTIME_DIR", lab.dir()).arg(brig).arg("--root").arg(lab.root())
}

#[test]
fn an_ordinary_users_program_runs_under_a_filter_of_its_own_calls() {
    need!(Brig);
    let lab = Lab::new();
    let map = json!([{"containerID": 0, "hostID": USER, "size": 1}]);
    let bundle = with_programs(lab.plain_bundle())
        .namespace("user", None)
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .set("/mounts", json!([]))
        .unset("/linux/cgroupsPath")
        .unset("/linux/resources");
    let [yes, no] = [true, false].map(|nnp| {
        lab.container(set(&bundle, nnp, only(&["execve", "exit"], DEFAULTS[2])).args(["/exits"]))
    });
    for c in [yes, no] {
        c.bundle.write();
        as_user(&lab).args(["run", "--bundle"]).arg(&c.bundle.dir).arg(c.id()).go().code(7);
    }
    lab.assert_clean();
}

/// What the container's process calls from the loading of its filter on, as strace(1) says.
fn calls_under_the_filter(lab: &Lab, c: &Container<'_>) -> Vec<String> {
    let trace = lab.path("trace");
    let strace = ["strace", "-DD", "-f", "-qqq", "-o", &trace.to_string_lossy()].map(str::to_owned);
    c.run_call(&[]).under(strace).go().code(7);
    let text = fs::read_to_string(&trace).expect("read the trace");
    let mut lines =
        text.lines().skip_while(|line| !line.contains(" seccomp(SECCOMP_SET_MODE_FILTER"));
    let (pid, _) = lines.next().expect("a filter is loaded").split_once(' ').expect("a pid");
    let own = lines.filter_map(|line| line.strip_prefix(pid)?.trim_start().split_once('('));
    own.map(|(call, _)| call.to_owned()).collect()
}

#[test]
fn execve_alone_follows_the_loading_of_the_filter() {
    need!(Brig);
    let lab = Lab::new();
    for nnp in [true, false] {
        let filter = json!({"defaultAction": "SCMP_ACT_ALLOW"});
        let c = lab.container(set(&with_programs(lab.bundle()), nnp, filter).args(["/exits"]));
        assert_eq!(calls_under_the_filter(&lab, &c), ["execve", "exit"], "no_new_privs {nnp}");
    }
}

/// Takes a connection on the socket, and the listener that comes over it.
fn take_listener(socket: &UnixListener) -> usize {
    let mut stream = None;
    assert!(wait_until(PATIENCE, || {
        stream = socket.accept().ok();
        stream.is_some()
    }));
    let (stream, _) = stream.expect("a connection");
    stream.set_nonblocking(false).expect("blocking");
    let mut text = vec![0; 65536];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut text)];
    recvmsg(&stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC).expect("receive");
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds.count()),
        _ => None,
    });
    rights.sum()
}

/// The listener is the process's own until it has sent it: that is the one call more.
#[test]
fn a_filter_that_notifies_needs_sendmsg_besides() {
    need!(Brig);
    let lab = Lab::new();
    for nnp in [true, false] {
        let path = lab.path("listener");
        let socket = UnixListener::bind(&path).expect("bind");
        socket.set_nonblocking(true).expect("nonblocking");
        let mut filter = only(&["execve", "exit", "sendmsg"], DEFAULTS[2]);
        filter["listenerPath"] = json!(path);
        let rule = json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"});
        filter["syscalls"].as_array_mut().expect("a list").push(rule);
        let c = lab.container(set(&with_programs(lab.bundle()), nnp, filter).args(["/exits"]));
        let running = c.run_call(&[]).spawn();
        assert_eq!(take_listener(&socket), 1);
        running.wait().code(7);
    }
    lab.assert_clean();
}

/// Nobody could answer yet: brig waited for ever.
#[test]
fn a_filter_that_notifies_of_its_own_handover_is_refused() {
    need!(Brig);
    let lab = Lab::new();
    let path = lab.path("listener");
    let _socket = UnixListener::bind(&path).expect("bind");
    let verdicts = [
        ("SCMP_ACT_NOTIFY", "notify"),
        ("SCMP_ACT_ERRNO", "errno 1"),
        ("SCMP_ACT_KILL_PROCESS", "kill process"),
    ];
    for (action, verdict) in verdicts {
        let filter = |rules: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "syscalls": rules});
        let b = with_programs(lab.bundle()).args(["/exits"]);
        let notify = json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"});
        let all = json!([notify, {"names": ["sendmsg"], "action": action}]);
        let output = lab.container(b.set("/linux/seccomp", filter(all))).run().failed();
        output
            .says("linux.seccomp")
            .says("sendmsg")
            .says(&format!("(action {verdict})"))
            .says("0x5600");
    }
    lab.assert_clean();
}

#[test]
fn the_handover_can_be_let_pass_alone() {
    need!(Brig);
    let lab = Lab::new();
    let path = lab.path("listener");
    let socket = UnixListener::bind(&path).expect("bind");
    socket.set_nonblocking(true).expect("nonblocking");
    let mut filter = only(&["execve", "exit"], DEFAULTS[2]);
    filter["listenerPath"] = json!(path);
    let flags = json!([{"index": 2, "value": 0x5600, "op": "SCMP_CMP_EQ"}]);
    let rules = filter["syscalls"].as_array_mut().expect("a list");
    rules.push(json!({"names": ["sendmsg"], "action": "SCMP_ACT_ALLOW", "args": flags}));
    rules.push(json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}));
    let b = set(&with_programs(lab.bundle()), false, filter).args(["/exits"]);
    let running = lab.container(b).run_call(&[]).spawn();
    assert_eq!(take_listener(&socket), 1);
    running.wait().code(7);
    lab.assert_clean();
}

const SYS_ADMIN: u64 = 1 << 21;

/// What execve(2) grants is as if the privilege had not been held: by the bounding set and the file alone.
#[test]
fn file_capabilities_give_what_they_would_give_without_a_filter() {
    need!(Brig); // runc's filter allows nothing of its own
    let lab = Lab::new();
    let bundle = with_programs(lab.bundle());
    let net_raw = 1_u64 << 13;
    // struct vfs_ns_cap_data, revision 2: permitted and inheritable, without the bit that makes them effective.
    let granted = (SYS_ADMIN | net_raw) as u32;
    let value: Vec<u8> =
        [0x0200_0000, granted, 0, 0, 0].into_iter().flat_map(u32::to_le_bytes).collect();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(bundle.rootfs.join("pauses"), "security.capability", &value, flags)
        .expect("setxattr");
    let bundle = bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let bundle = set(&bundle, false, only(&["execve", "pause"], DEFAULTS[2])).args(["/pauses"]);
    for (bounding, gained) in [
        (json!(["CAP_NET_RAW", "CAP_KILL"]), net_raw),
        (json!(["CAP_NET_RAW", "CAP_SYS_ADMIN"]), net_raw | SYS_ADMIN),
        (json!([]), 0),
    ] {
        let c = lab
            .container(bundle.clone().set("/process/capabilities", json!({"bounding": bounding})));
        c.run_detached();
        assert_eq!(status(&c, "CapPrm"), format!("{gained:016x}"), "{bounding}");
        assert_eq!(status(&c, "CapEff"), format!("{:016x}", 0), "{bounding}");
        c.delete_force().ok();
    }
    lab.assert_clean();
}

/// Whoever has no_new_privs keeps in execve(2) what was held, as far as the bounding set allows: so nothing must be.
#[test]
fn a_caller_without_new_privileges_gives_none_to_the_program() {
    need!(Brig);
    let lab = Lab::new();
    let bundle = set(&with_programs(lab.bundle()), false, only(&["execve", "pause"], DEFAULTS[2]));
    let (some, more) = (["CAP_KILL"], ["CAP_KILL", "CAP_SYS_ADMIN"]);
    let caps = json!({"bounding": more, "permitted": some, "effective": some});
    let c = lab.container(bundle.set("/process/capabilities", caps).args(["/pauses"]));
    c.run_call(&["--detach"]).under(["setpriv", "--no-new-privs"]).go().ok();
    assert_eq!(status(&c, "NoNewPrivs"), "1");
    assert_eq!(status(&c, "Seccomp"), "2");
    for set in ["CapPrm", "CapEff"] {
        assert_eq!(status(&c, set), format!("{:016x}", 1 << 5), "{set}");
    }
    c.delete_force().ok();
    lab.assert_clean();
}

/// It holds a privilege more than the container has, and has no filter yet: as long as it waits, nobody in the
/// container may trace it or look into it.
#[test]
fn what_waits_for_its_start_is_out_of_the_containers_reach() {
    need!(Brig); // runc's has its filter already
    let lab = Lab::new();
    for (number, bundle) in users(&lab).into_iter().enumerate() {
        let user = bundle.spec["process"]["user"].clone();
        let caps = SYS_ADMIN | 0x2000_0420; // what the bundle permits
        let c = lab.container(
            set(&bundle, false, json!({"defaultAction": "SCMP_ACT_ALLOW"})).args(["/pauses"]),
        );
        c.create().ok();
        assert_eq!(
            (status(&c, "CapEff"), status(&c, "CapBnd")),
            (format!("{caps:016x}"), "0000000020000420".into())
        );
        let script = "(: 3<>/proc/1/mem) && echo memory; readlink /proc/1/fd/0 /proc/1/exe; ls /proc/1/root/; \
            cat /proc/1/syscall && echo state; true";
        // With all that the container's process has, and more.
        let all = json!([
            "CAP_KILL",
            "CAP_AUDIT_WRITE",
            "CAP_NET_BIND_SERVICE",
            "CAP_DAC_OVERRIDE",
            "CAP_SYS_ADMIN"
        ]);
        let process = json!({"args": ["/bin/sh", "-c", script], "cwd": "/", "user": user, "noNewPrivileges": false,
            "env": ["PATH=/bin:/usr/bin"], "capabilities": {"bounding": all, "permitted": all, "effective": all,
                "inheritable": all, "ambient": all}});
        let path = lab.path("process.json");
        fs::write(&path, process.to_string()).expect("write");
        let output = c.call("exec", ["--process", &path.to_string_lossy()]).go().ok();
        assert_eq!(output.stdout(), "", "user {number}");
        c.start().ok();
        assert_eq!(status(&c, "Seccomp"), "2");
        c.delete_force().ok();
    }
    lab.assert_clean();
}

/// `/no-interpreter`: found, and yet not executable.
fn with_a_script(bundle: Bundle) -> Bundle {
    let path = bundle.rootfs.join("no-interpreter");
    fs::write(&path, "#!/nowhere\n").expect("write a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
    bundle
}

/// Neither a program that never ran nor a wait without end, whatever is left to the process.
#[test]
fn what_is_not_executed_and_cannot_say_so_has_failed() {
    need!(Brig); // runc takes it for the program's end
    let lab = Lab::new();
    let bundle = with_a_script(lab.bundle()).args(["/no-interpreter"]);
    let mut told = 0;
    let exits = ["execve", "exit", "exit_group"];
    for calls in [&exits[..], &exits[..2], &exits[..1]] {
        for (nnp, default) in [true, false].into_iter().flat_map(|nnp| DEFAULTS.map(|it| (nnp, it)))
        {
            let c = lab.container(set(&bundle, nnp, only(calls, default)));
            let words = "exec: \"/no-interpreter\": execve failed; errno unknown because linux.seccomp blocks write";
            c.run().failed().says(words).says("allow write");
            c.run_call(&["--detach"]).go().failed().says(words);
            c.create().ok();
            // Whoever reaps the process may be faster than `start`, which then cannot know.
            told += usize::from(c.start().stderr().contains(words));
            c.wait_status("stopped");
            c.delete().ok();
        }
    }
    assert!(told > 9, "{told} of 18 were told by start");
    let heard = set(&bundle, false, only(&["execve", "write", "exit_group"], DEFAULTS[2]));
    lab.container(heard).run().failed().says("exec: \"/no-interpreter\": no such file");
    lab.assert_clean();
}

#[test]
fn a_filter_that_refuses_execve_is_refused() {
    need!(Brig); // under runc it fails at the start
    let lab = Lab::new();
    let bundle = with_programs(lab.bundle()).args(["/exits"]);
    for (nnp, verdict) in [true, false].into_iter().flat_map(|nnp| {
        ["errno 1", "errno 38", "kill process"].into_iter().zip(DEFAULTS).map(move |it| (nnp, it))
    }) {
        let (verdict, default) = verdict;
        let c = lab.container(set(&bundle, nnp, only(&["exit", "exit_group", "write"], default)));
        for output in [c.run(), c.create()] {
            output
                .failed()
                .says("linux.seccomp")
                .says("execve")
                .says(&format!("(action {verdict})"));
        }
    }
    // A condition on an address cannot be judged; the kernel does.
    let mut filter = only(&["exit", "exit_group", "write"], DEFAULTS[0]);
    let args = json!([{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]);
    let rule = json!({"names": ["execve"], "action": "SCMP_ACT_ALLOW", "args": args});
    filter["syscalls"].as_array_mut().expect("a list").push(rule);
    let output = lab.container(set(&bundle, false, filter)).run().failed();
    output.says("exec: \"/exits\": operation not permitted").says("linux.seccomp");
    lab.assert_clean();
}
