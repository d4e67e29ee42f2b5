//! SELinux labels: of the process, its keyring, and what is mounted for it, under a policy
//! (`vm/selinux.cil`) that notices a wrong one. In a guest, but for the tests of a kernel without.

use brig_integration::engine::Podman;
use brig_integration::{Bundle, Container, Lab, Value, binaries, json, machine, need};
use std::fs;
use std::path::{Path, PathBuf};

const PROCESS: &str = "system_u:system_r:container_t:s0:c1,c2";
const OTHER: &str = "system_u:system_r:container_t:s0:c3,c4";
const FILES: &str = "system_u:object_r:container_file_t:s0:c1,c2";

/// A container as an engine labels it, with a tmpfs on /tmp, and its keys to be seen.
fn labelled(lab: &Lab) -> Bundle {
    let bundle = lab.bundle().edit(|spec| {
        let masked = spec["linux"]["maskedPaths"].as_array_mut().expect("masked paths");
        masked.retain(|path| path != "/proc/keys");
    });
    bundle
        .mount(json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}))
        .set("/process/selinuxLabel", PROCESS)
        .set("/linux/mountLabel", FILES)
}

/// Whether the first key that the process sees, its session keyring, is its container's.
fn sees_its_keyring(view: &Value, id: &str) -> bool {
    let keys = view["keys"].as_array().expect("keys");
    keys.iter().any(|key| key.as_str().is_some_and(|key| key.contains(&format!("_ses.{id}:"))))
}

fn process_file(lab: &Lab, label: Option<&str>) -> PathBuf {
    let mut process =
        json!({"args": ["/probe", "selinux"], "cwd": "/", "user": {"uid": 0, "gid": 0}});
    if let Some(label) = label {
        process["selinuxLabel"] = json!(label);
    }
    let path = lab.path("process");
    fs::write(&path, process.to_string()).expect("write a process");
    path
}

/// A directory of the host with this label, and a file in it.
fn volume(lab: &Lab, label: &str) -> PathBuf {
    let dir = lab.path("volume");
    fs::create_dir(&dir).expect("make a directory");
    fs::write(dir.join("file"), "content").expect("write a file");
    for path in [&dir, &dir.join("file")] {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(path, "security.selinux", label.as_bytes(), flags).expect("label");
    }
    dir
}

#[test]
fn the_label_confines_the_program() {
    need!(SeLinux);
    let lab = Lab::new();
    let ours = volume(&lab, FILES);
    let theirs = volume(&lab, "system_u:object_r:container_file_t:s0:c3,c4");
    let script = "cat /proc/self/attr/current; echo; echo x >/ours/new && echo ours; \
        cat /theirs/file && echo theirs; echo x >/new && echo image; true";
    let run = |bundle: Bundle| {
        let bundle = bundle.bind(&ours, "/ours", &["rw"]).bind(&theirs, "/theirs", &["rw"]);
        lab.container(bundle.caps(&["CAP_DAC_OVERRIDE"]).sh(script)).run().ok()
    };
    let confined = run(labelled(&lab));
    confined.prints(&format!("{PROCESS}\0\nours")).says("/theirs/file': Permission denied");
    // It is the label that does it.
    let free = run(lab.bundle());
    assert!(free.stdout().contains("host_t") && free.stdout().ends_with("theirs\nimage\n"));
}

#[test]
fn what_is_mounted_has_the_mount_label() {
    need!(SeLinux);
    let lab = Lab::new();
    let own = "context=\"system_u:object_r:container_file_t:s0:c1,c2,c3\"";
    let mount = |to: &str, options: Value| json!({"destination": to, "type": "tmpfs", "source": "tmpfs", "options": options});
    let bundle = labelled(&lab)
        .mount(mount("/own", json!([own])))
        .mount(mount("/etc", json!(["tmpcopyup", "ro"])))
        .edit(|spec| spec["mounts"][4]["options"] = json!(["nosuid", "noexec", "nodev", "ro"]));
    let view = lab.view(bundle);
    let labels = &view["labels"];
    let created = ["/dev", "/dev/null", "/dev/pts", "/dev/ptmx", "/dev/shm", "/dev/mqueue", "/tmp"];
    let masks = ["/etc", "/proc/kcore", "/sys/firmware"];
    for path in created.iter().chain(&masks) {
        assert_eq!(labels[path], FILES, "{path}");
    }
    // In the kernel's own words, and instead of the general one.
    assert_eq!(labels["/own"], "system_u:object_r:container_file_t:s0:c1.c3");
    for (path, label) in [("/", "tmpfs_t"), ("/proc", "kernel_file_t"), ("/sys", "kernel_file_t")] {
        assert_eq!(labels[path], format!("system_u:object_r:{label}:s0"), "{path}");
    }
}

