//! Each option of `ctr run` of containerd 2: what is seen of it in the container, under the runtime under test
//! and under the runc of the same Debian.
//!
//! Options that do not disturb each other share a container, as a container for each would take a minute.

use brig_integration::engine::{Containerd, IMAGE};
use brig_integration::machine::{Layout, layout};
use brig_integration::{Lab, PATIENCE, binaries, json, need, wait_until};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The other runtime.
const RUNC: &str = "/usr/sbin/runc";

/// Options, what a shell in the container does then, and what it prints, with the words of [`words`].
type Row = (&'static str, &'static str, &'static str);

/// The containers, each with all of its options.
const CONTAINERS: &[&[Row]] = &[
    &[
        ("--env A=b --env BOTH=cli", "echo $A $BOTH", "b cli"),
        ("--env-file DIR/env", "echo $FILE", "of the file"),
        ("--cwd /new/dir", "pwd; stat -c %a .", "/new/dir\n755"),
        ("--hostname box", "hostname", "box"),
        ("--read-only", "touch /x", "touch: /x: Read-only file system"),
        (
            "--mount type=bind,src=DIR/source,dst=/m/n,options=rbind:ro",
            "cat /m/n/file; touch /m/n/x",
            "bound\ntouch: /m/n/x: Read-only file system",
        ),
        (
            "--mount type=tmpfs,src=tmpfs,dst=/t,options=size=1m:mode=700",
            "stat -c %a /t; df -k /t | tail -1 | awk '{print $2}'; touch /t/x",
            "700\n1024",
        ),
        ("--device /dev/fuse", "stat -c %t:%T /dev/fuse; : </dev/fuse", "a:e5"),
        (
            "--seccomp",
            "grep Seccomp: /proc/self/status; unshare -U true",
            "Seccomp:\t2\nunshare: unshare(0x10000000): Operation not permitted",
        ),
        ("--cpuset-cpus 1", "nproc", "1"),
        ("--cpuset-mems 0", "grep Mems_allowed_list /proc/self/status", "Mems_allowed_list:\t0"),
        (
            "--mount type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=ro",
            "CGROUP; if test -d memory; then cd memory; fi; touch cgroup.procs",
            "touch: cgroup.procs: Read-only file system",
        ),
        (
            "--cpus 0.5",
            "CGROUP; echo $(cat cpu.max || cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us)",
            "50000 100000",
        ),
        ("--cpu-shares 512", "CGROUP; cat cpu.weight || cat cpu/cpu.shares", "SHARES"),
        (
            "--memory-limit 33554432",
            "CGROUP; cat memory.max || cat memory/memory.limit_in_bytes",
            "33554432",
        ),
        (
            "--blockio-config-file DIR/blockio --blockio-class slow",
            "CGROUP; cat io.max || cat blkio/blkio.throttle.read_bps_device",
            "BLOCK",
        ),
    ],
    &[
        ("--user 1000:6", "id -u; id -g; echo $HOME", "1000\n6\n/home"),
        (
            "--cap-add CAP_SYS_PTRACE --cap-drop CAP_CHOWN",
            "grep -E 'CapEff|CapBnd' /proc/self/status",
            "CapEff:\t0000000000000000\nCapBnd:\t00000000a80c25fa",
        ),
        ("--allow-new-privs", "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t0"),
        (
            "--seccomp --seccomp-profile DIR/profile",
            "mkdir /tmp/x",
            "mkdir: can't create directory '/tmp/x': Operation not supported",
        ),
        (
            "--cpu-quota 20000 --cpu-period 50000 --mount type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=ro",
            "CGROUP; echo $(cat cpu.max || cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us)",
            "20000 50000",
        ),
        ("--rootfs-propagation shared", "grep -c ' / / .* shared:' /proc/self/mountinfo", "1"),
        ("--net-host", "ls -l /proc/self/ns/net | sed 's/.* //'", "NET"),
        ("--with-ns uts:/proc/PID/ns/uts", "hostname", "joined"),
        ("--with-ns ipc:/proc/PID/ns/ipc", "ls -l /proc/self/ns/ipc | sed 's/.* //'", "IPC"),
        ("--device /dev/net", "stat -c %t:%T /dev/net/tun", "a:c8"),
    ],
    &[
        ("--privileged", "grep CapEff /proc/self/status; stat -c %t:%T /dev/kmsg", "CAPS\n1:b"),
        ("--rootfs-propagation slave", "grep -c ' / / .* shared:' /proc/self/mountinfo", "0"),
        ("--snapshotter native", "mount | grep -c 'overlay on / '", "0"),
        ("--snapshotter-label a=b --platform linux/amd64 --sync-fs", "echo x", "x"),
        ("--fifo-dir DIR/fifos", "test -p /proc/self/fd/1 && echo fifo", "fifo"),
        ("--runtime-config-path /none", "echo x", "x"),
    ],
    &[(
        "--privileged --privileged-without-host-devices",
        "grep CapEff /proc/self/status; ls /dev/kmsg",
        "CAPS\nls: /dev/kmsg: No such file or directory",
    )],
    // Beside a shared root runc would mount over the host's, see `--rootfs-propagation`.
    &[("--no-pivot", "test -e /bin/idle && ! test -e /usr/sbin/dockerd && echo image", "image")],
    &[(
        "--uidmap 0:500000:65536 --gidmap 0:600000:65536",
        "cat /proc/self/uid_map /proc/self/gid_map | awk '{print $1, $2, $3}'; stat -c '%u %g' /bin/busybox; touch /x",
        "0 500000 65536\n0 600000 65536\n0 0",
    )],
    &[(
        "--uidmap 0:500000:1000 --uidmap 1000:700000:9 --gidmap 0:600000:65536 --remap-labels",
        "cat /proc/self/uid_map | awk '{print $1, $2, $3}'; stat -c '%u %g' /bin/busybox; touch /x; stat -c %u /x",
        "0 500000 1000\n1000 700000 9\n0 0\n0",
    )],
];

/// Options without a row: where they are, or why they are nowhere.
const ELSEWHERE: &[(&str, &str)] = &[
    ("rm", "every container here"),
    ("cgroup", "every container here, and a_detached_container_is_known_outside"),
    ("runtime", "every container here"),
    ("runc-binary", "every container here"),
    ("help", "is no option of a container"),
    ("null-io", "output_goes_where_it_is_sent"),
    ("log-uri", "output_goes_where_it_is_sent"),
    ("detach", "a_detached_container_is_known_outside"),
    ("pid-file", "a_detached_container_is_known_outside"),
    ("label", "a_detached_container_is_known_outside"),
    ("annotation", "a_detached_container_is_known_outside"),
    ("runc-root", "a_detached_container_is_known_outside"),
    ("rootfs", "other_roots_networks_and_refusals"),
    ("config", "other_roots_networks_and_refusals"),
    ("cni", "other_roots_networks_and_refusals"),
    ("apparmor-profile", "other_roots_networks_and_refusals"),
    ("rdt-class", "other_roots_networks_and_refusals"),
    ("runc-systemd-cgroup", "systemd_makes_the_cgroup"),
    ("tty", "a_terminal_over_containerd"),
    (
        "apparmor-default-profile",
        "ctr loads a profile with apparmor_parser first, which is not here",
    ),
    ("sandbox", "is for clients of the sandbox service, of which ctr is none: its shim would stay"),
    ("gpus", "ctr runs a program of NVIDIA's as a hook, which is not here"),
];

#[test]
fn every_option_is_seen() {
    need!(EnginesOfToday);
    let lab = Lab::new();
    let containerd = Containerd::start(&lab);
    let known: BTreeSet<&str> = CONTAINERS
        .iter()
        .flat_map(|rows| rows.iter())
        .flat_map(|(options, ..)| options.split(' ').filter_map(|word| word.strip_prefix("--")))
        .chain(ELSEWHERE.iter().map(|(name, _)| *name))
        .collect();
    let help = containerd.ctr(&["run", "--help"]).go().ok().stdout();
    let offered: BTreeSet<&str> = help
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("--")?.split([' ', ',']).next())
        .collect();
    assert_eq!(known, offered, "what is tested, and what `ctr run --help` lists");

    let other = lab.call("unshare").args(["--uts", "--ipc", "sh", "-c"]);
    let other = other.arg("hostname joined; echo up; exec sleep 1000");
    // It is there for all of them, in a guest for minutes.
    let mut other = other.limit(Duration::from_secs(1000)).spawn();
    assert!(wait_until(PATIENCE, || other.stdout() == "up\n"));
    let words = words(&lab, other.pid());
    for rows in CONTAINERS {
        for runtime in [binaries::runtime(), Path::new(RUNC)] {
            let seen = seen(&lab, &containerd, runtime, rows, &words);
            assert_eq!(seen.len(), rows.len(), "{}: {rows:?}: {seen:?}", runtime.display());
            for ((options, script, expected), seen) in rows.iter().zip(seen) {
                let expected = replaced(expected, &words);
                assert_eq!(seen, expected, "{}: {options}: {script}", runtime.display());
            }
        }
    }
    other.kill();
    other.wait();
    drop(containerd);
    lab.assert_clean();
}

