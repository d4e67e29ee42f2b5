//! Real programs, recorded while they do their work: the profile lets exactly that work pass.

use brig_integration::{Bundle, Lab, Value, binaries, json, need};
use brig_seccomp::record::allowed_calls;
use brig_seccomp::{Arch, compile};
use oci_spec::runtime::LinuxSeccomp;
use std::time::Duration;

/// What no program here has any use for.
const NEVER: [&str; 14] = [
    "mount",
    "umount2",
    "pivot_root",
    "ptrace",
    "bpf",
    "keyctl",
    "add_key",
    "init_module",
    "unshare",
    "setns",
    "perf_event_open",
    "userfaultfd",
    "process_vm_writev",
    "reboot",
];

fn server(bundle: Bundle) -> Bundle {
    bundle.service().edit(|spec| {
        for mount in spec["mounts"].as_array_mut().expect("mounts") {
            if mount["destination"] == "/dev/shm" {
                mount["options"] =
                    json!(["nosuid", "noexec", "nodev", "mode=1777", "size=134217728"]);
            }
        }
    })
}

fn docker() -> LinuxSeccomp {
    let path = binaries::workspace().join("seccomp-profiles/tests/data/docker-default.json");
    let text = std::fs::read(path).expect("Docker's profile");
    let mut file: Value = brig_integration::from_slice(&text).expect("JSON");
    read(file["seccomp"].take())
}

fn read(profile: Value) -> LinuxSeccomp {
    brig_integration::from_value(profile).expect("a profile")
}

/// Calls allowed natively, those of them with certain arguments only, instructions.
fn size(profile: &LinuxSeccomp) -> (usize, usize, usize) {
    let (calls, checked) = allowed_calls(profile, Arch::native());
    let program = compile(profile, Arch::native()).expect("it compiles");
    (calls, checked, program.instructions.len())
}

/// Records `make()` at work, twice, and has it verified; then runs it under the profile with brig
/// and with runc, and compares the profile with Docker's.
#[track_caller]
fn works_under_its_profile(name: &str, lab: &Lab, make: impl Fn() -> Bundle, says: &str) {
    let path = lab.path("profile");
    let bundle = make();
    bundle.write();
    let call = lab.runtime().args(["seccomp", "record", "--runs", "2", "--verify", "--output"]);
    let call = call.arg(&path).arg("--bundle").arg(&bundle.dir);
    call.limit(Duration::from_secs(300)).go().ok().says(says).says("verified");
    let text = std::fs::read(&path).expect("a profile");
    let profile: Value = brig_integration::from_slice(&text).expect("JSON");

    let bundle = make().set("/linux/seccomp", profile.clone());
    let container = lab.container(bundle);
    container.run_call(&[]).limit(Duration::from_secs(100)).go().ok().says(says);
    let bundle = make().set("/linux/seccomp", profile.clone());
    bundle.write();
    let root = lab.path("runc");
    let call = lab.call("runc").arg("--root").arg(&root).args(["run", "--bundle"]);
    let call = call.arg(&bundle.dir).arg(format!("{}-runc", lab.token()));
    call.limit(Duration::from_secs(100)).go().ok().says(says);

    for call in NEVER {
        assert!(!profile.to_string().contains(&format!("\"{call}\"")), "{name} allows {call}");
    }
    let (calls, checked, instructions) = size(&read(profile));
    let (docker_calls, _, docker_instructions) = size(&docker());
    // As it would be if it listed one architecture, as a recorded profile does.
    let mut native = docker();
    native.set_architectures(None);
    let (_, _, native_instructions) = size(&native);
    println!(
        "{name}: {calls} calls ({checked} with certain arguments only) in {instructions} instructions; \
         Docker's default: {docker_calls} calls in {docker_instructions} ({native_instructions} without 32-bit and x32)"
    );
    assert!(calls > 25, "{name}: {calls} calls");
    assert!(calls * 2 < docker_calls, "{name}: {calls} of {docker_calls} calls");
    assert!(instructions < docker_instructions, "{name}: {instructions} instructions");
    lab.assert_clean();
}

#[test]
fn nginx() {
    need!(Brig);
    let lab = Lab::new();
    let get = "import socket; s = socket.create_connection(('127.0.0.1', 80), 5); s.sendall(b'GET /page.txt HTTP/1.0\\r\\n\\r\\n'); print(b''.join(iter(lambda: s.recv(4096), b'')).decode())";
    let script = format!(
        "set -e; sleep 0.1; mkdir -p /var/www/html; echo served by nginx > /var/www/html/page.txt
nginx; for n in 1 2 3 4 5; do python3 -c \"{get}\"; done
nginx -s reload; sleep 0.5; python3 -c \"{get}\"
nginx -s quit; while [ -e /run/nginx.pid ]; do sleep 0.1; done"
    );
    let bundle = || server(lab.debian()).sh(&script);
    works_under_its_profile("nginx", &lab, bundle, "served by nginx");
}

