//! A node without a policy file, as it is after brig was installed: `restricted` holds, and what users and engines usually
//! do works.

use brig_integration::engine::{Buildah, Containerd, Docker, IMAGE, Podman, docker};
use brig_integration::{Lab, binaries, json, need};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// The ordinary user that the tests' /etc has.
const BOXER: u32 = 64322;

/// A lab whose node has no policy.
fn lab() -> Lab {
    let lab = Lab::new();
    fs::remove_dir_all("/etc/brig").expect("remove the policy");
    lab
}

/// What a process of a container sees when the level holds: whose it is on the host, and what it cannot gain any more.
const SEES: &str = "read inside outside count </proc/self/uid_map; [ $outside -ge 2000224256 ] && echo remapped; \
                    grep -c NoNewPrivs:.1 /proc/self/status; grep -c Seccomp:.2 /proc/self/status; touch /x 2>/dev/null || echo read-only; \
                    id -u";
/// In the words of the script.
const RESTRICTED: &str = "remapped\n1\n1\nread-only\n0";

#[test]
fn a_bundle_of_brig_spec_runs_restricted() {
    need!(Brig);
    let lab = lab();
    let bundle = lab.plain_bundle();
    fs::remove_file(bundle.dir.join("config.json")).unwrap_or_default();
    lab.call(binaries::runtime()).arg("spec").cwd(&bundle.dir).go().ok();
    let file = bundle.dir.join("config.json");
    let text = fs::read_to_string(&file).expect("brig spec has written it");
    let text = text.replace("\"terminal\": true", "\"terminal\": false");
    fs::write(&file, text).expect("write");
    let run = |options: &[&str], id: &str| {
        let call = lab.runtime().args(options).args(["run", "--bundle"]).arg(&bundle.dir).arg(id);
        call.stdin(SEES.as_bytes()).go()
    };
    let id = lab.id();
    run(&[], &id).ok().prints(RESTRICTED);
    run(&["--profile", "baseline"], &id).ok().prints("1\n1\nread-only\n0");
}

/// Each level may be selected but the one that grants everything, which is for the node's file.
#[test]
fn only_a_file_grants_what_is_asked_for() {
    need!(Brig);
    let lab = lab();
    let run = |options: &[&str]| {
        let c = lab.container(lab.plain_bundle().sh("id -u"));
        let bundle = c.bundle.dir.to_string_lossy().into_owned();
        lab.runtime().args(options).args(["run", "--bundle", &bundle, c.id()]).go()
    };
    for name in ["oci", "oci-1"] {
        run(&["--profile", name]).failed().says("is not one that may be selected");
    }
    for name in ["baseline", "restricted-1", "sandbox"] {
        run(&["--profile", name]).ok().prints("0");
    }
    lab.runtime().args(["policy", "check"]).go().ok().says("there is none: restricted-1 holds");
    fs::create_dir("/etc/brig").expect("make a directory");
    fs::write("/etc/brig/policy.toml", "version = 1\ndefault = \"oci\"\n").expect("write");
    let c = lab.container(lab.bundle().sh("touch /x && cat /proc/self/uid_map"));
    c.run().ok().says("4294967295");
}

#[test]
fn an_ordinary_user_runs_a_container() {
    need!(Brig);
    let lab = lab();
    let map = json!([{"containerID": 0, "hostID": BOXER, "size": 1}, {"containerID": 1, "hostID": 3_000_000, "size": 65_535}]);
    let bundle = lab.plain_bundle().user_namespace(BOXER).unset("/linux/cgroupsPath");
    let bundle = bundle.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    let script = "id -u; grep -c NoNewPrivs:.1 /proc/self/status";
    let c = lab.container(bundle.unset("/linux/resources").sh(script));
    let runtime = lab.dir().join("runtime");
    fs::copy(binaries::runtime(), &runtime).expect("copy the runtime to where the user reaches it");
    let boxer = BOXER.to_string();
    lab.call("chown").arg("-R").arg(format!("{boxer}:{boxer}")).arg(lab.dir()).go().ok();
    let call = lab.call("setpriv").env("XDG_RUNTIME_DIR", lab.dir());
    let call = call.args(["--reuid", &boxer, "--regid", &boxer, "--clear-groups"]);
    let call = call.arg(&runtime).args(["run", "--bundle"]).arg(&c.bundle.dir).arg(c.id());
    call.go().ok().prints("0\n1");
    lab.assert_clean();
}

