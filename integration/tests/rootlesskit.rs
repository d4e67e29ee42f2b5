//! Docker and containerd of an ordinary user, under rootlesskit: the runtime is called by root of a user namespace with
//! all of the user's subordinate ids, in mount and network namespaces that are not the host's.

use brig_integration::engine::{Containerd, Docker, IMAGE};
use brig_integration::{Lab, PATIENCE, need, wait_until};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

/// Where a process's ids are the host's: the user's own, and the subordinate ones.
const MAP: [&str; 6] = ["0", "64322", "1", "1", "3000000", "65536"];

#[test]
fn docker_of_an_ordinary_user() {
    need!(EnginesOfToday);
    let lab = Lab::new();
    lab.own_network();
    lab.open_tun();
    let docker = Docker::of_user(&lab);
    docker.says("info --format {{.SecurityOptions}}").ok().says("name=rootless");
    docker.sh("", "echo out; echo err >&2; exit 9").code(9).prints("out").says("err");
    docker.run("--network none", &["/no/such"]).go().code(127).says("no such file or directory");
    let map = docker.sh("", "cat /proc/self/uid_map").ok().stdout();
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), MAP);
    confined_as_under_runc(&lab, &docker);

    let serve = "echo page >/tmp/page; exec httpd -f -p 80 -h /tmp";
    docker.says("network create --subnet 10.79.2.0/24 own").ok();
    docker
        .run("--detach --init --name web --network own --publish 8085:80", &["sh", "-c", serve])
        .go()
        .ok();
    let fetch = ["wget", "-q", "-T", "2", "-O", "-", "http://127.0.0.1:8085/page"];
    let served = || lab.call("busybox").args(fetch).go().stdout() == "page\n";
    assert!(wait_until(PATIENCE, served), "a published port is the host's");
    docker.sh("--network own", "wget -q -O - http://web/page").ok().prints("page");
    docker.says("exec --user 1000 web sh -c id\t-u;exit\t3").code(3).prints("1000");
    docker.says("top web -o pid,comm").ok().says("httpd");
    docker.says("restart --time 5 web").ok();
    docker.says("stop --time 5 web").ok();
    docker.says("wait web").ok();

    let context = lab.path("context");
    fs::create_dir(&context).expect("make a directory");
    let recipe = format!("FROM {IMAGE}\nRUN cat /proc/self/uid_map\nUSER user\nRUN id -u\n");
    fs::write(context.join("Dockerfile"), recipe).expect("write the recipe");
    let build = ["build", "--no-cache", "--progress", "plain", "--network", "none"];
    docker.call(&build).arg(&context).go().ok().says("3000000").says(" 1000\n");
    let calls = docker.builder_log();
    let runs = calls.lines().filter(|line| line.contains(" run --bundle ")).count();
    assert_eq!(runs, 2, "{calls}");
    drop(docker);
    lab.assert_clean();
}

/// What Docker's options come to is what they come to under runc.
fn confined_as_under_runc(lab: &Lab, docker: &Docker<'_>) {
    let volume = lab.path("volume");
    fs::create_dir(&volume).expect("make a directory");
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o777)).expect("open it to all");
    let of_host = format!(
        "--volume {}:/data --user 1000:6 --group-add 77 --cap-drop all --cap-add CHOWN --security-opt no-new-privileges --pid host --uts host",
        volume.display()
    );
    let status = "grep -E 'Cap|NoNewPrivs|Seccomp:|Groups' /proc/self/status";
    let cases = [
        (of_host.as_str(), format!("{status}; touch /data/$RUNTIME; id; test $$ != 1; echo $?; hostname")),
        ("--privileged", format!("{status}; mount -t tmpfs x /tmp && ls /dev | grep -vx core | sort")),
        (
            "--read-only --tmpfs /t:size=1m --sysctl kernel.msgmax=1234 --ulimit nofile=99:99 --hostname box",
            "touch /x 2>&1; df -k /t | tail -1; cat /proc/sys/kernel/msgmax; ulimit -n; hostname; ls -l /dev"
                .to_owned(),
        ),
    ];
    for (options, script) in cases {
        let under = |runtime: &str| {
            let options = format!("--runtime {runtime} --env RUNTIME={runtime} {options}");
            docker.sh(&options, &script).stdout()
        };
        let said = under("tested");
        assert_eq!(said, under("runc"), "{options}");
        assert!(!said.is_empty(), "{options}");
    }
    // User 1000 and group 6 of the user's namespace.
    let made = fs::metadata(volume.join("tested")).expect("the container's file");
    assert_eq!((made.uid(), made.gid()), (3_000_999, 3_000_005));
}

const WITHOUT_CGROUP: [&str; 4] = ["--cgroup", "", "--cpu-shares", "0"];

#[test]
fn containerd_of_an_ordinary_user() {
    need!(EnginesOfToday);
    let lab = Lab::new();
    lab.own_network();
    lab.open_tun();
    // ctr makes its pipes below /run/containerd, which is root's where root has run it.
    lab.tmpfs(Path::new("/run"));
    let containerd = Containerd::of_user(&lab);
    // On v1 there is no cgroup that an ordinary user could have; and ctr has a limit by default.
    let run = |runtime: &Path, options: &[&str], script: &str| {
        let call =
            containerd.run_under(runtime, &[&["--rm"], &WITHOUT_CGROUP[..]].concat()).args(options);
        call.args([IMAGE, &lab.id(), "/bin/sh", "-c", script]).go()
    };
    let tested = |options: &[&str], script: &str| run(containerd.runtime(), options, script);
    tested(&[], "echo out; echo err >&2; exit 5").code(5).prints("out").says("err");
    for options in [
        &["--user", "1000:6", "--net-host", "--hostname", "box", "--read-only"][..],
        &["--privileged", "--seccomp"],
        &["--uidmap", "0:1:1000", "--gidmap", "0:1:1000"],
    ] {
        // runc leaves the queues with a group that is not mapped, and links to kcore where that is.
        let script = "id; cat /proc/self/uid_map; hostname; grep -E 'Cap|Seccomp:' /proc/self/status; touch /x 2>&1; \
                      ls -l /dev | grep -v -e mqueue -e kcore | sed 's/[A-Z][a-z][a-z] .* //'; ls /sys/class/net";
        let said = tested(options, script).stdout();
        assert_eq!(said, run(Path::new("runc"), options, script).stdout(), "{options:?}");
        assert!(said.contains("Seccomp:"), "{options:?}: {said}");
    }
    let id = lab.id();
    containerd
        .run_under(containerd.runtime(), &[&["--detach"], &WITHOUT_CGROUP[..]].concat())
        .args([IMAGE, &id, "/bin/idle"])
        .go()
        .ok();
    containerd.task(&["exec", "--exec-id", "e", &id, "/bin/sh", "-c", "exit 3"]).go().code(3);
    containerd.task(&["ps", &id]).go().ok().says("PID");
    containerd.task(&["kill", "--signal", "KILL", &id]).go().ok();
    let stopped = || containerd.task(&["list"]).go().stdout().contains("STOPPED");
    assert!(wait_until(PATIENCE, stopped));
    containerd.task(&["delete", &id]).go().ok().says("137");
    containerd.ctr(&["containers", "delete", &id]).go().ok();
    drop(containerd);
    lab.assert_clean();
}
