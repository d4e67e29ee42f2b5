//! Buildah by itself, without a daemon: it calls the runtime for each `RUN` with `--isolation oci`.

use super::{IMAGE, words};
use crate::binaries;
use crate::command::{Call, Output};
use crate::lab::Lab;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A Buildah with one image, `localhost/box:1`: busybox.
pub struct Buildah<'l> {
    lab: &'l Lab,
    dir: PathBuf,
}

impl<'l> Buildah<'l> {
    /// Makes its storage and loads the image.
    ///
    /// # Panics
    /// When that fails.
    pub fn start(lab: &'l Lab) -> Buildah<'l> {
        let dir = lab.path("buildah");
        fs::create_dir(&dir).expect("make a directory");
        fs::write(dir.join("containers.conf"), super::CONTAINERS_CONF).expect("configure it");
        let buildah = Buildah { lab, dir };
        let archive = binaries::rootfs("image").join("box.tar");
        let pulled =
            buildah.call(&["pull", "--quiet"]).arg(format!("oci-archive:{}", archive.display()));
        let image = pulled.go().ok().stdout();
        buildah.call(&["tag", image.trim(), IMAGE]).go().ok();
        buildah
    }

    /// `buildah` with these arguments.
    pub fn call(&self, args: &[&str]) -> Call {
        self.lab
            .call("buildah")
            .env("CONTAINERS_CONF", self.dir.join("containers.conf"))
            .cwd(&self.dir)
            .arg("--root")
            .arg(self.dir.join("root"))
            .arg("--runroot")
            .arg(self.dir.join("run"))
            .args(["--storage-driver", "overlay"])
            .args(args)
            .limit(Duration::from_secs(120))
    }

    /// What `buildah` says to a line of arguments, divided at blanks; a tab stands for a blank within one.
    pub fn says(&self, line: &str) -> Output {
        let words = words(line);
        self.call(&words.iter().map(String::as_str).collect::<Vec<_>>()).go()
    }

    /// `buildah run` in the working container `container`, under the runtime under test.
    pub fn run(&self, container: &str, options: &str, args: &[&str]) -> Call {
        let words = words(options);
        self.call(&["run", "--isolation", "oci", "--runtime"])
            .arg(binaries::runtime())
            .args(words.iter().filter(|word| !word.is_empty()))
            .arg(container)
            .args(args)
    }

    /// `buildah build` of a directory, under the runtime under test.
    pub fn build(&self, options: &str, context: &Path) -> Call {
        let words = words(options);
        self.call(&["build", "--isolation", "oci", "--runtime"])
            .arg(binaries::runtime())
            .args(words.iter().filter(|word| !word.is_empty()))
            .arg(context)
    }
}

impl Drop for Buildah<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.says("rm --all");
        }
        let storage = self.dir.join("root/overlay");
        while nix::mount::umount2(&storage, nix::mount::MntFlags::MNT_DETACH).is_ok() {}
    }
}
