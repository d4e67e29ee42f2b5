//! Podman, which calls the runtime under test through conmon.

use brig_integration::engine::{IMAGE, Podman};
use brig_integration::{Lab, Need, PATIENCE, json, need, wait_until};
use std::fs;

#[test]
fn run_passes_output_and_code_on() {
    let lab = Lab::new();
    let podman = Podman::start(&lab);
    podman
        .run("a", &["--rm"], &["/bin/sh", "-c", "echo out; echo err >&2; exit 9"])
        .go()
        .code(9)
        .prints("out")
        .says("err");
    podman.run("b", &["--rm", "--interactive"], &["/bin/cat"]).stdin(b"in").go().ok().prints("in");
    podman.run("c", &["--rm"], &["/no/such/program"]).go().code(127);
    podman.run("d", &["--rm"], &["/etc/passwd"]).go().code(126);
    drop(podman);
    lab.assert_clean();
}

#[test]
fn a_running_container_is_entered_and_watched() {
    let lab = Lab::new();
    let podman = Podman::start(&lab);
    podman.run("box", &["--detach"], &["/bin/sh", "-c", "echo started; exec idle"]).go().ok();
    podman.says("exec box /bin/sh -c exit\t3").code(3);
    podman.says("exec --user 1000 --workdir /tmp box sh -c id\t-u;pwd").ok().prints("1000\n/tmp");
    podman.says("exec --env A=b box env").ok().says("A=b");
    podman.says("exec --privileged box true").ok();
    podman.says("ps --filter status=running --format {{.Names}}").ok().prints("box");
    podman.says("pause box").ok();
    podman.says("unpause box").ok();
    podman.says("top box pid comm").ok().says("sleep");
    podman.says("stats --no-stream --format {{.Name}} box").ok().says("box");
    podman.says("logs box").ok().prints("started");
    podman.says("rm --force --time 0 box").ok();
    drop(podman);
    lab.assert_clean();
}

#[test]
fn a_container_is_stopped_started_and_removed() {
    let lab = Lab::new();
    let podman = Podman::start(&lab);
    let script = "trap 'exit 5' TERM; echo started; while :; do sleep 0.05; done";
    podman.run("box", &["--detach"], &["/bin/sh", "-c", script]).go().ok();
    assert!(wait_until(PATIENCE, || podman.says("logs box").stdout().contains("started")));
    podman.says("stop --time 20 box").ok();
    podman.says("inspect --format {{.State.ExitCode}} box").ok().prints("5");
    podman.says("start box").ok();
    podman.says("rm box").failed();
    podman.says("kill box").ok();
    let status = || podman.says("inspect --format {{.State.Status}} box").stdout();
    assert!(wait_until(PATIENCE, || status().contains("exited")), "{}", status());
    podman.says("rm box").ok();
    drop(podman);
    lab.assert_clean();
}

#[test]
fn a_container_whose_hook_fails_is_undone_once() {
    need!(Brig); // runc runs poststart hooks at create
    let lab = Lab::new();
    let podman = Podman::start(&lab);
    let (hooks, log) = (lab.path("hooks"), lab.path("log"));
    fs::create_dir(&hooks).expect("make a directory");
    let write = |stage: &str, script: String| {
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
        let file =
            json!({"version": "1.0.0", "hook": hook, "when": {"always": true}, "stages": [stage]});
        fs::write(hooks.join(format!("{stage}.json")), file.to_string()).expect("write a hook");
    };
    write("poststart", "echo why >&2; exit 3".to_owned());
    write("poststop", format!("echo undone >>{}", log.display()));
    let directory = hooks.display().to_string();
    podman
        .run("box", &["--hooks-dir", &directory], &["/bin/sleep", "1000"])
        .go()
        .failed()
        .says("why");
    podman.says("rm --force --time 0 box").ok();
    assert_eq!(fs::read_to_string(&log).unwrap_or_default(), "undone\n");
    drop(podman);
    lab.assert_clean();
}

#[test]
fn confinement_reaches_the_container() {
    let lab = Lab::new();
    let podman = Podman::start(&lab);
    let run = |options: &str, args: &str| {
        let options: Vec<&str> = ["--rm"].into_iter().chain(options.split(' ')).collect();
        let args: Vec<&str> = args.split(' ').collect();
        podman.run(&lab.id(), &options, &args).go()
    };
    run("--read-only", "touch /x").code(1).says("Read-only");
    run("--memory 32m --memory-swap 32m", "tail /dev/zero").code(137);
    run("--cap-drop all --cap-add KILL", "grep CapEff /proc/self/status")
        .ok()
        .says("0000000000000020");
    run("--privileged", "grep NoNewPrivs /proc/self/status").ok().says("0");
    run("--security-opt no-new-privileges", "grep NoNewPrivs /proc/self/status").ok().says("1");
    drop(podman);
    lab.assert_clean();
}

