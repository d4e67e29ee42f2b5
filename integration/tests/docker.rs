//! Docker, whose daemon calls the runtime under test through containerd's shim; beside it runc,
//! where what is right is what Docker makes of that.

use brig_integration::engine::Docker;
use brig_integration::engine::docker::Signal;
use brig_integration::{Lab, PATIENCE, need, wait_until};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn run_passes_output_and_code_on() {
    let lab = Lab::new();
    let docker = Docker::start(&lab);
    docker.sh("", "echo out; echo err >&2; exit 9").code(9).prints("out").says("err");
    docker.run("--rm --interactive --network none", &["/bin/cat"]).stdin(b"in").go().prints("in");
    docker.sh("--init", "kill -KILL $$").code(137);
    docker
        .run("--rm --init --network host", &["/bin/sh", "-c", "cat /proc/1/cmdline; exit 5"])
        .go()
        .code(5)
        .says("docker-init");
    docker.says("ps --all --quiet").ok().prints("");
    drop(docker);
    lab.assert_clean();
}

/// From a runtime's words Docker derives the exit code: 127 for a program that is missing, 126 for
/// one that cannot be executed, 125 for all else.
#[test]
fn a_failing_create_ends_with_the_code_that_runc_leads_to() {
    let lab = Lab::new();
    let docker = Docker::start(&lab);
    let cases = [
        ("", "/no/such", 127, "no such file or directory"),
        ("", "missing", 127, "\"missing\": executable file not found in $PATH"),
        ("", "/etc/passwd", 126, "permission denied"),
        ("--sysctl kernel.shmmax=many", "true", 125, "shmmax"),
        ("--tmpfs /t:size=many", "true", 125, "size"),
        (
            "--volume /etc/passwd:/tmp",
            "true",
            125,
            "Are you trying to mount a directory onto a file",
        ),
        (
            "--volume /etc:/etc/passwd",
            "true",
            125,
            "Are you trying to mount a directory onto a file",
        ),
        ("--workdir /etc/passwd", "true", 125, "not a directory"),
    ];
    let run = |runtime: &str, options: &str, program: &str| {
        docker.says("rm --force box");
        let options = format!("--name box --network none {runtime} {options}");
        let output = docker.run(options.trim_end(), &[program]).go();
        (output, docker.inspect("box", ".State.ExitCode"))
    };
    for (options, program, code, words) in cases {
        let (other, kept_of_other) = run("--runtime runc", options, program);
        let (output, kept) = run("", options, program);
        println!("{program}: {kept} {}; runc: {}", output.stderr(), other.stderr());
        output.code(code).says(words);
        assert_eq!(other.status.code(), Some(code), "runc: {}", other.stderr());
        assert_eq!(kept, kept_of_other, "{program}: the code that `docker inspect` shows");
    }
    // 126 under Docker 20.10; 127 under Docker 28, whose users have capabilities until execve.
    let closed = "--user 1000 --tmpfs /t:mode=700,exec";
    let (other, kept_of_other) = run("--runtime runc", closed, "/t/x");
    let (output, kept) = run("", closed, "/t/x");
    assert_eq!(output.status.code(), other.status.code(), "{}", output.stderr());
    assert_eq!(kept, kept_of_other, "the code that `docker inspect` shows");
    output.says(if kept == "126" { "permission denied" } else { "no such file or directory" });
    docker.says("rm --force box").ok();
    // runc starts it, and its last words go to the container's log.
    let script = lab.path("script");
    fs::write(&script, "#!/no/such/interpreter\n").expect("write a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("make it executable");
    let volume = format!("--rm --network none --volume {}:/script", script.display());
    for _ in 0..3 {
        docker.run(&volume, &["/script"]).go().code(127).says("no such file or directory");
    }
    drop(docker);
    lab.assert_clean();
}

#[test]
fn a_running_container_is_entered_and_watched() {
    let lab = Lab::new();
    let docker = Docker::start(&lab);
    docker
        .run("--detach --network none --name box", &["/bin/sh", "-c", "echo up; exec idle"])
        .go()
        .ok();
    let exec = |options: &str, script: &str| {
        let words = ["exec"].into_iter().chain(options.split_whitespace());
        let words: Vec<&str> = words.chain(["box", "/bin/sh", "-c", script]).collect();
        docker.call(&words).go()
    };
    exec("", "echo out; echo err >&2; exit 3").code(3).prints("out").says("err");
    exec("--user 1000 --workdir /tmp --env A=b", "id -u; pwd; echo $A $HOME")
        .prints("1000\n/tmp\nb /home");
    docker.call(&["exec", "--interactive", "box", "cat"]).stdin(b"in").go().ok().prints("in");
    exec("--detach", "touch /tmp/detached").ok();
    assert!(wait_until(PATIENCE, || exec("", "test -e /tmp/detached").succeeded()));
    let of_init = exec("", "grep -E 'Cap|Secc|NoNew' /proc/1/status").ok().stdout();
    exec("", "grep -E 'Cap|Secc|NoNew' /proc/self/status").prints(of_init.trim());
    // Of what is missing Docker 20.10 makes 126, Docker 28 makes 127.
    for (line, words) in [
        ("exec box missing", "executable file not found in $PATH"),
        ("exec --workdir /missing box pwd", "no such file or directory"),
    ] {
        let output = docker.says(line).says(words);
        assert!(matches!(output.status.code(), Some(126 | 127)), "{line}: {}", output.status);
    }
    docker.says("top box").ok().says("sleep");
    docker.says("top box -o pid,comm").ok().says("idle");
    let stats = docker
        .says("stats --no-stream --format {{.Name}}\t{{.MemUsage}}\t{{.PIDs}} box")
        .ok()
        .stdout();
    assert!(
        stats.starts_with("box ") && stats.trim().ends_with(" 2") && !stats.contains(" 0B"),
        "{stats}"
    );
    docker.says("pause box").ok();
    assert_eq!(docker.inspect("box", ".State.Status"), "paused");
    docker.says("unpause box").ok();
    docker.says("logs box").ok().prints("up");
    docker.says("rm --force box").ok();
    drop(docker);
    lab.assert_clean();
}

#[test]
fn terminals() {
    let lab = Lab::new();
    let docker = Docker::start(&lab);
    // script(1) is the terminal which the client wants.
    let typed = |words: &str, keys: &[u8]| {
        let line = format!("stty rows 33 cols 77; {}", docker.line(words));
        let call =
            lab.call("script").args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        call.stdin(keys).go()
    };
    let image = brig_integration::engine::IMAGE;
    let script = "tty; until stty size | grep 77; do sleep 0.05; done; read line; echo \"<$line>\"; test -t 2";
    typed(&format!("run --rm -it --network none {image} sh -c '{script}'"), b"hello\n")
        .ok()
        .says("/dev/pts/0")
        .says("<hello>")
        .says("33 77");
    docker.run("--detach --network none --name box", &["/bin/idle"]).go().ok();
    typed("exec -it box sh -c 'tty; until stty size | grep 77; do sleep 0.05; done; exit 4'", b"")
        .code(4)
        .says("/dev/pts/0")
        .says("33 77");
    docker.sh("--tty", "test -t 0 && test -t 1 && ls -l /dev/console").says("/dev/console");
    docker.says("rm --force box").ok();
    drop(docker);
    lab.assert_clean();
}

#[test]
fn a_container_is_stopped_started_and_removed() {
    let lab = Lab::new();
    let docker = Docker::start(&lab);
    let script = "trap 'echo term; exit 5' TERM; trap 'echo usr1' USR1; echo up; while :; do sleep 0.05; done";
    docker.run("--detach --network none --name box", &["/bin/sh", "-c", script]).go().ok();
    let logs =
        |words: &str| wait_until(PATIENCE, || docker.says("logs box").stdout().ends_with(words));
    assert!(logs("up\n"));
    docker.says("kill --signal USR1 box").ok();
    assert!(logs("up\nusr1\n"));
    docker.says("restart --time 20 box").ok();
    assert!(logs("usr1\nterm\nup\n"));
    docker.says("rm box").failed();
    docker.says("stop --time 20 box").ok();
    docker.says("wait box").ok().prints("5");
    docker.says("start box").ok();
    docker.says("kill box").ok();
    docker.says("wait box").ok().prints("137");
    docker.says("rm box").ok();

    let script = "trap '' TERM; echo up; while :; do sleep 0.05; done";
    docker.run("--detach --network none --name box", &["/bin/sh", "-c", script]).go().ok();
    assert!(logs("up\n"));
    docker.says("stop --time 1 box").ok();
    assert_eq!(docker.inspect("box", ".State.ExitCode"), "137");
    docker.says("rm box").ok();

    let script = "echo x >>/data/starts; exit 3";
    docker
        .run(
            "--detach --network none --restart on-failure:2 --volume vol:/data --name box",
            &["/bin/sh", "-c", script],
        )
        .go()
        .ok();
    assert!(wait_until(PATIENCE, || docker.inspect("box", ".State.Status") == "exited"));
    assert_eq!(docker.inspect("box", ".RestartCount"), "2");
    docker.sh("--volume vol:/data", "grep -c x /data/starts").prints("3");
    docker.says("rm --volumes box").ok();
    drop(docker);
    lab.assert_clean();
}

#[test]
fn limits_bite_and_change() {
    need!(CgroupV1);
    let lab = Lab::new();
    let docker = Docker::start(&lab);
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait";
    docker.sh("--pids-limit 5", script).code(2).says("can't fork");
    docker.sh("--cpuset-cpus 1", "nproc").ok().prints("1");
    limited(&docker);
    let shows = |words: &str| {
        let script = "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes cpu/cpu.cfs_quota_us pids/pids.max";
        docker.call(&["exec", "box", "/bin/sh", "-c", script]).go().ok().prints(words);
    };
    shows("33554432\n33554432\n50000\n50");
    docker.says("update --memory 64m --memory-swap 64m --cpus 0.25 --pids-limit 60 box").ok();
    shows("67108864\n67108864\n25000\n60");
    docker.says("kill --signal USR1 box").ok();
    docker.says("wait box").ok().prints("137");
    assert_eq!(docker.inspect("box", ".State.OOMKilled"), "true");
    docker.says("rm box").ok();
    drop(docker);
    lab.assert_clean();
}

#[test]
fn confinement_reaches_the_container() {
    let lab = Lab::new();
    let docker = Docker::start(&lab);
    let profile = lab.path("profile");
    let text = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}"#;
    fs::write(&profile, text).expect("write a profile");
    let status = "grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status | tr '\\n' ' '";
    let script = format!(
        "{status}; unshare -r true; mount -t tmpfs x /tmp; cat /proc/kcore; mknod /k c 1 11; cat /k"
    );
    let output = docker.sh("", &script).failed();
    let default = "CapEff:\t00000000a80425fb CapBnd:\t00000000a80425fb NoNewPrivs:\t0 Seccomp:\t2";
    output
        .says(default)
        .says("unshare(0x10000000): Operation not permitted")
        .says("mount: permission denied")
        .says("can't open '/k': Operation not permitted");
    docker.sh("--cap-drop all --cap-add KILL --user 1000:6 --group-add 77 --security-opt no-new-privileges", &format!("id; {status}"))
        .says("uid=1000(user) gid=6(disk) groups=6(disk),77")
        .says("CapEff:\t0000000000000000 CapBnd:\t0000000000000020 NoNewPrivs:\t1 Seccomp:\t2");
    docker
        .sh("--cap-add SYS_ADMIN", "mount -t tmpfs x /tmp && echo mounted")
        .ok()
        .prints("mounted");
    docker
        .sh(&format!("--security-opt seccomp={}", profile.display()), "mkdir /tmp/x")
        .says("Operation not supported");
    docker.sh("--security-opt seccomp=unconfined", status).says("Seccomp:\t0");
    docker
        .sh(
            "--read-only --tmpfs /t:size=1m,mode=1700",
            "touch /x; touch /t/x; df -k /t | tail -1; stat -c %a /t",
        )
        .ok()
        .says("/x: Read-only file system")
        .says(" 1024 ")
        .says("1700");
    drop(docker);
    lab.assert_clean();
}

