//! config.json by an author who wants another reading of it than the reviewer's: keys in other case, the host's
//! own namespaces under another name, text that is not what a terminal shows.

use brig_integration::{Lab, json, need};
use nix::sched::CloneFlags;

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
    // What goes wrong shall not go wrong for the machine.
    nix::sched::unshare(
        CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWNET,
    )
    .expect("unshare");
    let message_max = || std::fs::read_to_string("/proc/sys/kernel/msgmax").expect("read");
    let name = || nix::sys::utsname::uname().expect("uname").nodename().to_owned();
    let before = (message_max(), name());
    let own = |kind: &str| format!("/proc/self/ns/{kind}");
    let bound = lab.path("bound");
    std::fs::write(&bound, "").expect("write");
    nix::mount::mount(
        Some("/proc/thread-self/ns/uts"),
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

/// A title for the terminal, colours, a line of its own, and letters from right to left.
const HOSTILE: &str =
    "x\u{1b}]0;t\u{7}\u{9b}31m\u{7f}\u{202e}y\u{2066}\u{200f}\r\n  1  seccomp 412 instructions";

#[track_caller]
fn is_harmless(text: &str) {
    let harmful = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200f}' | '\u{2028}')
    };
    assert!(!text.contains(harmful), "{text:?}");
    let forged = text.lines().any(|line| line.trim_start().starts_with("1  seccomp 412"));
    assert!(!forged, "{text}");
}

#[test]
fn what_a_configuration_names_makes_no_line_of_the_plan_and_moves_no_cursor() {
    need!(Brig);
    let lab = Lab::new();
    let bundle = lab
        .bundle()
        .set("/hostname", HOSTILE)
        .set("/process/env/-", format!("A={HOSTILE}"))
        .set("/process/args/0", HOSTILE)
        .set("/linux/maskedPaths", json!([format!("/{HOSTILE}")]))
        .set("/linux/resources/unified", json!({}))
        .mount(json!({"destination": format!("/{HOSTILE}"), "type": "tmpfs", "source": HOSTILE, "options": []}))
        .mount(json!({"destination": "/bound", "type": "bind", "source": format!("/{HOSTILE}"), "options": ["bind"]}))
        .set("/hooks/createContainer", json!([{"path": format!("/{HOSTILE}"), "args": [HOSTILE]}]));
    let c = lab.container(bundle);
    let plan = lab.runtime().args(["plan", "--bundle"]).arg(&c.bundle.dir).go().ok();
    assert!(plan.stdout().contains("\\u{1b}]0;t"), "{}", plan.stdout());
    is_harmless(&plan.stdout());
}

