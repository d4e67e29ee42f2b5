//! Prints, as JSON, what a process inside a container sees of itself and of its surroundings.
//!
//! It is the container's program in most tests: what the kernel says from inside is what a
//! workload gets, whatever the runtime believes that it did. It reads /proc and calls nothing that
//! changes anything, so it works under any profile. Reference: proc(5), namespaces(7).
//!
//! `probe` prints everything; `probe KEY…` only these top-level keys.
#![forbid(unsafe_code)]

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// A top-level key and how its value is found.
type Item = (&'static str, fn() -> Value);

const ITEMS: &[Item] = &[
    ("pid", || json!(std::process::id())),
    ("ids", ids),
    ("caps", caps),
    ("securebits", || {
        json!(rustix::thread::capabilities_secure_bits().ok().map(|bits| bits.bits()))
    }),
    ("mdwe", || json!(brig_sys::process::refuses_exec_gain())),
    ("no_new_privs", || status_number("NoNewPrivs")),
    ("seccomp", || status_number("Seccomp")),
    ("seccomp_filters", || status_number("Seccomp_filters")),
    ("umask", || status("Umask")),
    ("namespaces", namespaces),
    ("mounts", mounts),
    ("rlimits", rlimits),
    ("cgroup", || lines("/proc/self/cgroup")),
    ("oom_score_adj", || text("/proc/self/oom_score_adj")),
    ("hostname", || text("/proc/sys/kernel/hostname")),
    ("domainname", || text("/proc/sys/kernel/domainname")),
    ("cwd", cwd),
    ("args", || json!(std::env::args().collect::<Vec<_>>())),
    ("env", env),
    ("fds", fds),
    ("personality", || text("/proc/self/personality")),
    ("scheduler", scheduler),
    ("sysctls", sysctls),
    ("dev", dev),
    ("keys", || lines("/proc/keys")),
    ("timens_offsets", || lines("/proc/self/timens_offsets")),
    ("uid_map", || lines("/proc/self/uid_map")),
    ("gid_map", || lines("/proc/self/gid_map")),
    ("setgroups", || text("/proc/self/setgroups")),
    ("apparmor", || text("/proc/self/attr/apparmor/current")),
    ("selinux", || text("/proc/self/attr/current")),
    ("labels", labels),
    ("coredump_filter", || text("/proc/self/coredump_filter")),
    ("thp", || status("THP_enabled")),
    ("interfaces", interfaces),
    ("root", root),
    ("stat_root", stat_root),
    ("processes", processes),
    ("session", session),
    ("signals", signals),
    ("cpus_allowed", || status("Cpus_allowed_list")),
    ("mems_allowed", || status("Mems_allowed_list")),
    ("speculation", || status("Speculation_Store_Bypass")),
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let mut view = Map::new();
    for (key, find) in ITEMS {
        if wanted.is_empty() || wanted.iter().any(|w| w == key) {
            view.insert((*key).to_owned(), find());
        }
    }
    println!("{}", Value::Object(view));
}

/// The file's text without the last newline, or null where it cannot be read.
fn text(path: &str) -> Value {
    match fs::read_to_string(path) {
        Ok(text) => json!(text.trim_end_matches(['\n', '\0'])),
        Err(_) => Value::Null,
    }
}

fn lines(path: &str) -> Value {
    match fs::read_to_string(path) {
        Ok(text) => {
            let lines: Vec<String> = text.lines().map(squeeze).collect();
            json!(lines)
        }
        Err(_) => Value::Null,
    }
}

/// Runs of blanks become one: the kernel aligns its columns.
fn squeeze(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn status(field: &str) -> Value {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    text.lines()
        .find_map(|l| l.strip_prefix(field)?.strip_prefix(':'))
        .map_or(Value::Null, |v| json!(squeeze(v)))
}

fn status_number(field: &str) -> Value {
    status(field).as_str().and_then(|v| v.parse::<u64>().ok()).map_or(Value::Null, |v| json!(v))
}

/// Real, effective, saved and file system ids, and the supplementary groups.
fn ids() -> Value {
    let numbers = |field| -> Vec<u32> {
        status(field)
            .as_str()
            .unwrap_or_default()
            .split(' ')
            .filter_map(|v| v.parse().ok())
            .collect()
    };
    json!({"uid": numbers("Uid"), "gid": numbers("Gid"), "groups": numbers("Groups")})
}

fn caps() -> Value {
    json!({
        "inheritable": status("CapInh"),
        "permitted": status("CapPrm"),
        "effective": status("CapEff"),
        "bounding": status("CapBnd"),
        "ambient": status("CapAmb"),
    })
}

/// Every namespace's link, such as `mnt:[4026531841]`.
fn namespaces() -> Value {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/ns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Ok(link) = fs::read_link(entry.path()) {
            found.insert(name, link.to_string_lossy().into_owned());
        }
    }
    json!(found)
}

/// mountinfo, without ids, devices and peer group numbers, which differ from run to run.
fn mounts() -> Value {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts: Vec<Value> = text.lines().filter_map(mount).collect();
    json!(mounts)
}

/// The SELinux contexts of every mount and of some files, where they have one.
fn labels() -> Value {
    const FILES: [&str; 4] = ["/dev/null", "/dev/ptmx", "/dev/console", "/proc/self/fd/0"];
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let targets = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let mut found = BTreeMap::new();
    for path in targets.chain(FILES) {
        let mut context = [0; 256];
        if let Ok(length) = rustix::fs::getxattr(path, "security.selinux", &mut context) {
            let context = String::from_utf8_lossy(&context[..length]);
            found.insert(path.to_owned(), context.trim_end_matches('\0').to_owned());
        }
    }
    json!(found)
}

fn mount(line: &str) -> Option<Value> {
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let mut right = right.splitn(3, ' ');
    let propagation =
        left[6..].iter().map(|tag| tag.split(':').next().unwrap_or_default()).collect::<Vec<_>>();
    let sorted = |options: &str| {
        let mut options: Vec<&str> = options.split(',').collect();
        options.sort_unstable();
        options.join(",")
    };
    Some(json!({
        "root": left[3],
        "target": left[4],
        "options": sorted(left[5]),
        "propagation": propagation,
        "type": right.next()?,
        "source": right.next()?,
        "data": sorted(right.next().unwrap_or_default()),
    }))
}

/// `{"nofile": ["1024", "4096"], …}` with the names of setrlimit(2) in lower case.
fn rlimits() -> Value {
    const NAMES: &[(&str, &str)] = &[
        ("Max cpu time", "cpu"),
        ("Max file size", "fsize"),
        ("Max data size", "data"),
        ("Max stack size", "stack"),
        ("Max core file size", "core"),
        ("Max resident set", "rss"),
        ("Max processes", "nproc"),
        ("Max open files", "nofile"),
        ("Max locked memory", "memlock"),
        ("Max address space", "as"),
        ("Max file locks", "locks"),
        ("Max pending signals", "sigpending"),
        ("Max msgqueue size", "msgqueue"),
        ("Max nice priority", "nice"),
        ("Max realtime priority", "rtprio"),
        ("Max realtime timeout", "rttime"),
    ];
    let text = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let mut found = Map::new();
    for (title, name) in NAMES {
        let values = text.lines().find_map(|l| l.strip_prefix(title));
        if let Some(values) = values {
            let values: Vec<&str> = values.split_whitespace().take(2).collect();
            found.insert((*name).to_owned(), json!(values));
        }
    }
    Value::Object(found)
}

fn cwd() -> Value {
    std::env::current_dir().map_or(Value::Null, |dir| json!(dir.to_string_lossy()))
}

fn env() -> Value {
    let vars: Vec<String> = std::env::vars_os()
        .map(|(k, v)| format!("{}={}", k.to_string_lossy(), v.to_string_lossy()))
        .collect();
    json!(vars)
}

/// Open descriptors and what they are, but for the one that lists them.
fn fds() -> Value {
    let mut found = BTreeMap::new();
    let own = format!("/proc/{}/fd", std::process::id());
    for entry in fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        if let Ok(link) = fs::read_link(entry.path())
            && link != Path::new(&own)
        {
            let fd: u32 = entry.file_name().to_string_lossy().parse().unwrap_or(u32::MAX);
            found.insert(fd, link.to_string_lossy().into_owned());
        }
    }
    json!(found)
}

