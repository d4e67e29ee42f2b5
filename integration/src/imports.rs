//! Which module of a directory imports which of its neighbours, from source text.
//!
//! Must never read files: `tests/architecture.rs` does. A parent's own file is no neighbour: it names its children.

use crate::tidy::Source;
use std::collections::{BTreeMap, BTreeSet};

/// Modules that lie in one directory, each with those that it imports.
pub type Graph = BTreeMap<String, BTreeSet<String>>;

/// Adds what the file of module `from`, or a file below it, imports of its neighbours: `inside` is the path of their
/// directory within the package, and `is_direct` says that the file is not below.
pub fn add(graph: &mut Graph, from: &str, text: &str, inside: &[&str], is_direct: bool) {
    let source = Source::new(text).without_tests();
    let mut named = BTreeSet::new();
    for tree in trees(&source.code, "crate::") {
        named.extend(below(&tree, inside));
    }
    if is_direct {
        for tree in trees(&source.code, "super::") {
            named.extend(below(&tree, &[]));
        }
    }
    graph.entry(from.to_owned()).or_default().extend(named);
}

/// What follows each `prefix` in the code: a path, or a tree in braces.
fn trees(code: &str, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let mut depth = 0_usize;
        let rest = &code[at + prefix.len()..];
        let end = rest.find(|c: char| match c {
            '{' => {
                depth += 1;
                false
            }
            '}' if depth > 0 => {
                depth -= 1;
                false
            }
            ',' | ' ' | '\n' if depth > 0 => false,
            c => !(c.is_alphanumeric() || c == '_' || c == ':'),
        });
        found.push(rest[..end.unwrap_or(rest.len())].split_whitespace().collect());
    }
    found
}

/// The first names of a tree below the path `inside`.
fn below(tree: &str, inside: &[&str]) -> Vec<String> {
    let parts = match tree.strip_prefix('{') {
        Some(list) => split(list.strip_suffix('}').unwrap_or(list)),
        None => vec![tree],
    };
    let mut found = Vec::new();
    for part in parts {
        let (name, rest) = part.split_once("::").unwrap_or((part, ""));
        match inside.split_first() {
            None => found.push(name.to_owned()),
            Some((first, inside)) if *first == name => found.extend(below(rest, inside)),
            Some(_) => {}
        }
    }
    found
}

/// At the commas that are in no braces.
fn split(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_usize, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[start..]);
    parts
}

/// The groups of modules in which each can be reached from each: circles.
pub fn circles(graph: &Graph) -> Vec<Vec<String>> {
    let reached = |from: &str| {
        let (mut seen, mut ahead) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(name) = ahead.pop() {
            for next in graph.get(&name).into_iter().flatten() {
                if graph.contains_key(next) && seen.insert(next.clone()) {
                    ahead.push(next.clone());
                }
            }
        }
        seen
    };
    let all: BTreeMap<_, _> = graph.keys().map(|name| (name.clone(), reached(name))).collect();
    let mut found = BTreeSet::new();
    for (name, there) in &all {
        let circle: Vec<_> =
            there.iter().filter(|other| all[*other].contains(name)).cloned().collect();
        if circle.len() > 1 {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(files: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::new();
        for (name, text) in files {
            add(&mut graph, name, text, &["plan"], true);
        }
        graph
    }

    #[test]
    fn imports_are_found_in_every_form() {
        let text = "use super::{Error, a::{B, C}, d};\nuse crate::plan::{e, f::G};\nuse crate::other::h;\n\
            fn x() { super::i::j(); crate::plan::k(); } // super::l\n#[cfg(test)]\nmod tests { use super::m; }";
        let found = &graph(&[("x", text)])["x"];
        assert_eq!(
            found.iter().map(String::as_str).collect::<Vec<_>>(),
            ["Error", "a", "d", "e", "f", "i", "k"]
        );
    }

    #[test]
    fn circles_are_found_and_lines_not() {
        let line = graph(&[("a", "use super::b;"), ("b", "use super::c;"), ("c", "")]);
        assert!(circles(&line).is_empty());
        let circle = graph(&[
            ("a", "use super::b::B;"),
            ("b", "use super::{c, Error};"),
            ("c", "use super::a;"),
            ("d", "use super::a;"),
        ]);
        assert_eq!(circles(&circle), [["a", "b", "c"]]);
    }
}
