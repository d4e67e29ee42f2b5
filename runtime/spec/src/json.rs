//! One pass over the text before serde sees it.
//!
//! serde_json does not see a key repeated in a map or in a part it ignores, nests 128 deep, and names
//! no field. This pass accepts exactly RFC 8259, refuses repeated keys and deep nesting anywhere, and
//! knows at every byte which field it is in. It must stay linear in the length of the text whatever
//! the text is: configurations come from others.

use std::borrow::Cow;
use std::ops::Range;

use super::error::{Error, FieldProblem, Position};
use super::schema::Node;

/// The deepest nesting accepted; the specification's own fields reach 8.
pub(super) const DEPTH_LIMIT: usize = 64;

/// From the root to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    Key(Cow<'a, [u8]>),
    Index(usize),
}

impl Step<'_> {
    pub(super) fn is_key(&self, name: &str) -> bool {
        matches!(self, Self::Key(key) if key.as_ref() == name.as_bytes())
    }
}

/// The path in the notation of JSON tools; keys that are not plain names are quoted.
pub(super) fn render(path: &[Step<'_>]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Index(index) => text.push_str(&format!("[{index}]")),
            Step::Key(key) => {
                let key = String::from_utf8_lossy(key);
                let plain = !key.is_empty()
                    && key.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
                match (plain, text.is_empty()) {
                    (true, true) => text.push_str(&key),
                    (true, false) => text.push_str(&format!(".{key}")),
                    (false, _) => text.push_str(&format!("[{key:?}]")),
                }
            }
        }
    }
    text
}

/// What [`scan`] learned about a text that is sound.
#[derive(Clone, Debug, Default)]
pub(super) struct Outline {
    /// Where the value of `linux.seccomp` lies in the text.
    pub(super) seccomp: Option<Range<usize>>,
}

/// Checks the whole text; `root` is the path of the text's own value (empty for config.json).
pub(super) fn scan<'a>(
    bytes: &'a [u8],
    root: &[&'static str],
) -> Result<(&'a str, Outline), Error> {
    let mut scanner = Scanner::new(bytes, root, None);
    let scanned = scanner.document();
    // After the scan, so that bytes outside strings are named as such; within strings only this sees them.
    let text = std::str::from_utf8(bytes);
    if let Err(bad) = &text
        && scanned.as_ref().err().is_none_or(|fault| fault.offset > bad.valid_up_to())
    {
        let path = locate(bytes, root, bad.valid_up_to());
        let problem = FieldProblem::Syntax("not valid UTF-8".to_owned());
        return Err(Error::new(render(&path), problem).at(Position::of(bytes, bad.valid_up_to())));
    }
    match scanned {
        // Without a fault it is UTF-8, or this had ended above.
        Ok(()) => Ok((text.unwrap_or_default(), scanner.outline)),
        Err(fault) => {
            Err(Error::new(render(&scanner.path), fault.problem)
                .at(Position::of(bytes, fault.offset)))
        }
    }
}