/// Policy, priorities and nice value: fields 18, 19, 40 and 41 of proc_pid_stat(5).
fn scheduler() -> Value {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = match stat.rsplit_once(") ") {
        Some((_, rest)) => rest.split(' ').collect(),
        None => return Value::Null,
    };
    let field = |number: usize| fields.get(number - 3).and_then(|f| f.parse::<i64>().ok());
    json!({
        "priority": field(18),
        "nice": field(19),
        "rt_priority": field(40),
        "policy": field(41),
    })
}

/// The namespaced sysctls that Kubernetes and Docker let a container set.
fn sysctls() -> Value {
    const NAMES: &[&str] = &[
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "fs.mqueue.msg_max",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ip_forward",
        "user.max_user_namespaces",
    ];
    let mut found = Map::new();
    for name in NAMES {
        let value = text(&format!("/proc/sys/{}", name.replace('.', "/")));
        let value = value.as_str().map_or(Value::Null, |v| json!(squeeze(v)));
        found.insert((*name).to_owned(), value);
    }
    Value::Object(found)
}

/// `/dev`, a level deep: kind, device number, mode, owner, or where a link leads.
fn dev() -> Value {
    let mut found = BTreeMap::new();
    list(Path::new("/dev"), &mut found);
    json!(found)
}

