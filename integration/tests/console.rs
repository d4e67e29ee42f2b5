//! Terminals: the container's, made inside and handed to the caller over the console socket; and the
//! caller's, which no container gets.

use brig_integration::{Container, Lab, PATIENCE, json, need, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{Backlog, listen};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};

#[test]
fn a_terminal_comes_over_the_console_socket() {
    let lab = Lab::new();
    let c = lab.container(
        lab.bundle().set("/process/terminal", true).sh("tty; echo $-; read line; echo \"<$line>\""),
    );
    let socket = lab.console();
    let running = c.create_call(&["--console-socket", &socket.path().to_string_lossy()]).spawn();
    let mut console = socket.accept();
    running.wait().ok();
    c.start().ok();
    console.shows("/dev/");
    console.types("hello\n");
    assert!(console.rest().contains("<hello>"));
    c.wait_status("stopped");
    c.delete().ok();
    lab.assert_clean();
}

#[test]
fn the_terminal_is_the_controlling_one_and_resizes() {
    let lab = Lab::new();
    let script = "trap 'stty size' WINCH; echo up; while :; do sleep 0.02; done";
    let c = lab.container(lab.bundle().set("/process/terminal", true).sh(script));
    let mut console = c.run_on_terminal();
    console.shows("up");
    console.resize(33, 77);
    console.shows("33 77");
    c.kill("KILL").ok();
    c.wait_status("stopped");
}

#[test]
fn interrupt_reaches_the_foreground_process() {
    let lab = Lab::new();
    let script = "trap 'echo interrupted; exit 3' INT; echo up; while :; do sleep 0.02; done";
    let c = lab.container(lab.bundle().set("/process/terminal", true).sh(script));
    let mut console = c.run_on_terminal();
    console.shows("up");
    console.types("\u{3}");
    console.shows("interrupted");
    c.wait_status("stopped");
}

#[test]
fn the_initial_size_is_as_specified() {
    let lab = Lab::new();
    let bundle = lab.bundle().set("/process/terminal", true);
    let c = lab.container(
        bundle
            .set("/process/consoleSize", json!({"height": 12, "width": 34}))
            .sh("stty size; sleep 0.1"),
    );
    let mut console = c.run_on_terminal();
    console.shows("12 34");
    c.wait_status("stopped");
}

#[test]
fn the_console_is_at_dev_console() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().set("/process/terminal", true).sh("test -c /dev/console && echo console; echo by name >/dev/console; /probe ids fds >/tmp/view; sleep 0.1"));
    let mut console = c.run_on_terminal();
    console.shows("by name");
    c.wait_status("stopped");
}

#[test]
fn a_user_owns_its_terminal() {
    let lab = Lab::new();
    let bundle = lab
        .bundle()
        .set("/process/terminal", true)
        .set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let c = lab.container(bundle.sh("stat -c 'owner %u' $(tty); sleep 0.1"));
    let mut console = c.run_on_terminal();
    console.shows("owner 1000");
    c.wait_status("stopped");
}

#[test]
fn a_console_socket_that_takes_no_connections_is_given_up() {
    need!(Brig); // the words are brig's
    let lab = Lab::new();
    let c = lab.container(lab.bundle().idle().set("/process/terminal", true));
    let path = lab.path("socket");
    let listener = UnixListener::bind(&path).expect("bind the console socket");
    listen(&listener, Backlog::new(0).expect("a number")).expect("listen");
    let _first = UnixStream::connect(&path).expect("there is room for one");
    let create = c.create_call(&["--console-socket", &path.to_string_lossy()]);
    create.go().failed().says("takes no connections");
    assert_eq!(c.status(), "gone");
    lab.assert_clean();
}

#[test]
fn without_a_terminal_a_console_socket_is_refused_and_the_other_way_round() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle());
    c.create_call(&["--console-socket", "/tmp/nowhere.sock"]).go().failed();
    let c = lab.container(lab.bundle().set("/process/terminal", true));
    c.create().failed();
    let c = lab.container(lab.bundle().set("/process/terminal", true));
    c.create_call(&["--console-socket", "/no/such/socket"]).go().failed();
    lab.assert_clean();
}