#[test]
fn surroundings_reach_the_container() {
    let lab = Lab::new();
    let docker = Docker::start(&lab);
    docker
        .sh(
            "--user user --hostname name --domainname dom.test --env X=y --workdir /new/dir --ulimit nofile=100:200 --sysctl kernel.msgmax=1234 --shm-size 3m --oom-score-adj 500",
            "id -u; hostname; cat /proc/sys/kernel/domainname /proc/sys/kernel/msgmax /proc/self/oom_score_adj; echo $X; pwd; ulimit -n; ulimit -Hn; df -k /dev/shm | tail -1",
        )
        .ok()
        .says("1000\nname\ndom.test\n1234\n500\ny\n/new/dir\n100\n200\nshm                       3072");
    let device = "--device /dev/null:/dev/n:r --device-cgroup-rule c\t1:5\trw";
    docker
        .sh(device, "ls -l /dev/n; : </dev/n && echo read; echo >/dev/zero && echo written")
        .ok()
        .says("1,   3")
        .says("read\nwritten");
    let shared = lab.path("shared");
    fs::create_dir(&shared).expect("make");
    fs::write(shared.join("file"), "shared").expect("write");
    docker
        .sh(
            &format!("--volume {0}:/ro:ro --volume {0}:/rw --volume vol:/vol", shared.display()),
            "cat /ro/file; touch /ro/x; touch /rw/new /vol/x && echo written",
        )
        .ok()
        .says("shared")
        .says("/ro/x: Read-only file system")
        .says("written");
    assert!(shared.join("new").exists());
    drop(docker);
    lab.assert_clean();
}

