//! The house rules which a machine can check, as functions from source text to complaints.
//!
//! Promises to know Rust's comments, strings, characters and lifetimes, so that a word in prose is
//! no finding. Must never read files: `tests/tidy.rs` does, over the whole workspace.

/// Rust source, without what is not code.
#[derive(Clone, Debug)]
pub struct Source {
    /// As written.
    pub text: String,
    /// The same lines and columns, with blanks for comments and the insides of literals.
    pub code: String,
}

impl Source {
    /// Finds the code in `text`.
    pub fn new(text: &str) -> Source {
        Source { text: text.to_owned(), code: Scanner::default().blank(text) }
    }

    /// Without `#[cfg(test)]` modules: their lines are blank.
    #[must_use]
    pub fn without_tests(&self) -> Source {
        let mut code = self.code.clone();
        while let Some(start) = code.find("#[cfg(test)]") {
            let end = match code[start..].find(['{', ';']) {
                Some(at) if code.as_bytes()[start + at] == b'{' => closing(&code, start + at),
                Some(at) => start + at,
                None => code.len() - 1,
            };
            let blank: String =
                code[start..=end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
            code.replace_range(start..=end, &blank);
        }
        Source { text: self.text.clone(), code }
    }

    /// The line, from 1, on which the byte `at` of the code stands.
    pub fn line_of(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }

    /// Where `word` stands as a whole word in the code.
    pub fn words(&self, word: &str) -> Vec<usize> {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        self.code
            .match_indices(word)
            .filter(|(at, _)| {
                let before = self.code[..*at].chars().next_back().is_some_and(is_part);
                let after = self.code[at + word.len()..].chars().next().is_some_and(is_part);
                !before && (!after || !word.ends_with(is_part))
            })
            .map(|(at, _)| at)
            .collect()
    }
}

/// Where the brace at `open` is closed; the end of the text if it is not.
fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open + at;
        }
    }
    code.len() - 1
}

/// Blanks comments and literals.
#[derive(Default)]
struct Scanner {
    out: String,
}

impl Scanner {
    fn blank(mut self, text: &str) -> String {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let length = literal(rest, self.out.chars().next_back());
            if length == 0 {
                self.out.push(c);
                rest = &rest[c.len_utf8()..];
            } else {
                for c in rest[..length].chars() {
                    // A blank for each byte keeps offsets equal in both texts.
                    let blank = if c == '\n' { '\n' } else { ' ' };
                    self.out.extend(std::iter::repeat_n(blank, c.len_utf8()));
                }
                rest = &rest[length..];
            }
        }
        self.out
    }
}

/// The length of the comment, string or character that `rest` begins with, or 0.
fn literal(rest: &str, before: Option<char>) -> usize {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if rest.starts_with('"') {
        return quoted(rest, '"');
    }
    if !in_word && let Some(length) = raw_string(rest) {
        return length;
    }
    if !in_word && (rest.starts_with("b'") || rest.starts_with('\'')) {
        return character(rest);
    }
    0
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// `r"…"`, `r#"…"#`, `br…`, `cr…`.
fn raw_string(rest: &str) -> Option<usize> {
    let after = ["br", "cr", "r"].iter().find_map(|p| rest.strip_prefix(p))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = rest.len() - body.len();
    Some(body.find(&end).map_or(rest.len(), |at| start + at + end.len()))
}

/// A character literal; a lifetime is none.
fn character(rest: &str) -> usize {
    let prefix = usize::from(rest.starts_with('b'));
    let mut chars = rest[prefix + 1..].char_indices();
    match chars.next() {
        Some((_, '\\')) => prefix + quoted(&rest[prefix..], '\''),
        Some((_, _)) => match chars.next() {
            Some((at, '\'')) => prefix + 1 + at + 1,
            _ => 0,
        },
        None => 0,
    }
}

/// A finding: the line, counted from 1, and what is wrong.
pub type Complaint = (usize, String);

/// The longest function, in lines from `fn` to its closing brace: it fits on a screen.
pub const FUNCTION_LINES_MAX: usize = 70;

/// Functions longer than [`FUNCTION_LINES_MAX`].
pub fn long_functions(source: &Source) -> Vec<Complaint> {
    let mut found = Vec::new();
    for at in source.words("fn") {
        let Some(open) = body(&source.code, at) else {
            continue;
        };
        let lines = source.code[at..=closing(&source.code, open)].matches('\n').count() + 1;
        if lines > FUNCTION_LINES_MAX {
            let name: String = source.code[at + 2..]
                .trim_start()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            found.push((
                source.line_of(at),
                format!("function `{name}` has {lines} lines, more than {FUNCTION_LINES_MAX}"),
            ));
        }
    }
    found
}

/// Where the body of the function at `at` opens; a declaration or a type has none.
fn body(code: &str, at: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (offset, c) in code[at..].char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '{' if depth == 0 => return Some(at + offset),
            ';' | ',' | '=' if depth == 0 => return None,
            _ => {}
        }
        if depth < 0 {
            return None;
        }
    }
    None
}