#[test]
fn surroundings_reach_the_container() {
    let lab = Lab::new();
    let podman = Podman::start(&lab);
    let run = |options: &[&str], script: &str| {
        podman.run(&lab.id(), &[&["--rm"], options].concat(), &["/bin/sh", "-c", script]).go().ok()
    };
    run(&["--hostname", "name", "--env", "X=y", "--workdir", "/tmp"], "hostname; echo $X; pwd")
        .prints("name\ny\n/tmp");
    run(&["--tmpfs", "/t:size=1m"], "df -k /t | tail -1").says("1024");
    run(&["--sysctl", "kernel.msgmax=1234"], "cat /proc/sys/kernel/msgmax").prints("1234");
    run(&["--tty"], "test -t 1 && echo terminal").says("terminal");
    run(&["--user", "1000:1000"], "id -u; id -g").prints("1000\n1000");
    drop(podman);
    lab.assert_clean();
}

#[test]
fn automatic_user_namespaces() {
    let lab = Lab::new();
    let podman = Podman::start(&lab);
    let output = podman
        .run("a", &["--rm", "--userns", "auto"], &["/bin/cat", "/proc/self/uid_map"])
        .go()
        .ok();
    let map = output.stdout();
    let fields: Vec<&str> = map.split_whitespace().collect();
    assert_eq!(fields[0], "0", "{map}");
    assert!(fields[1].parse::<u32>().is_ok_and(|base| base >= 1_000_000), "{map}");
    drop(podman);
    lab.assert_clean();
}

#[test]
fn health_checks() {
    let lab = Lab::new();
    let podman = Podman::start(&lab);
    podman
        .run(
            "box",
            &["--detach", "--health-cmd", "test -e /tmp/healthy", "--health-retries", "1"],
            &["/bin/idle"],
        )
        .go()
        .ok();
    podman.call(&["healthcheck", "run", "box"]).go().code(1);
    podman.call(&["exec", "box", "/bin/touch", "/tmp/healthy"]).go().ok();
    podman.call(&["healthcheck", "run", "box"]).go().ok();
    podman.call(&["rm", "--force", "--time", "0", "box"]).go().ok();
    drop(podman);
    lab.assert_clean();
}

#[test]
fn pods_share_namespaces() {
    let lab = Lab::new();
    let podman = Podman::start(&lab);
    podman.run("first", &["--detach"], &["/bin/idle"]).go().ok();
    let output = podman
        .call(&[
            "run",
            "--rm",
            "--cgroups",
            "no-conmon",
            "--cgroup-parent",
            &format!("/{}", lab.token()),
            "--network",
            "container:first",
            "--pid",
            "container:first",
            "--ipc",
            "container:first",
            brig_integration::engine::IMAGE,
            "/bin/ps",
        ])
        .go()
        .ok();
    output.says("idle");
    podman.call(&["rm", "--force", "--time", "0", "first"]).go().ok();
    drop(podman);
    lab.assert_clean();
}

