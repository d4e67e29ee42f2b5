//! `brig seccomp record`: what is learnt, what the profile then refuses, and what goes wrong.

use brig_integration::command::Call;
use brig_integration::{Bundle, Lab, Output, PATIENCE, Value, json, need, wait_until};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `record` of a bundle, to be started; the profile goes to `output`.
fn record(lab: &Lab, bundle: &Bundle, output: &Path, options: &[&str]) -> Call {
    bundle.write();
    let call = lab.runtime().args(["seccomp", "record", "--output"]).arg(output);
    call.args(options).arg("--bundle").arg(&bundle.dir).limit(Duration::from_secs(100))
}

/// The profile that is recorded of a bundle.
#[track_caller]
fn recorded(lab: &Lab, bundle: &Bundle, options: &[&str]) -> Value {
    let path = lab.path("profile");
    record(lab, bundle, &path, options).go().ok();
    read(&path)
}

fn read(path: &Path) -> Value {
    brig_integration::from_slice(&std::fs::read(path).expect("a profile")).expect("JSON")
}

/// Everything that the profile's rules say about a call that they allow: its conditions.
fn rules(profile: &Value, name: &str) -> Vec<Value> {
    let all = profile["syscalls"].as_array().expect("rules").iter();
    all.filter(|rule| {
        rule["action"] == "SCMP_ACT_ALLOW"
            && rule["names"].as_array().is_some_and(|names| names.contains(&json!(name)))
    })
    .map(|rule| rule["args"].clone())
    .collect()
}

fn allows(profile: &Value, name: &str) -> bool {
    !rules(profile, name).is_empty()
}

/// Runs a bundle under a profile.
fn run_under(lab: &Lab, bundle: Bundle, profile: &Value) -> Output {
    lab.container(bundle.set("/linux/seccomp", profile.clone())).run()
}

/// What does not belong there is left in no directory of profiles.
fn files_in(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).expect("a directory").flatten();
    names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn own_directory(lab: &Lab) -> PathBuf {
    let dir = lab.path("profiles");
    std::fs::create_dir(&dir).expect("make a directory");
    dir
}

#[test]
fn a_recorded_program_runs_under_its_profile_and_another_does_not() {
    need!(Brig);
    let lab = Lab::new();
    let script = "echo a > /tmp/x; cat /tmp/x";
    let profile = recorded(&lab, &lab.bundle().sh(script), &["--verify"]);
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    run_under(&lab, lab.bundle().sh(script), &profile).ok().prints("a");
    run_under(&lab, lab.bundle().sh("echo a; mkdir /tmp/x"), &profile)
        .code(1)
        .says("not permitted");
    assert!(!allows(&profile, "mkdir") && !allows(&profile, "socket"));
    lab.assert_clean();
}

#[test]
fn a_command_is_recorded_in_the_sandbox_of_try() {
    need!(Brig);
    let lab = Lab::new();
    let path = lab.path("profile");
    let call = lab.runtime().args(["seccomp", "record", "--verify", "--output"]).arg(&path);
    call.args(["-e", "WORD=said", "--", "/bin/sh", "-c", "echo $WORD; touch /etc/x || :"])
        .go()
        .ok()
        .says("said")
        .says("Read-only file system")
        .says("verified");
    assert!(allows(&read(&path), "openat"));
    lab.assert_clean();
}

#[test]
fn without_an_output_file_standard_output_is_the_profile_alone() {
    need!(Brig);
    let lab = Lab::new();
    let output = lab.runtime().args(["seccomp", "record", "--", "/bin/echo", "words"]).go().ok();
    assert_eq!(output.json()["defaultAction"], "SCMP_ACT_ERRNO");
    assert!(output.stderr().contains("words"), "{}", output.stderr());
}

#[test]
fn arguments_are_learnt_where_they_say_what_a_call_does() {
    need!(Brig);
    let lab = Lab::new();
    let program = |family: &str, kind: &str| {
        let line = format!("import socket as s; s.socket(s.{family}, s.{kind}); print('made')");
        lab.debian().args(["/usr/bin/python3".to_owned(), "-c".to_owned(), line])
    };
    let profile = recorded(&lab, &program("AF_INET", "SOCK_DGRAM"), &["--verify"]);
    assert_eq!(rules(&profile, "socket").len(), 1, "{profile}");
    run_under(&lab, program("AF_INET", "SOCK_DGRAM"), &profile).ok().prints("made");
    run_under(&lab, program("AF_INET", "SOCK_STREAM"), &profile).code(1).says("PermissionError");
    run_under(&lab, program("AF_NETLINK", "SOCK_RAW"), &profile).code(1).says("PermissionError");
}

