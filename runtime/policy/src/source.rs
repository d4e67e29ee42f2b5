//! What the sources of bind mounts and the root are on the host, as whoever has opened them tells.
//!
//! Promises: they are judged as objects: by device and inode, and by the directories that they are in. A path is for words.

/// A file or directory, by what no other on the machine has in common with it while it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    /// `st_dev` of its file system.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
}

/// What kind of object it is, as far as rules tell kinds apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory, a regular file, a pipe.
    Plain,
    /// A socket: who may write to it may ask for what the other end may do.
    Socket,
    /// A device, by its node.
    Device,
    /// A file of a file system by which the kernel is told things: proc, sysfs, cgroups, debugfs …
    Kernel(&'static str),
    /// It could not be looked at, and why.
    Unseen(String),
}

/// A source of a bind mount, or the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The field that names it: `mounts[3].source`, `root.path`.
    pub field: String,
    /// Its path on the host, without links.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// It, and every directory that it is in, up to the root.
    pub within: Vec<Object>,
}

impl Source {
    /// Whether it is in a directory, and not the directory itself.
    #[must_use]
    pub fn is_in(&self, directory: Option<Object>) -> bool {
        directory.is_some_and(|directory| self.within.iter().skip(1).any(|one| *one == directory))
    }
}

/// The program of a hook on the host, as it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The field that names it: see [`hook_field`].
    pub field: String,
    /// Its path on the host, without links.
    pub path: String,
    /// Whose it is.
    pub owner: u32,
    /// Whether others than the owner may write it.
    pub is_others: bool,
    /// The digest of its content, where it was made.
    pub sha256: Option<String>,
    /// At which of the places of engines' programs it is, which only root can have put it to.
    pub at: Vec<String>,
}

/// The field of a hook: `hooks.prestart[0]`.
#[must_use]
pub fn hook_field(stage: &str, index: usize) -> String {
    format!("hooks.{stage}[{index}]")
}

/// Whether hooks of this name run on the host (config.md, "POSIX-platform Hooks").
#[must_use]
pub fn is_on_the_host(stage: &str) -> bool {
    matches!(stage, "prestart" | "createRuntime" | "poststart" | "poststop")
}

/// A directory of the host, or a file, that a policy lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// As the policy has it.
    pub path: String,
    /// What is there.
    pub object: Object,
}

/// What is judged, and by what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The sources.
    pub found: Vec<Source>,
    /// What each set of rules lists ([`crate::ChosenProfile::sets`]), in their order.
    pub places: Vec<Places>,
    /// The programs of hooks.
    pub programs: Vec<Program>,
    /// The bundle's directory.
    pub bundle: Option<Object>,
}

/// What a set of rules lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// What may be a source, with all that is in it.
    pub allowed: Vec<Listed>,
    /// What may not.
    pub denied: Vec<Listed>,
    /// The directories in which something denied is.
    pub above_denied: Vec<Listed>,
    /// The roots of engines' containers.
    pub images: Vec<Listed>,
}

/// The object in a list, if it is there: its path in the policy.
fn path_of(object: Object, list: &[Listed]) -> Option<&str> {
    list.iter().find(|listed| listed.object == object).map(|listed| &*listed.path)
}

impl Sources {
    pub(crate) fn of(&self, field: &str) -> Option<&Source> {
        self.found.iter().find(|source| source.field == field)
    }
}

impl Places {
    /// Why a source of a bind mount may not be one.
    pub(crate) fn against_bind(&self, source: &Source) -> Option<String> {
        if let Some(why) = self.against_any(source) {
            return Some(why);
        }
        let is_listed = |object: &Object| path_of(*object, &self.allowed).is_some();
        if source.within.first().is_some_and(is_listed) {
            return None;
        }
        let Source { path, kind, .. } = source;
        let what = match kind {
            Kind::Socket => "a socket",
            Kind::Device => "a device",
            Kind::Kernel(name) => return Some(format!("{path}, of the file system {name},")),
            Kind::Plain | Kind::Unseen(_) => {
                return match source.within.iter().any(is_listed) {
                    true => None,
                    false => Some(format!("{path}, which is in nothing that may be bound,")),
                };
            }
        };
        Some(format!("{path}, {what},"))
    }

    /// Why a directory may not be the root: it is in neither its bundle, nor what engines keep for a root, nor what may be
    /// bound.
    pub(crate) fn against_root(&self, source: &Source, bundle: Option<Object>) -> Option<String> {
        if let Some(why) = self.against_any(source) {
            return Some(why);
        }
        let is_listed = |object: &Object| {
            path_of(*object, &self.images).or_else(|| path_of(*object, &self.allowed)).is_some()
        };
        match source.is_in(bundle) || source.within.iter().any(is_listed) {
            true => None,
            false => Some(format!(
                "{}, which is neither in the bundle nor in anything that may be bound or is for roots,",
                source.path
            )),
        }
    }

    /// What is said of both: the nearest directory that is listed decides.
    fn against_any(&self, source: &Source) -> Option<String> {
        let Source { path, kind, within, .. } = source;
        if let Kind::Unseen(why) = kind {
            return Some(format!("{path}, which cannot be looked at ({why}),"));
        }
        if let Some(inside) = within.first().and_then(|own| path_of(*own, &self.above_denied)) {
            return Some(format!("{path}, which has {inside} in it,"));
        }
        let is_root = source.field == "root.path";
        for object in within {
            // What engines have beside the roots is in what is denied, as the roots are.
            if is_root && path_of(*object, &self.images).is_some() {
                return None;
            }
            if let Some(denied) = path_of(*object, &self.denied) {
                return Some(match within.first() == Some(object) {
                    true => path.clone(),
                    false => format!("{path}, which is in {denied},"),
                });
            }
            if path_of(*object, &self.allowed).is_some() {
                return None;
            }
        }
        None
    }
}