/// What each row's script printed.
fn seen(
    lab: &Lab,
    containerd: &Containerd<'_>,
    runtime: &Path,
    rows: &[Row],
    words: &[(&str, String)],
) -> Vec<String> {
    let id = lab.id();
    let options: Vec<String> = rows
        .iter()
        .flat_map(|(options, ..)| options.split(' '))
        .map(|word| replaced(word, words))
        .collect();
    let scripts = rows.iter().map(|(_, script, _)| format!("echo ---; ({script}) 2>&1"));
    let script = scripts.collect::<Vec<_>>().join("\n").replace(" || cat ", " 2>/dev/null || cat ");
    let script = replaced(&script, words);
    let cgroup = format!("/{id}");
    let output = containerd
        .run_under(runtime, &["--cgroup", &cgroup, "--rm"])
        .args(&options)
        .args([IMAGE, &id, "/bin/sh", "-c", &script])
        .go();
    println!("{}", output.stderr());
    output.stdout().split("---\n").skip(1).map(|text| text.trim_end().to_owned()).collect()
}

/// brig mounts the container's own cgroup, and runc that of the cgroup namespace, which is the host's here.
const OWN_CGROUP: &str =
    "cd /sys/fs/cgroup; test -e cpu.max || cd .$(cut -d: -f3 /proc/self/cgroup)";

