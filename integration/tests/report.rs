//! `report`: each thing that confines a container is seen in force, and seen when it is not.

use brig_integration::command::Running;
use brig_integration::{Bundle, Container, Lab, PATIENCE, Value, json, machine, need, wait_until};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A container that asks for all that can be asked for.
fn hardened(bundle: Bundle) -> Bundle {
    let filter = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["bpf", "mount"], "action": "SCMP_ACT_ERRNO"}],
    });
    let tmpfs = json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "noexec"]});
    bundle
        .mount(tmpfs)
        .set("/root/readonly", true)
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .set("/process/capabilities", json!({}))
        .set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 512, "hard": 512}]))
        .set("/process/oomScoreAdj", 500)
        .set("/linux/seccomp", filter)
        .set("/linux/namespaces/-", json!({"type": "cgroup"}))
        .set("/linux/resources/memory", json!({"limit": 67_108_864, "swap": 67_108_864}))
        .set("/linux/resources/pids", json!({"limit": 64}))
        .set("/linux/resources/cpu", json!({"quota": 50_000, "period": 100_000}))
        .idle()
}

fn running<'l>(lab: &'l Lab, bundle: Bundle) -> Container<'l> {
    let container = lab.container(bundle);
    // Output to a file would be a file of the host's.
    let quiet = ["/bin/sh", "-c", "exec \"$@\" >/dev/null 2>/dev/null", "sh"];
    container.run_call(&["--detach"]).under(quiet).go().ok();
    container
}

fn report(container: &Container<'_>) -> Value {
    container.call("report", ["--json"]).go().ok().json()
}

fn report_of(lab: &Lab, pid: i32) -> Value {
    lab.runtime().args(["report", "--json", "--pid", &pid.to_string()]).go().ok().json()
}

#[track_caller]
fn item<'r>(report: &'r Value, name: &str) -> &'r Value {
    let items = report["items"].as_array().expect("items");
    items
        .iter()
        .find(|item| item["item"] == name)
        .unwrap_or_else(|| panic!("no {name} in {report:#}"))
}

fn verdict(report: &Value, name: &str) -> String {
    item(report, name)["verdict"].as_str().expect("a verdict").to_owned()
}

/// What is exposed, and known to be.
fn exposed(report: &Value) -> BTreeSet<String> {
    let all = report["exposures"].as_array().expect("exposures").iter();
    let known = all.filter(|one| one["what"].is_string());
    known.map(|one| one["item"].as_str().expect("a name").to_owned()).collect()
}

/// A process of the host's with these of the container's namespaces.
fn enters(lab: &Lab, container: &Container<'_>, namespaces: &[&str], script: &str) -> Running {
    let call = lab.call("nsenter").args(["--target", &container.pid().to_string()]);
    call.args(namespaces).args(["/bin/sh", "-c", script]).spawn()
}

fn set(container: &Container<'_>, controller: &str, files: [&str; 2], values: [&str; 2]) {
    let cgroup = container.cgroup(controller);
    let done = files.iter().zip(values).any(|(file, value)| {
        cgroup.join(file).exists() && fs::write(cgroup.join(file), value).is_ok()
    });
    assert!(done, "no {files:?} in {}", cgroup.display());
}

/// What somebody does to a container, and the lines that tell of it.
struct Tamper {
    does: fn(&Lab, &Container<'_>) -> Option<Running>,
    drifted: &'static [&'static str],
}

const fn tamper(
    drifted: &'static [&'static str],
    does: fn(&Lab, &Container<'_>) -> Option<Running>,
) -> Tamper {
    Tamper { does, drifted }
}

/// Runs a program of the host's in the container's mount namespace, and waits for it.
fn inside(lab: &Lab, container: &Container<'_>, args: &[&str]) -> Option<Running> {
    let pid = container.pid().to_string();
    lab.call("nsenter").args(["--target", &pid, "--mount", "--pid"]).args(args).go().ok();
    None
}

