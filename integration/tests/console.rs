//! Terminals: the container's, made inside and handed to the caller over the console socket.

use brig_integration::{Lab, PATIENCE, json, wait_until};

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