/// What rows name in capitals, which is the machine's or this test's; the files that they name are made.
fn words(lab: &Lab, other: i32) -> Vec<(&'static str, String)> {
    let dir = lab.dir().display().to_string();
    fs::create_dir(lab.dir().join("source")).expect("make a directory");
    // Only a disk can be throttled: what has no device below it is something else.
    let mut blocks = fs::read_dir("/sys/block").expect("block devices").flatten();
    let disk = blocks.find(|block| block.path().join("device").exists()).expect("a disk");
    let block = disk.file_name().into_string().expect("a name");
    let number = fs::read_to_string(format!("/sys/block/{block}/dev")).expect("its number");
    let slow = format!("Classes:\n  slow:\n  - Devices: [/dev/{block}]\n    ThrottleReadBps: 1M\n");
    for (name, text) in [
        ("env", "FILE=of the file\nBOTH=file\n"),
        ("source/file", "bound\n"),
        (
            "profile",
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"],
             "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}"#,
        ),
        ("blockio", &slow),
    ] {
        fs::write(lab.dir().join(name), text).expect("write a file");
    }
    let link = |name: String| fs::read_link(name).expect("a namespace").display().to_string();
    let status = fs::read_to_string("/proc/self/status").expect("this process's status");
    let caps = status.lines().find(|line| line.starts_with("CapEff:")).expect("capabilities");
    let v2 = layout() == Layout::V2;
    let number = number.trim();
    let limit = if v2 { "rbps=1000000 wbps=max riops=max wiops=max" } else { "1000000" };
    vec![
        ("DIR", dir),
        ("PID", other.to_string()),
        ("NET", link("/proc/self/ns/net".into())),
        ("IPC", link(format!("/proc/{other}/ns/ipc"))),
        ("CAPS", caps.to_owned()),
        ("SHARES", if v2 { "59" } else { "512" }.into()),
        ("BLOCK", format!("{number} {limit}")),
        ("CGROUP", if v2 { OWN_CGROUP } else { "cd /sys/fs/cgroup" }.into()),
    ]
}