#[test]
fn run_with_a_terminal_uses_the_callers() {
    let lab = Lab::new();
    // script(1) gives the runtime a terminal of its own.
    let c = lab.container(
        lab.bundle()
            .set("/process/terminal", true)
            .sh("test -t 0 && test -t 1 && echo both; until stty size 2>/dev/null | grep '21 43'; do sleep 0.02; done"),
    );
    let line = format!(
        "stty rows 21 cols 43; {} --root {} run --bundle {} {}",
        brig_integration::binaries::runtime().display(),
        lab.root().display(),
        c.bundle.dir.display(),
        c.id()
    );
    let output =
        lab.call("script").args(["--quiet", "--return", "--command", &line, "/dev/null"]).go().ok();
    assert!(wait_until(PATIENCE, || output.stdout().contains("both")), "{}", output.stdout());
    output.says("21 43");
}

/// It ends with its program, and nothing but what that has written is shown.
#[test]
fn a_terminal_in_the_foreground_needs_no_input() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().set("/process/terminal", true).sh("test -t 0 && echo hi"));
    let output = c.run_call(&[]).go().ok();
    assert_eq!(output.stdout(), "hi\r\n");
    lab.assert_clean();
}

/// A container that idles, to execute programs in.
fn idle(lab: &Lab) -> Container<'_> {
    let c = lab.container(lab.bundle().idle());
    c.run_detached();
    c
}

/// `brig exec` of a shell script in `c`, as words of a shell.
fn exec(c: &Container<'_>, script: &str) -> String {
    format!("brig exec {} sh -c '{script}'", c.id())
}

#[test]
fn what_is_typed_after_exec_is_not_the_containers() {
    need!(Brig);
    let lab = Lab::new();
    let c = idle(&lab);
    let leaves = exec(&c, "cat </dev/stdin >/tmp/got & cat <&1 >/tmp/got1 & echo left");
    let (mut console, shell) =
        lab.at_terminal(&format!("{leaves}; echo back; sleep 1; read line; echo \"<$line>\""));
    console.shows("back");
    console.types("secret\n");
    console.shows("<secret>");
    shell.wait().ok();
    for file in ["/tmp/got", "/tmp/got1"] {
        let got = fs::read_to_string(c.host_path(file)).unwrap_or_default();
        assert!(!got.contains("secret"), "{file}: the container has read {got:?}");
    }
    c.delete_force().ok();
    lab.assert_clean();
}

/// A script that tells whether one of its standard descriptors is a terminal.
const TELLS_TERMINALS: &str = "for fd in 0 1 2; do if test -t $fd; then echo terminal $fd; fi; \
    if readlink /proc/$$/fd/$fd | grep pts; then echo leads there; fi; done; echo looked";

#[test]
fn no_program_without_a_terminal_gets_the_callers() {
    need!(Brig);
    let lab = Lab::new();
    let c = idle(&lab);
    let (mut console, shell) = lab.at_terminal(&exec(&c, TELLS_TERMINALS));
    assert_eq!(console.rest(), "looked\r\n");
    shell.wait().ok();
    c.delete_force().ok();
    let c = lab.container(lab.bundle().sh(TELLS_TERMINALS));
    let run = format!("brig run --bundle {} {}", c.bundle.dir.display(), c.id());
    let (mut console, shell) = lab.at_terminal(&run);
    assert_eq!(console.rest(), "looked\r\n");
    shell.wait().ok();
    // Where one alone is a terminal, too.
    let tried =
        "brig try --quiet -- sh -c 'test -t 2 && echo terminal; echo looked >&2' </dev/null";
    let (mut console, shell) = lab.at_terminal(tried);
    assert_eq!(console.rest(), "looked\r\n");
    shell.wait().ok();
    lab.assert_clean();
}

