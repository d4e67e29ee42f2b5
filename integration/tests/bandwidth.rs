//! The policy's rule about bandwidth: what a container's interfaces send and receive, and that nobody inside changes it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use brig_integration::{Bundle, Lab, Output, json, need};

/// So much takes a second at 8 Mbit/s, less what may be sent at once (64 KiB).
const SENT: usize = 1_000_000;
const AT_LEAST: Duration = Duration::from_millis(800);
/// Without a limit it takes some milliseconds.
const WITHOUT: Duration = Duration::from_millis(600);

/// The node's policy, which nobody but this test sees.
fn rule(egress: &str, ingress: &str) {
    let rule = format!("egress_mbit = {egress}, ingress_mbit = {ingress}");
    let text = format!(
        "version = 1\ndefault = \"it\"\n[profile.it]\nbandwidth = {{ mode = \"enforce\", {rule} }}\n"
    );
    fs::create_dir_all("/etc/brig").expect("make a directory");
    fs::write("/etc/brig/policy.toml", text).expect("write a policy");
}

/// A hook that runs a script, `$pid` being the container's.
fn hook(script: &str) -> serde_json::Value {
    let script = format!("set -e; pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); {script}");
    let env = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"];
    json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": env}])
}

/// Connects a container to the network of the test, as an engine does: 198.51.100.2 inside, 198.51.100.1 outside.
/// What is left of a container before is taken away, as the kernel does some time after it has ended.
const CONNECT: &str = "ip link delete host0 2>/dev/null || :
ip link add host0 type veth peer name eth0 netns $pid
ip address add 198.51.100.1/24 dev host0; ip link set host0 up
nsenter -t $pid -n sh -c 'ip address add 198.51.100.2/24 dev eth0; ip link set eth0 up'";

fn connected(bundle: Bundle) -> Bundle {
    bundle.namespace("network", None).set("/hooks/createRuntime", hook(CONNECT))
}

/// How long a container runs from its connection on that sends, or is sent, [`SENT`] bytes.
fn transfer(lab: &Lab, script: &str, from_container: bool) -> (Duration, Output) {
    // The address is there from when the hook has run.
    let listener = TcpListener::bind("0.0.0.0:0").expect("listen");
    let port = listener.local_addr().expect("an address").port();
    let other_side = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let begun = Instant::now();
        if from_container {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).expect("read");
            assert_eq!(all.len(), SENT);
        } else {
            stream.write_all(&vec![0; SENT]).expect("write");
            stream.shutdown(std::net::Shutdown::Write).expect("end");
        }
        begun
    });
    let script = script.replace("$PORT", &port.to_string());
    let output = lab.container(connected(lab.bundle()).sh(&script)).run().ok();
    (other_side.join().expect("the other side").elapsed(), output)
}

#[test]
fn what_is_sent_is_limited_before_the_first_instruction() {
    need!(Brig);
    let lab = Lab::new();
    lab.own_network();
    let send = format!("head -c {SENT} /dev/zero | nc 198.51.100.1 $PORT");
    rule("8", "\"unlimited\"");
    let (took, _) = transfer(&lab, &send, true);
    assert!(took > AT_LEAST, "{took:?}");
    rule("\"unlimited\"", "8");
    let (took, _) = transfer(&lab, &send, true);
    assert!(took < WITHOUT, "{took:?}");
}

#[test]
fn what_is_received_is_limited_at_the_hosts_end() {
    need!(Brig);
    let lab = Lab::new();
    lab.own_network();
    let receive = "nc 198.51.100.1 $PORT </dev/null | wc -c";
    rule("\"unlimited\"", "8");
    let (took, output) = transfer(&lab, receive, false);
    output.prints(&SENT.to_string());
    assert!(took > AT_LEAST, "{took:?}");
    rule("8", "\"unlimited\"");
    let (took, output) = transfer(&lab, receive, false);
    output.prints(&SENT.to_string());
    assert!(took < WITHOUT, "{took:?}");
}

/// As Docker does it since 27: the container waits while it is connected.
#[test]
fn interfaces_that_come_until_the_start_are_limited_and_a_lower_limit_stays() {
    need!(Brig);
    let lab = Lab::new();
    lab.own_network();
    rule("8", "10000");
    let c = lab.container(lab.bundle().namespace("network", None).idle());
    c.create().ok();
    let pid = c.pid().to_string();
    let connect = format!("pid={pid}; {CONNECT}");
    lab.call("sh").args(["-c", &connect]).go().ok();
    let inside = ["-t", &pid, "-n", "tc", "qdisc", "show", "dev", "eth0"];
    c.start().ok();
    lab.call("nsenter").args(inside).go().ok().says("tbf").says("rate 8Mbit burst 64Kb");
    lab.call("tc").args(["qdisc", "show", "dev", "host0"]).go().ok().says("rate 10Gbit");
    // A second container of the pod, on a node whose administrator has set less by hand.
    let less = ["-t", &pid, "-n", "tc", "qdisc", "replace", "dev", "eth0", "root"];
    let bucket = ["tbf", "rate", "4mbit", "burst", "64k", "latency", "100ms"];
    lab.call("nsenter").args(less).args(bucket).go().ok();
    let path = format!("/proc/{pid}/ns/net");
    lab.container(lab.bundle().namespace("network", Some(&path)).sh("true")).run().ok();
    lab.call("nsenter").args(inside).go().ok().says("rate 4Mbit");
    c.ends_well();
}

#[test]
fn what_cannot_be_limited_is_refused() {
    need!(Brig);
    let lab = Lab::new();
    lab.own_network();
    rule("8", "8");
    // A pair of which both ends are inside.
    let inside = hook("nsenter -t $pid -n ip link add eth0 type veth peer name eth1");
    let bundle = lab.bundle().namespace("network", None).set("/hooks/createRuntime", inside);
    let refused = lab.container(bundle.sh("true")).run().failed();
    refused.says("receives cannot be limited: its other end is not the host's");
    // The host's own network; and who could lift the limit.
    let own = lab.bundle().without_namespace("network").sh("true");
    lab.container(own)
        .run()
        .failed()
        .says("linux.namespaces: the host's network, which cannot be limited");
    for name in ["CAP_NET_ADMIN", "CAP_NET_RAW"] {
        let powerful = lab.bundle().namespace("network", None).caps(&[name]).sh("true");
        let says = format!("{name}, which gets round the limit on what is sent, is refused");
        lab.container(powerful).run().failed().says(&says);
    }
    let c = lab.container(lab.bundle().namespace("network", None).idle());
    c.run_detached();
    c.exec_call(&["--cap", "CAP_NET_ADMIN"], &["true"]).go().failed().says("CAP_NET_ADMIN");
    c.ends_well();
}
