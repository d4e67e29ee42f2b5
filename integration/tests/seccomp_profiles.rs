//! The profiles that come with brig: ordinary programs do their real work under each, and what each
//! is to refuse is really attempted. Reference: docs/seccomp-profiles.md.

use brig_integration::{Bundle, Container, Lab, Output, Value, binaries, json, need};
use std::time::Duration;

/// From the loosest to the strictest, as they are shipped.
const PROFILES: [(&str, &str); 4] = [
    ("default", include_str!("../../seccomp-profiles/profiles/default.json")),
    ("restricted", include_str!("../../seccomp-profiles/profiles/restricted.json")),
    ("sandbox", include_str!("../../seccomp-profiles/profiles/sandbox.json")),
    ("compute", include_str!("../../seccomp-profiles/profiles/compute.json")),
];
/// Those that have a network.
const SERVE: [&str; 3] = ["default", "restricted", "sandbox"];
const ALL: [&str; 4] = ["default", "restricted", "sandbox", "compute"];

fn filter(profile: &str) -> Value {
    let (_, json) = PROFILES.iter().find(|(name, _)| *name == profile).expect("it comes with brig");
    brig_integration::from_slice(json.as_bytes()).expect("JSON")
}

fn under(profile: &str, bundle: Bundle) -> Bundle {
    bundle.set("/linux/seccomp", filter(profile))
}

// --- programs at work ---

/// Runs a program of `integration/programs` under the profile.
fn works<'l>(lab: &'l Lab, profile: &str, args: &[&str]) -> (Container<'l>, Output) {
    works_under(lab, filter(profile), args)
}

fn works_under<'l>(lab: &'l Lab, filter: Value, args: &[&str]) -> (Container<'l>, Output) {
    let bundle = lab.programs().service().args(args.iter().copied());
    for (name, text) in [
        ("work.py", include_str!("../programs/work.py")),
        ("work.js", include_str!("../programs/work.js")),
    ] {
        std::fs::write(bundle.rootfs.join("srv").join(name), text).expect("write");
    }
    std::fs::copy(binaries::work(), bundle.rootfs.join("usr/local/bin/work-rust")).expect("copy");
    let container = lab.container(bundle.set("/linux/seccomp", filter));
    let output = container.run_call(&[]).limit(Duration::from_secs(100)).go();
    (container, output)
}

/// That none of the programs needs what no profile allows of futexes: here that kills.
#[test]
fn no_program_requeues_to_a_futex_with_priority_inheritance() {
    let lab = Lab::new();
    let operation = |op: u64| {
        json!({"names": ["futex", "futex_time64"], "action": "SCMP_ACT_KILL_PROCESS", "args": [
        {"index": 1, "value": 0x7f, "valueTwo": op, "op": "SCMP_CMP_MASKED_EQ"}]})
    };
    let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [operation(11), operation(12),
        {"names": ["futex_requeue"], "action": "SCMP_ACT_KILL_PROCESS"}]});
    for (args, says) in [
        (&["/usr/bin/python3", "/srv/work.py", "network"][..], "python works"),
        (&["/usr/bin/node", "/srv/work.js", "network"][..], "node works"),
        (&["/usr/local/bin/work-go", "network"][..], "go works"),
        (&["/usr/local/bin/work-rust", "network"][..], "rust works"),
    ] {
        works_under(&lab, filter.clone(), args).1.ok().prints(says);
    }
    lab.assert_clean();
}

fn works_everywhere(args: &[&str], says: &str) {
    let lab = Lab::new();
    for profile in SERVE {
        works(&lab, profile, &[args, &["network"]].concat()).1.ok().prints(says);
    }
    works(&lab, "compute", args).1.ok().prints(says);
    // Where there is no network, the same program says so.
    works(&lab, "compute", &[args, &["network"]].concat()).1.failed();
    lab.assert_clean();
}

#[test]
fn python_works() {
    works_everywhere(&["/usr/bin/python3", "/srv/work.py"], "python works");
}

#[test]
fn node_works() {
    works_everywhere(&["/usr/bin/node", "/srv/work.js"], "node works");
}

#[test]
fn go_works() {
    works_everywhere(&["/usr/local/bin/work-go"], "go works");
}