#[test]
fn mounts_propagate_as_asked() {
    let lab = Lab::new();
    let docker = Docker::start(&lab);
    let source = lab.path("source");
    lab.tmpfs(&source);
    for name in ["host", "container"] {
        fs::create_dir(source.join(name)).expect("make");
    }
    let bind = |how: &str| {
        format!(
            "--cap-add SYS_ADMIN --security-opt apparmor=unconfined --mount type=bind,src={},dst=/data,bind-propagation={how}",
            source.display()
        )
    };
    let mounts_inside = "mount -t tmpfs x /data/container && mount -t tmpfs x /var && echo mounted";
    let arrived = || {
        fs::read_to_string("/proc/thread-self/mountinfo").expect("mounts").contains("/container ")
    };
    // With a network of its own there is a hook, and the container starts from a copy of the host's
    // mounts; without one it starts from the kept empty namespace.
    for network in ["--network none", "--network host"] {
        let run = |how: &str| docker.sh(&format!("{network} {}", bind(how)), mounts_inside);
        run("rprivate").ok().prints("mounted");
        run("rslave").ok().prints("mounted");
        assert!(!arrived(), "what is mounted in a slave stays there");
        run("rshared").ok().prints("mounted");
        assert!(arrived(), "what is mounted in a shared mount is the host's as well");
        nix::mount::umount(&source.join("container")).expect("unmount");
    }

    let script = "echo up; while ! test -e /data/host/file; do sleep 0.05; done; echo seen";
    docker
        .run(
            &format!("--detach --network none --name box {}", bind("rslave")),
            &["/bin/sh", "-c", script],
        )
        .go()
        .ok();
    assert!(wait_until(PATIENCE, || docker.says("logs box").stdout() == "up\n"));
    lab.tmpfs(&source.join("host"));
    fs::write(source.join("host/file"), "").expect("write");
    docker.says("wait box").ok().prints("0");
    docker.says("logs box").prints("up\nseen");
    docker.says("rm box").ok();
    drop(docker);
    lab.assert_clean();
}