#[test]
fn podman_runs_containers() {
    need!(Brig);
    let lab = lab();
    let podman = Podman::start(&lab);
    // The policy knows what engines keep by where they keep it, which is the test's directory here.
    lab.tmpfs(Path::new("/var/lib"));
    lab.tmpfs(Path::new("/run"));
    lab.show_at(Path::new("/var/lib/containers"), podman.dir());
    lab.show_at(Path::new("/var/lib/containers/storage"), &podman.dir().join("root"));
    lab.show_at(Path::new("/run/containers/storage"), &podman.dir().join("run"));
    podman.run("a", &["--rm"], &["/bin/sh", "-c", SEES]).go().ok().prints(RESTRICTED);
    // What Podman binds for options, each file and directory by itself.
    podman.says("volume create data").ok();
    let secret = podman.dir().join("secret");
    fs::write(&secret, "a secret").expect("write");
    podman.call(&["secret", "create", "told"]).arg(&secret).go().ok();
    let options = [
        "--rm",
        "--volume",
        "data:/data",
        "--secret",
        "told",
        "--tz",
        "Asia/Tokyo",
        "--user",
        "7:7",
    ];
    let script = "cat /run/secrets/told; echo; date +%z; ls -d /data; ls -A /data";
    let inside = podman.run("c", &options, &["/bin/sh", "-c", script]).go().ok();
    inside.prints("a secret\n+0900\n/data");
    podman.run("b", &["--detach"], &["/bin/idle"]).go().ok();
    podman.says("exec b sh -c grep\t-c\tNoNewPrivs:.1\t/proc/self/status").ok().prints("1");
    podman.says("rm --force --time 0 b").ok();
    drop(podman);
    lab.assert_clean();
}

#[test]
fn podman_of_an_ordinary_user_runs_containers() {
    need!(Brig);
    let lab = lab();
    let podman = Podman::of_user(&lab);
    lab.tmpfs(Path::new("/home"));
    lab.tmpfs(Path::new("/run"));
    let home = Path::new("/home/boxer/.local/share/containers/storage");
    lab.show_at(home, &podman.dir().join("root"));
    lab.show_at(Path::new("/run/user/64322/containers"), &podman.dir().join("run"));
    let sees = "[ $(id -u) = 0 ] && touch /x 2>/dev/null || echo read-only; grep -c NoNewPrivs:.1 /proc/self/status";
    for userns in ["host", "auto", "keep-id"] {
        let args =
            ["run", "--rm", "--network", "none", "--userns", userns, IMAGE, "sh", "-c", sees];
        podman.call(&args).go().ok().prints("read-only\n1");
    }
    drop(podman);
    lab.assert_clean();
}

#[test]
fn containerd_runs_containers() {
    need!(Brig);
    let lab = lab();
    let containerd = Containerd::start(&lab);
    containerd.run(&lab.id(), &["--rm"], &["/bin/sh", "-c", SEES]).go().ok().prints(RESTRICTED);
    drop(containerd);
    lab.assert_clean();
}

/// Docker connects a container to its bridge by a hook that calls the daemon's own program.
#[test]
fn docker_runs_containers_in_its_networks() {
    need!(Brig);
    let lab = lab();
    lab.own_network();
    // Where a static archive puts it; the tests' own is in nobody's list of places.
    let place = Path::new("/usr/local/bin");
    let program = docker::program("sbin/dockerd");
    if !program.starts_with("/usr/sbin") {
        lab.tmpfs(place);
        lab.show_at(&place.join("dockerd"), &program);
    }
    let docker = Docker::installed(&lab);
    let data = docker.says("info --format {{.DockerRootDir}}").ok().stdout();
    lab.tmpfs(Path::new("/var/lib"));
    lab.show_at(Path::new("/var/lib/docker"), Path::new(data.trim()));
    docker.sh("--network bridge", SEES).ok().prints(RESTRICTED);
    let address = "ip -4 -o address show dev eth0";
    docker.sh("--network bridge", address).ok().says("inet 172.17.");
    drop(docker);
    lab.assert_clean();
}

/// Each `RUN` of a build writes to its root, which is what `baseline` lets it; the README has a link whose name selects that.
#[test]
fn images_are_built_by_a_link_that_selects_baseline() {
    need!(EnginesOfToday);
    need!(Brig);
    let lab = lab();
    let buildah = Buildah::start(&lab);
    let (context, link) = (lab.path("context"), lab.dir().join("brig-baseline"));
    fs::create_dir(&context).expect("make a directory");
    let recipe = "FROM localhost/box:1\nRUN echo made >/made && cat /made && grep -c Seccomp:.2 /proc/self/status\n";
    fs::write(context.join("Dockerfile"), recipe).expect("write a recipe");
    symlink(binaries::runtime(), &link).expect("link");
    let build = |runtime: &Path| {
        let call =
            buildah.call(&["build", "--no-cache", "--network", "none", "--isolation", "oci"]);
        call.arg("--runtime").arg(runtime).arg(&context).go()
    };
    build(&link).ok().says("made\n1\n");
    build(binaries::runtime()).failed().says("the node's profile \"restricted-1\" denies");
    drop(buildah);
    lab.assert_clean();
}