/// Pods, builds, and the descriptors of a service that systemd starts.
fn ordinary_work(podman: &Podman<'_>, parent: &str) {
    let of_pod = ["--network", "none"];
    podman.call(&["pod", "create", "--name", "pod"]).args(of_pod).args(parent.split(' ')).go().ok();
    let own = "for kind in ipc net uts; do readlink /proc/self/ns/$kind; done; hostname";
    let inside = || {
        podman
            .call(&["run", "--rm", "--pod", "pod", IMAGE, "/bin/sh", "-c", own])
            .go()
            .ok()
            .stdout()
    };
    assert_eq!(inside(), inside(), "containers of a pod have the same namespaces");
    podman.says("pod rm --force --time 0 pod").ok();

    let context = podman.dir().join("context");
    fs::create_dir(&context).expect("make a directory");
    let recipe =
        format!("FROM {IMAGE}\nRUN echo made by $(id -u) >/made\nCMD [\"/bin/cat\", \"/made\"]\n");
    fs::write(context.join("Containerfile"), recipe).expect("write the recipe");
    let build = [
        "build",
        "--isolation",
        "oci",
        "--network",
        "none",
        "--no-cache",
        "--tag",
        "localhost/made:1",
    ];
    podman.call(&build).arg(&context).go().ok();
    let run = |options: &[&str], args: &[&str]| {
        let common = ["run", "--rm", "--network", "none", "--cgroups", "no-conmon"];
        podman.call(&[&common, options].concat()).args(parent.split(' ')).args(args)
    };
    run(&[], &["localhost/made:1"]).go().ok().prints("made by 0");

    if Need::EnginesOfToday.check().is_ok() {
        let first = "cat /proc/1/comm; exit 3";
        run(&["--init"], &[IMAGE, "/bin/sh", "-c", first]).go().code(3).prints("podman-init");
    }
    let script = "exec 3</etc/hostname; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"";
    let inside = "echo $LISTEN_FDS $LISTEN_PID; cat <&3";
    let hostname = fs::read_to_string("/etc/hostname").expect("the host's name");
    let call = run(&[], &[IMAGE, "/bin/sh", "-c", inside]).under(["/bin/sh", "-c", script, "sh"]);
    call.go().ok().prints(format!("1 1\n{hostname}").trim());
    let script = "exec 3</etc/hostname; exec \"$@\"";
    let call = run(&["--preserve-fds", "1"], &[IMAGE, "/bin/cat", "/proc/self/fd/3"]);
    call.under(["/bin/sh", "-c", script, "sh"]).go().ok().prints(hostname.trim());
    run(
        &["--systemd", "always"],
        &[IMAGE, "/bin/sh", "-c", "echo $container; echo x >/run/lock/x && cat /run/lock/x"],
    )
    .go()
    .ok()
    .prints("podman\nx");
}

fn plays_kubernetes(podman: &Podman<'_>) {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "kube"}, "spec": {
        "hostNetwork": true,
        "containers": [{
            "name": "box", "image": IMAGE, "imagePullPolicy": "Never",
            "command": ["/bin/sh", "-c", "id -u; touch /x 2>&1; exec idle"],
            "securityContext": {"readOnlyRootFilesystem": true, "runAsUser": 1000},
        }],
    }});
    let file = podman.dir().join("pod.yaml");
    fs::write(&file, pod.to_string()).expect("write the pod");
    podman.call(&["kube", "play"]).arg(&file).go().ok();
    let said = || podman.says("logs kube-box").stdout();
    assert!(
        wait_until(PATIENCE, || said().contains("1000") && said().contains("Read-only")),
        "{}",
        said()
    );
    podman.call(&["kube", "down"]).arg(&file).go().ok();
}

/// An image that starts an init gets what systemd wants: /run and /tmp to write to, its cgroups, and a signal of its own.
#[test]
fn an_image_may_start_an_init() {
    let lab = Lab::new();
    let podman = Podman::start(&lab);
    let options = ["--detach", "--systemd", "always"];
    podman.run("init", &options, &["/bin/idle"]).go().ok();
    let seen = "grep -cE ' (/run|/tmp) tmpfs rw' /proc/mounts; grep -c ' /sys/fs/cgroup' /proc/mounts; cat /proc/1/cmdline | tr '\\0' ' '";
    let said = podman.call(&["exec", "init", "/bin/sh", "-c", seen]).go().ok().stdout();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "2", "{said}");
    assert_ne!(lines[1], "0", "{said}");
    let signal = podman.says("inspect --format {{.Config.StopSignal}} init").ok().stdout();
    assert!(["37", "SIGRTMIN+3"].contains(&signal.trim()), "{signal}");
    podman.says("rm --force --time 0 init").ok();
    drop(podman);
    lab.assert_clean();
}

#[test]
fn pods_builds_and_sockets() {
    let lab = Lab::new();
    let podman = Podman::start(&lab);
    ordinary_work(&podman, &format!("--cgroup-parent /{}", lab.token()));
    plays_kubernetes(&podman);
    drop(podman);
    lab.assert_clean();
}

#[test]
fn an_ordinary_user_does_the_same() {
    let lab = Lab::new();
    // Root's, whom the user's namespace does not map.
    fs::create_dir_all("/etc/brig").expect("make a directory");
    fs::write("/etc/brig/policy.toml", "version = 1\ndefault = \"oci\"\n").expect("write a policy");
    let podman = Podman::of_user(&lab);
    ordinary_work(&podman, "--label user");
    for (userns, id) in [
        ("host", "0"),
        ("keep-id", "64322"),
        ("keep-id:uid=7,gid=8", "7"),
        ("nomap", "0"),
        ("auto", "0"),
    ] {
        let args = ["run", "--rm", "--network", "none", "--userns", userns, IMAGE, "id", "-u"];
        podman.call(&args).go().ok().prints(id);
    }
    plays_kubernetes(&podman);
    drop(podman);
    lab.assert_clean();
}
