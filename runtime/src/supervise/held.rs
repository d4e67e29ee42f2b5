//! Namespaces that a caller holds, and gives a container beside those that its config.json names by path.
//!
//! Promises: what is given is what is joined, whether or not a path leads there; it is checked and judged like one that is
//! joined by path. In the container's configuration it is one: where the caller holds it, as /proc shows that.

use std::os::fd::{AsRawFd, OwnedFd};

use super::Error;
use crate::execute::{Inputs, namespace};
use crate::spec::{self, Asked, NamespaceType};

/// Namespaces by descriptor, at most one of each type.
#[derive(Debug, Default)]
pub struct HeldNamespaces(Vec<(NamespaceType, OwnedFd)>);

impl HeldNamespaces {
    /// The same, with `namespace` as the container's of this type. It has to be one: [`Node::blueprint_joining`] looks.
    ///
    /// [`Node::blueprint_joining`]: super::Node::blueprint_joining
    #[must_use]
    pub fn with(mut self, kind: NamespaceType, namespace: impl Into<OwnedFd>) -> Self {
        self.0.retain(|(other, _)| *other != kind);
        self.0.push((kind, namespace.into()));
        self
    }

    /// What is asked for, with these; `text` is what it was read of; what it would be read of, where that is another.
    pub(super) fn asked_for(
        &self,
        text: &[u8],
        asked: Asked,
    ) -> Result<(Option<Vec<u8>>, Asked), Error> {
        if self.0.is_empty() {
            return Ok((None, asked));
        }
        let pid = std::process::id();
        let at = |(kind, namespace): &(NamespaceType, OwnedFd)| {
            (*kind, format!("/proc/{pid}/fd/{}", namespace.as_raw_fd()))
        };
        let paths: Vec<_> = self.0.iter().map(at).collect();
        let (text, asked) = asked.joining(text, &paths)?;
        for (kind, held) in &self.0 {
            check(*kind, held, asked.config())?;
        }
        Ok((Some(text), asked))
    }

    /// Hands them to the container's process.
    pub(super) fn hand_over(&mut self, inputs: &mut Inputs) {
        let held = self.0.drain(..).map(|(kind, namespace)| (kind.number(), namespace));
        inputs.namespaces.extend(held);
    }
}

/// That it is a namespace, and of this type.
fn check(kind: NamespaceType, held: &OwnedFd, config: &spec::Config) -> Result<(), Error> {
    let index = config.linux.namespaces.iter().position(|entry| entry.kind == kind);
    let field = format!("linux.namespaces[{}]", index.unwrap_or_default());
    namespace::check(held, kind.number()).map_err(|wrong| {
        let what =
            format!("{field}: the descriptor given for the {} namespace {wrong}", kind.name());
        Error::plain(what)
            .with_hint("give a descriptor of /proc/PID/ns, or of a file that one is bound to")
    })
}