#[test]
fn rust_works() {
    works_everywhere(&["/usr/local/bin/work-rust"], "rust works");
}

#[test]
fn nginx_serves() {
    let lab = Lab::new();
    for profile in SERVE {
        let bundle = lab.debian().service().args(["/usr/sbin/nginx", "-g", "daemon off;"]);
        let page = bundle.rootfs.join("var/www/html/page.txt");
        std::fs::create_dir_all(page.parent().expect("a directory")).expect("make");
        std::fs::write(page, "served by nginx").expect("write");
        let c = lab.container(under(profile, bundle));
        c.run_detached();
        c.wait_until_ok(
            "python3 -c \"import socket; socket.create_connection(('127.0.0.1', 80), 2)\"",
        );
        let get = "import socket
for n in range(50):
    s = socket.create_connection(('127.0.0.1', 80), 5)
    s.sendall(b'GET /page.txt HTTP/1.0\\r\\n\\r\\n')
    answer = b''.join(iter(lambda: s.recv(4096), b''))
    assert b'200 OK' in answer and b'served by nginx' in answer, answer
print('served')";
        c.exec(&["/usr/bin/python3", "-c", get]).ok().prints("served");
        c.exec_sh("nginx -s reload && sleep 0.3").ok();
        c.exec(&["/usr/bin/python3", "-c", get]).ok().prints("served");
        c.ends_well();
    }
}

#[test]
fn redis_answers_under_load_and_saves() {
    let lab = Lab::new();
    for profile in SERVE {
        let server = ["/usr/bin/redis-server", "--dir", "/tmp", "--appendonly", "yes"];
        let bundle = lab.debian().service().args(server);
        let user = json!({"uid": 1000, "gid": 1000});
        let c = lab.container(under(profile, bundle).set("/process/user", user));
        c.run_detached();
        c.wait_until_ok("redis-cli ping | grep -q PONG");
        let load = "redis-benchmark -q -n 2000 -c 20 -t set,get,lpush && redis-cli set key value
            redis-cli bgsave && sleep 0.3 && redis-cli bgrewriteaof && redis-cli get key";
        c.exec_call(&[], &["/bin/sh", "-c", load])
            .limit(Duration::from_secs(100))
            .go()
            .ok()
            .says("requests per second")
            .says("value");
        c.wait_until_ok("redis-cli info persistence | grep -q rdb_last_bgsave_status:ok && test -s /tmp/dump.rdb",
        );
        c.ends_well();
    }
}

#[test]
fn postgresql_answers_queries() {
    let lab = Lab::new();
    let script = "set -e; export PATH=/usr/lib/postgresql/15/bin:$PATH
initdb --pgdata=/tmp/data --auth=trust --no-sync >/tmp/initdb.log 2>&1 || { cat /tmp/initdb.log; exit 1; }
exec postgres -D /tmp/data -k /tmp -c listen_addresses=127.0.0.1 -c max_parallel_workers_per_gather=2";
    for profile in SERVE {
        let bundle = lab
            .debian()
            .service()
            .sh(script)
            .set("/process/user", json!({"uid": 5432, "gid": 5432}))
            .set("/process/env/-", "LC_ALL=C");
        let passwd = bundle.rootfs.join("etc/passwd");
        let mut text = std::fs::read_to_string(&passwd).expect("passwd");
        text.push_str("pg:x:5432:5432::/tmp:/bin/sh\n");
        std::fs::write(&passwd, text).expect("write");
        let shm = json!(["nosuid", "noexec", "nodev", "mode=1777", "size=134217728"]);
        let c = lab.container(under(profile, bundle).edit(|spec| {
            let mounts = spec["mounts"].as_array_mut().expect("mounts");
            let mount = mounts.iter_mut().find(|mount| mount["destination"] == "/dev/shm");
            mount.expect("/dev/shm")["options"] = shm.clone();
        }));
        c.run_detached();
        c.wait_until_ok("/usr/lib/postgresql/15/bin/pg_isready -h 127.0.0.1 -q");
        let queries = [
            "create table t as select g as n from generate_series(1, 100000) g",
            "create index on t (n)",
            "vacuum analyze t",
            "set min_parallel_table_scan_size = 0; set parallel_setup_cost = 0; select sum(n) from t",
            "checkpoint",
        ];
        let command: Vec<&str> = queries.iter().flat_map(|query| ["-c", query]).collect();
        let psql = ["/usr/bin/psql", "-h", "127.0.0.1", "-U", "pg", "-d", "postgres", "-qAt"];
        c.exec_call(&["--user", "5432:5432"], &[&psql[..], &command].concat())
            .go()
            .ok()
            .says("5000050000");
        c.ends_well();
    }
}