#[test]
fn who_is_left_behind_cannot_write_over_the_callers_terminal() {
    need!(Brig);
    let lab = Lab::new();
    let c = idle(&lab);
    let leaves = exec(
        &c,
        "(trap : PIPE; sleep 1; echo forged >&2; echo forged; touch /tmp/wrote) & echo left",
    );
    let (mut console, shell) = lab.at_terminal(&format!("{leaves}; echo back; sleep 2; echo end"));
    assert_eq!(console.rest(), "left\r\nback\r\nend\r\n");
    shell.wait().ok();
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn who_is_not_waited_for_gets_nothing_of_the_callers_terminal_and_a_note_says_so() {
    need!(Brig);
    let lab = Lab::new();
    let c = lab.container(lab.bundle().sh("ls -l /proc/self/fd >/tmp/seen; sleep 1000"));
    for verb in ["run --detach", "create"] {
        let make = format!("brig {verb} --bundle {} {}", c.bundle.dir.display(), c.id());
        let (mut console, shell) = lab.at_terminal(&make);
        let told = console.rest();
        assert!(told.contains("standard input, standard output, standard error"), "{told}");
        shell.wait().ok();
        if verb == "create" {
            c.start().ok();
        }
        c.wait_until_ok("grep -q total /tmp/seen");
        let seen = fs::read_to_string(c.host_path("/tmp/seen")).expect("what it saw");
        assert!(!seen.contains("pts") && seen.contains("0 -> /dev/null"), "{seen}");
        // Of two that are redirected nothing is said, and they are the caller's.
        let exec = format!("brig exec --detach {} true <&- 2>/dev/null", c.id());
        let (mut console, shell) = lab.at_terminal(&exec);
        assert_eq!(console.rest(), "");
        shell.wait().ok();
        c.delete_force().ok();
        fs::remove_file(c.host_path("/tmp/seen")).expect("remove what it saw");
    }
    lab.assert_clean();
}

#[test]
fn hooks_inside_get_nothing_of_the_callers_terminal() {
    need!(Brig);
    let lab = Lab::new();
    let seen = lab.path("seen");
    let script = format!("ls -l /proc/self/fd >>{}; echo hooked >&2", seen.display());
    let hook =
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}]);
    for terminal in [false, true] {
        let bundle = lab.bundle().set("/process/terminal", terminal).args(["/bin/true"]);
        let c = lab.container(bundle.set("/hooks/createContainer", hook.clone()));
        let run = format!("brig run --bundle {} {}", c.bundle.dir.display(), c.id());
        let (mut console, shell) = lab.at_terminal(&run);
        let told = console.rest();
        assert!(!told.contains("hooked"), "nor what a hook says: {told}");
        shell.wait().ok();
        let seen = fs::read_to_string(&seen).expect("what the hook saw");
        assert!(!seen.contains("pts"), "{seen}");
    }
    // What a hook says before it fails is shown.
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "echo no luck >&2; exit 1"]}]);
    let c = lab.container(lab.bundle().set("/hooks/createContainer", hook));
    let run = format!("brig run --bundle {} {}", c.bundle.dir.display(), c.id());
    let (mut console, shell) = lab.at_terminal(&run);
    let told = console.rest();
    assert!(told.contains("no luck") && told.contains("hook /bin/sh"), "{told}");
    shell.wait().failed();
    lab.assert_clean();
}

