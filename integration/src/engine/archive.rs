//! A cached root file system as an image, in the form of `docker save`, which every engine loads.

use crate::binaries;
use crate::lab::Lab;
use serde_json::json;
use std::fs;
use std::path::PathBuf;

/// How much of the root file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// All of it.
    Whole,
    /// Without what is large, and servers do not need to serve: compilers' libraries, locales, other languages.
    Slim,
}

const LARGE: &[&str] = &[
    "./usr/lib/postgresql/15/lib/bitcode",
    "./usr/lib/python3*",
    "./usr/lib/x86_64-linux-gnu/libLLVM*",
    "./usr/lib/x86_64-linux-gnu/libz3*",
    "./usr/lib/x86_64-linux-gnu/perl*",
    "./usr/share/i18n",
    "./usr/share/perl*",
    "./var/lib/dpkg/info",
];

/// Writes the archive of the image `localhost/TREE:1`.
///
/// # Panics
/// When it cannot.
pub fn archive(lab: &Lab, tree: &str, size: Size) -> PathBuf {
    let dir = lab.path("image");
    fs::create_dir(&dir).expect("make a directory");
    let large = if size == Size::Slim { LARGE } else { &[] };
    let without = large.iter().map(|path| format!("--exclude={path}"));
    let tar =
        lab.call("tar").args(without).arg("--numeric-owner").arg("-C").arg(binaries::rootfs(tree));
    tar.arg("-cf").arg(dir.join("layer.tar")).arg(".").go().ok();
    let sum = lab.call("sha256sum").arg(dir.join("layer.tar")).go().ok().stdout();
    let sum = sum.split_whitespace().next().expect("a digest");
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {"Env": [path]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{sum}")]},
    });
    let manifest = json!([{
        "Config": "config.json", "RepoTags": [format!("localhost/{tree}:1")], "Layers": ["layer.tar"],
    }]);
    for (name, value) in [("config.json", config), ("manifest.json", manifest)] {
        fs::write(dir.join(name), value.to_string()).expect("write a part of the image");
    }
    let archive = dir.with_extension("tar");
    let tar = lab.call("tar").arg("-C").arg(&dir).arg("-cf").arg(&archive);
    tar.args(["manifest.json", "config.json", "layer.tar"]).go().ok();
    fs::remove_dir_all(dir).expect("remove what is in the archive");
    archive
}
