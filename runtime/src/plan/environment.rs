//! The environment of a program, and where it says that programs are.
//!
//! Promises: each name once, with its last value, as runc gives it. Of a name that is there twice getenv(3) takes
//! the first value and a shell the last: what config.json says must not mean one thing to its reader, to brig and
//! to the program's libraries. Reference: environ(7), exec(3).

use std::collections::BTreeSet;

/// Where programs are looked for without `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The last entry of each name, in their order.
pub(super) fn of(entries: &[String]) -> Vec<&str> {
    // An ordered set: a hash map asks the kernel for a random key.
    let mut names = BTreeSet::new();
    let mut kept = Vec::new();
    for entry in entries.iter().rev() {
        if names.insert(entry.split('=').next()) {
            kept.push(entry.as_str());
        }
    }
    kept.reverse();
    kept
}

/// Whether there is a home directory. An empty one is none, as for runc: a shell goes nowhere by it.
pub(crate) fn has_home(entries: &[String]) -> bool {
    let home = entries.iter().rev().find_map(|entry| entry.strip_prefix("HOME="));
    home.is_some_and(|home| !home.is_empty())
}

/// The value of `PATH`, or what stands for it.
pub(super) fn search_path(entries: &[String]) -> &str {
    let mut entries = entries.iter().rev();
    entries.find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|entry| (*entry).to_owned()).collect()
    }

    #[test]
    fn an_empty_home_is_none() {
        assert!(has_home(&env(&["HOME=", "HOME=/a"])));
        assert!(!has_home(&env(&["HOME=/a", "HOME="])) && !has_home(&env(&["PATH=/bin"])));
    }

    #[test]
    fn the_last_of_each_name_stays_in_its_place() {
        let twice = env(&["A=1", "AB=1", "B=x=1", "A=2", "C=", "B=x=2", "a=3", "A="]);
        assert_eq!(of(&twice), ["AB=1", "C=", "B=x=2", "a=3", "A="]);
        assert_eq!(of(&[]), [""; 0]);
    }

    #[test]
    fn programs_are_looked_for_where_the_program_would() {
        let twice = env(&["PATH=/first", "MYPATH=/other", "PATH=/last", "PATHS=/more"]);
        assert_eq!(search_path(&twice), "/last");
        assert_eq!(search_path(&env(&["PATH="])), "");
        assert_eq!(search_path(&[]), DEFAULT_PATH);
    }
}