#[test]
fn runs_and_earlier_profiles_are_merged() {
    need!(Brig);
    let lab = Lab::new();
    let shared = own_directory(&lab);
    // Each run does something else.
    let script = "if [ -e /shared/first ]; then mkdir /tmp/d; else touch /shared/first; fi";
    let bundle = || lab.bundle().bind(&shared, "/shared", &["rw"]).sh(script);
    let both = recorded(&lab, &bundle(), &["--runs", "2"]);
    assert!(allows(&both, "mkdir"), "{both}");
    std::fs::remove_file(shared.join("first")).expect("remove");
    let first = lab.path("profile");
    record(&lab, &bundle(), &first, &[]).go().ok();
    assert!(!allows(&read(&first), "mkdir"));
    let second = recorded(&lab, &bundle(), &[]);
    assert!(allows(&second, "mkdir"));
    let other = lab.bundle().sh("sleep 0; kill -0 $$");
    let merged = recorded(&lab, &other, &["--merge", &first.to_string_lossy()]);
    assert!(allows(&merged, "kill") && !allows(&merged, "mkdir"));
    for name in ["utimensat", "utime", "utimes"] {
        assert_eq!(allows(&merged, name), allows(&read(&first), name), "{name}");
    }
}

#[test]
fn verifying_says_what_a_changed_program_is_refused() {
    need!(Brig);
    let lab = Lab::new();
    let shared = own_directory(&lab);
    let script = "if [ -e /shared/first ]; then mkdir /tmp/d; else touch /shared/first; fi; true";
    let bundle = lab.bundle().bind(&shared, "/shared", &["rw"]).sh(script);
    let path = lab.path("profile");
    record(&lab, &bundle, &path, &["--verify"]).go().code(1).says("refused 1 times: mkdir");
    // Another exit code is another behaviour, also where nothing was refused.
    std::fs::remove_file(shared.join("first")).expect("remove");
    let script = "if [ -e /shared/first ]; then exit 3; else touch /shared/first; fi";
    let bundle = lab.bundle().bind(&shared, "/shared", &["rw"]).sh(script);
    record(&lab, &bundle, &path, &["--verify"]).go().code(1).says("ended with code 3");
    lab.assert_clean();
}

#[test]
fn a_program_that_fails_leaves_no_profile() {
    need!(Brig);
    let lab = Lab::new();
    let dir = own_directory(&lab);
    let path = dir.join("profile.json");
    record(&lab, &lab.bundle().sh("exit 7"), &path, &[])
        .go()
        .code(1)
        .says("code 7 in run 1")
        .says("no profile is written");
    record(
        &lab,
        &lab.bundle().sh("kill -9 $$ || :; kill -SEGV 1; exec sh -c 'exit 139'"),
        &path,
        &[],
    )
    .go()
    .code(1)
    .says("signal 11");
    assert_eq!(files_in(&dir), Vec::<String>::new());
    record(&lab, &lab.bundle().sh("exit 7"), &path, &["--exit-code", "7"]).go().ok();
    assert_eq!(files_in(&dir), ["profile.json"]);
    // What is there is replaced as a whole, or not at all.
    let before = std::fs::read(&path).expect("a profile");
    record(&lab, &lab.bundle().sh("exit 7"), &path, &[]).go().code(1);
    assert_eq!(std::fs::read(&path).expect("a profile"), before);
    lab.assert_clean();
}

#[test]
fn a_program_killed_by_a_signal_leaves_no_profile() {
    need!(Brig);
    let lab = Lab::new();
    let path = lab.path("profile");
    let running = record(&lab, &lab.bundle().sh("echo up; sleep 100"), &path, &[]).spawn();
    assert!(wait_until(PATIENCE, || running.stdout().contains("up")), "{}", running.stderr());
    let id = format!("record-{}-1", running.pid());
    lab.runtime().args(["kill", &id, "KILL"]).go().ok();
    running.wait().code(1).says("code 137, by signal 9, in run 1");
    assert!(!path.exists());
    lab.assert_clean();
}

#[test]
fn a_killed_brig_leaves_what_delete_removes() {
    need!(Brig);
    let lab = Lab::new();
    let dir = own_directory(&lab);
    let path = dir.join("profile.json");
    let mut running = record(&lab, &lab.bundle().sh("echo up; sleep 100"), &path, &[]).spawn();
    assert!(wait_until(PATIENCE, || running.stdout().contains("up")), "{}", running.stderr());
    let id = format!("record-{}-1", running.pid());
    running.kill();
    running.wait();
    lab.runtime().args(["delete", "--force", &id]).go().ok();
    assert_eq!(files_in(&dir), Vec::<String>::new());
    lab.assert_clean();
}

