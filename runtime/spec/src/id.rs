//! The name of a container, which becomes a directory and a cgroup.

use std::fmt;

use super::error::Error;

/// The longest id accepted. It is one component of a path (`NAME_MAX` is 255, linux/limits.h) and brig and
/// systemd add to it (`cri-containerd-` … `.scope`); containerd's and Podman's ids are 64 long.
pub const ID_LENGTH_LIMIT_BYTES: usize = 200;

/// A container id that is safe as one component of a path: letters, digits, `_`, `+`, `-` and `.`,
/// and neither `.` nor `..` (runc's rule).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(String);

impl ContainerId {
    /// Checks an id.
    ///
    /// # Errors
    /// It is empty, too long, `.` or `..`, or has another character; the field of the error is `container id`.
    pub fn parse(id: &str) -> Result<Self, Error> {
        const FIELD: &str = "container id";
        const HINT: &str = "use letters, digits, `_`, `+`, `-` and `.`";
        if id.is_empty() {
            return Err(Error::missing(FIELD).with_hint("give the container a name"));
        }
        if id.len() > ID_LENGTH_LIMIT_BYTES {
            let why = format!("is longer than {ID_LENGTH_LIMIT_BYTES} bytes");
            return Err(Error::invalid(FIELD, id, why).with_hint("use a shorter id"));
        }
        if id == "." || id == ".." {
            return Err(
                Error::invalid(FIELD, id, "is a directory reference, not a name").with_hint(HINT)
            );
        }
        match id.chars().find(|c| !c.is_ascii_alphanumeric() && !"_+-.".contains(*c)) {
            Some(bad) => {
                Err(Error::invalid(FIELD, id, format!("has {bad:?} in it")).with_hint(HINT))
            }
            None => Ok(Self(id.to_owned())),
        }
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for ContainerId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_runc_accepts() {
        for id in ["a", "A.b_c+d-e", "...", "0", &"x".repeat(ID_LENGTH_LIMIT_BYTES)] {
            assert_eq!(ContainerId::parse(id).expect(id).as_str(), id);
        }
    }

    #[test]
    fn refuses_what_is_not_one_component_of_a_path() {
        let cases = [
            ("", "container id: required but missing"),
            (".", "container id: \".\" is a directory reference, not a name"),
            ("..", "container id: \"..\" is a directory reference, not a name"),
            ("a/b", "container id: \"a/b\" has '/' in it"),
            ("../x", "container id: \"../x\" has '/' in it"),
            ("a b", "container id: \"a b\" has ' ' in it"),
            ("a\0", "container id: \"a\\0\" has '\\0' in it"),
            ("ä", "container id: \"ä\" has 'ä' in it"),
        ];
        for (id, expected) in cases {
            let error = ContainerId::parse(id).expect_err(id);
            assert_eq!(error.to_string(), expected);
            assert!(error.hint().is_some());
        }
        assert!(ContainerId::parse(&"x".repeat(ID_LENGTH_LIMIT_BYTES + 1)).is_err());
    }
}