fn replaced(text: &str, words: &[(&str, String)]) -> String {
    words.iter().fold(text.to_owned(), |text, (word, value)| text.replace(word, value))
}

#[test]
fn output_goes_where_it_is_sent() {
    need!(EnginesOfToday);
    let lab = Lab::new();
    let containerd = Containerd::start(&lab);
    for runtime in [binaries::runtime(), Path::new(RUNC)] {
        let run = |options: &[&str], script: &str| {
            let id = lab.id();
            let cgroup = format!("/{id}");
            let call = containerd.run_under(runtime, &["--rm", "--cgroup", &cgroup]).args(options);
            call.args([IMAGE, &id, "/bin/sh", "-c", script]).go()
        };
        let script =
            "for f in 0 1 2; do echo x >&$f && cat <&$f || exit 9; done; echo x; echo y >&2";
        run(&["--null-io"], script).ok().prints("");
        let log = lab.path("log");
        let uri = format!("file://{}", log.display());
        // With an end at once, containerd's shim may lose what it has not copied yet.
        let script = "echo out; echo err >&2; sleep 0.5; exit 3";
        run(&["--log-uri", &uri], script).code(3).prints("");
        let log = || fs::read_to_string(&log).unwrap_or_default();
        let complete = || log().contains("out\n") && log().contains("err\n");
        assert!(wait_until(PATIENCE, complete), "{}", log());
    }
    drop(containerd);
    lab.assert_clean();
}

#[test]
fn a_detached_container_is_known_outside() {
    need!(EnginesOfToday, Brig);
    let lab = Lab::new();
    let containerd = Containerd::start(&lab);
    let id = lab.id();
    let (pid_file, root) = (lab.path("pid"), lab.path("state"));
    let (pid_file, root) = (pid_file.display().to_string(), root.display().to_string());
    let known = ["--label", "of=ctr", "--annotation", "org.test=noted"];
    let places = ["--pid-file", &pid_file, "--runc-root", &root];
    containerd.run(&id, &[&["--detach"][..], &known, &places].concat(), &["/bin/idle"]).go().ok();
    let pid = fs::read_to_string(&pid_file).expect("the pid file");
    let line = fs::read(format!("/proc/{pid}/cmdline")).expect("a process");
    assert!(String::from_utf8_lossy(&line).contains("idle"), "{line:?}");
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its cgroups");
    assert!(cgroups.contains(&format!("/{id}\n")), "{cgroups}");
    containerd.ctr(&["containers", "info", &id]).go().ok().says("\"of\": \"ctr\"");
    let state = lab.call(binaries::runtime()).arg("--root").arg(format!("{root}/default"));
    let state = state.args(["state", &id]).go().ok().json();
    assert_eq!(state["annotations"]["org.test"], "noted", "{state}");
    containerd.task(&["delete", "--force", &id]).go();
    containerd.ctr(&["containers", "delete", &id]).go().ok();
    drop(containerd);
    lab.assert_clean();
}