#[test]
fn errors_logs_and_lists_show_no_control_characters_of_others() {
    need!(Brig);
    let lab = Lab::new();
    let says = json!([{"path": "/bin/sh", "args": ["sh", "-c", format!("printf '%s' '{HOSTILE}' >&2; exit 1")]}]);
    for (pointer, value) in [
        ("/process/cwd", json!(format!("/{HOSTILE}"))),
        ("/process/args", json!([HOSTILE])),
        ("/process/user/uid", json!(HOSTILE)),
        ("/linux/namespaces/0/type", json!(HOSTILE)),
        ("/linux/cgroupsPath", json!(HOSTILE)),
        ("/linux/sysctl", json!({HOSTILE: "1"})),
        ("/annotations", json!({HOSTILE: 1})),
        ("/hooks/prestart", says),
    ] {
        let c = lab.container(lab.bundle().sh("true").set(pointer, value));
        for format in ["text", "json"] {
            let log = lab.path("log");
            let call = lab.runtime().arg("--log").arg(&log).args(["--log-format", format]);
            let output = call.args(["run", "--bundle"]).arg(&c.bundle.dir).arg(c.id()).go();
            is_harmless(&output.stderr());
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            is_harmless(&text);
            assert_eq!(text.lines().count(), usize::from(!output.succeeded()), "{pointer}: {text}");
            if format == "json" && !output.succeeded() {
                let line: brig_integration::Value =
                    brig_integration::from_slice(text.as_bytes()).expect("JSON");
                assert_eq!(line["level"], "error");
            }
        }
    }
    let c = lab.container(lab.bundle().idle());
    let strange = c.bundle.dir.with_file_name(HOSTILE.replace('/', "_"));
    c.bundle.write();
    std::fs::create_dir(&strange).expect("make");
    std::fs::copy(c.bundle.dir.join("config.json"), strange.join("config.json")).expect("copy");
    lab.runtime().args(["run", "--detach", "--bundle"]).arg(&strange).arg(c.id()).go().ok();
    for format in ["table", "json"] {
        is_harmless(&lab.runtime().args(["list", "--format", format]).go().ok().stdout());
    }
    assert_eq!(c.state()["bundle"], strange.to_string_lossy().as_ref());
    is_harmless(&c.verb("state").ok().stdout());
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn what_a_profile_names_is_shown_as_a_name() {
    need!(Brig);
    let lab = Lab::new();
    let profile = lab.path("profile.json");
    let text = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", HOSTILE], "action": "SCMP_ACT_ERRNO"}]});
    std::fs::write(&profile, text.to_string()).expect("write");
    for verb in ["check", "show", "export"] {
        let output = lab.runtime().args(["seccomp", verb]).arg(&profile).go();
        is_harmless(&output.stderr());
        if verb != "export" {
            is_harmless(&output.stdout());
        }
    }
}

/// `SCMP_ACT_ERRNO` with 0 has a call succeed that is never made; where other runtimes load the filter before privileges
/// fall, the calls are theirs, and the program runs as root.
#[test]
fn a_filter_cannot_pretend_that_privileges_were_dropped() {
    need!(Brig);
    let lab = Lab::new();
    let user = json!({"uid": 1000, "gid": 1000});
    let needed = [
        "setresuid",
        "setresgid",
        "setgroups",
        "capset",
        "prctl",
        "umask",
        "close_range",
        "read",
        "accept4",
    ];
    for (name, hardened) in needed.into_iter().flat_map(|name| [(name, false), (name, true)]) {
        let rule = json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 0});
        let bundle = lab.bundle().sh("sleep 60").set("/process/user", user.clone());
        let bundle = bundle.set("/process/noNewPrivileges", hardened);
        let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
        let c = lab.container(bundle.set("/linux/seccomp", profile));
        c.create().ok();
        c.start().ok();
        let status = std::fs::read_to_string(format!("/proc/{}/status", c.pid())).expect("it runs");
        for line in [
            "Uid:\t1000\t1000\t1000\t1000",
            "Groups:\t \n",
            "CapPrm:\t0000000000000000",
            "Seccomp:\t2",
        ] {
            assert!(status.contains(line), "{name}, {hardened}: {line}\n{status}");
        }
        c.delete_force().ok();
    }
    lab.assert_clean();
}

#[test]
fn nor_can_it_in_exec() {
    need!(Brig);
    let lab = Lab::new();
    let rule = json!({"names": ["setresuid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0});
    let bundle = lab.bundle().idle().set("/process/noNewPrivileges", true);
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    let c = lab.container(bundle.set("/linux/seccomp", profile));
    c.run_detached();
    let process = lab.path("process.json");
    let user = json!({"uid": 1000, "gid": 1000});
    let text =
        json!({"args": ["/bin/id", "-u"], "cwd": "/", "user": user, "noNewPrivileges": false});
    std::fs::write(&process, text.to_string()).expect("write");
    let path = process.to_string_lossy().into_owned();
    c.call("exec", ["--process", &path]).go().ok().prints("1000");
    c.delete_force().ok();
    lab.assert_clean();
}

/// Engines put a `rw` of their own into the list.
#[test]
fn a_recursive_attribute_holds_for_the_mount_itself_whatever_else_the_list_says() {
    let lab = Lab::new();
    let source = lab.path("source");
    std::fs::create_dir(&source).expect("a directory");
    for options in [["rw", "rro"], ["rro", "rw"], ["suid", "rnosuid"], ["rnodev", "dev"]] {
        let wanted =
            options.iter().find_map(|option| option.strip_prefix('r').filter(|o| *o != "w"));
        let bundle = lab.bundle().sh("grep ' /tmp ' /proc/self/mountinfo | cut -d' ' -f6");
        let bundle = bundle.bind(&source, "/tmp", &[&["bind"], &options[..]].concat());
        let output = lab.container(bundle).run().ok();
        let seen = output.stdout().trim().to_owned();
        assert!(seen.split(',').any(|one| Some(one) == wanted), "{options:?}: {seen}");
    }
    lab.assert_clean();
}

/// A path that ends as a directory's does still names the file.
#[test]
fn a_mask_with_a_slash_at_its_end_hides_the_file_all_the_same() {
    need!(Brig); // runc refuses it
    let lab = Lab::new();
    for path in ["/proc/uptime/", "/proc/uptime//", "/proc/uptime/.", "/proc/uptime/./"] {
        let bundle = lab.bundle().set("/linux/maskedPaths", json!([path]));
        lab.container(bundle.sh("wc -c </proc/uptime")).run().ok().prints("0");
        let bundle = lab.bundle().set("/linux/readonlyPaths", json!([path]));
        let script = "grep -c ' /proc/uptime ro' /proc/self/mountinfo";
        lab.container(bundle.sh(script)).run().ok().prints("1");
    }
    lab.assert_clean();
}