const TAMPERS: &[Tamper] = &[
    tamper(&["swap"], |_, c| {
        set(c, "memory", ["memory.swap.max", "memory.memsw.limit_in_bytes"], ["536870912"; 2]);
        None
    }),
    tamper(&["memory"], |_, c| {
        set(c, "memory", ["memory.max", "memory.limit_in_bytes"], ["268435456"; 2]);
        None
    }),
    tamper(&["pids"], |_, c| {
        set(c, "pids", ["pids.max"; 2], ["max"; 2]);
        None
    }),
    tamper(&["cpu"], |_, c| {
        set(c, "cpu", ["cpu.max", "cpu.cfs_quota_us"], ["max 100000", "-1"]);
        None
    }),
    tamper(&["oom_score_adj"], |_, c| {
        fs::write(format!("/proc/{}/oom_score_adj", c.pid()), "100").expect("write");
        None
    }),
    tamper(&["mounts"], |lab, c| inside(lab, c, &["/bin/mount", "-t", "tmpfs", "x", "/home"])),
    tamper(&["root"], |lab, c| inside(lab, c, &["/bin/mount", "-o", "remount,rw,bind", "/"])),
    tamper(&["kernel files"], |lab, c| inside(lab, c, &["/bin/umount", "/proc/keys"])),
    tamper(&["kernel files"], |lab, c| {
        inside(lab, c, &["/bin/mount", "-o", "remount,rw,bind", "/proc/sys"])
    }),
    tamper(&["devices"], |lab, c| inside(lab, c, &["/bin/mknod", "/dev/kmsg", "c", "1", "11"])),
    tamper(
        &[
            "seccomp",
            "no_new_privs",
            "capabilities",
            "users",
            "rlimits",
            "namespaces",
            "cgroup",
            "oom_score_adj",
        ],
        |lab, c| Some(enters(lab, c, &["--mount", "--pid"], "exec /bin/sleep 1000")),
    ),
];

/// The lines that have drifted; all others hold, or are held against nothing.
fn drifted(report: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for item in report["items"].as_array().expect("items") {
        match item["verdict"].as_str() {
            Some("drifted") => {
                found.insert(item["item"].as_str().expect("a name").to_owned());
            }
            Some("holds" | "told") => {}
            _ => panic!("{item:#}"),
        }
    }
    found
}

#[test]
fn what_holds_is_seen_to_hold_and_what_is_undone_to_have_drifted() {
    need!(Brig);
    let lab = Lab::new();
    let new = || running(&lab, hardened(lab.bundle()));
    let (mut c, mut undone) = (new(), BTreeSet::new());
    assert_eq!(drifted(&report(&c)), undone, "{:#}", report(&c));
    for Tamper { does, drifted: lines } in TAMPERS {
        if lines.iter().any(|line| undone.contains(*line)) {
            c.delete_force().ok();
            (c, undone) = (new(), BTreeSet::new());
            assert_eq!(drifted(&report(&c)), undone, "{:#}", report(&c));
        }
        let outsider = does(&lab, &c);
        // What is undone of one thing is told of no other.
        undone.extend(lines.iter().map(|line| (*line).to_owned()));
        let is_seen = || drifted(&report(&c)) == undone;
        assert!(wait_until(PATIENCE, is_seen), "{undone:?}: {:#}", report(&c));
        if let Some(mut outsider) = outsider {
            outsider.kill();
            drop(outsider.wait());
        }
    }
    c.delete_force().ok();
}

/// The names of all exposures, by the document.
fn all_exposures() -> BTreeSet<String> {
    let document = include_str!("../../docs/report.md");
    let rows = document.lines().skip_while(|line| !line.starts_with("| item | weight |")).skip(2);
    let rows = rows.map_while(|row| row.strip_prefix("| ")?.split(" | ").next());
    rows.map(str::to_owned).collect()
}

/// All capabilities, the host's namespaces, and whatever else leads out.
fn wide_open(lab: &Lab) -> Bundle {
    const ALL: [&str; 4] = ["CAP_SYS_ADMIN", "CAP_MKNOD", "CAP_NET_ADMIN", "CAP_SYS_PTRACE"];
    let socket = lab.dir().join("docker.sock");
    fs::write(&socket, "").expect("write");
    let mut bundle = lab.bundle().caps(&ALL);
    for kind in ["pid", "network", "ipc", "uts"] {
        bundle = bundle.without_namespace(kind);
    }
    bundle
        .unset("/hostname")
        .unset("/linux/maskedPaths")
        .unset("/linux/readonlyPaths")
        .set("/process/noNewPrivileges", false)
        .set("/process/oomScoreAdj", if machine::has_cap_sys_resource() { -100 } else { 0 })
        .set("/mounts/5/options", json!(["rw"]))
        .set("/linux/rootfsPropagation", "shared")
        .set("/linux/resources/devices", json!([{"allow": true, "access": "rwm"}]))
        .set("/linux/devices", json!([{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}]))
        .bind(&socket, "/run/engine.sock", &[])
        .bind(Path::new("/usr"), "/home", &["rbind"])
        .idle()
}