#[test]
fn what_is_mounted_can_be_written_with_the_mount_label_only() {
    need!(SeLinux);
    let lab = Lab::new();
    let script = "for f in /dev/null /dev/x /dev/shm/x /tmp/x; do echo x >$f && echo $f; done; \
        true >/dev/mqueue/x && echo /dev/mqueue/x; true";
    let run = |bundle: Bundle| lab.container(bundle.sh(script)).run().ok();
    run(labelled(&lab)).prints("/dev/null\n/dev/x\n/dev/shm/x\n/tmp/x\n/dev/mqueue/x");
    run(labelled(&lab).unset("/linux/mountLabel")).prints("");
}

#[test]
fn a_keyring_and_a_process_at_the_gate() {
    need!(SeLinux);
    let lab = Lab::new();
    let c = lab.container(labelled(&lab).args(["/bin/sh", "-c", "/probe >/tmp/view; /bin/idle"]));
    c.create().ok();
    c.start().ok();
    let inside = |path: &str| fs::read_to_string(format!("/proc/{}/{path}", c.pid()));
    let mut text = String::new();
    brig_integration::wait_until(brig_integration::PATIENCE, || {
        text = inside("root/tmp/view").unwrap_or_default();
        text.ends_with('\n')
    });
    let view: Value = brig_integration::from_slice(text.as_bytes()).expect("a view");
    assert_eq!(view["selinux"], PROCESS);
    // With another label than the process's the keyring could not be seen, nor used.
    assert!(sees_its_keyring(&view, c.id()), "{}", view["keys"]);
    assert_eq!(inside("attr/current").expect("a label").trim_end_matches('\0'), PROCESS);
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn exec_has_the_containers_label_or_its_own() {
    need!(SeLinux);
    let lab = Lab::new();
    let c = lab.container(labelled(&lab).idle());
    c.run_detached();
    let view = c.exec(&["/probe", "selinux", "keys"]).ok().json();
    assert_eq!(view["selinux"], PROCESS);
    assert!(sees_its_keyring(&view, c.id()), "{}", view["keys"]);
    let probe = ["/probe", "selinux"];
    let view = c.exec_call(&["--process-label", OTHER], &probe).go().ok().json();
    assert_eq!(view["selinux"], OTHER);
    // Categories may come in any order.
    let unordered = OTHER.replace("c3,c4", "c4,c3");
    let view = c.exec_call(&["--process-label", &unordered], &probe).go().ok().json();
    assert_eq!(view["selinux"], OTHER);
    for (label, expected) in [(None, PROCESS), (Some(""), PROCESS), (Some(OTHER), OTHER)] {
        let file = process_file(&lab, label);
        let call = c.call("exec", ["--process", &file.to_string_lossy()]);
        let view = call.go().ok().json();
        assert_eq!(view["selinux"], expected, "{label:?}");
    }
}

#[test]
fn a_label_that_the_policy_does_not_know_is_an_error() {
    need!(SeLinux);
    let lab = Lab::new();
    let unknown = |label: &str| label.replace("container", "unheard_of");
    let fails = |bundle: Bundle, words: &str| {
        let c = lab.container(bundle);
        c.create().code(1).says(words);
        assert_eq!(c.status(), "gone");
        lab.assert_clean();
    };
    fails(labelled(&lab).set("/process/selinuxLabel", unknown(PROCESS)), "process.selinuxLabel");
    fails(labelled(&lab).set("/linux/mountLabel", unknown(FILES)), "linux.mountLabel");
    let c = lab.container(labelled(&lab).idle());
    c.run_detached();
    let exec = c.exec_call(&["--process-label", &unknown(PROCESS)], &["/bin/true"]);
    exec.go().failed().says("selinuxLabel");
    assert!(c.is_alive());
}

#[test]
fn a_label_that_the_policy_lets_nobody_have_is_an_error() {
    need!(SeLinux);
    let lab = Lab::new();
    let sealed = PROCESS.replace("container_t", "sealed_t");
    let c = lab.container(labelled(&lab).set("/process/selinuxLabel", sealed.as_str()));
    c.run().failed().says("ermission denied").says("dmesg");
    lab.assert_clean();
}

#[test]
fn a_terminal_has_the_mount_label() {
    need!(SeLinux);
    let lab = Lab::new();
    let bundle = labelled(&lab).set("/process/terminal", true);
    let c = lab.container(bundle.args(["/probe", "labels"]));
    let socket = lab.console();
    let running = c.create_call(&["--console-socket", &socket.path().to_string_lossy()]).spawn();
    let mut console = socket.accept();
    running.wait().ok();
    c.start().ok();
    let view: Value = brig_integration::from_slice(console.rest().as_bytes()).expect("a view");
    for path in ["/dev/console", "/proc/self/fd/0"] {
        assert_eq!(view["labels"][path], FILES, "{path}");
    }
    c.wait_status("stopped");
}

#[test]
fn a_user_namespace_takes_labels_too() {
    need!(SeLinux);
    let lab = Lab::new();
    let c = lab.container(labelled(&lab).user_namespace(200_000).idle());
    c.run_detached();
    let view = c.exec(&["/probe", "selinux", "labels", "keys"]).ok().json();
    assert_eq!(view["selinux"], PROCESS);
    assert!(sees_its_keyring(&view, c.id()), "{}", view["keys"]);
    for path in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/tmp", "/proc/kcore"] {
        assert_eq!(view["labels"][path], FILES, "{path}");
    }
    let context = fs::read_to_string(format!("/proc/{}/attr/current", c.pid()));
    assert_eq!(context.expect("a label").trim_end_matches('\0'), PROCESS);
}