/// Every use of `unsafe`, where there may be none.
pub fn unsafe_code(source: &Source) -> Vec<Complaint> {
    source
        .words("unsafe")
        .into_iter()
        .map(|at| (source.line_of(at), "unsafe is for runtime/child and runtime/sys only".into()))
        .collect()
}

/// Unsafe blocks and implementations without a SAFETY comment above them, and unsafe functions
/// without a `# Safety` section.
pub fn unjustified_unsafe(source: &Source) -> Vec<Complaint> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut found = Vec::new();
    for at in source.words("unsafe") {
        let line = source.line_of(at);
        let after = source.code[at + "unsafe".len()..].trim_start();
        let (word, what) = match after {
            a if a.starts_with('{') => ("SAFETY:", "unsafe block"),
            a if a.starts_with("impl") => ("SAFETY:", "unsafe impl"),
            a if a.starts_with("fn") && body(&source.code, at).is_some() => {
                ("# Safety", "unsafe fn")
            }
            _ => continue,
        };
        if !comment_above(&lines, line - 1).contains(word) {
            found.push((line, format!("{what} without {word} in the comment above it")));
        }
    }
    found
}

/// The comment and attribute lines directly above a statement, whose first line may be a few lines
/// above `line` (counted from 0).
fn comment_above(lines: &[&str], line: usize) -> String {
    const STATEMENT_LINES_MAX: usize = 8;
    let is_note = |l: &str| l.trim_start().starts_with("//") || l.trim_start().starts_with("#[");
    let mut at = line;
    let floor = line.saturating_sub(STATEMENT_LINES_MAX);
    while at > floor && !is_note(lines[at - 1]) && !lines[at - 1].trim().is_empty() {
        at -= 1;
    }
    let mut comment = String::new();
    while at > 0 && is_note(lines[at - 1]) {
        at -= 1;
        comment.push_str(lines[at]);
    }
    comment
}

/// What the pure stages must not touch.
pub const IMPURE: &[&str] = &[
    "std::fs",
    "std::process",
    "std::env",
    "std::net",
    "std::os",
    "std::thread",
    "std::time::Instant",
    "nix::",
    "libc::",
    "rustix::",
    "brig_pseudofs::boot",
    "brig_pseudofs::identity",
    "brig_pseudofs::small_file",
    "brig_sys::",
];

/// Input and output in a pure stage; tests may read their own data.
pub fn impurities(source: &Source) -> Vec<Complaint> {
    let source = source.without_tests();
    let mut found = Vec::new();
    for word in IMPURE {
        for at in source.words(word) {
            found.push((source.line_of(at), format!("`{word}` in a stage that does no I/O")));
        }
    }
    found
}

/// A match over operations that has an arm for whatever is left: an operation that is added would go there
/// unseen, not executed or not shown. An arm with a guard is no such arm.
pub fn catch_alls_over_operations(source: &Source) -> Vec<Complaint> {
    let mut found = Vec::new();
    for at in source.words("match") {
        let Some(open) = body(&source.code, at) else { continue };
        let patterns = patterns(&source.code, open);
        if !patterns.iter().any(|(_, pattern)| pattern.contains("Op::")) {
            continue;
        }
        let takes_all = |pattern: &str| {
            pattern.chars().all(|c| c.is_lowercase() || c.is_ascii_digit() || c == '_')
        };
        let bad = patterns.iter().filter(|(_, pattern)| takes_all(pattern));
        found.extend(bad.map(|(at, pattern)| {
            (source.line_of(*at), format!("`{pattern} =>` over operations: name what is left"))
        }));
    }
    found
}

