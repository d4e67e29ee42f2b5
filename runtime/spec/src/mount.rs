//! A mount of the configuration as the new mount API wants it.
//!
//! mount(2) takes one list of flags; the new API separates what belongs to the mount (attributes for
//! fsmount and mount_setattr, propagation) from what belongs to the file system (parameters for
//! fsconfig). [`MountRequest::parse`] does that separation from one table, [`OPTIONS`]. It decides
//! nothing: policy may still tighten the result.
//!
//! Reference: config.md "Linux mount options", mount_setattr(2), fsconfig(2), `linux/mount.h`.

use std::path::{Path, PathBuf};

use super::error::Error;
use super::model::{IdMapping, not_empty, nullable, unset};

/// `MOUNT_ATTR_RDONLY`, `linux/mount.h`.
pub const MOUNT_ATTR_RDONLY: u64 = 0x0000_0001;
/// `MOUNT_ATTR_NOSUID`, `linux/mount.h`.
pub const MOUNT_ATTR_NOSUID: u64 = 0x0000_0002;
/// `MOUNT_ATTR_NODEV`, `linux/mount.h`.
pub const MOUNT_ATTR_NODEV: u64 = 0x0000_0004;
/// `MOUNT_ATTR_NOEXEC`, `linux/mount.h`.
pub const MOUNT_ATTR_NOEXEC: u64 = 0x0000_0008;
/// `MOUNT_ATTR__ATIME`, `linux/mount.h`: the field of the three values below; clear it to change it.
pub const MOUNT_ATTR__ATIME: u64 = 0x0000_0070;
/// `MOUNT_ATTR_RELATIME`, `linux/mount.h`.
pub const MOUNT_ATTR_RELATIME: u64 = 0x0000_0000;
/// `MOUNT_ATTR_NOATIME`, `linux/mount.h`.
pub const MOUNT_ATTR_NOATIME: u64 = 0x0000_0010;
/// `MOUNT_ATTR_STRICTATIME`, `linux/mount.h`.
pub const MOUNT_ATTR_STRICTATIME: u64 = 0x0000_0020;
/// `MOUNT_ATTR_NODIRATIME`, `linux/mount.h`.
pub const MOUNT_ATTR_NODIRATIME: u64 = 0x0000_0080;
/// `MOUNT_ATTR_IDMAP`, `linux/mount.h` (Linux 5.12).
pub const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
/// `MOUNT_ATTR_NOSYMFOLLOW`, `linux/mount.h` (Linux 5.14).
pub const MOUNT_ATTR_NOSYMFOLLOW: u64 = 0x0020_0000;

/// Whether something is for one mount or for all mounts below it too (`AT_RECURSIVE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The mount alone.
    Mount,
    /// The mount and all below it.
    Tree,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An existing file or directory of the host (`open_tree`), with its submounts or without.
    Bind(Scope),
    /// A new instance of the file system type (`fsopen`); `cgroup` is a request for the cgroup
    /// hierarchies as the host has them, not a type for fsopen.
    Filesystem(String),
    /// No new mount: the attributes of the mount at the destination are changed.
    Remount,
}

/// Attributes to clear and to set, for `struct mount_attr`; a bit not named is left as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `attr_set`.
    pub set: u64,
    /// `attr_clr`: never has a bit of `set`, except that [`MOUNT_ATTR__ATIME`] is cleared to be set anew.
    pub clear: u64,
}

impl Attributes {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Adds bits, not of [`MOUNT_ATTR__ATIME`]; one that was to be cleared is not any more.
    pub fn set(&mut self, bits: u64) {
        self.set |= bits;
        self.clear &= !bits;
    }

    /// Removes bits; one that was to be set is not any more.
    pub fn clear(&mut self, bits: u64) {
        self.clear |= bits;
        self.set &= !bits;
    }

    fn set_atime(&mut self, value: u64) {
        self.clear(MOUNT_ATTR__ATIME);
        self.set |= value;
    }

    /// `atime` undoes `noatime`: what remains is the kernel's default, relatime.
    fn drop_atime(&mut self, value: u64) {
        if self.set & MOUNT_ATTR__ATIME == value || self.clear & MOUNT_ATTR__ATIME == 0 {
            self.set_atime(MOUNT_ATTR_RELATIME);
        }
    }
}

/// How mount events travel (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Propagation {
    /// To nowhere, from nowhere.
    Private,
    /// Both ways.
    Shared,
    /// From the host into the container only.
    Slave,
    /// As private, and it cannot be bind mounted.
    Unbindable,
}

