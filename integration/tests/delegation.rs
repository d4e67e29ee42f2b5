//! A cgroup that its container arranges itself: config-linux.md, "Cgroup ownership", and the kernel's cgroup-v2.rst,
//! "Delegation". Its limits stay the host's.

use brig_integration::{Bundle, Container, Lab, PATIENCE, json, need, wait_until};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

/// What the user namespace makes of root.
const ROOT: u32 = 200_000;

/// The mount point of cgroup v2.
const HIERARCHY: &str = "/sys/fs/cgroup";

/// With a cgroup that can be written to inside, and limits.
fn writable(bundle: Bundle) -> Bundle {
    let mount = json!({"destination": HIERARCHY, "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev"]});
    bundle
        .namespace("cgroup", None)
        .mount(mount)
        .set("/linux/resources", json!({"memory": {"limit": 134_217_728}, "pids": {"limit": 30}}))
}

fn cgroup(c: &Container<'_>) -> PathBuf {
    Path::new(HIERARCHY).join(c.bundle.cgroup().trim_start_matches('/'))
}

/// The files of a cgroup, and the cgroup as `.`, that are not root's, each with its owner.
fn given_away(cgroup: &Path) -> Vec<(String, u32, u32)> {
    let entries = fs::read_dir(cgroup).expect("the cgroup").flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let names = files.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut given: Vec<_> = [".".to_owned()]
        .into_iter()
        .chain(names)
        .filter_map(|name| {
            let stat = fs::metadata(cgroup.join(&name)).ok()?;
            (stat.uid() != 0 || stat.gid() != 0).then_some((name, stat.uid(), stat.gid()))
        })
        .collect();
    given.sort();
    given
}

/// What the kernel says may be given away, as far as it is there.
fn delegable(cgroup: &Path, uid: u32, gid: u32) -> Vec<(String, u32, u32)> {
    let list = fs::read_to_string("/sys/kernel/cgroup/delegate").expect("the kernel's list");
    let names = list.lines().filter(|name| cgroup.join(name).exists()).chain(["."]);
    let mut all: Vec<_> = names.map(|name| (name.to_owned(), uid, gid)).collect();
    all.sort();
    all
}

#[test]
fn root_inside_arranges_the_cgroup_and_not_its_limits() {
    need!(CgroupV2, Brig); // runc does this with systemd alone
    let lab = Lab::new();
    // Another cgroup of the same user, which can be seen inside, and one above the container's own.
    let [other, above] = [lab.id(), lab.id()];
    for name in [&other, &above] {
        fs::create_dir(Path::new(HIERARCHY).join(name)).expect("make a cgroup");
    }
    for file in [".", "cgroup.procs"] {
        let file = Path::new(HIERARCHY).join(&other).join(file);
        chown(file, Some(ROOT), Some(ROOT)).expect("give it away");
    }
    let path = format!("{above}/own");
    let script = "cd /sys/fs/cgroup && mkdir init && echo 1 >init/cgroup.procs && \
                  echo '+pids +memory' >cgroup.subtree_control && echo made && exec idle";
    let c = lab.container(
        writable(lab.bundle().user_namespace(ROOT))
            .set("/linux/cgroupsPath", format!("/{path}"))
            .bind(Path::new(HIERARCHY), "/dev/host", &["rbind", "rw"])
            .sh(script),
    );
    let run = c.run_detached();
    assert!(wait_until(PATIENCE, || run.stdout().contains("made")), "{}", run.stderr());
    let own = Path::new(HIERARCHY).join(&path);
    assert_eq!(given_away(&own), delegable(&own, ROOT, ROOT));
    // A process more comes to where the first is, as the cgroup itself takes none any more.
    c.exec(&["/bin/cat", "/proc/self/cgroup"]).ok().prints("0::/init");
    let attempts = "tries() { ( eval \"$1\" ) >/dev/null 2>&1 && echo \"can $1\"; }
        cd /sys/fs/cgroup
        for file in memory.max pids.max cgroup.kill cgroup.freeze memory.min; do
            for dir in . /dev/host/OWN /dev/host/ABOVE; do
                tries \"test -e $dir/$file\" >/dev/null || echo no $dir/$file
                tries \"echo 1 >$dir/$file\"
            done
            tries \"chown 0 $file\"
            tries \"chmod 666 $file\"
        done
        for dir in ABOVE OTHER .; do
            tries \"test -e /dev/host/$dir/cgroup.procs\" >/dev/null || echo no $dir
            tries \"echo 0 >/dev/host/$dir/cgroup.procs\"
        done
        tries 'echo 7 >init/pids.max'";
    let attempts = attempts.replace("OWN", &path).replace("ABOVE", &above).replace("OTHER", &other);
    c.exec_sh(&attempts).prints("can echo 7 >init/pids.max");
    let holds = |file: &str| fs::read_to_string(Path::new(HIERARCHY).join(file)).expect("a file");
    assert_eq!(holds(&format!("{path}/pids.max")), "30\n");
    assert_eq!(holds(&format!("{path}/memory.max")), "134217728\n");
    for cgroup in [&other, &above] {
        assert_eq!(holds(&format!("{cgroup}/cgroup.procs")), "");
    }
    c.delete_force().ok();
    for cgroup in [other, above] {
        fs::remove_dir(Path::new(HIERARCHY).join(cgroup)).expect("nothing is in it");
    }
    lab.assert_clean();
}

/// As the containers of a pod with a user namespace: what the ids are is the namespace's to say, not config.json's.
#[test]
fn a_joined_user_namespace_says_whose_the_cgroup_is() {
    need!(CgroupV2, Brig); // runc does this with systemd alone
    let lab = Lab::new();
    let pod = lab.container(lab.bundle().user_namespace(ROOT).idle());
    pod.run_detached();
    let user = format!("/proc/{}/ns/user", pod.pid());
    let member = lab.container(
        writable(lab.bundle().user_namespace(300_000).namespace("user", Some(&user)))
            .set("/process/user", json!({"uid": 5, "gid": 6}))
            .sh("mkdir /sys/fs/cgroup/below && echo made && exec idle"),
    );
    let run = member.run_detached();
    assert!(wait_until(PATIENCE, || run.stdout().contains("made")), "{}", run.stderr());
    let own = cgroup(&member);
    assert_eq!(given_away(&own), delegable(&own, ROOT + 5, ROOT + 6));
    member.exec(&["/bin/cat", "/proc/self/cgroup"]).ok().prints("0::/");
    assert_eq!(given_away(&cgroup(&pod)), []);
    for c in [&member, &pod] {
        c.delete_force().ok();
    }
    lab.assert_clean();
}
