//! The tables of all verbs: that they are sound, and that documents name no other flags.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{env, fs};

use super::arguments::{About, Table};
use super::verb::{Does, Verb};
use super::{VERBS, global, help};

/// Every verb with those that belong to it.
fn verbs() -> Vec<&'static Verb> {
    let inner = |verb: &'static Verb| match verb.does {
        Does::Verbs(verbs) => verbs,
        Does::Run(_) => &[],
    };
    VERBS.iter().flat_map(|verb| std::iter::once(verb).chain(inner(verb))).collect()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn flags_are_told_apart_and_explained() {
    let tables = verbs().into_iter().map(|verb| (verb.name, verb.flags));
    for (verb, flags) in tables.chain([("brig", &global::FLAGS as &dyn Table)]) {
        let mut seen = Vec::new();
        for (_, About { names, value, help }) in flags.iter() {
            assert!(!help.is_empty() && !help.ends_with('.'), "{verb} {names}");
            assert!(value.to_ascii_uppercase() == value && !value.contains(' '), "{verb} {names}");
            for name in names.split(", ") {
                let letters = name.trim_start_matches('-');
                let dashes = name.len() - letters.len();
                assert!((dashes == 1) == (letters.len() == 1) && dashes < 3, "{verb} {name}");
                assert!(verb == "brig" || !["-h", "--help"].contains(&name), "{verb} {name}");
                assert!(!seen.contains(&name), "{verb} has {name} twice");
                seen.push(name);
            }
        }
    }
}

#[test]
fn help_fits_in_a_terminal_and_says_what_is_typed() {
    for verb in verbs() {
        let help = verb.help();
        assert!(help.starts_with(&format!("usage: brig {}", verb.name)), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 105 && line == line.trim_end()));
        assert_eq!(
            help.contains("[OPTION...]"),
            verb.flags.iter().next().is_some() || ["seccomp", "policy"].contains(&verb.name)
        );
    }
    assert!(help().lines().all(|line| line.chars().count() <= 100));
}

#[test]
fn a_misspelt_verb_has_the_nearest_as_hint() {
    let hint = |typed: &str| {
        let usage = Verb::find(VERBS, OsStr::new(typed)).err().expect("it is misspelt");
        assert_eq!(usage.to_string(), format!("unknown verb {typed:?}"));
        usage.hint().map(str::to_owned)
    };
    assert_eq!(hint("craete").as_deref(), Some("did you mean create?"));
    assert_eq!(hint("secomp").as_deref(), Some("did you mean seccomp?"));
    assert_eq!(hint("frobnicate"), None);
    assert!(Verb::find(VERBS, OsStr::new("create")).is_ok());
}

const OPENING: &str = "\
# The command line

Made from brig's own help by its tests; after a change there:
`BRIG_BLESS=1 cargo nextest run -p brig-cli -E 'test(the_document)'`.

";

/// docs/command-line.md: what `--help` prints of every verb.
fn document() -> String {
    let mut text = OPENING.to_owned();
    let mut section = |name: &str, help: &str| {
        text.push_str(&format!("## {name}\n\n```text\n{help}```\n\n"));
    };
    section("brig", &help());
    for verb in verbs() {
        section(&format!("brig {}", verb.name), &verb.help());
    }
    text.trim_end().to_owned() + "\n"
}

#[test]
fn the_document_says_what_help_says() {
    let path = workspace().join("docs/command-line.md");
    if env::var_os("BRIG_BLESS").is_some() {
        fs::write(&path, document()).expect("it is written");
    }
    let text = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        text == document(),
        "docs/command-line.md is not what --help prints: see its first lines"
    );
}

/// What follows `brig` where a text shows a command, up to the end of the line or of the code.
fn commands(text: &str) -> impl Iterator<Item = &str> {
    let is_word = |at: usize| text[..at].ends_with([' ', '\n', '`', '"', '(']);
    let found = text.match_indices("brig ").filter(move |(at, _)| is_word(*at));
    found.map(|(at, name)| {
        let rest = &text[at + name.len()..];
        rest.split(['`', '\n', '"', '#', ';', '|']).next().unwrap_or_default()
    })
}

/// A flag that no verb of this name has, in a command.
fn unknown_flag(command: &str) -> Option<&str> {
    let mut words = command.split_whitespace().skip_while(|word| word.starts_with('-'));
    let name = words.next()?;
    let mut verb = VERBS.iter().find(|verb| verb.name == name)?;
    if let Does::Verbs(verbs) = verb.does {
        let name = words.next()?;
        verb = verbs.iter().find(|verb| verb.word() == name)?;
    }
    let mut typed = words.take_while(|word| *word != "--").filter(|word| word.starts_with("--"));
    typed.find(|word| {
        let flag = word.split('=').next().unwrap_or(word).trim_end_matches([',', '.', ')', ':']);
        flag != "--help" && verb.flags.position(flag).is_none()
    })
}

#[test]
fn documents_and_hints_name_flags_that_exist() {
    assert_eq!(unknown_flag("run --bundel DIR box"), Some("--bundel"));
    assert_eq!(unknown_flag("seccomp show --bpf default"), None);
    let mut places = Vec::new();
    for directory in [".", "docs", "integration"] {
        walk(&workspace().join(directory), "md", false, &mut places);
    }
    for directory in ["runtime", "seccomp-profiles"] {
        walk(&workspace().join(directory), "rs", true, &mut places);
    }
    let mut count = 0;
    for path in places {
        let text = fs::read_to_string(&path).unwrap_or_default();
        for command in commands(&text) {
            count += 1;
            let unknown = unknown_flag(command);
            assert_eq!(unknown, None, "{}: brig {command}", path.display());
        }
    }
    assert!(count > 100, "{count} commands found");
}

fn walk(directory: &Path, extension: &str, below: bool, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_directory && below && path.file_name() != Some(OsStr::new("target")) {
            walk(&path, extension, below, found);
        } else if path.extension() == Some(OsStr::new(extension)) {
            found.push(path);
        }
    }
}