// --- what is refused ---

/// A call that the profiles `by` refuse, and how.
struct Attempt {
    what: &'static str,
    /// For `integration/programs/attempt.c`; numbers of x86-64.
    call: &'static str,
    refusal: &'static str,
    by: &'static [&'static str],
}

const fn eperm(what: &'static str, call: &'static str, by: &'static [&'static str]) -> Attempt {
    Attempt { what, call, refusal: "errno 1", by }
}

const fn enosys(what: &'static str, call: &'static str, by: &'static [&'static str]) -> Attempt {
    Attempt { what, call, refusal: "errno 38", by }
}

/// What all allow, next to what they refuse.
const NONE: &[&str] = &[];
const STRICT: &[&str] = &["restricted", "sandbox", "compute"];
const STRICTER: &[&str] = &["sandbox", "compute"];
const STRICTEST: &[&str] = &["compute"];

/// All fail otherwise, or succeed, without a filter: the program has the capabilities for them.
const ATTEMPTS: &[Attempt] = &[
    eperm("socket AF_ALG", "native:41:38:5:0", &ALL),
    eperm("socket AF_ALG, upper half set", "native:41:0x100000026:5:0", &ALL),
    eperm("socket AF_VSOCK", "native:41:40:1:0", &ALL),
    eperm("socket AF_AX25", "native:41:3:5:0", &ALL),
    eperm("socket AF_KEY", "native:41:15:3:2", &ALL),
    eperm("socket AF_RDS", "native:41:21:5:0", &ALL),
    eperm("socket AF_CAN", "native:41:29:3:1", &ALL),
    eperm("socket AF_TIPC", "native:41:30:1:0", &ALL),
    eperm("socket AF_BLUETOOTH", "native:41:31:3:0", &ALL),
    eperm("socket AF_XDP", "native:41:44:3:0", &ALL),
    eperm("socketpair AF_TIPC", "native:53:30:1:0:@", &ALL),
    eperm("socket AF_RXRPC", "native:41:33:2:2", &ALL),
    eperm("socket NETLINK_XFRM", "native:41:16:3:6", &ALL),
    eperm("socket NETLINK_XFRM, upper half set", "native:41:16:3:0x100000006", &ALL),
    eperm("socket NETLINK_CRYPTO", "native:41:16:3:21", &ALL),
    eperm("socket AF_PACKET", "native:41:17:3:0", STRICT),
    eperm("socket AF_INET, SOCK_PACKET", "native:41:2:10:0x300", STRICT),
    eperm("socket AF_INET, SOCK_DCCP", "native:41:2:6:33", STRICT),
    eperm("socket NETLINK_NETFILTER", "native:41:16:3:12", STRICT),
    eperm("socket NETLINK_AUDIT", "native:41:16:3:9", STRICTER),
    eperm("socket NETLINK_GENERIC", "native:41:16:3:16", STRICT),
    eperm("socket AF_INET raw", "native:41:2:3:1", STRICTER),
    eperm("socket AF_INET6 raw", "native:41:10:3:58", STRICTER),
    eperm("socket SCTP", "native:41:2:1:132", STRICTER),
    eperm("socket AF_INET", "native:41:2:1:0", STRICTEST),
    eperm("socket AF_INET6", "native:41:10:2:0", STRICTEST),
    eperm("socket AF_UNIX", "native:41:1:1:0", STRICTEST),
    eperm("socket NETLINK_ROUTE", "native:41:16:3:0", STRICTEST),
    eperm("socketpair of datagrams", "native:53:1:2:0:@", STRICTEST),
    eperm("connect", "native:42:-1:@:16", STRICTEST),
    eperm("bind", "native:49:-1:@:16", STRICTEST),
    enosys("futex FUTEX_WAIT_REQUEUE_PI", "native:202:@:11:0:0:@:0", &ALL),
    enosys("futex FUTEX_WAIT_REQUEUE_PI, private", "native:202:@:0x8b:0:0:@:0", &ALL),
    enosys("futex FUTEX_WAIT_REQUEUE_PI, all flags", "native:202:@:0x18b:0:0:@:0", &ALL),
    enosys("futex FUTEX_CMP_REQUEUE_PI", "native:202:@:12:1:0:@:0", &ALL),
    enosys("futex FUTEX_CMP_REQUEUE_PI, private", "native:202:@:0x8c:1:0:@:0", &ALL),
    enosys("futex FUTEX_CMP_REQUEUE_PI, upper half set", "native:202:@:0x70000000c:1:0:@:0", &ALL),
    enosys("futex_requeue", "native:456:@:1:0:0", &ALL),
    eperm("futex FUTEX_WAIT", "native:202:@:0x80:1:0:0:0", NONE),
    eperm("futex FUTEX_WAKE", "native:202:@:0x81:1:0:0:0", NONE),
    eperm("futex FUTEX_CMP_REQUEUE", "native:202:@:0x84:1:1:@:0", NONE),
    eperm("futex FUTEX_WAIT_BITSET", "native:202:@:0x189:1:0:0:1", NONE),
    eperm("futex FUTEX_WAKE_BITSET", "native:202:@:0x8a:1:0:0:1", NONE),
    eperm("futex FUTEX_LOCK_PI2", "native:202:@:0x8d:0:0:0:0", NONE),
    eperm("unshare CLONE_NEWUSER", "native:272:0x10000000", &ALL),
    eperm("unshare CLONE_NEWNS", "native:272:0x20000", &ALL),
    eperm("clone CLONE_NEWUSER", "native:56:0x10000011", &ALL),
    eperm("setns", "native:308:-1:0", &ALL),
    enosys("clone3", "native:435:0:0", &ALL),
    eperm("mount", "native:165:0:0:0:0:0", &ALL),
    eperm("fsopen", "native:430:0:0", &ALL),
    eperm("open_tree", "native:428:-100:0:0", &ALL),
    eperm("move_mount", "native:429:-100:0:-100:0:0", &ALL),
    eperm("mount_setattr", "native:442:-100:0:0:0:0", &ALL),
    eperm("add_key", "native:248:0:0:0:0:0", &ALL),
    eperm("keyctl", "native:250:0:-3:0", &ALL),
    eperm("bpf", "native:321:-1:0:0", &ALL),
    eperm("perf_event_open", "native:298:0:0:0:0:0", &ALL),
    eperm("userfaultfd", "native:323:-1", &ALL),
    eperm("io_uring_setup", "native:425:1:@", &ALL),
    eperm("ioctl TIOCSTI", "native:16:99:0x5412", &ALL),
    eperm("ioctl TIOCLINUX, upper half set", "native:16:99:0x70000541c", &ALL),
    eperm("personality ADDR_NO_RANDOMIZE", "native:135:0x40000", &ALL),
    eperm("ptrace", "native:101:0:0:0:0", STRICT),
    eperm("process_vm_readv", "native:310:1:0:0:0:0:1", STRICT),
    eperm("chroot", "native:161:0", STRICT),
    eperm("io_setup", "native:206:1:@", STRICTER),
    eperm("mknodat of a device", "native:259:-100:@:0x2180:0", STRICTER),
    Attempt { what: "getpid of i386", call: "i386:20", refusal: "signal 31", by: &ALL },
    Attempt { what: "socketcall of i386", call: "i386:102:1:@", refusal: "signal 31", by: &ALL },
    Attempt { what: "ipc of i386", call: "i386:117:2:0:1:0", refusal: "signal 31", by: &ALL },
    Attempt {
        what: "futex of i386, FUTEX_CMP_REQUEUE_PI",
        call: "i386:240:@:12:1:0:@",
        refusal: "signal 31",
        by: &ALL,
    },
    enosys("getpid of x32", "native:0x40000027", &ALL),
    enosys("futex of x32, FUTEX_CMP_REQUEUE_PI", "native:0x400000ca:@:12:1:0:@:0", &ALL),
    // open_tree_attr, Linux 6.15: newer than all that the profiles name.
    enosys("a newer call", "native:467:-100:0:0:0:0", &ALL),
];