impl Propagation {
    /// The flag for `mount_attr.propagation` (`linux/mount.h`, `MS_PRIVATE` …).
    #[must_use]
    pub fn flag(self) -> u64 {
        match self {
            Self::Unbindable => 1 << 17,
            Self::Private => 1 << 18,
            Self::Slave => 1 << 19,
            Self::Shared => 1 << 20,
        }
    }

    /// `linux.rootfsPropagation`, and the options of mounts, by name: `rslave` is (Slave, Tree).
    #[must_use]
    pub fn parse(name: &str) -> Option<(Self, Scope)> {
        match lookup(name)? {
            Effect::Propagation(propagation, scope) => Some((propagation, scope)),
            _ => None,
        }
    }
}

/// A request to map the owners of files (`MOUNT_ATTR_IDMAP`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMap {
    /// `idmap` or `ridmap`.
    pub scope: Scope,
    /// The mount's own mappings of user and group ids; `None` means those of the container's user namespace.
    pub mappings: Option<(Vec<IdMapping>, Vec<IdMapping>)>,
}

/// One parameter for fsconfig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The key.
    pub key: String,
    /// `Some`: `FSCONFIG_SET_STRING`; `None`: `FSCONFIG_SET_FLAG`.
    pub value: Option<String>,
}

/// Whether a tmpfs begins with what its mount point has in the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CopyUp {
    /// It begins empty.
    #[default]
    No,
    /// `tmpcopyup`.
    Yes,
}

/// When a mount is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    /// In its turn: after those before it in the list.
    #[default]
    Listed,
    /// Before all those that are asked for, so that it covers none of them. Its place in the list is the last, as each mount
    /// is known by its index in what was asked for.
    First,
}

/// One of `mounts`, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Mount {
    pub(crate) destination: String,
    #[serde(
        rename = "type",
        default,
        deserialize_with = "not_empty",
        skip_serializing_if = "unset"
    )]
    pub(crate) kind: Option<String>,
    #[serde(default, deserialize_with = "not_empty", skip_serializing_if = "unset")]
    pub(crate) source: Option<String>,
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub(crate) options: Vec<String>,
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub(crate) uid_mappings: Vec<IdMapping>,
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub(crate) gid_mappings: Vec<IdMapping>,
}

/// A mount, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountRequest {
    /// Where in the container: absolute, normalised, without `..`.
    pub destination: PathBuf,
    /// What.
    pub kind: Kind,
    /// From where. For a bind mount a path of the host, relative to the bundle if relative; else what
    /// the file system takes as its source (`tmpfs`, a device).
    pub source: Option<PathBuf>,
    /// For the mount itself. `ro` is here; a file system on a device wants `ro` as a parameter too.
    pub attributes: Attributes,
    /// For the mount and all below it (`rro`, `rnosuid` …); to be applied after `attributes`,
    /// wherever they are in the list, as by runc: `rw` does not undo `rro`.
    pub recursive: Attributes,
    /// In the order given.
    pub propagation: Vec<(Propagation, Scope)>,
    /// `idmap`, `ridmap`, or own mappings (which imply `idmap`).
    pub idmap: Option<IdMap>,
    /// `tmpcopyup`; only ever `Yes` for a tmpfs.
    pub copy_up: CopyUp,
    /// Flags of every file system: `sync`, `dirsync`, `lazytime`, `mand`, `iversion`. Before the data.
    pub superblock: Vec<Parameter>,
    /// What the file system itself understands: `size=64k`, `newinstance`.
    pub data: Vec<Parameter>,
    /// When it is attached.
    pub turn: Turn,
}

/// Mounts with their indices, in the order in which they are attached.
pub fn in_turn<T>(mounts: &[T], turn: fn(&T) -> Turn) -> impl Iterator<Item = (usize, &T)> {
    let of = move |wanted: Turn| {
        mounts.iter().enumerate().filter(move |(_, mount)| turn(mount) == wanted)
    };
    of(Turn::First).chain(of(Turn::Listed))
}