#[test]
fn an_ordinary_users_container_takes_labels_too() {
    need!(SeLinux, Brig);
    let lab = Lab::new();
    let bundle = lab.plain_bundle();
    let runtime = lab.dir().join("runtime");
    fs::copy(binaries::runtime(), &runtime).expect("copy the runtime to where the user reaches it");
    lab.call("chown").args(["-R", "12345:12345"]).arg(lab.dir()).go().ok();
    let script = format!(
        "cd \"$1\" && rm -f config.json && \"$2\" spec --rootless && \
         sed -i 's/\"terminal\": true/\"selinuxLabel\": \"{PROCESS}\"/; s/\"sh\"/\"idle\"/; \
         s/\"linux\": {{/&\"mountLabel\": \"{FILES}\",/' config.json && \
         \"$2\" run --detach labelled && \"$2\" exec labelled /probe selinux labels; \
         \"$2\" delete --force labelled"
    );
    let user = ["--reuid", "12345", "--regid", "12345", "--clear-groups"];
    let call = lab.call("setpriv").env("XDG_RUNTIME_DIR", lab.dir()).args(user);
    let call = call.args(["/bin/sh", "-c", &script, "sh"]).arg(&bundle.dir).arg(&runtime);
    let view = call.go().ok().json();
    assert_eq!(view["selinux"], PROCESS);
    for path in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/proc/kcore"] {
        assert_eq!(view["labels"][path], FILES, "{path}");
    }
    lab.assert_clean();
}

#[test]
fn a_container_of_podmans_has_its_labels() {
    need!(SeLinux);
    let lab = Lab::new();
    // As the package container-selinux installs it: the types that Podman gives.
    let contexts = Path::new("/usr/share/containers/selinux");
    lab.tmpfs(contexts);
    let types = "process = \"system_u:system_r:container_t:s0\"\n\
                 file = \"system_u:object_r:container_file_t:s0\"\n";
    fs::write(contexts.join("contexts"), types).expect("write Podman's types");
    let podman = Podman::start(&lab);
    let level = ["--rm", "--security-opt", "label=level:s0:c1,c2"];
    let script =
        "cat /proc/self/attr/current; echo; echo x >/new && echo x >/dev/shm/new && echo ours";
    let output = podman.run("box", &level, &["/bin/sh", "-c", script]).go().ok();
    output.prints(&format!("{PROCESS}\0\nours"));
    drop(podman);
    lab.assert_clean();
}

/// Debian's runc, which is built with SELinux, gives the same labels. What differs: a process of
/// brig's `exec` has a keyring of its own, one of runc's that of the container.
#[test]
fn labels_are_those_of_runc() {
    need!(SeLinux, Brig);
    let lab = Lab::new();
    let bundle = labelled(&lab).args(["/probe", "selinux", "labels", "keys"]);
    let tested = lab.container(bundle.clone());
    let mut view = tested.run().ok().json();
    let reference = lab.call("/usr/sbin/runc").arg("--root").arg(lab.path("reference-root"));
    let reference = reference.args(["run", "--bundle"]).arg(&bundle.dir).arg(tested.id());
    let mut reference = reference.go().ok().json();
    for view in [&mut view, &mut reference] {
        // runc copies standard input through a pipe, in the foreground.
        view["labels"].as_object_mut().expect("labels").remove("/proc/self/fd/0");
    }
    assert_eq!(view["selinux"], reference["selinux"]);
    assert_eq!(view["labels"], reference["labels"]);
    for view in [&view, &reference] {
        assert!(sees_its_keyring(view, tested.id()), "{}", view["keys"]);
    }
}

#[test]
fn labels_where_there_is_no_selinux_are_errors() {
    let lab = Lab::new();
    if Path::new("/sys/fs/selinux/enforce").exists() {
        return;
    }
    need!(Brig);
    let fails = |c: &Container<'_>, field: &str| {
        c.run().code(1).says(&format!("{field}: is \"system_u:")).says("no SELinux");
        lab.assert_clean();
    };
    fails(
        &lab.container(lab.bundle().set("/process/selinuxLabel", PROCESS)),
        "process.selinuxLabel",
    );
    fails(&lab.container(lab.bundle().set("/linux/mountLabel", FILES)), "linux.mountLabel");
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    let exec = c.exec_call(&["--process-label", PROCESS], &["/bin/true"]).go();
    exec.failed().says("process.selinuxLabel");
    assert!(!machine::has_selinux());
}
