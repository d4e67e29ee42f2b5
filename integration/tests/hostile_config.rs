//! config.json by an author who wants another reading of it than the reviewer's: keys in other case, the host's
//! own namespaces under another name, text that is not what a terminal shows.

use brig_integration::{Lab, json, need};

/// runc, as Go's encoding/json, matches keys whatever their case, ſ (U+017F) and K (U+212A) included.
#[test]
fn keys_in_another_spelling_are_refused_on_every_level() {
    need!(Brig);
    let lab = Lab::new();
    for (at, key, name) in [
        ("", "Mounts", "mounts"),
        ("", "Hooks", "hooks"),
        ("/root", "ReadOnly", "readonly"),
        ("/mounts/0", "Options", "options"),
        ("/process/user", "Umask", "umask"),
        ("/process/capabilities", "Bounding", "bounding"),
        ("/linux", "\u{17f}eccomp", "seccomp"),
        ("/linux", "ma\u{17f}\u{212a}edPaths", "maskedPaths"),
        ("/linux/resources", "Memory", "memory"),
        ("/linux/namespaces/0", "PATH", "path"),
    ] {
        let bundle = lab.bundle().sh("echo up").edit(|spec| {
            let object = spec.pointer_mut(at).and_then(|value| value.as_object_mut());
            object.expect("an object").insert(key.to_owned(), json!(null));
        });
        let output = lab.container(bundle).run().failed();
        assert!(!output.stdout().contains("up"), "{key} was ignored");
        output.says(key).says(&format!("`{name}`"));
    }
    // What is the author's own is in any case, and what nobody knows is ignored.
    let bundle = lab.bundle().sh("echo up");
    let bundle = bundle.set("/annotations", json!({"Mounts": "x", "mounts": "y"})).set("/Extra", 1);
    lab.container(bundle).run().ok().prints("up");
    lab.assert_clean();
}

#[test]
fn keys_of_a_process_and_of_resources_are_refused_likewise() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    let process = lab.path("process.json");
    let text = json!({"args": ["true"], "cwd": "/", "user": {"uid": 0, "gid": 0}, "NoNewPrivileges": true});
    std::fs::write(&process, text.to_string()).expect("write");
    let path = process.to_string_lossy().into_owned();
    let output = c.call("exec", ["--process", &path]).go().failed();
    output.says("NoNewPrivileges").says("`noNewPrivileges`");
    let resources = json!({"pids": {"Limit": 5}}).to_string();
    let output = c.call("update", ["--resources", "-"]).stdin(resources.as_bytes()).go().failed();
    output.says("Limit").says("`limit`");
    c.delete_force().ok();
    lab.assert_clean();
}

/// A path makes no namespace of the host's a container's own: what would be written there is the host's.
#[test]
fn what_would_be_changed_in_a_namespace_of_brigs_own_is_refused() {
    need!(Brig); // runc refuses host names and sysctls that it compares with its own; 1.1 not by every path
    let lab = Lab::new();
    let message_max = || std::fs::read_to_string("/proc/sys/kernel/msgmax").expect("read");
    let name = || nix::sys::utsname::uname().expect("uname").nodename().to_owned();
    let before = (message_max(), name());
    let own = |kind: &str| format!("/proc/self/ns/{kind}");
    let bound = lab.path("bound");
    std::fs::write(&bound, "").expect("write");
    nix::mount::mount(
        Some("/proc/self/ns/uts"),
        &bound,
        None::<&str>,
        nix::mount::MsFlags::MS_BIND,
        None::<&str>,
    )
    .expect("bind");
    let ports = json!({"net.ipv4.ip_unprivileged_port_start": "1"});
    let cases = [
        ("uts", own("uts"), "/hostname", json!("taken"), "hostname"),
        ("uts", bound.to_string_lossy().into_owned(), "/hostname", json!("taken"), "hostname"),
        ("uts", own("uts"), "/domainname", json!("taken"), "domainname"),
        ("ipc", own("ipc"), "/linux/sysctl", json!({"kernel.msgmax": "9999"}), "kernel.msgmax"),
        ("network", own("net"), "/linux/sysctl", ports, "net.ipv4.ip_unprivileged_port_start"),
        ("network", own("net"), "/linux/netDevices", json!({"lo": {}}), "linux.netDevices"),
    ];
    for (kind, path, pointer, value, field) in cases {
        let bundle =
            lab.bundle().unset("/hostname").namespace(kind, Some(&path)).set(pointer, value);
        lab.container(bundle.sh("true")).run().failed().says(field).says("would change the host");
    }
    assert_eq!((message_max(), name()), before);
    // Engines say so for the host's network: nothing is changed there.
    let bundle = lab.bundle().namespace("network", Some(&own("net"))).sh("echo up");
    lab.container(bundle).run().ok().prints("up");
    // In another's it is allowed.
    let other = lab.container(lab.bundle().idle());
    other.run_detached();
    let path = format!("/proc/{}/ns/uts", other.pid());
    let bundle =
        lab.bundle().namespace("uts", Some(&path)).set("/hostname", "shared").sh("hostname");
    lab.container(bundle).run().ok().prints("shared");
    other.exec_sh("hostname").ok().prints("shared");
    other.delete_force().ok();
    nix::mount::umount(&bound).expect("unmount");
    lab.assert_clean();
}
