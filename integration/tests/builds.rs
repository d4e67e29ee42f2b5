//! Images are built: BuildKit in Docker's daemon, and Buildah by itself, call the runtime under test for each `RUN`.

use brig_integration::engine::{Buildah, Docker, IMAGE};
use brig_integration::{Lab, PATIENCE, need, wait_until};
use std::fs;
use std::path::PathBuf;

/// What both builders do with the runtime.
const RECIPE: &str = r#"FROM localhost/box:1
RUN echo made by $(id -u) >/made
RUN --mount=type=tmpfs,target=/t --mount=type=cache,target=/c touch /t/x /c/y && mount | grep ' on /t '
RUN --network=none ls /sys/class/net | tr '\n' ' '
RUN --mount=type=secret,id=key cat /run/secrets/key
RUN --mount=type=bind,from=localhost/box:1,target=/other cat /other/etc/passwd; touch /other/x || true
RUN grep -E 'CapBnd|Seccomp:' /proc/self/status; cat </dev/stdin
USER user
WORKDIR /new/dir
ENV A=b
RUN echo $(id -u) $(pwd) $A
CMD ["/bin/cat", "/made"]
"#;

/// A directory with the recipe, and with the key beside it.
fn context(lab: &Lab) -> (PathBuf, PathBuf) {
    let (context, key) = (lab.path("context"), lab.path("key"));
    fs::create_dir(&context).expect("make a directory");
    fs::write(context.join("Dockerfile"), RECIPE).expect("write the recipe");
    fs::write(&key, "secret words\n").expect("write the key");
    (context, key)
}

#[test]
fn buildkit_calls_the_runtime_for_each_step() {
    need!(EnginesOfToday);
    let lab = Lab::new();
    let docker = Docker::start(&lab);
    let (context, key) = context(&lab);
    let build = |options: &str| {
        docker
            .call(&["build", "--no-cache", "--progress", "plain"])
            .args(options.split(' '))
            .arg(&context)
            .go()
    };
    let secret = format!("id=key,src={}", key.display());
    build(&format!("--network none --tag made:1 --secret {secret}"))
        .ok()
        .says(" on /t type tmpfs")
        .says(" lo ")
        .says("secret words")
        .says("user:x:1000")
        .says("CapBnd:\t00000000a80425fb")
        .says("Seccomp:\t2")
        .says(" 1000 /new/dir b");
    let calls = docker.builder_log();
    let runs = calls.lines().filter(|line| line.contains(" run --bundle ")).count();
    assert_eq!(runs, 7, "{calls}");
    docker.says("run --rm --network none made:1").ok().prints("made by 0");

    let step = |line: &str| {
        fs::write(context.join("Dockerfile"), format!("FROM {IMAGE}\n{line}\n")).expect("write");
    };
    step("RUN echo out; exit 7");
    build("--network none").failed().says("out").says("exit code: 7");
    step("RUN [\"/no/such\"]");
    build("--network none").failed().says("no such file or directory");
    // Who gives up waiting leaves nothing.
    step("RUN echo up; sleep 1000");
    let building =
        docker.call(&["build", "--network", "none", "--progress", "plain"]).arg(&context).spawn();
    assert!(wait_until(PATIENCE, || building.stderr().contains(" up\n")), "{}", building.stderr());
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(building.pid()), nix::sys::signal::SIGINT)
        .expect("interrupt it");
    assert!(!building.wait().succeeded());
    let sleeps =
        || brig_integration::leftovers::processes(&[]).iter().any(|line| line.contains("`sleep`"));
    assert!(wait_until(PATIENCE, || !sleeps()));
    drop(docker);
    lab.assert_clean();
}

#[test]
fn buildah_runs_and_builds() {
    need!(EnginesOfToday);
    let lab = Lab::new();
    lab.own_network();
    let buildah = Buildah::start(&lab);
    let (context, key) = context(&lab);
    buildah.says(&format!("from --name work {IMAGE}")).ok();
    let sh =
        |options: &str, script: &str| buildah.run("work", options, &["/bin/sh", "-c", script]).go();
    sh("", "echo made >/made; echo err >&2; ip -4 -o address show dev eth0")
        .ok()
        .says("inet 10.88.")
        .says("err");
    buildah.run("work", "", &["/bin/cat", "/made"]).go().ok().prints("made");
    buildah.run("work", "--network none", &["/bin/cat"]).stdin(b"in").go().ok().prints("in");
    sh("--network none", "exit 7").code(7);
    buildah.run("work", "", &["/no/such"]).go().failed().says("no such file or directory");
    let options = "--network none --user 1000:6 --workingdir /tmp --env A=b --hostname box --cap-add CAP_SYS_PTRACE \
                   --volume /etc:/of/host:ro --mount type=tmpfs,dst=/t";
    sh(options, "id -u; id -g; pwd; echo $A; hostname; grep CapBnd /proc/self/status; touch /of/host/x 2>&1; mount | grep -c ' on /t '")
        .prints("1000\n6\n/tmp\nb\nbox\nCapBnd:\t00000000800c05fb\ntouch: /of/host/x: Read-only file system\n1");
    sh("--tty --network none", "test -t 0 && test -t 1 && echo terminal").says("terminal");
    buildah.says("rm work").ok();

    let options = format!(
        "--no-cache --layers --network none --tag made:1 --memory 64m --ulimit nofile=99:99 --secret id=key,src={}",
        key.display()
    );
    buildah
        .build(&options, &context)
        .go()
        .ok()
        .says(" on /t type tmpfs")
        .says("secret words")
        .says("user:x:1000")
        .says("CapBnd:\t00000000800405fb")
        .says("Seccomp:\t2")
        .says("1000 /new/dir b");
    buildah.says("from --name made made:1").ok();
    buildah.run("made", "--network none", &["/bin/cat", "/made"]).go().ok().prints("made by 0");
    buildah.says("rm made").ok();
    let maps =
        "--no-cache --network none --userns-uid-map 0:700000:65536 --userns-gid-map 0:700000:65536";
    let recipe = format!("FROM {IMAGE}\nRUN cat /proc/self/uid_map; touch /x && stat -c %u /x\n");
    fs::write(context.join("Dockerfile"), recipe).expect("write the recipe");
    buildah.build(maps, &context).go().ok().says(" 700000 ");
    drop(buildah);
    lab.assert_clean();
}
