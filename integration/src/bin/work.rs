//! Ordinary work of a Rust program, for the seccomp profiles' tests: threads, memory, files, a
//! child process; with the argument `network` also TCP and UDP over loopback.
//!
//! Promises one line when all of it worked, and status 101 with the place at the first thing that
//! did not. Its counterpart in Go is `integration/programs/work.go`.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

fn main() {
    threads();
    memory();
    files();
    child();
    if std::env::args().nth(1).as_deref() == Some("network") {
        network();
    }
    println!("rust works");
}

/// A channel, a lock with a condition, and sleeping.
fn threads() {
    let (sender, receiver) = mpsc::channel();
    let go = Arc::new((Mutex::new(false), Condvar::new()));
    let threads: Vec<_> = (0..16_u64)
        .map(|n| {
            let (sender, go) = (sender.clone(), Arc::clone(&go));
            thread::spawn(move || {
                let mut open = go.0.lock().expect("a lock");
                while !*open {
                    open = go.1.wait(open).expect("a condition");
                }
                drop(open);
                sender.send(n).expect("somebody receives");
            })
        })
        .collect();
    drop(sender);
    let begin = Instant::now();
    thread::sleep(Duration::from_millis(2));
    assert!(begin.elapsed() >= Duration::from_millis(2));
    *go.0.lock().expect("a lock") = true;
    go.1.notify_all();
    assert_eq!(receiver.iter().sum::<u64>(), 120);
    for thread in threads {
        thread.join().expect("it ends");
    }
    assert!(thread::available_parallelism().is_ok());
}

/// Large pieces come from mmap(2) and grow by mremap(2).
fn memory() {
    let mut large: Vec<u8> = Vec::new();
    for n in 0..64_u8 {
        large.extend(std::iter::repeat_n(n, 1 << 16));
    }
    assert_eq!(large.iter().map(|n| u64::from(*n)).sum::<u64>(), 2016 << 16);
    let map: BTreeMap<u64, String> = (0..10_000).map(|n| (n, n.to_string())).collect();
    assert_eq!(map.get(&9_999).map(String::as_str), Some("9999"));
}

fn files() {
    let dir = std::env::temp_dir().join(format!("work{}", std::process::id()));
    fs::create_dir(&dir).expect("a directory");
    let path = dir.join("a");
    fs::write(&path, "text").expect("write");
    fs::copy(&path, dir.join("b")).expect("copy");
    fs::rename(dir.join("b"), dir.join("c")).expect("rename");
    let file = fs::File::open(dir.join("c")).expect("open");
    file.sync_all().expect("sync");
    assert_eq!(file.metadata().expect("metadata").len(), 4);
    assert_eq!(fs::read_dir(&dir).expect("list").count(), 2);
    let mut permissions = file.metadata().expect("metadata").permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&path, permissions).expect("permissions");
    fs::remove_dir_all(&dir).expect("remove");
}

fn child() {
    let mut child = Command::new("/bin/sh")
        .args(["-c", "read line; echo child $line"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    child.stdin.take().expect("its input").write_all(b"reads\n").expect("write");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    assert_eq!(output.stdout, b"child reads\n");
}

fn network() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("an address");
    let server = thread::spawn(move || {
        for stream in listener.incoming().take(8) {
            let mut stream = BufReader::new(stream.expect("a connection"));
            let mut line = String::new();
            stream.read_line(&mut line).expect("a line");
            stream.get_mut().write_all(line.as_bytes()).expect("an answer");
        }
    });
    for n in 0..8 {
        let mut stream = TcpStream::connect(address).expect("connect");
        stream.set_nodelay(true).expect("an option");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        writeln!(stream, "line {n}").expect("write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert_eq!(answer, format!("line {n}\n"));
    }
    server.join().expect("the server ends");
    let [a, b] = ["127.0.0.1:0"; 2].map(|at| UdpSocket::bind(at).expect("bind"));
    a.send_to(b"datagram", b.local_addr().expect("an address")).expect("send");
    let mut datagram = [0; 16];
    assert_eq!(b.recv_from(&mut datagram).expect("receive").0, 8);
}
