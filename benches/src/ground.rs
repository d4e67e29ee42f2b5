//! The ground that all subjects stand on: a private mount namespace, bundles on a tmpfs, and a view of
//! the cgroups that every runtime accepts.
//!
//! Promises: the host's mounts stay as they are, and [`Ground::clear`] removes every cgroup, process and
//! directory that carries this measurement's prefix, and nothing else.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

use crate::programs::Programs;
use crate::subject::{Bundle, bundle_dir};

const DEFAULT_CONFIG: &str = include_str!("../bundles/default.json");
const DOCKER_CONFIG: &str = include_str!("../bundles/docker.json");
/// A node's policy by which brig changes nothing, unless `--profile` selects a level.
const POLICY: &str =
    "version = 1\ndefault = \"oci\"\nselectable = [\"baseline\", \"restricted\", \"sandbox\"]\n";
const CGROUPS: &str = "/sys/fs/cgroup";

/// Where everything of one measurement lies.
#[derive(Debug)]
pub struct Ground {
    place: PathBuf,
    prefix: String,
    made: u64,
}

/// Whether the host has nothing but cgroup v2.
#[must_use]
pub fn is_cgroup_v2() -> bool {
    Path::new(CGROUPS).join("cgroup.controllers").exists()
}

/// Refuses to go on without root.
///
/// # Errors
/// When the effective user is another.
pub fn require_root() -> Result<()> {
    ensure!(Uid::effective().is_root(), "measuring containers needs root");
    Ok(())
}

