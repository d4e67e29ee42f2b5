//! Hooks: when, where and with what each of the six kinds runs. Reference: the OCI runtime
//! specification's config.md, "POSIX-platform Hooks", and runtime.md, "Lifecycle".

use brig_integration::command::flavour;
use brig_integration::{Bundle, Container, Lab, PATIENCE, Value, json, machine, need, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A hook that runs a host's shell script.
fn hook(script: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", script]})
}

/// All six, each of which appends what `what` prints to the log in `dir`.
fn all(bundle: Bundle, dir: &Path, what: &str) -> Bundle {
    KINDS.iter().fold(bundle.bind(dir, &dir.to_string_lossy(), &["rw"]), |bundle, kind| {
        let script = format!("{{ printf '{kind} '; {what}; }} >>{}/log", dir.display());
        bundle
            .set(&format!("/hooks/{kind}/-"), Value::Null)
            .edit(|spec| spec["hooks"][*kind] = json!([hook(&script)]))
    })
}

fn log(dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(dir.join("log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn shared(lab: &Lab) -> PathBuf {
    let dir = lab.path("shared");
    fs::create_dir(&dir).expect("make a directory");
    dir
}

#[test]
fn hooks_run_in_their_order() {
    need!(Brig); // runc 1.1 runs poststart at create
    let lab = Lab::new();
    let dir = shared(&lab);
    let c = lab.container(all(lab.bundle().idle(), &dir, "echo"));
    c.create().ok();
    let trimmed =
        |dir: &Path| -> Vec<String> { log(dir).iter().map(|l| l.trim().to_owned()).collect() };
    assert_eq!(trimmed(&dir), KINDS[..3]);
    c.start().ok();
    assert!(wait_until(PATIENCE, || trimmed(&dir).len() == 5), "{:?}", log(&dir));
    let mut started = trimmed(&dir)[3..].to_vec();
    started.sort();
    assert_eq!(started, ["poststart", "startContainer"]);
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.delete().ok();
    assert_eq!(trimmed(&dir)[5..], ["poststop"]);
    lab.assert_clean();
}

#[test]
fn hooks_of_one_kind_run_in_the_listed_order() {
    let lab = Lab::new();
    let file = lab.path("log");
    let say = |n: u32| hook(&format!("echo {n} >>{}", file.display()));
    let c =
        lab.container(lab.bundle().set("/hooks/createRuntime", json!([say(1), say(2), say(3)])));
    c.run().ok();
    assert_eq!(fs::read_to_string(&file).expect("the log"), "1\n2\n3\n");
}

#[test]
fn hooks_read_the_state_on_standard_input() {
    let lab = Lab::new();
    let dir = shared(&lab);
    let c = lab.container(all(
        lab.bundle().set("/annotations", json!({"k": "v"})).idle(),
        &dir,
        "cat; echo",
    ));
    c.run_detached();
    assert!(wait_until(PATIENCE, || log(&dir).len() == 5), "{:?}", log(&dir));
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.delete().ok();
    // runc 1.1 runs it too early.
    let poststart = if flavour().is_brig() { "running" } else { "created" };
    let expected = [
        ("prestart", "creating"),
        ("createRuntime", "creating"),
        ("createContainer", "creating"),
        ("startContainer", "created"),
        ("poststart", poststart),
        ("poststop", "stopped"),
    ];
    for (kind, status) in expected {
        let line = log(&dir)
            .into_iter()
            .find(|l| l.starts_with(kind))
            .unwrap_or_else(|| panic!("no {kind}"));
        let state: Value = serde_json::from_str(&line[kind.len()..]).expect("JSON");
        assert_eq!(state["id"], c.id(), "{kind}");
        assert_eq!(state["bundle"], c.bundle.dir.to_string_lossy().as_ref(), "{kind}");
        assert_eq!(state["annotations"]["k"], "v", "{kind}");
        assert!(state["ociVersion"].is_string(), "{kind}");
        assert_eq!(state["status"], status, "{kind}: {state}");
    }
}

#[test]
fn hooks_run_in_their_namespaces() {
    let lab = Lab::new();
    let dir = shared(&lab);
    let c = lab.container(all(
        lab.bundle().idle(),
        &dir,
        "echo $(readlink /proc/self/ns/mnt) $(readlink /proc/self/ns/net)",
    ));
    c.run_detached();
    assert!(wait_until(PATIENCE, || log(&dir).len() == 5), "{:?}", log(&dir));
    let inside: Vec<String> = ["mnt", "net"]
        .iter()
        .map(|kind| {
            fs::read_link(format!("/proc/{}/ns/{kind}", c.pid()))
                .expect("link")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    for line in log(&dir) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_inside = matches!(words[0], "createContainer" | "startContainer");
        assert_eq!(words[1] == inside[0], is_inside, "mount namespace of {line}");
        assert_eq!(words[2] == inside[1], is_inside, "network namespace of {line}");
    }
}

#[test]
fn create_container_hooks_run_before_the_root_changes() {
    let lab = Lab::new();
    let file = lab.path("seen");
    let script = format!("test -e /etc/debian_version && echo host >{}", file.display());
    let c = lab.container(lab.bundle().set("/hooks/createContainer", json!([hook(&script)])));
    c.run().ok();
    assert_eq!(fs::read_to_string(&file).expect("the log"), "host\n");
}

#[test]
fn start_container_hooks_run_in_the_containers_root() {
    let lab = Lab::new();
    let c = lab.container(
        lab.bundle()
            .set("/hooks/startContainer", json!([hook("test -e /probe && echo inside >/seen")])),
    );
    c.run().ok();
    assert_eq!(fs::read_to_string(c.host_path("/seen")).expect("seen"), "inside\n");
}

#[test]
fn a_create_runtime_hook_can_reach_the_container_by_pid() {
    let lab = Lab::new();
    let file = lab.path("seen");
    let script = format!(
        "pid=$(sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p'); readlink /proc/$pid/ns/net >{}",
        file.display()
    );
    let c = lab.container(lab.bundle().idle().set("/hooks/createRuntime", json!([hook(&script)])));
    c.run_detached();
    let seen = fs::read_to_string(&file).expect("seen");
    let net = fs::read_link(format!("/proc/{}/ns/net", c.pid())).expect("link");
    assert_eq!(seen.trim(), net.to_string_lossy(), "a network plugin works this way");
}

#[test]
fn a_failing_hook_fails_the_verb_and_cleans_up() {
    for kind in &KINDS[..3] {
        let lab = Lab::new();
        let c = lab.container(
            lab.bundle().set(&format!("/hooks/{kind}"), json!([hook("echo why >&2; exit 3")])),
        );
        c.create().code(1).says("hook").says("why");
        assert_eq!(c.status(), "gone", "{kind}");
        lab.assert_clean();
    }
}

/// runtime.md, "Lifecycle": the container is stopped and destroyed, and its poststop hooks run. Nothing is left for a later
/// `delete`, which would run them again.
#[test]
fn after_a_failing_hook_the_container_is_gone_and_poststop_hooks_have_run_once() {
    need!(Brig); // runc 1.3 leaves what fails past the gate, and says nothing of it
    let lab = Lab::new();
    for kind in &KINDS[..5] {
        for verbs in [&["create", "start"][..], &["run"]] {
            let file = lab.path(&format!("log-{kind}-{}", verbs.len()));
            let after = hook(&format!("cat >>{0}; echo >>{0}", file.display()));
            let c = lab.container(
                lab.bundle()
                    .sh("touch /ran; exec sleep 1000")
                    .set(&format!("/hooks/{kind}"), json!([hook("echo why >&2; exit 3")]))
                    .set("/hooks/poststop", json!([after])),
            );
            let output = match verbs {
                ["run"] => c.run_call(&["--detach"]).go(),
                _ if KINDS[..3].contains(kind) => c.create(),
                _ => {
                    c.create().ok();
                    c.start()
                }
            };
            output.code(1).says("hook").says("why");
            assert_eq!(c.status(), "gone", "{kind} of {verbs:?}");
            c.delete().failed().says("does not exist");
            let ran = fs::read_to_string(&file).unwrap_or_default();
            let states: Vec<Value> =
                ran.lines().map(|line| serde_json::from_str(line).expect("a state")).collect();
            assert_eq!(states.len(), 1, "{kind} of {verbs:?}: {ran}");
            assert_eq!(states[0]["status"], "stopped", "{kind} of {verbs:?}");
            assert!(*kind == "poststart" || !c.host_path("/ran").exists(), "{kind} of {verbs:?}");
            lab.assert_clean();
        }
    }
}

/// What hooks have made is undone by poststop hooks, also where it is not a hook that fails.
#[test]
fn poststop_hooks_run_after_a_failure_past_the_first_hook_alone() {
    need!(Brig); // runc runs them after every failure
    let lab = Lab::new();
    let file = lab.path("log");
    let say = |what: &str| json!([hook(&format!("echo {what} >>{}", file.display()))]);
    let bundle = || lab.bundle().set("/hooks/poststop", say("undone"));
    let fails_early = lab.container(bundle().args(["/missing"]));
    fails_early.create().failed().says("/missing");
    assert!(!file.exists(), "nothing was done");
    let fails_late =
        lab.container(bundle().args(["/missing"]).set("/hooks/createRuntime", say("done")));
    fails_late.create().failed().says("/missing");
    assert_eq!(fs::read_to_string(&file).unwrap_or_default(), "done\nundone\n");
    lab.assert_clean();
}

/// Who asks brig to stop ends a hook that takes long, but not the ones that undo what it made.
#[test]
fn poststop_hooks_have_their_time_where_brig_is_to_stop() {
    need!(Brig); // runc leaves the hook behind
    let lab = Lab::new();
    let file = lab.path("log");
    let waits = json!([hook("exec sleep 1000")]);
    let undoes = json!([hook(&format!("sleep 0.1; echo undone >{}", file.display()))]);
    let c = lab
        .container(lab.bundle().set("/hooks/createRuntime", waits).set("/hooks/poststop", undoes));
    let brig = c.create_call(&[]).spawn();
    let sleeps = || machine::descendants(brig.pid()).iter().any(|process| process.name == "sleep");
    assert!(wait_until(PATIENCE, sleeps), "the hook runs");
    kill(Pid::from_raw(brig.pid()), Signal::SIGTERM).expect("signal brig");
    brig.wait().code(143).says("asked to stop");
    assert_eq!(fs::read_to_string(&file).unwrap_or_default(), "undone\n");
    lab.assert_clean();
}

#[test]
fn a_failing_poststop_hook_does_not_keep_the_container() {
    need!(Brig); // runc 1.1 skips the others
    let lab = Lab::new();
    let file = lab.path("log");
    let second = hook(&format!("echo second >>{}", file.display()));
    let c = lab.container(lab.bundle().set("/hooks/poststop", json!([hook("exit 3"), second])));
    c.run().ok().says("hooks.poststop[0] (/bin/sh) ended with exit code 3");
    assert_eq!(c.status(), "gone");
    assert_eq!(fs::read_to_string(&file).unwrap_or_default(), "second\n", "the others still run");
    lab.assert_clean();
}

#[test]
fn a_hook_that_takes_too_long_is_killed() {
    let lab = Lab::new();
    let mut slow = hook("exec sleep 1000");
    slow["timeout"] = json!(1);
    let c = lab.container(lab.bundle().set("/hooks/createRuntime", json!([slow])));
    let output = c.create().failed();
    assert!(output.took < PATIENCE, "{:?}", output.took);
    lab.assert_clean();
}

#[test]
fn a_hook_whose_child_keeps_its_output_open_times_out_too() {
    need!(Brig); // runc 1.1 waits for the child
    let lab = Lab::new();
    let mut slow = hook("sleep 1000; :");
    slow["timeout"] = json!(1);
    let c = lab.container(lab.bundle().set("/hooks/createRuntime", json!([slow])));
    let output = c.create().failed();
    assert!(output.took < PATIENCE, "{:?}", output.took);
    lab.assert_clean();
}

#[test]
fn a_hook_need_not_read_its_state_however_long_it_is() {
    let lab = Lab::new();
    // More than a pipe holds.
    let long = "x".repeat(200_000);
    let hooks = json!([hook("exit 0"), hook("exec <&-; exec 2>&-; sleep 0.1")]);
    let bundle =
        lab.bundle().set("/annotations", json!({"long": long})).set("/hooks/prestart", hooks);
    lab.container(bundle.sh("true")).run().ok();
    lab.assert_clean();
}

#[test]
fn a_hook_gets_a_long_state_while_it_talks_and_its_last_words_are_told() {
    need!(Brig); // runc waits for the hook to read first
    let lab = Lab::new();
    let long = "x".repeat(200_000);
    let script = "head -c 300000 /dev/zero | tr '\\0' y >&2; wc -c; cat; echo last >&2; exit 3";
    let bundle = lab.bundle().set("/annotations", json!({"long": long}));
    let c = lab.container(bundle.set("/hooks/prestart", json!([hook(script)])));
    let output = c.create().code(1);
    let output = output.says("yyyy").says("ended with exit code 3");
    assert!(output.stderr().len() < 10_000, "the start of it is told");
    lab.assert_clean();
}

#[test]
fn what_a_failed_hook_leaves_running_is_killed() {
    need!(Brig); // runc leaves it
    let lab = Lab::new();
    let pid = lab.path("pid");
    let script = format!("sleep 1000 & echo $! >{}; exit 3", pid.display());
    let c = lab.container(lab.bundle().set("/hooks/createRuntime", json!([hook(&script)])));
    c.create().code(1);
    let pid = fs::read_to_string(&pid).expect("the hook ran");
    let gone = || !Path::new(&format!("/proc/{}", pid.trim())).exists();
    assert!(wait_until(PATIENCE, gone), "the hook's child still runs");
    lab.assert_clean();
}

#[test]
fn hooks_have_only_the_listed_environment() {
    let lab = Lab::new();
    let file = lab.path("env");
    let mut entry = json!({"path": "/usr/bin/env"});
    entry["args"] = json!(["env"]);
    entry["env"] = json!(["ONLY=this"]);
    // env prints to the hook's own standard output; a shell keeps it.
    entry["path"] = json!("/bin/sh");
    entry["args"] = json!(["sh", "-c", format!("/usr/bin/env >{}", file.display())]);
    let c = lab.container(lab.bundle().set("/hooks/createRuntime", json!([entry])));
    c.run_call(&[]).env("LEAK", "host").go().ok();
    let text = fs::read_to_string(&file).expect("the environment");
    assert!(text.contains("ONLY=this") && !text.contains("LEAK"), "{text}");
}

#[test]
fn a_start_container_hook_without_environment_has_the_programs() {
    let lab = Lab::new();
    let hook =
        |env: Value| json!([{"path": "/bin/sh", "args": ["sh", "-c", "env >/seen"], "env": env}]);
    let b = lab.bundle().set("/process/env", json!(["PATH=/bin", "OF=program", "HOME=/var"]));
    let seen = |env: Value| {
        let c = lab.container(b.clone().set("/hooks/startContainer", hook(env)));
        c.run_call(&[]).env("LEAK", "host").go().ok();
        let text = fs::read_to_string(c.host_path("/seen")).expect("the environment");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.retain(|line| ["OF=", "HOME=", "LEAK="].iter().any(|name| line.starts_with(name)));
        lines.sort();
        lines
    };
    assert_eq!(seen(json!([])), ["HOME=/var", "OF=program"]);
    assert_eq!(seen(json!(["PATH=/bin", "OF=hook"])), ["OF=hook"]);
}

#[test]
fn hooks_inherit_no_descriptors() {
    let lab = Lab::new();
    let file = lab.path("fds");
    let script = format!("ls -l /proc/$$/fd >{}; :", file.display());
    let c = lab.container(lab.bundle().set("/hooks/createRuntime", json!([hook(&script)])));
    c.run().ok();
    let text = fs::read_to_string(&file).expect("the descriptors");
    let number = |line: &str| line.split(" -> ").next()?.rsplit(' ').next()?.parse::<u32>().ok();
    // dash keeps a saved copy of its standard output at 10 or more during the redirection.
    let extra: Vec<&str> =
        text.lines().filter(|l| number(l).is_some_and(|n| (3..10).contains(&n))).collect();
    assert!(extra.is_empty(), "{extra:?}");
}

#[test]
fn a_missing_hook_program_is_an_error() {
    let lab = Lab::new();
    let c: Container =
        lab.container(lab.bundle().set("/hooks/createRuntime", json!([{"path": "/no/such/hook"}])));
    c.create().code(1).says("/no/such/hook");
    lab.assert_clean();
}

#[test]
fn a_relative_hook_path_is_refused() {
    need!(Brig);
    let lab = Lab::new();
    for kind in KINDS {
        let c =
            lab.container(lab.bundle().set(&format!("/hooks/{kind}"), json!([{"path": "bin/sh"}])));
        c.create().code(1).says(&format!("hooks.{kind}[0].path"));
    }
    lab.assert_clean();
}

#[test]
fn hooks_inside_get_the_pid_that_the_container_sees() {
    need!(Brig);
    let lab = Lab::new();
    let dir = shared(&lab);
    let other = lab.container(lab.bundle().idle());
    other.run_detached();
    let joined = format!("/proc/{}/ns/pid", other.pid());
    let bundles = [
        lab.bundle(),
        lab.bundle().without_namespace("pid"),
        lab.bundle().namespace("pid", Some(&joined)),
    ];
    for (number, bundle) in bundles.into_iter().enumerate() {
        let _ = fs::remove_file(dir.join("log"));
        let c = lab.container(all(bundle.idle(), &dir, "cat; echo"));
        c.run_detached();
        assert!(wait_until(PATIENCE, || log(&dir).len() == 5), "{:?}", log(&dir));
        let status = fs::read_to_string(format!("/proc/{}/status", c.pid())).expect("its status");
        let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).expect("its pids");
        let inside = pids.split_whitespace().last().expect("a pid");
        assert_eq!(number == 0, inside == "1", "{inside}");
        for line in log(&dir) {
            let (kind, state) = line.split_once(' ').expect("a kind");
            let state: Value = serde_json::from_str(state).expect("JSON");
            let expected = match kind {
                "createContainer" | "startContainer" => inside.to_owned(),
                _ => c.pid().to_string(),
            };
            assert_eq!(state["pid"].to_string(), expected, "{kind}");
        }
        c.delete_force().ok();
    }
    other.delete_force().ok();
    lab.assert_clean();
}

/// Wherever brig's caller is. startContainer hooks are in the directory of the program.
#[test]
fn hooks_run_in_the_bundle() {
    let lab = Lab::new();
    let dir = shared(&lab);
    let c = lab.container(all(lab.bundle().set("/process/cwd", "/usr").idle(), &dir, "pwd"));
    let bundle = c.bundle.dir.to_string_lossy().into_owned();
    let elsewhere = lab.dir().to_owned();
    c.run_call(&["--detach"]).cwd(&elsewhere).go().ok();
    assert!(wait_until(PATIENCE, || log(&dir).len() == 5), "{:?}", log(&dir));
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.call("delete", [""; 0]).cwd(&elsewhere).go().ok();
    for line in log(&dir) {
        let (kind, place) = line.split_once(' ').expect("a kind");
        let expected = if kind == "startContainer" { "/usr" } else { &bundle };
        assert_eq!(place, expected, "{kind}");
    }
    assert_eq!(log(&dir).len(), 6);
}

#[test]
fn a_poststop_hook_runs_after_the_bundle_has_gone() {
    need!(Brig);
    let lab = Lab::new();
    let dir = shared(&lab);
    let script = format!("pwd >{}/log", dir.display());
    let c = lab
        .container(lab.bundle().args(["/bin/true"]).set("/hooks/poststop", json!([hook(&script)])));
    c.run_detached();
    c.wait_status("stopped");
    let gone = lab.path("gone");
    fs::rename(&c.bundle.dir, &gone).expect("move the bundle");
    c.delete().ok();
    fs::rename(&gone, &c.bundle.dir).expect("move it back");
    assert_eq!(log(&dir), ["/"]);
}

/// A directory of the host's that the root of a container's user namespace may not enter.
#[test]
fn a_create_container_hook_runs_where_it_may_not_enter_the_bundle() {
    need!(Brig);
    let lab = Lab::new();
    let dir = shared(&lab);
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).expect("open it to all");
    let script = format!("pwd >{}/log", dir.display());
    let bundle =
        lab.bundle().user_namespace(300_000).set("/hooks/createContainer", json!([hook(&script)]));
    let closed = lab.path("closed");
    fs::create_dir(&closed).expect("make a directory");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("close it");
    let mut c = lab.container(bundle);
    c.bundle.dir = closed;
    c.bundle.write();
    c.run().ok();
    assert_eq!(log(&dir), ["/"]);
}

/// What the hooks of a CDI specification do (nvidia-cdi-hook: create-symlinks, enable-cuda-compat, update-ldcache,
/// create-device-nodes): each finds the root by the bundle of the state, and works on it before the container enters it;
/// that of ldconfig(8) in a mount namespace of its own, in which it pivots into the root.
#[test]
fn hooks_of_a_device_plugin_change_the_root() {
    let lab = Lab::new();
    let find = r#"dir=$(sed 's/.*"bundle":"\([^"]*\)".*/\1/'); root=$(sed 's/.*"root":{[^}]*"path":"\([^"]*\)".*/\1/' "$dir/config.json"); set -e; "#;
    let say = |script: &str| hook(&format!("{find}{script}"));
    let hooks = json!([
        say(r#"mkdir -p "$root/usr/lib/cuda"; ln -s libcuda.so.1 "$root/usr/lib/cuda/libcuda.so""#),
        say(
            r#"mkdir -p "$root/etc/ld.so.conf.d"; echo /usr/local/cuda/compat >"$root/etc/ld.so.conf.d/00-compat.conf""#
        ),
        say(r#"mknod -m 666 "$root/dev/gpu" c 1 3; chmod 755 "$root/dev""#),
        say(
            r#"exec unshare --mount sh -c 'mount --rbind "$1" "$1"; cd "$1"; pivot_root . .; umount -l .; cd /; exec /bin/sh -c "cat /etc/ld.so.conf.d/* >/etc/ld.so.cache; ls /dev >>/etc/ld.so.cache"' sh "$root""#
        ),
    ]);
    let program =
        "readlink /usr/lib/cuda/libcuda.so; cat /etc/ld.so.cache; ls -l /dev/gpu; cat /proc/mounts";
    let bundle = lab.bundle().set("/hooks/createContainer", hooks).sh(program);
    let said = lab.container(bundle).run().ok().stdout();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[..2], ["libcuda.so.1", "/usr/local/cuda/compat"], "{said}");
    assert!(lines.contains(&"gpu") && said.contains("crw-rw-rw-"), "{said}");
    assert_eq!(said.matches(" / ").count(), 1, "no mount of a hook is left: {said}");
    lab.assert_clean();
}

/// As under runc: what is nobody's to read would be taken for the program's.
#[test]
fn what_hooks_inside_say_is_not_the_programs_output() {
    let lab = Lab::new();
    // More than a pipe holds.
    let script = "i=0; while [ $i -lt 4000 ]; do echo line $i of a hook; echo and more >&2; i=$((i+1)); done";
    for kind in ["createContainer", "startContainer"] {
        let bundle = lab.bundle().set(&format!("/hooks/{kind}"), json!([hook(script)]));
        let output = lab.container(bundle.args(["/bin/echo", "program"])).run().ok();
        assert_eq!(
            (output.stdout().as_str(), output.stderr().as_str()),
            ("program\n", ""),
            "{kind}"
        );
    }
    lab.assert_clean();
}

#[test]
fn the_last_words_of_a_hook_inside_are_in_the_error() {
    need!(Brig);
    let lab = Lab::new();
    let long = "i=0; while [ $i -lt 4000 ]; do echo line $i of a hook; i=$((i+1)); done; echo no luck >&2; exit 3";
    let late = hook("echo not yet; sleep 1000");
    let late = json!({"path": late["path"], "args": late["args"], "timeout": 1});
    for kind in ["createContainer", "startContainer"] {
        let field = format!("/hooks/{kind}");
        let c = lab.container(lab.bundle().set(&field, json!([hook(long)])));
        let told = c.run().failed().says("no luck").says("line 3999").says("exit code 3").stderr();
        assert!(!told.contains("line 3900 ") && told.len() < 2048, "{told}");
        let c = lab.container(lab.bundle().set(&field, json!([late])));
        c.run().failed().says("timed out after 1 s: not yet");
    }
    let c = lab.container(lab.bundle().set("/hooks/startContainer", json!([hook(long)])));
    c.create().ok();
    c.start().failed().says("no luck").says("line 3999");
    c.delete_force().ok();
    lab.assert_clean();
}

/// What it left running may write, and has nobody to write to.
#[test]
fn what_a_hook_inside_left_running_keeps_nobody_waiting() {
    need!(Brig);
    let lab = Lab::new();
    let hook = hook("yes & sleep 1000 & exit 0");
    for kind in ["createContainer", "startContainer"] {
        let bundle = lab.bundle().set(&format!("/hooks/{kind}"), json!([hook]));
        lab.container(bundle.args(["/bin/true"])).run().ok();
    }
    // Nor does a hook that never stops talking outlive its timeout.
    let talks = json!([{"path": "/bin/sh", "args": ["sh", "-c", "exec yes"], "timeout": 1, "env": ["PATH=/usr/bin:/bin"]}]);
    let c = lab.container(lab.bundle().set("/hooks/startContainer", talks));
    c.run().failed().says("timed out after 1 s: y");
    lab.assert_clean();
}