/// That the host's mounts are still shared afterwards is a part of [`Lab::assert_clean`].
#[test]
fn namespaces_are_shared_as_asked() {
    let lab = Lab::new();
    let docker = Docker::start(&lab);
    docker.run("--detach --network none --ipc shareable --name first", &["/bin/idle"]).go().ok();
    let of = |kind: &str| {
        fs::read_link(format!("/proc/self/ns/{kind}")).expect("a namespace").display().to_string()
    };
    let ids = "for kind in pid ipc net; do readlink /proc/self/ns/$kind; done";
    let first = docker.call(&["exec", "first", "/bin/sh", "-c", ids]).go().ok().stdout();
    docker
        .sh("--pid container:first --ipc container:first --network container:first", ids)
        .prints(first.trim());
    docker.sh("--pid container:first", "ps").ok().says("idle");
    docker
        .sh("--network host --pid host --ipc host --uts host", ids)
        .prints(&[of("pid"), of("ipc"), of("net")].join("\n"));
    docker.sh("", "ls /sys/class/net").ok().prints("lo");
    docker.says("rm --force first").ok();
    drop(docker);
    lab.assert_clean();
}

#[test]
fn health_checks() {
    let lab = Lab::new();
    let docker = Docker::start(&lab);
    let check = "--detach --network none --name box --health-cmd test\t-e\t/tmp/healthy --health-interval 200ms --health-retries 1";
    docker.run(check, &["/bin/idle"]).go().ok();
    let health = |state: &str| {
        wait_until(PATIENCE, || docker.inspect("box", ".State.Health.Status") == state)
    };
    assert!(health("unhealthy"));
    docker.says("exec box touch /tmp/healthy").ok();
    assert!(health("healthy"));
    docker.says("rm --force box").ok();
    drop(docker);
    lab.assert_clean();
}

#[test]
fn containers_outlive_the_daemon() {
    let lab = Lab::new();
    let mut docker = Docker::start(&lab);
    docker
        .run("--detach --network none --name box", &["/bin/sh", "-c", "echo up; exec idle"])
        .go()
        .ok();
    let pid = docker.inspect("box", ".State.Pid");
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        docker.restart(signal);
        assert_eq!(docker.inspect("box", ".State.Status"), "running");
        assert_eq!(docker.inspect("box", ".State.Pid"), pid);
        docker.says("exec box echo still\there").ok().prints("still here");
    }
    docker.says("pause box").ok();
    docker.restart(Signal::SIGKILL);
    assert_eq!(docker.inspect("box", ".State.Status"), "paused");
    docker.says("unpause box").ok();
    docker.says("stop --time 20 box").ok();
    assert_eq!(docker.inspect("box", ".State.ExitCode"), "0");
    docker.says("rm box").ok();
    drop(docker);
    lab.assert_clean();
}