fn list(dir: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        let kind = meta.file_type();
        let owner = format!("{:o} {}:{}", meta.mode() & 0o7777, meta.uid(), meta.gid());
        let (major, minor) = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
        let words = if kind.is_symlink() {
            let to = fs::read_link(&path).unwrap_or_default();
            format!("-> {}", to.to_string_lossy())
        } else if kind.is_char_device() {
            format!("c {major}:{minor} {owner}")
        } else if kind.is_block_device() {
            format!("b {major}:{minor} {owner}")
        } else if kind.is_fifo() {
            format!("p {owner}")
        } else if kind.is_dir() {
            format!("d {owner}")
        } else {
            format!("f {owner}")
        };
        found.insert(path.to_string_lossy().into_owned(), words);
    }
}

fn interfaces() -> Value {
    let mut names: Vec<String> = fs::read_to_string("/proc/net/dev")
        .unwrap_or_default()
        .lines()
        .filter_map(|l| Some(l.split_once(':')?.0.trim().to_owned()))
        .collect();
    names.sort();
    json!(names)
}

/// What lies in the root directory.
fn root() -> Value {
    let mut names: Vec<String> = fs::read_dir("/")
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    json!(names)
}

fn stat_root() -> Value {
    fs::metadata("/")
        .map_or(Value::Null, |m| json!(format!("{:o} {}:{}", m.mode() & 0o7777, m.uid(), m.gid())))
}

/// How many processes /proc shows.
fn processes() -> Value {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let count = pids.filter(|e| e.file_name().to_string_lossy().parse::<u32>().is_ok()).count();
    json!(count)
}

/// Process group, session and terminal: fields 5, 6 and 7 of proc_pid_stat(5).
fn session() -> Value {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let Some((_, rest)) = stat.rsplit_once(") ") else {
        return Value::Null;
    };
    let fields: Vec<&str> = rest.split(' ').collect();
    json!({"process_group": fields.get(2), "session": fields.get(3), "terminal": fields.get(4)})
}

/// Blocked and ignored signals: a program must not inherit the runtime's own. Rust's start-up code
/// ignores SIGPIPE and catches SIGSEGV and SIGBUS; 32 and 33 are the C library's: these say nothing.
fn signals() -> Value {
    const MEANINGLESS: u64 = 1 << 12 | 1 << 10 | 1 << 6 | 1 << 31 | 1 << 32;
    let mask = |field| {
        let value = status(field);
        let bits = u64::from_str_radix(value.as_str().unwrap_or("0"), 16).unwrap_or(0);
        format!("{:016x}", bits & !MEANINGLESS)
    };
    json!({"blocked": mask("SigBlk"), "ignored": mask("SigIgn")})
}