#[test]
fn other_roots_networks_and_refusals() {
    need!(EnginesOfToday, Brig);
    let lab = Lab::new();
    let containerd = Containerd::start(&lab);
    let run = |options: &[&str], words: &[&str]| {
        let id = lab.id();
        let cgroup = format!("/{id}");
        let call = containerd.run_under(binaries::runtime(), &["--rm", "--cgroup", &cgroup]);
        let call = call
            .args(options)
            .args(words.iter().map(|word| if *word == "ID" { &id } else { *word }));
        // CNI's plugins change the network that they are called in.
        call.under(["unshare", "--net"]).go()
    };
    let root = lab.plain_bundle().rootfs.display().to_string();
    run(&["--rootfs"], &[&root, "ID", "/bin/sh", "-c", "echo made >/made"]).ok();
    let made =
        fs::read_to_string(Path::new(&root).join("made")).expect("the root is the directory");
    assert_eq!(made, "made\n");

    let mut spec = containerd.ctr(&["oci", "spec"]).go().ok().json();
    spec["root"] = json!({"path": root});
    spec["process"]["args"] = json!(["/bin/cat", "/made"]);
    let config = lab.path("config");
    fs::write(&config, spec.to_string()).expect("write a configuration");
    run(&["--config", &config.display().to_string()], &["ID"]).ok().prints("made");

    network(&lab);
    run(&["--cni"], &[IMAGE, "ID", "/bin/sh", "-c", "ip -4 -o address show dev eth0"])
        .ok()
        .says("inet 10.78.0.2/24");

    // runc goes on without either where the kernel has none.
    run(&["--rdt-class", "gold"], &[IMAGE, "ID", "/bin/true"]).failed().says("linux.intelRdt");
    if !brig_integration::machine::has_apparmor() {
        run(&["--apparmor-profile", "x"], &[IMAGE, "ID", "/bin/true"])
            .failed()
            .says("process.apparmorProfile");
    }
    drop(containerd);
    lab.assert_clean();
}

/// A network of CNI's in this test's /etc, for plugins where ctr looks for them.
fn network(lab: &Lab) {
    let addresses = json!({"type": "host-local", "dataDir": lab.path("addresses"),
        "ranges": [[{"subnet": "10.78.0.0/24"}]]});
    let network = json!({"cniVersion": "0.4.0", "name": "test", "plugins": [
        {"type": "bridge", "bridge": "test0", "isGateway": true, "ipam": addresses},
    ]});
    fs::create_dir_all("/etc/cni/net.d").expect("make a directory");
    fs::write("/etc/cni/net.d/10-test.conflist", network.to_string()).expect("write the network");
    // The root of this lane is nobody else's.
    fs::create_dir_all("/opt/cni").expect("make a directory");
    let _ = std::os::unix::fs::symlink("/usr/lib/cni", "/opt/cni/bin");
}

#[test]
fn systemd_makes_the_cgroup() {
    need!(EnginesOfToday, Systemd);
    let lab = Lab::new();
    let containerd = Containerd::start(&lab);
    let (id, slice) = (lab.id(), format!("{}.slice", lab.token()));
    let cgroup = format!("{slice}:brig:{id}");
    let options =
        ["--detach", "--runc-systemd-cgroup", "--memory-limit", "33554432", "--cgroup", &cgroup];
    let call = containerd.run_under(binaries::runtime(), &options);
    call.args([IMAGE, &id, "/bin/idle"]).go().ok();
    let limit = format!("/sys/fs/cgroup/{slice}/brig-{id}.scope/memory.max");
    assert_eq!(fs::read_to_string(&limit).ok().as_deref(), Some("33554432\n"), "{limit}");
    containerd.task(&["delete", "--force", &id]).go();
    containerd.ctr(&["containers", "delete", &id]).go().ok();
    drop(containerd);
    lab.call("systemctl").args(["stop", &slice]).go().ok();
    lab.assert_clean();
}