/// What an option does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// None on attributes or parameters.
    Nothing,
    Set(u64, Scope),
    Clear(u64, Scope),
    Atime(u64, Scope),
    DropAtime(u64, Scope),
    Propagation(Propagation, Scope),
    Superblock(&'static str),
    DropSuperblock(&'static str),
    IdMap(Scope),
    CopyUp,
}

use Effect::{Atime, Clear, DropAtime, DropSuperblock, Set, Superblock};
use Scope::{Mount as One, Tree as All};

/// Every option that is not the file system's own. `bind`, `rbind` and `remount` make the kind, see [`kind`]. `norelatime` says only that relatime is not asked for;
/// since Linux 2.6.30 it is what one gets anyhow. `silent` and `loud` are about the kernel's log.
static OPTIONS: [(&str, Effect); 62] = [
    ("async", DropSuperblock("sync")),
    ("atime", DropAtime(MOUNT_ATTR_NOATIME, One)),
    ("bind", Effect::Nothing),
    ("defaults", Effect::Nothing),
    ("dev", Clear(MOUNT_ATTR_NODEV, One)),
    ("diratime", Clear(MOUNT_ATTR_NODIRATIME, One)),
    ("dirsync", Superblock("dirsync")),
    ("exec", Clear(MOUNT_ATTR_NOEXEC, One)),
    ("idmap", Effect::IdMap(One)),
    ("iversion", Superblock("iversion")),
    ("lazytime", Superblock("lazytime")),
    ("loud", Effect::Nothing),
    ("mand", Superblock("mand")),
    ("noatime", Atime(MOUNT_ATTR_NOATIME, One)),
    ("nodev", Set(MOUNT_ATTR_NODEV, One)),
    ("nodiratime", Set(MOUNT_ATTR_NODIRATIME, One)),
    ("noexec", Set(MOUNT_ATTR_NOEXEC, One)),
    ("noiversion", DropSuperblock("iversion")),
    ("nolazytime", DropSuperblock("lazytime")),
    ("nomand", DropSuperblock("mand")),
    ("norelatime", Effect::Nothing),
    ("nostrictatime", DropAtime(MOUNT_ATTR_STRICTATIME, One)),
    ("nosuid", Set(MOUNT_ATTR_NOSUID, One)),
    ("nosymfollow", Set(MOUNT_ATTR_NOSYMFOLLOW, One)),
    ("private", Effect::Propagation(Propagation::Private, One)),
    ("ratime", DropAtime(MOUNT_ATTR_NOATIME, All)),
    ("rbind", Effect::Nothing),
    ("rdev", Clear(MOUNT_ATTR_NODEV, All)),
    ("rdiratime", Clear(MOUNT_ATTR_NODIRATIME, All)),
    ("relatime", Atime(MOUNT_ATTR_RELATIME, One)),
    ("remount", Effect::Nothing),
    ("rexec", Clear(MOUNT_ATTR_NOEXEC, All)),
    ("ridmap", Effect::IdMap(All)),
    ("rnoatime", Atime(MOUNT_ATTR_NOATIME, All)),
    ("rnodev", Set(MOUNT_ATTR_NODEV, All)),
    ("rnodiratime", Set(MOUNT_ATTR_NODIRATIME, All)),
    ("rnoexec", Set(MOUNT_ATTR_NOEXEC, All)),
    ("rnorelatime", Effect::Nothing),
    ("rnostrictatime", DropAtime(MOUNT_ATTR_STRICTATIME, All)),
    ("rnosuid", Set(MOUNT_ATTR_NOSUID, All)),
    ("rnosymfollow", Set(MOUNT_ATTR_NOSYMFOLLOW, All)),
    ("ro", Set(MOUNT_ATTR_RDONLY, One)),
    ("rprivate", Effect::Propagation(Propagation::Private, All)),
    ("rrelatime", Atime(MOUNT_ATTR_RELATIME, All)),
    ("rro", Set(MOUNT_ATTR_RDONLY, All)),
    ("rrw", Clear(MOUNT_ATTR_RDONLY, All)),
    ("rshared", Effect::Propagation(Propagation::Shared, All)),
    ("rslave", Effect::Propagation(Propagation::Slave, All)),
    ("rstrictatime", Atime(MOUNT_ATTR_STRICTATIME, All)),
    ("rsuid", Clear(MOUNT_ATTR_NOSUID, All)),
    ("rsymfollow", Clear(MOUNT_ATTR_NOSYMFOLLOW, All)),
    ("runbindable", Effect::Propagation(Propagation::Unbindable, All)),
    ("rw", Clear(MOUNT_ATTR_RDONLY, One)),
    ("shared", Effect::Propagation(Propagation::Shared, One)),
    ("silent", Effect::Nothing),
    ("slave", Effect::Propagation(Propagation::Slave, One)),
    ("strictatime", Atime(MOUNT_ATTR_STRICTATIME, One)),
    ("suid", Clear(MOUNT_ATTR_NOSUID, One)),
    ("symfollow", Clear(MOUNT_ATTR_NOSYMFOLLOW, One)),
    ("sync", Superblock("sync")),
    ("tmpcopyup", Effect::CopyUp),
    ("unbindable", Effect::Propagation(Propagation::Unbindable, One)),
];

fn lookup(name: &str) -> Option<Effect> {
    OPTIONS.binary_search_by_key(&name, |(known, _)| known).ok().map(|at| OPTIONS[at].1)
}

/// The names of all options that are not a file system's own, sorted; for `brig features`.
#[must_use]
pub fn option_names() -> Vec<&'static str> {
    OPTIONS.iter().map(|(name, _)| *name).collect()
}