#[test]
fn signals_that_stop_brig_end_the_run_and_what_was_learnt_is_written() {
    need!(Brig);
    let lab = Lab::new();
    for (signal, script) in [
        (
            "INT",
            "trap 'mkdir /tmp/trapped; exit 5' INT TERM; echo up; while :; do sleep 0.05; done",
        ),
        ("TERM", "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done"),
    ] {
        let path = lab.path("profile");
        let running = record(&lab, &lab.bundle().sh(script), &path, &["--runs", "3"]).spawn();
        assert!(wait_until(PATIENCE, || running.stdout().contains("up")), "{}", running.stderr());
        lab.call("kill").arg(format!("-{signal}")).arg(running.pid().to_string()).go().ok();
        running.wait().ok().says("the calls recorded so far are written");
        let profile = read(&path);
        assert_eq!(allows(&profile, "mkdir"), signal == "INT");
    }
    lab.assert_clean();
}

#[test]
fn a_second_signal_kills_a_program_that_does_not_listen() {
    need!(Brig);
    let lab = Lab::new();
    let path = lab.path("profile");
    let script = "trap '' INT; echo up; while :; do sleep 0.05; done";
    let mut running = record(&lab, &lab.bundle().sh(script), &path, &[]).spawn();
    assert!(wait_until(PATIENCE, || running.stdout().contains("up")), "{}", running.stderr());
    let interrupt = || lab.call("kill").arg("-INT").arg(running.pid().to_string()).go().ok();
    interrupt();
    std::thread::sleep(Duration::from_millis(300));
    assert!(!running.has_ended());
    lab.call("kill").arg("-INT").arg(running.pid().to_string()).go().ok();
    running.wait().ok();
    assert!(allows(&read(&path), "wait4"));
    lab.assert_clean();
}

#[test]
fn threads_and_many_processes_are_all_seen() {
    need!(Brig);
    let lab = Lab::new();
    // Calls that only a child of a child, or only a thread, makes.
    let forks = "for n in $(seq 1 200); do (true); done; (sh -c 'mkdir /tmp/deep; (ln -s a /tmp/b)'); sleep 0.1 & wait";
    let profile = recorded(&lab, &lab.bundle().sh(forks), &["--verify"]);
    assert!(allows(&profile, "mkdir") && allows(&profile, "symlink"), "{profile}");
    let threads = "import threading as t, os
ready = t.Barrier(16)
def work(n):
    ready.wait()
    for _ in range(200): os.getppid()
    if n == 7: os.mkdir('/tmp/of-a-thread')
all = [t.Thread(target=work, args=(n,)) for n in range(16)]
[one.start() for one in all]; [one.join() for one in all]";
    let bundle = lab.debian().args(["/usr/bin/python3", "-c", threads]);
    let profile = recorded(&lab, &bundle, &[]);
    assert!(allows(&profile, "mkdir") && allows(&profile, "getppid"));
    lab.assert_clean();
}

#[test]
fn signals_in_the_middle_of_calls_do_no_harm() {
    need!(Brig);
    let lab = Lab::new();
    let program = "import signal, os, time
count = 0
def tick(*_):
    global count; count += 1
signal.signal(signal.SIGALRM, tick); signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
end = time.monotonic() + 2
while time.monotonic() < end:
    os.stat('/'); os.close(os.open('/etc/passwd', os.O_RDONLY)); os.getppid()
signal.setitimer(signal.ITIMER_REAL, 0)
for _ in range(20):
    child = os.fork()
    if child == 0:
        while True: os.getppid()
    time.sleep(0.005); os.kill(child, signal.SIGKILL); os.waitpid(child, 0)
print(count > 100)";
    let bundle = lab.debian().args(["/usr/bin/python3", "-c", program]);
    let path = lab.path("profile");
    record(&lab, &bundle, &path, &["--verify"]).go().ok().says("True").says("verified");
    assert!(allows(&read(&path), "rt_sigreturn"));
    lab.assert_clean();
}

#[test]
fn programs_without_no_new_privileges_are_recorded_too() {
    need!(Brig);
    let lab = Lab::new();
    let bundle = || {
        lab.bundle()
            .set("/process/noNewPrivileges", false)
            .set("/process/user", json!({"uid": 1000, "gid": 1000}))
            .sh("id -u")
    };
    let profile = recorded(&lab, &bundle(), &["--verify"]);
    run_under(&lab, bundle(), &profile).ok().prints("1000");
    // What runc and crun call under the filter; brig calls nothing, and so nothing of its own is learnt.
    assert!(allows(&profile, "capset"));
    for own in ["close_range", "faccessat2", "openat2", "setresuid"] {
        assert!(!allows(&profile, own), "{own}");
    }
    assert!(!allows(&recorded(&lab, &lab.bundle().sh("id -u"), &[]), "capset"));
}