#[test]
fn each_exposure_is_seen_where_it_is_and_not_where_it_is_not() {
    need!(Brig);
    let lab = Lab::new();
    let c = running(&lab, hardened(lab.bundle()));
    let good = report(&c);
    let label: BTreeSet<_> = ["no label".to_owned(), "users are the host's".to_owned()].into();
    let found = exposed(&good);
    assert!(found.is_subset(&label), "{good:#}");
    let mapped = running(&lab, hardened(lab.bundle().user_namespace(100_000)));
    assert!(!exposed(&report(&mapped)).contains("users are the host's"));
    let open = running(&lab, wide_open(&lab));
    let mut seen = exposed(&report(&open));
    // A process with a directory, a file and a socket of the host, and all the host's mounts; one that is protected.
    let shell = lab.call("/bin/bash").args([
        "-c",
        &format!(
            "exec 3</etc 4</etc/passwd 5<>/dev/udp/127.0.0.1/9; exec nsenter --target {} --mount --net /bin/sleep 1000",
            c.pid()
        ),
    ]);
    let mut outsider = shell.spawn();
    let by_descriptor = [
        "way out by descriptor",
        "file or device of the host by descriptor",
        "socket of the host by descriptor",
    ];
    let leads_out = || by_descriptor.iter().all(|item| exposed(&report(&c)).contains(*item));
    assert!(wait_until(PATIENCE, leads_out), "{:#}", report(&c));
    seen.extend(exposed(&report(&c)));
    outsider.kill();
    drop(outsider.wait());
    let gone = || by_descriptor.iter().all(|item| !exposed(&report(&c)).contains(*item));
    assert!(wait_until(PATIENCE, gone), "{:#}", report(&c));
    seen.extend(exposed(&report_of(&lab, std::process::id().cast_signed())));
    let mut wanted = all_exposures();
    if !machine::has_cap_sys_resource() {
        // Nobody here may protect a process.
        wanted.remove("protected from the OOM killer");
    }
    let missing: Vec<_> = wanted.difference(&seen).cloned().collect();
    assert_eq!(missing, Vec::<String>::new(), "seen nowhere");
    for container in [c, mapped, open] {
        container.delete_force().ok();
    }
}

#[test]
fn the_sum_is_that_of_the_weights_and_a_limit_is_an_exit_code() {
    need!(Brig);
    let lab = Lab::new();
    let c = running(&lab, hardened(lab.bundle()));
    let found = report(&c);
    assert_eq!((&found["schema"], &found["model"]), (&json!(1), &json!(1)));
    let all = found["exposures"].as_array().expect("exposures");
    let sum: u64 = all.iter().map(|one| one["weight"].as_u64().expect("a weight")).sum();
    assert_eq!(found["exposure"], sum);
    let limit = |limit: u64| c.call("report", ["--max-exposure", &limit.to_string()]).go();
    limit(sum)
        .ok()
        .says("This is no vulnerability score")
        .says(&format!("exposure {sum} (model 1)"));
    limit(sum - 1).code(3);
    lab.runtime().args(["report", "--all", "--max-exposure", "0"]).go().code(3);
    c.delete_force().ok();
}