impl MountRequest {
    /// Takes apart `mounts[index]`.
    ///
    /// # Errors
    /// No usable destination (the root is none, but for a remount), no type for what is not a bind mount, an option that contradicts the kind,
    /// or an unknown option on a bind mount, which has no file system to hand it to.
    pub(crate) fn parse(index: usize, mount: Mount) -> Result<Self, Error> {
        let Mount { destination: place, kind: typ, source, options, uid_mappings, gid_mappings } =
            mount;
        let mut request = Self {
            destination: destination(index, &place)?,
            kind: Kind::Filesystem(String::new()),
            source: source.map(PathBuf::from),
            attributes: Attributes::default(),
            recursive: Attributes::default(),
            propagation: Vec::new(),
            idmap: own_mappings(index, uid_mappings, gid_mappings)?,
            copy_up: CopyUp::No,
            superblock: Vec::new(),
            data: Vec::new(),
            turn: Turn::Listed,
        };
        request.kind = kind(index, typ.as_deref(), &options)?;
        if request.kind != Kind::Remount && request.destination == Path::new("/") {
            let field = format!("mounts[{index}].destination");
            return Err(Error::invalid(
                field,
                "/",
                "is the container's root, which cannot be a mount point",
            )
            .with_hint(
                "root.path is what is mounted there, and root.readonly makes it read-only",
            ));
        }
        // One that is empty is nothing, as to other runtimes.
        for (at, option) in options.iter().enumerate().filter(|(_, option)| !option.is_empty()) {
            let field = || format!("mounts[{index}].options[{at}]");
            match lookup(option) {
                Some(effect) => request.apply(effect, option, &field)?,
                None => request.apply_data(option, &field)?,
            }
        }
        if let (Kind::Bind(_), None) = (&request.kind, &request.source) {
            return Err(Error::missing(format!("mounts[{index}].source"))
                .with_hint("a bind mount needs the path on the host"));
        }
        Ok(request)
    }

    /// Whether the mount itself is asked to be read-only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        (self.attributes.set | self.recursive.set) & MOUNT_ATTR_RDONLY != 0
    }

    fn of_scope(&mut self, scope: Scope) -> &mut Attributes {
        match scope {
            Scope::Mount => &mut self.attributes,
            Scope::Tree => &mut self.recursive,
        }
    }

    fn apply(
        &mut self,
        effect: Effect,
        option: &str,
        field: &dyn Fn() -> String,
    ) -> Result<(), Error> {
        match effect {
            Effect::Nothing => {}
            Set(bits, scope) => self.of_scope(scope).set(bits),
            Clear(bits, scope) => self.of_scope(scope).clear(bits),
            Atime(value, scope) => self.of_scope(scope).set_atime(value),
            DropAtime(value, scope) => self.of_scope(scope).drop_atime(value),
            Effect::Propagation(how, scope) => self.propagation.push((how, scope)),
            Superblock(_) | DropSuperblock(_) if matches!(self.kind, Kind::Bind(_)) => {
                // mount(2) ignores these on a bind mount, so everybody's configurations may have them:
                // they belong to a file system which this mount does not own.
            }
            Superblock(key) => {
                self.drop_superblock(key);
                self.superblock.push(Parameter { key: key.to_owned(), value: None });
            }
            DropSuperblock(key) => self.drop_superblock(key),
            Effect::IdMap(scope) => {
                let mappings = self.idmap.take().and_then(|idmap| idmap.mappings);
                self.idmap = Some(IdMap { scope, mappings });
            }
            Effect::CopyUp if self.kind == Kind::Filesystem("tmpfs".to_owned()) => {
                self.copy_up = CopyUp::Yes;
            }
            Effect::CopyUp => {
                return Err(Error::invalid(field(), option, "is only for type tmpfs"));
            }
        }
        Ok(())
    }

    fn drop_superblock(&mut self, key: &str) {
        self.superblock.retain(|parameter| parameter.key != key);
    }

    fn apply_data(&mut self, option: &str, field: &dyn Fn() -> String) -> Result<(), Error> {
        let what = match self.kind {
            Kind::Filesystem(_) => {
                // Nothing between two commas is nothing, as to the kernel's own file systems.
                for part in split_outside_quotes(option).filter(|part| !part.is_empty()) {
                    self.data.push(parameter(part, option, field)?);
                }
                return Ok(());
            }
            Kind::Bind(_) => "bind mount option",
            Kind::Remount => "remount option",
        };
        let names = OPTIONS.iter().map(|(name, _)| *name);
        Err(Error::unknown(field(), what, option).suggest(option, names))
    }
}