impl Ground {
    /// Moves this process into a private mount namespace and lays out the bundles there.
    ///
    /// Call it before any thread is started.
    ///
    /// # Errors
    /// When a mount fails.
    pub fn prepare(programs: &Programs, subjects: &[String]) -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace")?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
            .context("cannot make the mounts private")?;
        let pid = std::process::id();
        let place = PathBuf::from(format!("/tmp/brig-compare-{pid}"));
        fs::create_dir(&place).with_context(|| format!("cannot make {}", place.display()))?;
        let ground = Self { place, prefix: format!("brigbench-{pid}-"), made: 0 };
        match ground.lay_out(programs, subjects) {
            Ok(()) => Ok(ground),
            Err(error) => {
                ground.clear()?;
                Err(error)
            }
        }
    }

    /// The working directory.
    #[must_use]
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// A container name that was not used before, that [`Ground::clear`] recognises, and that ends with
    /// its subject's name.
    pub fn next_id(&mut self, subject: &str) -> String {
        self.made += 1;
        // The number has a fixed length, so that no name is contained in another.
        format!("{}{:06}-{subject}", self.prefix, self.made)
    }

    /// Kills what is left in cgroups of this measurement and removes them: all, or those of one container.
    /// Says which there were.
    ///
    /// # Errors
    /// When one cannot be removed; the others are all the same.
    pub fn sweep(&self, id: Option<&str>) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        collect_named(Path::new(CGROUPS), id.unwrap_or(&self.prefix), &mut found);
        let mut failed = Vec::new();
        for cgroup in &found {
            if let Err(error) = remove_cgroup(cgroup) {
                failed.push(format!("{}: {error}", cgroup.display()));
            }
        }
        ensure!(failed.is_empty(), "cannot remove cgroups: {}", failed.join("; "));
        Ok(found)
    }

    /// Removes everything. The containers must have been deleted before; what they left is killed.
    ///
    /// # Errors
    /// With all that could not be removed.
    pub fn clear(&self) -> Result<()> {
        let swept = self.sweep(None).map(|_| ());
        // Detached: a process that still stands in it must not keep the rest from being removed. The
        // tmpfs may not be there yet, when laying it out failed.
        let _ = umount2(&self.place, MntFlags::MNT_DETACH);
        let removed = fs::remove_dir(&self.place)
            .with_context(|| format!("cannot remove {}", self.place.display()));
        match (swept, removed) {
            (Err(swept), Err(removed)) => Err(removed.context(swept)),
            (swept, removed) => swept.and(removed),
        }
    }

    fn lay_out(&self, programs: &Programs, subjects: &[String]) -> Result<()> {
        // Not on the disk: the runtimes' state files would then compete with whatever else writes.
        let none = MsFlags::empty();
        mount(Some("bench"), &self.place, Some("tmpfs"), none, Some("mode=755"))
            .with_context(|| format!("cannot mount a tmpfs at {}", self.place.display()))?;
        for bundle in [Bundle::Default, Bundle::Docker, Bundle::Pause] {
            self.lay_out_bundle(bundle, &programs.guest)?;
        }
        for subject in subjects {
            fs::create_dir_all(self.place.join("state").join(subject))?;
        }
        fs::create_dir(self.place.join("mounts"))?;
        self.choose_policy().context("cannot put a policy of brig's on /etc")?;
        if !is_cgroup_v2() {
            self.hide_unified().context("cannot hide the hybrid's cgroup v2 mount")?;
        }
        Ok(())
    }

    fn lay_out_bundle(&self, bundle: Bundle, guest: &Path) -> Result<()> {
        let dir = bundle_dir(&self.place, bundle);
        let rootfs = dir.join("rootfs");
        for name in ["bin", "dev", "proc", "sys"] {
            fs::create_dir_all(rootfs.join(name))?;
        }
        let program = rootfs.join("bin/true");
        fs::copy(guest, &program)
            .with_context(|| format!("cannot copy {} into a bundle", guest.display()))?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        let config = match bundle {
            Bundle::Default => DEFAULT_CONFIG.to_owned(),
            Bundle::Docker => DOCKER_CONFIG.to_owned(),
            Bundle::Pause => {
                let mut config: serde_json::Value = serde_json::from_str(DEFAULT_CONFIG)?;
                config["process"]["args"] = serde_json::json!(["/bin/true", "pause"]);
                config.to_string()
            }
        };
        fs::write(dir.join("config.json"), config)?;
        Ok(())
    }

    /// Brig is measured as the other runtimes are, which do what they are asked for; `--profile` selects its levels.
    fn choose_policy(&self) -> Result<()> {
        let (upper, work) = (self.place.join("etc"), self.place.join("etc-work"));
        fs::create_dir(&upper)?;
        fs::create_dir(&work)?;
        let options =
            format!("lowerdir=/etc,upperdir={},workdir={}", upper.display(), work.display());
        mount(Some("etc"), "/etc", Some("overlay"), MsFlags::empty(), Some(options.as_str()))?;
        // Nothing of the machine's own shows through.
        let _ = fs::remove_dir_all("/etc/brig");
        fs::create_dir("/etc/brig")?;
        fs::write("/etc/brig/policy.toml", POLICY)?;
        Ok(())
    }

    /// On a hybrid host, gives this namespace the v1 controllers alone.
    ///
    /// crun 1.8 refuses the hybrid layout. Unmounting `unified` is not enough: its mount point stays, on a
    /// tmpfs that the host shares, and runtimes then make plain directories in it. So the controllers are
    /// bound into a new tmpfs that takes the old one's place.
    fn hide_unified(&self) -> Result<()> {
        let view = self.place.join("cgroup");
        fs::create_dir(&view)?;
        let none = MsFlags::empty();
        mount(Some("cgroups"), &view, Some("tmpfs"), none, Some("mode=755"))?;
        for entry in fs::read_dir(CGROUPS)? {
            let entry = entry?;
            let name = entry.file_name();
            let target = view.join(&name);
            if entry.file_type()?.is_symlink() {
                std::os::unix::fs::symlink(fs::read_link(entry.path())?, &target)?;
            } else if entry.file_type()?.is_dir() && name != "unified" {
                fs::create_dir(&target)?;
                mount(Some(&entry.path()), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
            }
        }
        umount2(CGROUPS, MntFlags::MNT_DETACH)?;
        mount(Some(&view), CGROUPS, None::<&str>, MsFlags::MS_MOVE, None::<&str>)?;
        Ok(())
    }
}

/// Directories below `dir` with `part` in their name, children before parents.
fn collect_named(dir: &Path, part: &str, found: &mut Vec<PathBuf>) {
    // A cgroup of somebody else's may vanish while it is listed: there is nothing to find in it then.
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        collect_named(&path, part, found);
        let is_named = entry.file_name().to_string_lossy().contains(part);
        if is_named || dir.to_string_lossy().contains(part) {
            found.push(path);
        }
    }
}

/// Kills what is in a cgroup until it can be removed, for at most two seconds.
fn remove_cgroup(cgroup: &Path) -> io::Result<()> {
    let mut last = Ok(());
    for _ in 0..200 {
        last = match fs::remove_dir(cgroup) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        if last.is_ok() {
            return last;
        }
        let members = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
        // A member that this pid namespace does not know is shown as 0, which kill(2) takes for the
        // caller's own group.
        for pid in members.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 1) {
            // It may have ended since; if it did not, the directory stays and the next round tries again.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        sleep(Duration::from_millis(10));
    }
    last
}