/// The path of the token that holds the byte at `offset`, or of the next one.
pub(super) fn locate<'a>(bytes: &'a [u8], root: &[&'static str], offset: usize) -> Vec<Step<'a>> {
    let mut scanner = Scanner::new(bytes, root, Some(offset));
    // A fault before `offset` ends the path there, which is as near as one can get.
    let _stopped = scanner.document();
    scanner.path
}

struct JsonError {
    offset: usize,
    problem: FieldProblem,
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    path: Vec<Step<'a>>,
    /// What the specification has at the path.
    node: &'static Node,
    /// The keys of all open objects, innermost last, each with its offset.
    keys: Vec<(Cow<'a, [u8]>, usize)>,
    depth: usize,
    stop: Option<usize>,
    outline: Outline,
}

type Scanned<T = ()> = Result<T, JsonError>;

impl<'a> Scanner<'a> {
    fn new(bytes: &'a [u8], root: &[&'static str], stop: Option<usize>) -> Self {
        let path = root.iter().map(|key| Step::Key(Cow::Borrowed(key.as_bytes()))).collect();
        let keys = Vec::with_capacity(64);
        let node = Node::at(root);
        Self { bytes, at: 0, path, node, keys, depth: 0, stop, outline: Outline::default() }
    }

    fn document(&mut self) -> Scanned {
        self.space();
        self.value()?;
        self.space();
        if self.at < self.bytes.len() {
            self.path.clear();
            return self.syntax("text after the end of the JSON value");
        }
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        self.skip(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t'));
    }

    fn skip(&mut self, skipped: impl Fn(u8) -> bool) {
        let rest = &self.bytes[self.at..];
        self.at += rest.iter().position(|byte| !skipped(*byte)).unwrap_or(rest.len());
    }

    fn fault<T>(&self, offset: usize, problem: FieldProblem) -> Scanned<T> {
        Err(JsonError { offset, problem })
    }

    fn syntax<T>(&self, what: &str) -> Scanned<T> {
        let what = if self.at >= self.bytes.len() { "the text ends too early" } else { what };
        self.fault(self.at, FieldProblem::Syntax(what.to_owned()))
    }

    /// Ends the pass when `locate` has what it wants; never in a check.
    fn arrived(&self) -> Scanned {
        match self.stop {
            Some(stop) if self.at > stop => self.fault(stop, FieldProblem::Syntax(String::new())),
            _ => Ok(()),
        }
    }

    fn value(&mut self) -> Scanned {
        match self.peek() {
            Some(b'{') => self.nested(Self::object)?,
            Some(b'[') => self.nested(Self::array)?,
            Some(b'"') => {
                self.string()?;
            }
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word(b"true")?,
            Some(b'f') => self.word(b"false")?,
            Some(b'n') => self.word(b"null")?,
            _ => return self.syntax("expected a value"),
        }
        self.arrived()
    }

    fn nested(&mut self, inside: fn(&mut Self) -> Scanned) -> Scanned {
        if self.depth == DEPTH_LIMIT {
            return self.fault(self.at, FieldProblem::TooDeep { limit: DEPTH_LIMIT });
        }
        if let Some(expected) = self.node.wrong_opening(self.bytes[self.at]) {
            let found = if self.bytes[self.at] == b'[' { "an array" } else { "an object" };
            let (found, expected) = (found.to_owned(), expected.to_owned());
            return self.fault(self.at, FieldProblem::WrongType { found, expected });
        }
        self.depth += 1;
        self.at += 1;
        self.arrived()?;
        self.space();
        inside(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn array(&mut self) -> Scanned {
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        let array = self.node;
        for index in 0.. {
            self.path.push(Step::Index(index));
            self.node = array.element();
            self.value()?;
            self.path.pop();
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return self.syntax("expected `,` or `]`"),
            }
            self.space();
        }
        self.at += 1;
        Ok(())
    }

    fn object(&mut self) -> Scanned {
        let first_key = self.keys.len();
        let object = self.node;
        while self.peek() != Some(b'}') {
            if self.peek() != Some(b'"') {
                return self.syntax("expected a key in double quotes");
            }
            let offset = self.at;
            let key = self.string()?;
            let node = object.key(&key);
            self.path.push(Step::Key(key.clone()));
            self.arrived()?;
            self.keep_key(first_key, key, offset)?;
            self.node = match node {
                Ok(node) => node,
                Err(name) => return self.fault(offset, FieldProblem::OtherCase { name }),
            };
            self.space();
            if self.peek() != Some(b':') {
                return self.syntax("expected `:` after the key");
            }
            self.at += 1;
            self.space();
            let start = self.at;
            self.value()?;
            if self.is_at_seccomp() {
                self.outline.seccomp = Some(start..self.at);
            }
            self.path.pop();
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return self.syntax("expected `,` or `}`"),
            }
            self.space();
            if self.peek() == Some(b'}') {
                return self.syntax("expected another key after `,`");
            }
        }
        self.at += 1;
        self.close_keys(first_key)
    }

    fn is_at_seccomp(&self) -> bool {
        matches!(self.path.as_slice(), [a, b] if a.is_key("linux") && b.is_key("seccomp"))
    }

    /// Small objects are compared key by key, which names the duplicate at once.
    fn keep_key(&mut self, first_key: usize, key: Cow<'a, [u8]>, offset: usize) -> Scanned {
        let before = &self.keys[first_key..];
        if before.len() < COMPARED_KEYS && before.iter().any(|(other, _)| *other == key) {
            return self.fault(offset, FieldProblem::DuplicateKey);
        }
        self.keys.push((key, offset));
        Ok(())
    }

    fn close_keys(&mut self, first_key: usize) -> Scanned {
        let keys = &mut self.keys[first_key..];
        if keys.len() > COMPARED_KEYS {
            keys.sort_unstable();
        }
        if let Some(twice) = keys.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let (key, offset) = twice[1].clone();
            self.path.push(Step::Key(key));
            return self.fault(offset, FieldProblem::DuplicateKey);
        }
        self.keys.truncate(first_key);
        Ok(())
    }

    fn string(&mut self) -> Scanned<Cow<'a, [u8]>> {
        self.at += 1;
        let start = self.at;
        self.skip(|byte| byte != b'"' && byte != b'\\' && byte >= 0x20);
        match self.peek() {
            Some(b'"') => {}
            Some(b'\\') => return self.escaped_string(start),
            _ => return self.syntax("unescaped control character in a string"),
        }
        self.at += 1;
        Ok(Cow::Borrowed(&self.bytes[start..self.at - 1]))
    }

    /// A string from its first backslash on: decoded, because `"a"` and `"\u0061"` are the same key.
    fn escaped_string(&mut self, start: usize) -> Scanned<Cow<'a, [u8]>> {
        let mut text = self.bytes[start..self.at].to_vec();
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape(&mut text)?,
                Some(0..=0x1f) => return self.syntax("unescaped control character in a string"),
                Some(byte) => {
                    text.push(byte);
                    self.at += 1;
                }
                None => return self.syntax(""),
            }
        }
        self.at += 1;
        Ok(Cow::Owned(text))
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Scanned {
        self.at += 1;
        let plain = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => return self.unicode_escape(text),
            _ => return self.syntax("unknown escape in a string"),
        };
        text.push(plain);
        self.at += 1;
        Ok(())
    }

    /// `\uXXXX`, or two of them where the first is a leading surrogate (RFC 8259, section 7).
    fn unicode_escape(&mut self, text: &mut Vec<u8>) -> Scanned {
        let first = self.four_digits()?;
        let code = if (0xd800..0xdc00).contains(&first) && self.bytes[self.at..].starts_with(b"\\u")
        {
            self.at += 1;
            let second = self.four_digits()?;
            0x10000 + ((first - 0xd800) << 10) + second.wrapping_sub(0xdc00)
        } else {
            first
        };
        let Some(character) = char::from_u32(code) else {
            return self.syntax("half of a surrogate pair in a string");
        };
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    /// At the `u`.
    fn four_digits(&mut self) -> Scanned<u32> {
        self.at += 1;
        let mut code = 0;
        for _ in 0..4 {
            let Some(digit) = self.peek().and_then(|byte| char::from(byte).to_digit(16)) else {
                return self.syntax("expected four hexadecimal digits after \\u");
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }

    fn number(&mut self) -> Scanned {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        match self.peek() {
            Some(b'0'..=b'9') => self.syntax("a number may not begin with 0"),
            _ => Ok(()),
        }
    }

    fn digits(&mut self) -> Scanned {
        let start = self.at;
        self.skip(|byte| byte.is_ascii_digit());
        if self.at == start { self.syntax("expected a digit") } else { Ok(()) }
    }

    fn word(&mut self, word: &[u8]) -> Scanned {
        let rest = &self.bytes[self.at..];
        if rest.starts_with(word) {
            self.at += word.len();
            return Ok(());
        }
        let same = rest.iter().zip(word).take_while(|(a, b)| a == b).count();
        self.at += same;
        self.syntax("expected true, false or null")
    }
}

/// Up to here keys are compared pairwise; larger objects are sorted at their end, or a hostile object
/// would cost the square of its length.
const COMPARED_KEYS: usize = 24;