/// The patterns of the match whose body opens at `open`, with their guards, and where each begins.
fn patterns(code: &str, open: usize) -> Vec<(usize, &str)> {
    let (mut found, mut at) = (Vec::new(), open + 1);
    let end = closing(code, open);
    while let Some(arrow) = at_depth_0(&code[at..end], "=>") {
        let pattern = &code[at..at + arrow];
        let start = at + pattern.len() - pattern.trim_start().len();
        found.push((start, pattern.trim()));
        let value = at + arrow + 2;
        let value = value + code[value..end].len() - code[value..end].trim_start().len();
        at = match code[value..].starts_with('{') {
            true => closing(code, value) + 1,
            false => at_depth_0(&code[value..end], ",").map_or(end, |comma| value + comma),
        };
        let rest = code[at..end].trim_start();
        at = end - rest.strip_prefix(',').unwrap_or(rest).len();
    }
    found
}

/// Where `wanted` stands outside of all brackets.
fn at_depth_0(code: &str, wanted: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        if depth == 0 && code[at..].starts_with(wanted) {
            return Some(at);
        }
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// Module names which say nothing.
pub const NAMELESS: &[&str] = &["utils", "util", "helpers", "helper", "common", "misc"];

/// Whether a file's name says nothing.
pub fn is_nameless(path: &str) -> bool {
    path.split('/').any(|part| NAMELESS.contains(&part.trim_end_matches(".rs")))
}

/// Error types without a hint: what the person at 3 a.m. is to do.
pub fn errors_without_hint(source: &Source) -> Vec<Complaint> {
    let mut found = Vec::new();
    for (at, _) in source.code.match_indices("Error for ") {
        let is_trait = [
            "impl Error",
            "impl std::error::Error",
            "impl core::error::Error",
            "impl error::Error",
        ];
        let line_start = source.code[..at].rfind('\n').map_or(0, |n| n + 1);
        let head = &source.code[line_start..at + "Error".len()];
        if is_trait.iter().any(|t| head.trim_start().starts_with(t))
            && !source.code.contains("fn hint(")
        {
            found.push((source.line_of(at), "an error type without `fn hint`".into()));
        }
    }
    found
}

/// The names of all dependencies in a Cargo.toml, of whatever kind.
pub fn dependencies(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in manifest.lines() {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[') {
            inside = section.trim_end_matches(']').ends_with("dependencies");
        } else if inside && let Some((name, _)) = line.split_once(['=', '.']) {
            let name = name.trim();
            if !name.is_empty() && !name.starts_with('#') {
                names.push(name.trim_matches('"').to_owned());
            }
        }
    }
    names
}

/// Words that belong to one machine or its surroundings, not to the project.
pub fn workplace(text: &str) -> Vec<Complaint> {
    // Written in two halves, so that this file has none of them.
    let words = [
        concat!("/wo", "rk/"),
        concat!("deb.deb", "ian.org"),
        concat!("index.cra", "tes.io"),
        concat!("static.cra", "tes.io"),
        concat!("pypi", ".org"),
        concat!("registry.np", "mjs"),
    ];
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for word in words {
            for (at, _) in line.match_indices(word) {
                // `network/…` or `framework/…` is a path of the project's own.
                let before = line[..at].chars().next_back();
                if !word.starts_with('/')
                    || !before.is_some_and(|c| {
                        c.is_alphanumeric() || matches!(c, '}' | '"' | '.' | '_' | '-')
                    })
                {
                    found.push((
                        number + 1,
                        format!("`{word}` belongs to a machine, not to the project"),
                    ));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code() {
        let text = "let a = \"unsafe \\\" {\"; // unsafe\n/* unsafe /* nested */ fn */ let b = r#\"unsafe \" {\"#; 'x: loop { let c = '{'; let d = b'\\''; }";
        let source = Source::new(text);
        assert_eq!(source.code.len(), text.len());
        assert!(source.words("unsafe").is_empty(), "{}", source.code);
        assert_eq!(source.code.matches('{').count(), 1, "{}", source.code);
        assert_eq!(source.code.matches('\n').count(), 1);
    }

    #[test]
    fn lifetimes_are_not_characters() {
        let source = Source::new("fn f<'a>(x: &'a str) -> &'a str { unsafe { g(x) } }");
        assert_eq!(source.words("unsafe").len(), 1);
    }

    #[test]
    fn long_functions_are_found_and_short_ones_not() {
        let long =
            format!("fn long(a: [u8; 3]) {{\n{}}}\nfn short() {{}}\n", "    x();\n".repeat(70));
        assert_eq!(long_functions(&Source::new(&long)).len(), 1);
        let fits = format!("fn fits() {{\n{}}}\n", "    x();\n".repeat(68));
        assert!(long_functions(&Source::new(&fits)).is_empty());
        assert!(
            long_functions(&Source::new("type F = fn(u8) -> u8;\ntrait T { fn f(&self); }"))
                .is_empty()
        );
    }

    #[test]
    fn unsafe_needs_its_reason() {
        let with =
            "// SAFETY: the descriptor is open: the caller owns it.\nlet x = unsafe { f() };";
        assert!(unjustified_unsafe(&Source::new(with)).is_empty());
        assert_eq!(unjustified_unsafe(&Source::new("let x = unsafe { f() };")).len(), 1);
        assert_eq!(unjustified_unsafe(&Source::new("/// Does.\npub unsafe fn f() {}")).len(), 1);
        assert!(
            unjustified_unsafe(&Source::new("/// # Safety\n/// p is valid.\npub unsafe fn f() {}"))
                .is_empty()
        );
        assert_eq!(unsafe_code(&Source::new(with)).len(), 1);
        assert!(unsafe_code(&Source::new("#![forbid(unsafe_code)]")).is_empty());
    }

    #[test]
    fn pure_stages_do_no_io_but_their_tests_may() {
        let text = "use std::collections::BTreeMap;\n#[cfg(test)]\nmod tests {\n use std::fs;\n}\n";
        assert!(impurities(&Source::new(text)).is_empty());
        assert_eq!(
            impurities(&Source::new("use std::fs::File;\nfn f() { nix::unistd::getpid(); }")).len(),
            2
        );
    }

    #[test]
    fn every_operation_has_an_arm() {
        let complaints = |arms: &str| {
            let text = format!("fn f() {{ match op {{ {arms} }} }}");
            catch_alls_over_operations(&Source::new(&text)).len()
        };
        assert_eq!(complaints("FileOp::Open { .. } => { a }, _ => b,"), 1);
        assert_eq!(complaints("Op::File(op) => f(op, [1, 2]), other => g(other)"), 1);
        assert_eq!(complaints("Op::A => match x { 1 => 2, _ => 3 }, _ => 4"), 1, "the outer one");
        assert_eq!(complaints("Op::A => match x { 1 => 2, _ => 3 }, Op::B => 4"), 0);
        assert_eq!(complaints("Op::A | Op::B if x => 1, _ if y => 2, Op::C | Op::D => 3"), 0);
        assert_eq!(complaints("Some(x) => 1, _ => 2"), 0);
    }

    #[test]
    fn names_that_say_nothing() {
        assert!(is_nameless("runtime/src/utils.rs") && is_nameless("runtime/src/common/mod.rs"));
        assert!(!is_nameless("runtime/src/commonplace.rs"));
    }

    #[test]
    fn errors_have_hints() {
        assert_eq!(errors_without_hint(&Source::new("impl std::error::Error for E {}")).len(), 1);
        assert!(
            errors_without_hint(&Source::new(
                "impl Error for E {}\nimpl E { pub fn hint(&self) {} }"
            ))
            .is_empty()
        );
    }

    #[test]
    fn dependencies_of_every_kind() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\na.workspace = true\nb = \"1\"\n[dev-dependencies]\nc = { version = \"1\" }\n[target.'cfg(unix)'.dependencies]\nd = \"1\"\n[lints]\nworkspace = true\n";
        assert_eq!(dependencies(manifest), ["a", "b", "c", "d"]);
    }

    #[test]
    fn places_of_one_machine() {
        assert_eq!(workplace(concat!("see /wo", "rk/main/x")).len(), 1);
        assert!(workplace("a framework/part, {dir}/network/x").is_empty());
    }
}