#[test]
fn output_to_the_callers_terminal_is_complete_and_in_order() {
    let lab = Lab::new();
    let c = idle(&lab);
    let (mut console, shell) = lab.at_terminal(&exec(&c, "seq 1 150000"));
    let expected: String = (1..=150_000).map(|line| format!("{line}\r\n")).collect();
    let shown = console.rest();
    assert!(shown == expected, "{} bytes of {}", shown.len(), expected.len());
    shell.wait().ok();
    // What goes to both is in order too, and a fast end loses nothing.
    let script = "i=0; while [ $i -lt 500 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done";
    let (mut console, shell) = lab.at_terminal(&exec(&c, script));
    let expected: String = (0..500).map(|i| format!("out {i}\r\nerr {i}\r\n")).collect();
    assert_eq!(console.rest(), expected);
    shell.wait().ok();
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn a_program_reads_what_is_typed_on_the_callers_terminal() {
    let lab = Lab::new();
    let c = idle(&lab);
    let (mut console, shell) =
        lab.at_terminal(&format!("{}; echo code $?", exec(&c, "cat; exit 7")));
    // The terminal's echo, and the program's.
    console.types("hello\n");
    console.shows("hello\r\nhello\r\n");
    console.types("again\n\u{4}");
    let shown = console.rest();
    assert!(shown.contains("again\r\nagain\r\ncode 7"), "{shown}");
    shell.wait().ok();
    c.delete_force().ok();
    let c = lab.container(lab.bundle().sh("read line; echo \"<$line>\""));
    let run = format!("brig run --bundle {} {}", c.bundle.dir.display(), c.id());
    let (mut console, shell) = lab.at_terminal(&run);
    console.types("hello\n");
    console.shows("<hello>");
    shell.wait().ok();
    lab.assert_clean();
}

#[test]
fn an_interrupt_on_the_callers_terminal_reaches_the_program() {
    let lab = Lab::new();
    let c = idle(&lab);
    let script = "trap \"echo interrupted; exit 3\" INT; echo up; while :; do sleep 0.02; done";
    let (mut console, shell) =
        lab.at_terminal(&format!("trap : INT; {}; echo code $?", exec(&c, script)));
    console.shows("up");
    console.types("\u{3}");
    console.shows("interrupted\r\ncode 3");
    shell.wait().ok();
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn what_a_program_does_not_read_stays_the_shells() {
    need!(Brig);
    let lab = Lab::new();
    let c = idle(&lab);
    // A program without standard input is not ended by what is typed, either.
    let script = "exec <&-; echo up; sleep 1; echo still here";
    let shell_reads = "read line; echo \"<$line>\"";
    let (mut console, shell) = lab.at_terminal(&format!("{} && {shell_reads}", exec(&c, script)));
    console.shows("up");
    console.types("mine\n");
    console.shows("still here");
    console.shows("<mine>");
    shell.wait().ok();
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn a_process_in_the_background_of_the_callers_terminal_neither_hangs_nor_reads() {
    let lab = Lab::new();
    let c = idle(&lab);
    let behind = exec(&c, "sleep 1; echo from behind; read line; echo \"<$line>\"");
    let script = format!(
        "set -m; stty tostop; {behind} & sleep 0.7; read line; echo \"shell <$line>\"; sleep 1.5; fg >/dev/null; echo code $?"
    );
    let (mut console, shell) = lab.at_terminal(&script);
    console.types("mine\n");
    console.shows("shell <mine>");
    console.shows("from behind");
    // Brought to the foreground, it reads.
    std::thread::sleep(std::time::Duration::from_secs(1));
    console.types("its\n");
    console.shows("<its>");
    console.shows("code 0");
    shell.wait().ok();
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn a_stopped_terminal_stops_no_signal() {
    need!(Brig);
    let lab = Lab::new();
    let c = idle(&lab);
    let script =
        "trap \"touch /tmp/ended; exit 5\" TERM; echo up; while :; do echo x; sleep 0.01; done";
    let (mut console, shell) = lab.at_terminal(&format!(
        "exec {}",
        exec(&c, script).replace("brig exec", "$RUNTIME --root $ROOT exec")
    ));
    console.shows("up");
    console.types("\u{13}");
    std::thread::sleep(std::time::Duration::from_millis(500));
    // Of setsid the child, which has become brig.
    lab.call("pkill").args(["-TERM", "-P", &shell.pid().to_string()]).go().ok();
    assert!(wait_until(PATIENCE, || c.host_path("/tmp/ended").exists()), "the program hears of it");
    // Shown is what was written before, once the terminal goes on.
    console.types("\u{11}");
    shell.wait().code(5);
    c.delete_force().ok();
    lab.assert_clean();
}

#[test]
fn a_program_that_reads_nothing_from_its_terminal_keeps_brig_from_nothing() {
    need!(Brig);
    let lab = Lab::new();
    // Bytes that the terminal keeps, and more of them than it holds.
    let typed = "x\n".repeat(100_000);
    let script =
        "trap 'exit 7' TERM; stty raw -echo; sleep 2; echo heard; while :; do sleep 0.02; done";
    let c = lab.container(lab.bundle().set("/process/terminal", true).sh(script));
    let brig = c.run_call(&[]).stdin(typed.as_bytes()).spawn();
    let heard = wait_until(PATIENCE, || brig.stdout().contains("heard"));
    assert!(heard, "{}{}", brig.stdout(), brig.stderr());
    kill(Pid::from_raw(brig.pid()), Signal::SIGTERM).expect("brig runs");
    brig.wait().code(7);
    lab.assert_clean();
}