#[test]
fn a_container_of_another_runtime_is_found_by_any_of_its_processes() {
    need!(Brig);
    let lab = Lab::new();
    let bundle = lab.bundle().sh("/bin/sleep 1000 & exec /bin/idle");
    bundle.write();
    let (id, pid_file, root) = (lab.id(), lab.path("pid"), lab.path("other"));
    let runc = || lab.call("/usr/sbin/runc").arg("--root").arg(&root);
    let call = runc().args(["run", "--detach", "--pid-file"]).arg(&pid_file).arg("--bundle");
    call.arg(&bundle.dir).arg(&id).go().ok();
    let pid: i32 = fs::read_to_string(&pid_file).expect("a pid").parse().expect("a pid");
    let children = || machine::descendants(pid);
    assert!(wait_until(PATIENCE, || !children().is_empty()));
    for of in [pid, children()[0].pid] {
        let found = report_of(&lab, of);
        assert_eq!(found["pid"], pid, "{found:#}");
        assert!(found["processes"].as_u64().is_some_and(|count| count >= 2), "{found:#}");
        assert!(
            item(&found, "namespaces")["found"]
                .as_str()
                .is_some_and(|it| it.contains("own: pid mnt net ipc uts"))
        );
        assert!(exposed(&found).contains("no filter of system calls"));
    }
    // Nobody has recorded what it was to be: it is its first process that others are held against.
    let of_it = || report_of(&lab, pid);
    assert_eq!(drifted(&of_it()), BTreeSet::new());
    let target = pid.to_string();
    let call =
        lab.call("nsenter").args(["--target", &target, "--mount", "--uts", "/bin/sleep", "1000"]);
    let mut outsider = call.spawn();
    let lines = ["namespaces", "capabilities", "no_new_privs", "cgroup"];
    let lines: BTreeSet<_> = lines.map(str::to_owned).into();
    assert!(wait_until(PATIENCE, || drifted(&of_it()) == lines), "{:#}", of_it());
    outsider.kill();
    drop(outsider.wait());
    let all = lab.runtime().args(["report", "--all", "--json"]).go().ok().json();
    let all = all["containers"].as_array().expect("containers").iter();
    let of: Vec<_> = all.filter(|one| one["pid"] == pid).collect();
    assert!(
        of.len() == 1 && of[0]["cgroup"].as_str().is_some_and(|path| path.contains(lab.token())),
        "{of:?}"
    );
    lab.runtime().args(["report", "--all"]).go().ok().says(&pid.to_string()).says("EXPOSURE");
    runc().args(["delete", "--force", &id]).go().ok();
}

#[test]
fn the_nodes_rules_are_asked_of_every_container_and_a_containers_own_of_it() {
    need!(Brig);
    let lab = Lab::new();
    let plain = running(&lab, lab.bundle().idle());
    fs::create_dir_all("/etc/brig").expect("make a directory");
    fs::write("/etc/brig/policy.toml", "version = 1\ndefault = \"restricted\"\n").expect("write");
    let own = lab.bundle().set("/process/user", json!({"uid": 1000, "gid": 1000})).idle();
    let own = running(&lab, own);
    let rule = |report: &Value, item_name: &str, rule: &str| {
        let checks = item(report, item_name)["checks"].as_array().expect("checks").clone();
        let against = json!(format!("rule {rule}"));
        let found = checks.into_iter().find(|check| check["against"] == against);
        found.map(|check| check["verdict"].as_str().unwrap_or_default().to_owned())
    };
    const RULES: [(&str, &str); 13] = [
        ("no_new_privs", "no_new_privileges"),
        ("users", "users"),
        ("capabilities", "capabilities"),
        ("namespaces", "namespaces"),
        ("namespaces", "cgroup_namespace"),
        ("root", "read_only_root"),
        ("kernel files", "masked_paths"),
        ("kernel files", "read_only_paths"),
        ("memory", "memory"),
        ("cpu", "processors"),
        ("pids", "pids"),
        ("seccomp", "seccomp"),
        ("rlimits", "rlimits"),
    ];
    let found = report(&own);
    assert_eq!(found["profile"], "restricted-1");
    for (item, name) in RULES {
        assert_eq!(rule(&found, item, name).as_deref(), Some("holds"), "{name} {found:#}");
    }
    // Made before there was a policy: by its own profile, which has no rules, and so held against none.
    assert_eq!(rule(&report(&plain), "pids", "pids"), None);
    // The harness is a container of nobody's.
    let other = report_of(&lab, std::process::id().cast_signed());
    for (item, name) in
        RULES.into_iter().filter(|(_, name)| !["no_new_privileges", "namespaces"].contains(name))
    {
        assert_eq!(rule(&other, item, name).as_deref(), Some("drifted"), "{name} {other:#}");
    }
    assert_eq!(verdict(&found, "other rules"), "unknown");
    assert_eq!(item(&found, "securebits")["checks"][0]["against"], "rule securebits");
    assert_eq!(verdict(&found, "securebits"), "unknown");
    plain.delete_force().ok();
    own.delete_force().ok();
}