#[test]
fn remapped_users() {
    let lab = Lab::new();
    let parent = format!("/{}", lab.token());
    let docker =
        Docker::start_with(&lab, &["--userns-remap", "daemon", "--cgroup-parent", &parent]);
    let script =
        "cat /proc/self/uid_map; touch /tmp/x && stat -c %u /tmp/x; mount -t tmpfs x /tmp; id -u";
    let output = docker.sh("--volume vol:/vol", script).ok().says("permission denied").stdout();
    let words: Vec<&str> = output.split_whitespace().collect();
    assert_eq!(words, ["0", "2000000", "65536", "0", "0"], "{output}");
    docker.run("--detach --network none --name box --memory 32m", &["/bin/idle"]).go().ok();
    docker.says("exec --user 1000 box id -u").ok().prints("1000");
    let uid = || -> Option<String> {
        let status =
            fs::read_to_string(format!("/proc/{}/status", docker.inspect("box", ".State.Pid")))
                .ok()?;
        Some(status.lines().find(|line| line.starts_with("Uid:"))?.split('\t').nth(1)?.to_owned())
    };
    assert_eq!(uid().as_deref(), Some("2000000"));
    docker.says("rm --force box").ok();
    drop(docker);
    lab.assert_clean();
}

/// Few calls, as each takes seconds in a guest.
#[test]
fn cgroup_v2_and_all_privileges() {
    need!(CgroupV2, CapSysResource);
    let lab = Lab::new();
    let docker = Docker::start(&lab);
    let script = "grep -E 'CapEff|Seccomp:' /proc/self/status; mount -t tmpfs x /tmp && touch /sys/fs/cgroup/cgroup.procs && ls /dev/kmsg";
    // All 38 that Docker 20.10 knows.
    let all = "CapEff:\t0000003fffffffff";
    docker.sh("--privileged", script).ok().says(all).says("Seccomp:\t0\n/dev/kmsg");

    let id = limited(&docker);
    let cgroup = format!("/sys/fs/cgroup/{}/{id}", lab.token());
    limits_hold_and_change(&docker, &cgroup);
    let script = "kill -USR1 1; grep CapEff /proc/self/status";
    let exec = ["exec", "--privileged", "box", "/bin/sh", "-c", script];
    docker.call(&exec).go().ok().prints(all);
    docker.says("wait box").ok().prints("137");
    assert_eq!(docker.inspect("box", ".State.OOMKilled"), "true");
    drop(docker);
    lab.assert_clean();
}

/// A container named `box` with limits, which runs out of memory at SIGUSR1. The answer is its id.
fn limited(docker: &Docker<'_>) -> String {
    let limits = "--memory 32m --memory-swap 32m --cpus 0.5 --pids-limit 50";
    let script = "trap 'exec tail /dev/zero' USR1; while :; do sleep 0.05; done";
    let options = format!("--detach --network none --name box {limits}");
    docker.run(&options, &["/bin/sh", "-c", script]).go().ok().stdout().trim().to_owned()
}

/// On cgroup v2.
fn limits_hold_and_change(docker: &Docker<'_>, cgroup: &str) {
    let limits = || {
        ["memory.max", "cpu.max", "pids.max"].map(|name| {
            let path = format!("{cgroup}/{name}");
            fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}")).trim().to_owned()
        })
    };
    assert_eq!(limits(), ["33554432", "50000 100000", "50"]);
    docker.says("update --memory 64m --memory-swap 64m --cpus 0.25 --pids-limit 60 box").ok();
    assert_eq!(limits(), ["67108864", "25000 100000", "60"]);
}

#[test]
fn systemd_makes_the_cgroup() {
    need!(Systemd);
    let lab = Lab::new();
    let slice = format!("{}.slice", lab.token());
    let options = ["--exec-opt", "native.cgroupdriver=systemd", "--cgroup-parent", &slice];
    let docker = Docker::start_with(&lab, &options);
    let id = limited(&docker);
    limits_hold_and_change(&docker, &format!("/sys/fs/cgroup/{slice}/docker-{id}.scope"));
    docker.says("exec box true").ok();
    drop(docker);
    lab.call("systemctl").args(["stop", &slice]).go().ok();
    lab.assert_clean();
}
