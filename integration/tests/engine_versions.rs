//! The README names the versions of the engines that brig is tested under: those that are here.

use brig_integration::engine::docker;
use brig_integration::{Lab, Need, binaries};
use std::fs;
use std::path::Path;

#[test]
fn the_readme_names_the_engines_that_are_tested() {
    let lab = Lab::new();
    let readme = fs::read_to_string(binaries::workspace().join("README.md")).expect("the README");
    let rows: Vec<Vec<&str>> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|line| line.split(" | ").map(str::trim).collect())
        .collect();
    let head = rows.iter().find(|row| row.contains(&"containerd")).expect("the table of engines");
    let today = Need::EnginesOfToday.check().is_ok();
    let debian = if today { "sid" } else { "12" };
    let row = rows.iter().find(|row| row[0] == debian).expect("the row of this Debian");
    assert_eq!(row.len(), head.len(), "{row:?}");
    for (name, stated) in head.iter().zip(row).skip(1) {
        let program = match *name {
            "Docker" => docker::program("bin/docker"),
            name => Path::new(&name.to_lowercase()).to_owned(),
        };
        // Not every Debian's Buildah is tested.
        if *stated == "no" && *name == "Buildah" && !today {
            continue;
        }
        let said = lab.call(program).arg("--version").go().ok().stdout();
        let is_number = |word: &&str| word.starts_with(|first: char| first.is_ascii_digit());
        let version = said.split_whitespace().find(is_number).expect("a version");
        let numbers: Vec<&str> = version.split(['.', '+', '~', ',']).take(2).collect();
        assert_eq!(*stated, numbers.join("."), "{name} of Debian {debian}: {said}");
    }
    lab.assert_clean();
}