fn attempting(lab: &Lab) -> Bundle {
    let calls = ATTEMPTS.iter().map(|attempt| attempt.call);
    let caps = [
        "CAP_SYS_ADMIN",
        "CAP_SYS_PTRACE",
        "CAP_SYS_CHROOT",
        "CAP_NET_RAW",
        "CAP_NET_ADMIN",
        "CAP_MKNOD",
    ];
    lab.programs().caps(&caps).args(std::iter::once("/usr/local/bin/attempt").chain(calls))
}

fn results(output: &Output) -> Vec<String> {
    let lines: Vec<String> = output.stdout().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), ATTEMPTS.len(), "{}{}", output.stdout(), output.stderr());
    lines
}

#[test]
fn what_a_profile_refuses_is_attempted_in_vain() {
    let lab = Lab::new();
    let free = results(&lab.container(attempting(&lab)).run().ok());
    // What this kernel lacks, or has no module for, says nothing.
    let telling =
        ATTEMPTS.iter().zip(&free).filter(|(attempt, free)| attempt.refusal != free.as_str());
    let silent: Vec<&str> = ATTEMPTS
        .iter()
        .zip(&free)
        .filter(|(attempt, free)| attempt.refusal == free.as_str())
        .map(|(attempt, _)| attempt.what)
        .collect();
    println!("not told apart from no filter: {silent:?}");
    assert!(telling.count() >= 70, "{silent:?}");
    // Linux 6.7 has futex_requeue.
    let may_lack =
        |what: &&str| what.contains("x32") || ["a newer call", "futex_requeue"].contains(what);
    assert!(silent.iter().all(may_lack), "{silent:?}");
    for profile in ALL {
        let got = results(&lab.container(under(profile, attempting(&lab))).run().ok());
        for ((attempt, free), got) in ATTEMPTS.iter().zip(&free).zip(&got) {
            let refused = attempt.by.contains(&profile);
            let wanted = if refused { attempt.refusal } else { free };
            assert_eq!(got, wanted, "{profile}: {} ({})", attempt.what, attempt.call);
        }
    }
}

