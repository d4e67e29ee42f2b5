//! Programs that people run, doing their work, in a Debian root file system.

use brig_integration::{Bundle, Lab, json};
use std::time::Duration;

fn debian(lab: &Lab) -> Bundle {
    let limits = json!({"memory": {"limit": 536_870_912_u64}, "pids": {"limit": 200}, "cpu": {"shares": 512}});
    lab.debian().service().edit(|spec| {
        for (key, value) in limits.as_object().expect("an object") {
            spec["linux"]["resources"][key] = value.clone();
        }
    })
}

#[test]
fn python_computes_forks_and_threads() {
    let lab = Lab::new();
    let program = r#"
import os, sys, socket, threading, subprocess, tempfile
total = []
threads = [threading.Thread(target=lambda n=n: total.append(n)) for n in range(20)]
[t.start() for t in threads]; [t.join() for t in threads]
r, w = os.pipe()
if os.fork() == 0:
    os.write(w, b'child'); os._exit(0)
os.wait()
assert os.read(r, 5) == b'child'
a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'
assert subprocess.check_output(['/bin/echo', 'sub']) == b'sub\n'
with tempfile.NamedTemporaryFile() as f: f.write(b'x')
assert os.sysconf('SC_NPROCESSORS_ONLN') >= 1
print(sum(total), os.getpid(), os.uname().nodename)
"#;
    let c = lab.container(debian(&lab).args(["/usr/bin/python3", "-c", program]));
    c.run().ok().prints("190 1 box");
    lab.assert_clean();
}

#[test]
fn nginx_serves_over_loopback() {
    let lab = Lab::new();
    let b = debian(&lab).args(["/usr/sbin/nginx", "-g", "daemon off;"]);
    std::fs::create_dir_all(b.rootfs.join("var/www/html")).expect("make");
    std::fs::write(b.rootfs.join("var/www/html/page.txt"), "served by nginx").expect("write");
    let c = lab.container(b);
    c.run_detached();
    let get = |path: &str| {
        format!(
            "import http.client as h; c = h.HTTPConnection('127.0.0.1', 80, timeout=5); c.request('GET', '{path}'); r = c.getresponse(); print(r.status, r.read().decode())"
        )
    };
    c.wait_until_ok("python3 -c \"import socket; socket.create_connection(('127.0.0.1', 80), 2)\"");
    // python3-minimal has no http.client in some releases: speak HTTP by hand then.
    let by_hand = "import socket; s = socket.create_connection(('127.0.0.1', 80), 5); s.sendall(b'GET /page.txt HTTP/1.0\\r\\n\\r\\n'); d = b''.join(iter(lambda: s.recv(4096), b'')); print(d.decode())";
    let output = c.exec(&["/usr/bin/python3", "-c", &get("/page.txt")]);
    if output.succeeded() {
        output.prints("200 served by nginx");
    } else {
        c.exec(&["/usr/bin/python3", "-c", by_hand]).ok().says("200 OK").says("served by nginx");
    }
    // A worker runs as www-data: dropping privileges inside works.
    c.exec_sh("ps -o user= -C nginx | sort -u | tr '\\n' ' '").ok().says("www-data");
    c.ends_well();
}

#[test]
fn redis_under_load() {
    let lab = Lab::new();
    let b = debian(&lab).args([
        "/usr/bin/redis-server",
        "--port",
        "6379",
        "--save",
        "",
        "--dir",
        "/tmp",
        "--protected-mode",
        "no",
    ]);
    let c = lab.container(b.set("/process/user", json!({"uid": 1000, "gid": 1000})));
    c.run_detached();
    c.wait_until_ok("redis-cli ping | grep -q PONG");
    c.exec_call(
        &[],
        &["/usr/bin/redis-benchmark", "-q", "-n", "3000", "-c", "20", "-t", "set,get,lpush"],
    )
    .limit(Duration::from_secs(100))
    .go()
    .ok()
    .says("requests per second");
    c.exec_sh("redis-cli set key value && redis-cli get key").ok().says("value");
    c.ends_well();
}

#[test]
fn postgresql_answers_queries_as_its_own_user() {
    let lab = Lab::new();
    let script = "set -e; export PATH=/usr/lib/postgresql/15/bin:$PATH
initdb --pgdata=/tmp/data --auth=trust --no-sync >/tmp/initdb.log 2>&1 || { cat /tmp/initdb.log; exit 1; }
exec postgres -D /tmp/data -k /tmp -c listen_addresses=127.0.0.1 -c fsync=off";
    let b = debian(&lab)
        .sh(script)
        .set("/process/user", json!({"uid": 5432, "gid": 5432}))
        .set("/process/env/-", "LC_ALL=C");
    // initdb wants a name for its uid.
    let passwd = b.rootfs.join("etc/passwd");
    let mut text = std::fs::read_to_string(&passwd).expect("passwd");
    text.push_str("pg:x:5432:5432::/tmp:/bin/sh\n");
    std::fs::write(&passwd, text).expect("write");
    let c = lab.container(b.edit(|spec| {
        for mount in spec["mounts"].as_array_mut().expect("mounts") {
            if mount["destination"] == "/dev/shm" {
                mount["options"] =
                    json!(["nosuid", "noexec", "nodev", "mode=1777", "size=134217728"]);
            }
        }
    }));
    c.run_detached();
    c.wait_until_ok("/usr/lib/postgresql/15/bin/pg_isready -h 127.0.0.1 -q");
    let query = "create table t as select g as n from generate_series(1, 10000) g; create index on t (n); select sum(n) from t; select count(*) from pg_stat_activity where backend_type = 'checkpointer'";
    c.exec_call(
        &["--user", "5432:5432"],
        &["/usr/bin/psql", "-h", "127.0.0.1", "-U", "pg", "-d", "postgres", "-qAt", "-c", query],
    )
    .go()
    .ok()
    .says("50005000")
    .says("1");
    c.ends_well();
}

#[test]
fn a_shell_with_job_control_on_a_terminal() {
    let lab = Lab::new();
    let c = lab.container(debian(&lab).set("/process/terminal", true).args(["/bin/bash", "-i"]));
    let mut console = c.run_on_terminal();
    console.types("sleep 100 &\n");
    console.types("jobs\n");
    let shown = console.shows("Running");
    assert!(!shown.contains("no job control"), "{shown}");
    console.types("kill %1; exit 0\n");
    c.wait_status("stopped");
}