#[test]
fn what_a_user_may_not_see_is_unknown_and_counts() {
    need!(Brig);
    let lab = Lab::new();
    let c = running(&lab, lab.bundle().idle());
    let user = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"];
    let call = |more: &[&str]| {
        let call = lab.runtime().args(["report", "--pid", &c.pid().to_string()]).args(more);
        call.env("XDG_RUNTIME_DIR", "/nowhere").under(user).go()
    };
    let found = call(&["--json"]).ok().json();
    for name in ["root", "mounts", "kernel files", "devices", "descriptors"] {
        assert_eq!(verdict(&found, name), "unknown", "{name} {found:#}");
        assert!(item(&found, name)["found"].as_str().is_some_and(|it| it.starts_with("unknown: ")));
    }
    assert!(
        item(&found, "namespaces")["found"].as_str().is_some_and(|it| it.starts_with("unknown: "))
    );
    assert!(exposed(&found).contains("no filter of system calls"), "status is everybody's");
    let (least, most) = (found["exposure"].as_u64(), found["exposure_at_most"].as_u64());
    let (least, most) = (least.expect("a sum"), most.expect("a sum"));
    assert!(
        least < most
            && report(&c)["exposure"].as_u64().is_some_and(|sum| least <= sum && sum <= most)
    );
    call(&["--max-exposure", &least.to_string()])
        .code(3)
        .says(&format!("exposure {least} to {most}"));
    c.delete_force().ok();
}

#[test]
fn processes_that_come_and_go_are_no_failure() {
    need!(Brig);
    let lab = Lab::new();
    let script = "while :; do /bin/true & /bin/true & wait; done & while :; do /bin/true; done";
    let c = running(&lab, lab.bundle().sh(script));
    for _ in 0..5 {
        let found = report(&c);
        for name in ["seccomp", "descriptors", "capabilities", "oom_score_adj"] {
            assert!(["holds", "told"].contains(&verdict(&found, name).as_str()), "{found:#}");
        }
        lab.runtime().args(["report", "--all"]).go().ok();
    }
    c.delete_force().ok();
}

#[test]
fn a_label_is_told_and_a_process_without_it_too() {
    need!(Brig, AppArmor);
    let lab = Lab::new();
    let (profile, name) = (lab.path("profile"), lab.token());
    let text = format!(
        "profile {name} flags=(attach_disconnected) {{\n file,\n capability,\n signal,\n}}\n"
    );
    fs::write(&profile, text).expect("write");
    lab.call("apparmor_parser").arg("--replace").arg(&profile).go().ok();
    let c = running(&lab, hardened(lab.bundle()).set("/process/apparmorProfile", name));
    let before = report(&c);
    assert_eq!(verdict(&before, "label"), "holds", "{before:#}");
    assert!(!exposed(&before).contains("no label"));
    let mut outsider = enters(&lab, &c, &["--mount"], "exec /bin/sleep 1000");
    let is_seen = || {
        let after = report(&c);
        verdict(&after, "label") == "drifted" && exposed(&after).contains("no label")
    };
    assert!(wait_until(PATIENCE, is_seen), "{:#}", report(&c));
    outsider.kill();
    drop(outsider.wait());
    c.delete_force().ok();
    lab.call("apparmor_parser").arg("--remove").arg(&profile).go().ok();
}

#[test]
fn what_does_not_run_is_no_report() {
    need!(Brig);
    let lab = Lab::new();
    let mut ended = lab.call("/bin/true").spawn();
    let pid = ended.pid().to_string();
    assert!(wait_until(PATIENCE, || ended.has_ended()));
    drop(ended.wait());
    let of = |pid: &str| lab.runtime().args(["report", "--pid", pid]).go();
    of(&pid).code(1).says(&format!("there is no process {pid}, or it has ended"));
    for wrong in ["0", "-1", "2147483647"] {
        of(wrong).code(1).says("there is no process");
    }
    let c = lab.container(lab.bundle().idle());
    c.create().ok();
    c.verb("report").code(1).says("is created, not running");
    c.start().ok();
    c.verb("report").ok();
    c.delete_force().ok();
    c.verb("report").code(1).says("does not exist");
    lab.runtime().arg("report").go().code(2);
    lab.runtime().args(["report", "--all", "--pid", "1"]).go().code(2);
}

#[test]
fn names_that_a_container_chooses_stay_in_their_line() {
    need!(Brig);
    let lab = Lab::new();
    let c = running(&lab, lab.bundle().idle());
    let name = "/tmp/a\n\u{1b}[2Jholds x";
    let script = format!("mkdir -p '{name}' && mount -t tmpfs x '{name}'");
    inside(&lab, &c, &["/bin/sh", "-c", &script]);
    let text = c.verb("report").ok().stdout();
    assert!(
        !text.contains('\u{1b}') && text.lines().all(|line| !line.starts_with("holds x")),
        "{text}"
    );
    assert!(
        item(&report(&c), "mounts")["found"]
            .as_str()
            .is_some_and(|it| it.contains("\\n\\u001b[2Jholds x"))
    );
    c.delete_force().ok();
}