/// mount(2) joined options with commas, so `mode=755,size=64k` in one option always worked. Commas in
/// double quotes, as in an SELinux context, belong to the value.
fn split_outside_quotes(option: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    option.split(move |c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
}

fn parameter(part: &str, option: &str, field: &dyn Fn() -> String) -> Result<Parameter, Error> {
    // fsconfig(2) takes keys of at most 255 bytes (the kernel's fs/fsopen.c).
    const KEY_LIMIT_BYTES: usize = 255;
    let (key, value) = match part.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (part, None),
    };
    if key.is_empty() || key.len() > KEY_LIMIT_BYTES || part.contains('\0') {
        return Err(Error::invalid(field(), option, "is not a mount option"));
    }
    let unquoted = |value: &str| {
        let inside = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        inside.unwrap_or(value).to_owned()
    };
    Ok(Parameter { key: key.to_owned(), value: value.map(unquoted) })
}

/// A bind by its options, whatever its type says (config.md calls the type a dummy then), or by its type.
fn kind(index: usize, typ: Option<&str>, options: &[String]) -> Result<Kind, Error> {
    let has = |wanted: &str| options.iter().any(|option| option == wanted);
    if has("remount") {
        return Ok(Kind::Remount);
    }
    if has("rbind") {
        return Ok(Kind::Bind(All));
    }
    if has("bind") {
        return Ok(Kind::Bind(One));
    }
    let field = || format!("mounts[{index}].type");
    match typ {
        Some("bind") => Ok(Kind::Bind(One)),
        Some("rbind") => Ok(Kind::Bind(All)),
        None | Some("" | "none") => Err(Error::missing(field())
            .with_hint("name a file system, or add \"bind\" or \"rbind\" to the options")),
        // Passed to fsopen(2), which takes the name of a registered type.
        Some(typ) if typ.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) => {
            Ok(Kind::Filesystem(typ.to_owned()))
        }
        Some(typ) => Err(Error::invalid(field(), typ, "is not the name of a file system")),
    }
}

/// Absolute, or (deprecated since 1.0) relative and then meant from `/`; components `.` and empty go away.
fn destination(index: usize, text: &str) -> Result<PathBuf, Error> {
    let field = || format!("mounts[{index}].destination");
    if text.is_empty() {
        return Err(Error::missing(field()));
    }
    if text.contains('\0') {
        return Err(Error::invalid(field(), text, "has a NUL byte in it"));
    }
    if text.split('/').any(|component| component == "..") {
        return Err(Error::invalid(field(), text, "has a `..` in it")
            .with_hint("write the path without `..`, from the container's root"));
    }
    // Nearly all are clean already, and then one allocation is enough.
    let is_clean = text.starts_with('/') && !text.contains("//") && !text.contains("/.");
    if is_clean && (text.len() == 1 || !text.ends_with('/')) {
        return Ok(PathBuf::from(text));
    }
    let components = text.split('/').filter(|component| !component.is_empty() && *component != ".");
    let mut clean = PathBuf::from("/");
    clean.extend(components);
    Ok(clean)
}

fn own_mappings(
    index: usize,
    users: Vec<IdMapping>,
    groups: Vec<IdMapping>,
) -> Result<Option<IdMap>, Error> {
    match (users.is_empty(), groups.is_empty()) {
        (true, true) => Ok(None),
        (false, false) => Ok(Some(IdMap { scope: One, mappings: Some((users, groups)) })),
        (true, false) => Err(Error::missing(format!("mounts[{index}].uidMappings"))
            .with_hint("a mount has mappings for users and groups, or none")),
        (false, true) => Err(Error::missing(format!("mounts[{index}].gidMappings"))
            .with_hint("a mount has mappings for users and groups, or none")),
    }
}

mod write;

#[cfg(test)]
mod tests;