#[test]
fn recorded_profiles_start_a_program_under_other_runtimes() {
    need!(Brig);
    let lab = Lab::new();
    for no_new_privileges in [true, false] {
        let bundle = || {
            lab.bundle()
                .set("/process/noNewPrivileges", no_new_privileges)
                .set("/process/user", json!({"uid": 1000, "gid": 1000}))
                .args(["/bin/true"])
        };
        let profile = recorded(&lab, &bundle(), &["--verify"]);
        let b = bundle().set("/linux/seccomp", profile);
        b.write();
        for run in 0..5 {
            let id = format!("{}-runc-{run}", lab.token());
            let call = lab.call("runc").arg("--root").arg(lab.dir().join("runc"));
            call.args(["run", "--bundle"]).arg(&b.dir).arg(id).go().ok();
        }
    }
    std::fs::remove_dir_all(lab.dir().join("runc")).expect("runc's directory");
    lab.assert_clean();
}

#[test]
fn what_the_bundle_says_about_seccomp_does_not_matter() {
    need!(Brig);
    let lab = Lab::new();
    let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nobody", "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"},
        {"names": ["rmdir"], "action": "SCMP_ACT_NOTIFY"}]});
    let bundle = lab.bundle().set("/linux/seccomp", filter).sh("mkdir /tmp/a && rmdir /tmp/a");
    let profile = recorded(&lab, &bundle, &[]);
    assert!(allows(&profile, "mkdir") && allows(&profile, "rmdir"));
}

#[test]
fn calls_of_32_bit_programs_are_refused_by_name() {
    need!(Brig);
    let lab = Lab::new();
    let path = lab.path("profile");
    // mkdir(2) through the entry of 32-bit programs.
    let bundle = lab.programs().args(["/usr/local/bin/attempt", "i386:39:@"]);
    record(&lab, &bundle, &path, &[])
        .go()
        .code(1)
        .says("mkdir of x86 (32-bit)")
        .says("no profile is written");
    assert!(!path.exists());
}

#[test]
fn mistakes_are_named_before_anything_runs() {
    need!(Brig);
    let lab = Lab::new();
    let bad = lab.path("bad.json");
    let say = |options: &[&str], code: i32, words: &str| {
        let call = lab.runtime().args(["seccomp", "record"]).args(options);
        let output = call.go().code(code).says(words);
        assert!(!output.stdout().contains("has run"), "{}", output.stdout());
    };
    let run = ["--", "/bin/echo", "has run"];
    say(&[], 2, "neither --bundle nor COMMAND");
    say(&[&["--bundle", "/x"], &run[..]].concat(), 2, "both --bundle and COMMAND");
    say(&["--bundle", "/x", "--pids", "3"], 2, "are for COMMAND");
    say(&[&["--runs", "0"], &run[..]].concat(), 2, "--runs");
    say(&[&["--frob"], &run[..]].concat(), 2, "--frob");
    say(&["--bundle", "/no/such"], 1, "/no/such");
    say(&["--", "/no/such/program"], 1, "/no/such/program");
    say(&[&["--output", "/"], &run[..]].concat(), 1, "is a directory");
    // It would be replaced, by rename: root's /dev/null, say.
    let link = lab.path("link");
    std::os::unix::fs::symlink("/dev/null", &link).expect("a link");
    let link = link.to_string_lossy();
    say(&[&["--output", &*link], &run[..]].concat(), 1, "no regular file");
    say(&[&["--output", "/no/such/file"], &run[..]].concat(), 1, "--output /no/such/file");
    let merge = |text: &str, words: &str| {
        std::fs::write(&bad, text).expect("write");
        say(&[&["--merge", &*bad.to_string_lossy()], &run[..]].concat(), 1, words);
    };
    say(&[&["--merge", "/no/such"], &run[..]].concat(), 1, "/no/such");
    merge("{", ":1:");
    merge("{\"defaultAction\": \"SCMP_ACT_NONE\"}", "SCMP_ACT_NONE");
    merge("{\"defaultAction\": \"SCMP_ACT_ALLOW\"}", "lets calls pass");
    let forbids = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_KILL"}]});
    merge(&forbids.to_string(), "syscalls[0].action");
    lab.assert_clean();
}

#[test]
fn help_says_that_a_recorded_run_is_not_confined_by_seccomp() {
    need!(Brig);
    let lab = Lab::new();
    lab.runtime()
        .args(["seccomp", "record", "--help"])
        .go()
        .ok()
        .says("not confined by seccomp")
        .says("programs\nand input that you trust");
}