#[test]
fn the_profiles_hold_without_no_new_privileges_too() {
    let lab = Lab::new();
    for profile in ALL {
        let view = lab.view(under(profile, lab.bundle()).set("/process/noNewPrivileges", false));
        assert_eq!((&view["seccomp"], &view["no_new_privs"]), (&json!(2), &json!(0)), "{profile}");
    }
}

#[test]
fn other_runtimes_take_the_profiles() {
    need!(Brig); // it is about others than the runtime under test
    let lab = Lab::new();
    // crun refuses a hybrid layout of cgroups.
    let script = "umount /sys/fs/cgroup/unified 2>/dev/null; exec \"$@\"";
    for runtime in ["/usr/sbin/runc", "/usr/bin/crun"] {
        for profile in ALL {
            for what in ["refuses", "works"] {
                let bundle = under(profile, attempting(&lab));
                let bundle = if what == "refuses" {
                    bundle
                } else {
                    bundle.args(["/usr/local/bin/work-go"]).service()
                };
                bundle.write();
                let output = lab
                    .call("/usr/bin/unshare")
                    .args(["--mount", "/bin/sh", "-c", script, "sh", runtime, "--root"])
                    .arg(lab.path("other"))
                    .args(["run", "--bundle"])
                    .arg(&bundle.dir)
                    .arg(lab.id())
                    .go()
                    .ok();
                if what == "works" {
                    output.prints("go works");
                    continue;
                }
                for (attempt, got) in ATTEMPTS.iter().zip(results(&output)) {
                    // libseccomp ends what calls a convention that is not listed, and crun does
                    // not tell newer calls from others.
                    let elsewise = (attempt.what.contains("x32") && got == "signal 31")
                        || (attempt.what == "a newer call" && got == "errno 1");
                    let refused = attempt.by.contains(&profile);
                    assert!(
                        !refused || elsewise || got == attempt.refusal,
                        "{runtime} {profile}: {} is {got}",
                        attempt.what
                    );
                }
            }
        }
    }
    lab.assert_clean();
}