#[test]
fn redis() {
    need!(Brig);
    let lab = Lab::new();
    // Once in vain, as the server may be slow to come later: what is recorded must not depend on it.
    let script = "redis-cli ping || sleep 0.1; set -e; redis-server --port 6379 --dir /tmp --daemonize yes --logfile /tmp/log
until redis-cli ping | grep -q PONG; do sleep 0.1; done
redis-benchmark -q -n 1000 -c 10 -t set,get,lpush
redis-cli set key value; redis-cli get key; redis-cli save; redis-cli shutdown
while redis-cli ping 2>/dev/null | grep -q PONG; do sleep 0.1; done; echo served";
    let user = json!({"uid": 1000, "gid": 1000});
    let bundle = || server(lab.debian()).sh(script).set("/process/user", user.clone());
    works_under_its_profile("redis", &lab, bundle, "served");
}

#[test]
fn postgresql() {
    need!(Brig);
    let lab = Lab::new();
    let script = "set -e; export PATH=/usr/lib/postgresql/15/bin:$PATH
initdb --pgdata=/tmp/data --auth=trust --no-sync >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
pg_ctl -D /tmp/data -l /tmp/log -o '-k /tmp -c listen_addresses=127.0.0.1 -c fsync=off' -w start
psql -h 127.0.0.1 -d postgres -qAt -c 'create table t as select g as n from generate_series(1, 10000) g; create index on t (n); select sum(n) from t'
pg_ctl -D /tmp/data -m fast -w stop";
    let bundle = || {
        let user = json!({"uid": 5432, "gid": 5432});
        let bundle = server(lab.debian()).sh(script).set("/process/user", user);
        // initdb wants a name for its uid.
        let passwd = bundle.rootfs.join("etc/passwd");
        let mut text = std::fs::read_to_string(&passwd).expect("passwd");
        text.push_str("pg:x:5432:5432::/tmp:/bin/sh\n");
        std::fs::write(&passwd, text).expect("write");
        bundle.set("/process/env/-", "LC_ALL=C")
    };
    works_under_its_profile("postgresql", &lab, bundle, "50005000");
}

#[test]
fn python3() {
    need!(Brig);
    let lab = Lab::new();
    let program = r#"
import os, socket, threading, subprocess, tempfile, json, sqlite3, asyncio, hashlib
total = []
threads = [threading.Thread(target=lambda n=n: total.append(n)) for n in range(20)]
[t.start() for t in threads]; [t.join() for t in threads]
r, w = os.pipe()
if os.fork() == 0:
    os.write(w, b'child'); os._exit(0)
os.wait()
assert os.read(r, 5) == b'child'
a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'
server = socket.create_server(('127.0.0.1', 0)); client = socket.create_connection(server.getsockname())
assert subprocess.check_output(['/bin/echo', 'sub']) == b'sub\n'
with tempfile.NamedTemporaryFile() as f: f.write(b'x')
database = sqlite3.connect('/tmp/data'); database.execute('create table t (n int)')
database.execute('insert into t values (7)'); database.commit(); database.close()
async def sleeps(): await asyncio.sleep(0.01); return hashlib.sha256(b'x').hexdigest()
assert asyncio.run(sleeps())
print(json.dumps(sum(total)))
"#;
    let bundle = || server(lab.programs()).args(["/usr/bin/python3", "-c", program]);
    works_under_its_profile("python3", &lab, bundle, "190");
}

#[test]
fn node() {
    need!(Brig);
    let lab = Lab::new();
    let program = "
const http = require('http'), fs = require('fs'), zlib = require('zlib'), { execFileSync } = require('child_process');
const { Worker } = require('worker_threads');
fs.writeFileSync('/tmp/a', 'text'); if (fs.readFileSync('/tmp/a', 'utf8') !== 'text') process.exit(1);
if (execFileSync('/bin/echo', ['sub']).toString() !== 'sub\\n') process.exit(1);
const worker = new Worker('require(\"worker_threads\").parentPort.postMessage(7)', { eval: true });
worker.on('message', () => {
  const server = http.createServer((request, response) => response.end('served')).listen(0, '127.0.0.1', () => {
    http.get({ port: server.address().port, host: '127.0.0.1' }, (response) => {
      response.on('data', (data) => console.log('node ' + data + zlib.gzipSync('x').length));
      response.on('end', () => { server.close(); process.exit(0); });
    });
  });
});";
    let bundle = || server(lab.programs()).args(["/usr/bin/node", "-e", program]);
    works_under_its_profile("node", &lab, bundle, "node served");
}

#[test]
fn a_go_program() {
    need!(Brig);
    let lab = Lab::new();
    let bundle = || server(lab.programs()).args(["/usr/local/bin/work-go", "network"]);
    works_under_its_profile("Go program", &lab, bundle, "go works");
}

#[test]
fn a_rust_program() {
    need!(Brig);
    let lab = Lab::new();
    let bundle = || {
        let bundle = server(lab.programs());
        std::fs::copy(binaries::work(), bundle.rootfs.join("work")).expect("copy the program");
        bundle.args(["/work", "network"])
    };
    works_under_its_profile("Rust program", &lab, bundle, "rust works");
}
