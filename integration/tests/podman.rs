//! Podman, which calls the runtime under test through conmon.

use brig_integration::engine::Podman;
use brig_integration::{Lab, PATIENCE, wait_until};

#[test]
fn run_passes_output_and_code_on() {
    let lab = Lab::new();
    let podman = Podman::start(&lab);
    podman
        .run(
            "a",
            &["--rm"],
            &["/bin/sh", "-c", "echo out; echo err >&2; exit 9"],
        )
        .go()
        .code(9)
        .prints("out")
        .says("err");
    podman
        .run("b", &["--rm", "--interactive"], &["/bin/cat"])
        .stdin(b"in")
        .go()
        .ok()
        .prints("in");
    podman
        .run("c", &["--rm"], &["/no/such/program"])
        .go()
        .code(127);
    podman.run("d", &["--rm"], &["/etc/passwd"]).go().code(126);
    drop(podman);
    lab.assert_clean();
}

#[test]
fn the_whole_life_of_a_container() {
    let lab = Lab::new();
    let podman = Podman::start(&lab);
    podman
        .run(
            "box",
            &["--detach"],
            &[
                "/bin/sh",
                "-c",
                "trap 'exit 5' TERM; echo started; while :; do sleep 0.05; done",
            ],
        )
        .go()
        .ok();
    podman
        .call(&["exec", "box", "/bin/sh", "-c", "echo from exec; exit 3"])
        .go()
        .code(3)
        .says("from exec");
    podman
        .call(&[
            "exec",
            "--user",
            "1000",
            "--workdir",
            "/tmp",
            "--env",
            "A=b",
            "box",
            "/bin/sh",
            "-c",
            "id -u; pwd; echo $A",
        ])
        .go()
        .ok()
        .prints("1000\n/tmp\nb");
    podman
        .call(&["exec", "--privileged", "box", "/bin/true"])
        .go()
        .ok();
    podman
        .call(&["ps", "--format", "{{.Names}} {{.State}}"])
        .go()
        .ok()
        .says("box Up");
    podman.call(&["pause", "box"]).go().ok();
    podman.call(&["unpause", "box"]).go().ok();
    podman
        .call(&["top", "box", "pid", "comm"])
        .go()
        .ok()
        .says("sh");
    podman
        .call(&["stats", "--no-stream", "--format", "{{.Name}}", "box"])
        .go()
        .ok()
        .says("box");
    podman.call(&["logs", "box"]).go().ok().prints("started");
    podman.call(&["stop", "--time", "20", "box"]).go().ok();
    podman
        .call(&["inspect", "--format", "{{.State.ExitCode}}", "box"])
        .go()
        .ok()
        .prints("5");
    podman.call(&["start", "box"]).go().ok();
    podman.call(&["kill", "box"]).go().ok();
    assert!(wait_until(PATIENCE, || podman
        .call(&["inspect", "--format", "{{.State.Status}}", "box"])
        .go()
        .stdout()
        .contains("exited")));
    podman.call(&["rm", "box"]).go().ok();
    drop(podman);
    lab.assert_clean();
}

#[test]
fn options_reach_the_container() {
    let lab = Lab::new();
    let podman = Podman::start(&lab);
    podman
        .run("a", &["--rm", "--read-only"], &["/bin/touch", "/x"])
        .go()
        .code(1)
        .says("Read-only");
    podman
        .run(
            "b",
            &[
                "--rm",
                "--hostname",
                "name",
                "--env",
                "X=y",
                "--workdir",
                "/tmp",
            ],
            &["/bin/sh", "-c", "hostname; echo $X; pwd"],
        )
        .go()
        .ok()
        .prints("name\ny\n/tmp");
    podman
        .run(
            "c",
            &["--rm", "--memory", "32m", "--memory-swap", "32m"],
            &["/bin/tail", "/dev/zero"],
        )
        .go()
        .code(137);
    podman
        .run(
            "d",
            &["--rm", "--cap-drop", "all", "--cap-add", "KILL"],
            &["/bin/grep", "CapEff", "/proc/self/status"],
        )
        .go()
        .ok()
        .says("0000000000000020");
    podman
        .run(
            "e",
            &[
                "--rm",
                "--tmpfs",
                "/t:size=1m",
                "--sysctl",
                "kernel.msgmax=1234",
            ],
            &[
                "/bin/sh",
                "-c",
                "df -k /t | tail -1; cat /proc/sys/kernel/msgmax",
            ],
        )
        .go()
        .ok()
        .says("1024")
        .says("1234");
    podman
        .run(
            "f",
            &["--rm", "--tty"],
            &["/bin/sh", "-c", "test -t 1 && echo terminal"],
        )
        .go()
        .ok()
        .says("terminal");
    podman.run("g", &["--rm", "--init"], &["/bin/true"]).go();
    podman
        .run(
            "h",
            &["--rm", "--privileged"],
            &["/bin/grep", "NoNewPrivs", "/proc/self/status"],
        )
        .go()
        .ok()
        .says("0");
    drop(podman);
    lab.assert_clean();
}

#[test]
fn automatic_user_namespaces() {
    let lab = Lab::new();
    let podman = Podman::start(&lab);
    let output = podman
        .run(
            "a",
            &["--rm", "--userns", "auto"],
            &["/bin/cat", "/proc/self/uid_map"],
        )
        .go()
        .ok();
    let map = output.stdout();
    let fields: Vec<&str> = map.split_whitespace().collect();
    assert_eq!(fields[0], "0", "{map}");
    assert!(
        fields[1].parse::<u32>().is_ok_and(|base| base >= 1_000_000),
        "{map}"
    );
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
            &[
                "--detach",
                "--health-cmd",
                "test -e /tmp/healthy",
                "--health-retries",
                "1",
            ],
            &["/bin/idle"],
        )
        .go()
        .ok();
    podman.call(&["healthcheck", "run", "box"]).go().code(1);
    podman
        .call(&["exec", "box", "/bin/touch", "/tmp/healthy"])
        .go()
        .ok();
    podman.call(&["healthcheck", "run", "box"]).go().ok();
    podman
        .call(&["rm", "--force", "--time", "0", "box"])
        .go()
        .ok();
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
    podman
        .call(&["rm", "--force", "--time", "0", "first"])
        .go()
        .ok();
    drop(podman);
    lab.assert_clean();
}
