//! A mount as `mounts[]` has it.
//!
//! Promises: what is written is read as the same mount.

use serde::ser::{Serialize, Serializer};

use super::{
    Attributes, CopyUp, IdMap, Kind, MOUNT_ATTR__ATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSYMFOLLOW,
    MOUNT_ATTR_RDONLY, MOUNT_ATTR_STRICTATIME, Mount, MountRequest, Parameter, Propagation, Scope,
    lookup, split_outside_quotes,
};

impl Serialize for MountRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Mount::from(self).serialize(serializer)
    }
}

impl From<&MountRequest> for Mount {
    fn from(request: &MountRequest) -> Self {
        let (kind, mut options) = match &request.kind {
            Kind::Bind(Scope::Mount) => (Some("bind"), vec!["bind".to_owned()]),
            Kind::Bind(Scope::Tree) => (Some("bind"), vec!["rbind".to_owned()]),
            Kind::Filesystem(kind) => (Some(&**kind), Vec::new()),
            Kind::Remount => (None, vec!["remount".to_owned()]),
        };
        attributes("", request.attributes, &mut options);
        attributes("r", request.recursive, &mut options);
        options.extend(request.propagation.iter().map(|(how, scope)| propagation(*how, *scope)));
        let (uid_mappings, gid_mappings) = match &request.idmap {
            Some(IdMap { mappings: Some(mappings), .. }) => mappings.clone(),
            _ => Default::default(),
        };
        match request.idmap.as_ref().map(|idmap| idmap.scope) {
            Some(Scope::Mount) => options.push("idmap".to_owned()),
            Some(Scope::Tree) => options.push("ridmap".to_owned()),
            None => {}
        }
        if request.copy_up == CopyUp::Yes {
            options.push("tmpcopyup".to_owned());
        }
        options.extend(request.superblock.iter().map(|flag| flag.key.clone()));
        options.extend(request.data.iter().map(parameter));
        Self {
            destination: request.destination.to_string_lossy().into_owned(),
            kind: kind.map(str::to_owned),
            source: request.source.as_ref().map(|path| path.to_string_lossy().into_owned()),
            options,
            uid_mappings,
            gid_mappings,
        }
    }
}

/// Options for attributes; those for a whole tree begin with an r.
fn attributes(prefix: &str, attributes: Attributes, options: &mut Vec<String>) {
    let Attributes { set, clear } = attributes;
    for (bit, on, off) in [
        (MOUNT_ATTR_RDONLY, "ro", "rw"),
        (MOUNT_ATTR_NOSUID, "nosuid", "suid"),
        (MOUNT_ATTR_NODEV, "nodev", "dev"),
        (MOUNT_ATTR_NOEXEC, "noexec", "exec"),
        (MOUNT_ATTR_NODIRATIME, "nodiratime", "diratime"),
        (MOUNT_ATTR_NOSYMFOLLOW, "nosymfollow", "symfollow"),
    ] {
        if set & bit != 0 {
            options.push(format!("{prefix}{on}"));
        } else if clear & bit != 0 {
            options.push(format!("{prefix}{off}"));
        }
    }
    if clear & MOUNT_ATTR__ATIME != 0 {
        options.push(match set & MOUNT_ATTR__ATIME {
            MOUNT_ATTR_NOATIME => format!("{prefix}noatime"),
            MOUNT_ATTR_STRICTATIME => format!("{prefix}strictatime"),
            _ => format!("{prefix}relatime"),
        });
    }
}

fn propagation(how: Propagation, scope: Scope) -> String {
    let name = match how {
        Propagation::Private => "private",
        Propagation::Shared => "shared",
        Propagation::Slave => "slave",
        Propagation::Unbindable => "unbindable",
    };
    match scope {
        Scope::Mount => name.to_owned(),
        Scope::Tree => format!("r{name}"),
    }
}

/// What the file system itself understands. Quotes are taken off when it is read, and keep a comma in its value. A name
/// of an option that is not a file system's is the file system's own behind a comma.
fn parameter(Parameter { key, value }: &Parameter) -> String {
    let Some(value) = value else {
        return if lookup(key).is_some() { format!(",{key}") } else { key.clone() };
    };
    let plain = format!("{key}={value}");
    let is_quoted = value.len() > 1 && value.starts_with('"') && value.ends_with('"');
    if is_quoted || split_outside_quotes(&plain).count() > 1 {
        format!("{key}=\"{value}\"")
    } else {
        plain
    }
}
