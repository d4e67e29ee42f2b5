use proptest::prelude::*;

use super::*;

fn request(typ: &str, options: &[&str]) -> Result<MountRequest, Error> {
    request_at("/data", typ, options)
}

fn request_at(destination: &str, typ: &str, options: &[&str]) -> Result<MountRequest, Error> {
    let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
    let (destination, kind) = (destination.to_owned(), Some(typ.to_owned()));
    let source = Some("src".to_owned());
    MountRequest::parse(3, Mount { destination, kind, source, options, ..Mount::default() })
}

fn good(typ: &str, options: &[&str]) -> MountRequest {
    request(typ, options).expect("it is a good mount")
}

fn flag(key: &str) -> Parameter {
    Parameter { key: key.to_owned(), value: None }
}

fn text(key: &str, value: &str) -> Parameter {
    Parameter { key: key.to_owned(), value: Some(value.to_owned()) }
}

#[test]
fn the_table_is_sorted_and_is_the_specifications() {
    assert!(OPTIONS.is_sorted_by_key(|(name, _)| name));
    // config.md, "Linux mount options"; runc 1.1's list is the same with acl and noacl, which are the
    // file system's own, and without idmap and ridmap.
    let specified = "async atime bind defaults dev diratime dirsync exec idmap iversion lazytime loud mand \
        noatime nodev nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid \
        nosymfollow private ratime rbind rdev rdiratime relatime remount rexec ridmap rnoatime rnodev \
        rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro rrw \
        rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave strictatime suid \
        symfollow sync tmpcopyup unbindable";
    assert_eq!(option_names(), specified.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn kinds() {
    let cases: [(&str, &[&str], Kind); 9] = [
        ("none", &["bind"], Kind::Bind(Scope::Mount)),
        ("tmpfs", &["ro", "rbind"], Kind::Bind(Scope::Tree)),
        ("bind", &[], Kind::Bind(Scope::Mount)),
        ("bind", &["rbind"], Kind::Bind(Scope::Tree)),
        ("rbind", &[], Kind::Bind(Scope::Tree)),
        ("tmpfs", &[], Kind::Filesystem("tmpfs".to_owned())),
        ("fuse.sshfs", &[], Kind::Filesystem("fuse.sshfs".to_owned())),
        ("proc", &["remount", "ro"], Kind::Remount),
        ("", &["bind", "remount", "ro"], Kind::Remount),
    ];
    for (typ, options, kind) in cases {
        assert_eq!(good(typ, options).kind, kind, "{typ} {options:?}");
    }
    for typ in ["", "none"] {
        assert_eq!(
            request(typ, &[]).expect_err(typ).to_string(),
            "mounts[3].type: required but missing"
        );
    }
    let bad = request("a b", &[]).expect_err("not a type");
    assert_eq!(bad.to_string(), "mounts[3].type: \"a b\" is not the name of a file system");
    let (destination, options) = ("/a".to_owned(), vec!["rbind".to_owned()]);
    let mount = Mount { destination, options, ..Mount::default() };
    let bad = MountRequest::parse(0, mount).expect_err("no source");
    assert_eq!(bad.to_string(), "mounts[0].source: required but missing");
}

#[test]
fn destinations() {
    for (given, clean) in [("/a/b", "/a/b"), ("a", "/a"), ("//a/./b//", "/a/b"), ("/a..b", "/a..b")]
    {
        let request = request_at(given, "tmpfs", &[]).expect(given);
        assert_eq!(request.destination, Path::new(clean));
    }
    let cases = [
        ("/a/../b", "mounts[3].destination: \"/a/../b\" has a `..` in it"),
        ("..", "mounts[3].destination: \"..\" has a `..` in it"),
        ("", "mounts[3].destination: required but missing"),
        ("/a\0", "mounts[3].destination: \"/a\\0\" has a NUL byte in it"),
    ];
    for (given, expected) in cases {
        assert_eq!(request_at(given, "tmpfs", &[]).expect_err(given).to_string(), expected);
    }
    for root in ["/", "//", "/.", ".", "/./."] {
        let error = request_at(root, "bind", &["rbind"]).expect_err(root);
        let expected =
            "mounts[3].destination: \"/\" is the container's root, which cannot be a mount point";
        assert_eq!(error.to_string(), expected, "{root}");
        let remount = request_at(root, "", &["remount", "ro"]).expect("that has an effect");
        assert_eq!(remount.destination, Path::new("/"));
    }
}

/// `(options, set, clear)`.
type AttributeCase<'a> = (&'a [&'a str], u64, u64);

#[test]
fn attributes() {
    let flags = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    let cases: [AttributeCase<'_>; 17] = [
        (&[], 0, 0),
        (&["defaults", "loud", "silent", "norelatime"], 0, 0),
        (&["ro"], MOUNT_ATTR_RDONLY, 0),
        (&["ro", "rw"], 0, MOUNT_ATTR_RDONLY),
        (&["rw", "ro"], MOUNT_ATTR_RDONLY, 0),
        (&["nosuid", "nodev", "noexec"], flags, 0),
        (&["nosuid", "nodev", "noexec", "suid"], flags & !MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSUID),
        (&["dev", "exec"], 0, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC),
        (&["nosymfollow", "nodiratime"], MOUNT_ATTR_NOSYMFOLLOW | MOUNT_ATTR_NODIRATIME, 0),
        (&["symfollow", "diratime"], 0, MOUNT_ATTR_NOSYMFOLLOW | MOUNT_ATTR_NODIRATIME),
        (&["noatime"], MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME),
        (&["strictatime"], MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME),
        (&["noatime", "strictatime"], MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME),
        (&["noatime", "relatime"], MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME),
        (&["noatime", "atime"], MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME),
        (&["strictatime", "atime"], MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME),
        (&["strictatime", "nostrictatime"], MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME),
    ];
    for (options, set, clear) in cases {
        let plain = good("tmpfs", options);
        assert_eq!(plain.attributes, Attributes { set, clear }, "{options:?}");
        assert!(plain.recursive.is_empty(), "{options:?}");
        // Every attribute has its recursive twin.
        let twins: Vec<String> = options.iter().map(|option| format!("r{option}")).collect();
        let mut twins: Vec<&str> = twins.iter().map(String::as_str).collect();
        twins.retain(|twin| !["rdefaults", "rloud", "rsilent"].contains(twin));
        let tree = good("tmpfs", &twins);
        assert_eq!(tree.recursive, Attributes { set, clear }, "{twins:?}");
        assert!(tree.attributes.is_empty(), "{twins:?}");
        assert_eq!(plain.is_read_only(), set & MOUNT_ATTR_RDONLY != 0);
        assert_eq!(tree.is_read_only(), plain.is_read_only());
    }
}

/// mount_setattr(2) gives EINVAL for a bit in both words, and for a part of the access time field.
#[test]
fn every_pair_of_options_makes_a_mount_attr_that_the_kernel_takes() {
    for first in option_names() {
        for second in option_names() {
            let Ok(request) = request("tmpfs", &[first, second]) else {
                continue;
            };
            for attributes in [request.attributes, request.recursive] {
                let both = attributes.set & attributes.clear & !MOUNT_ATTR__ATIME;
                assert_eq!(both, 0, "{first} {second}");
                let atime = attributes.clear & MOUNT_ATTR__ATIME;
                assert!(atime == 0 || atime == MOUNT_ATTR__ATIME, "{first} {second}");
                assert!(attributes.set & MOUNT_ATTR__ATIME == 0 || atime != 0, "{first} {second}");
            }
        }
    }
}

#[test]
fn propagation() {
    use Propagation::{Private, Shared, Slave, Unbindable};
    let request = good("bind", &["rslave", "shared", "ro", "runbindable", "private"]);
    let expected = [
        (Slave, Scope::Tree),
        (Shared, Scope::Mount),
        (Unbindable, Scope::Tree),
        (Private, Scope::Mount),
    ];
    assert_eq!(request.propagation, expected);
    // linux/mount.h: MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED.
    assert_eq!(
        [Unbindable, Private, Slave, Shared].map(Propagation::flag),
        [0x2_0000, 0x4_0000, 0x8_0000, 0x10_0000]
    );
    assert_eq!(Propagation::parse("rshared"), Some((Shared, Scope::Tree)));
    assert_eq!(Propagation::parse("ro"), None);
}

#[test]
fn file_system_parameters() {
    let request = good(
        "tmpfs",
        &["nosuid", "size=64k", "sync", "huge", "mode=0755", "lazytime", "x=a=b", "e="],
    );
    assert_eq!(request.superblock, [flag("sync"), flag("lazytime")]);
    assert_eq!(
        request.data,
        [text("size", "64k"), flag("huge"), text("mode", "0755"), text("x", "a=b"), text("e", "")]
    );
    let undone = good(
        "ext4",
        &["sync", "async", "mand", "nomand", "iversion", "noiversion", "dirsync", "dirsync"],
    );
    assert_eq!(undone.superblock, [flag("dirsync")]);
    let joined = good("tmpfs", &["mode=755,size=64k", "context=\"a:b:c1,c2\""]);
    assert_eq!(
        joined.data,
        [text("mode", "755"), text("size", "64k"), text("context", "a:b:c1,c2")]
    );
    let gaps = good("tmpfs", &["", "a,,b", ",ro"]);
    assert_eq!((gaps.data, gaps.attributes.set), (vec![flag("a"), flag("b"), flag("ro")], 0));
    for option in ["=x", "a,=", "a\0"] {
        let expected = format!("mounts[3].options[1]: {option:?} is not a mount option");
        assert_eq!(request_error("tmpfs", &["ro", option]), expected);
    }
}

fn request_error(typ: &str, options: &[&str]) -> String {
    request(typ, options).expect_err("it must be refused").to_string()
}

#[test]
fn a_bind_mount_has_no_file_system_to_give_options_to() {
    assert!(good("bind", &["sync", "noiversion"]).superblock.is_empty());
    assert_eq!(
        request_error("bind", &["ro", "size=1"]),
        "mounts[3].options[1]: unknown bind mount option \"size=1\""
    );
    let error = request("bind", &["nosiud"]).expect_err("unknown");
    assert_eq!(error.hint(), Some("did you mean nosuid?"));
    assert_eq!(
        request_error("tmpfs", &["remount", "x"]),
        "mounts[3].options[1]: unknown remount option \"x\""
    );
}

#[test]
fn copying_up_is_for_tmpfs() {
    assert_eq!(good("tmpfs", &["tmpcopyup"]).copy_up, CopyUp::Yes);
    assert_eq!(good("tmpfs", &[]).copy_up, CopyUp::No);
    assert_eq!(
        request_error("bind", &["tmpcopyup"]),
        "mounts[3].options[0]: \"tmpcopyup\" is only for type tmpfs"
    );
    assert_eq!(
        request_error("proc", &["tmpcopyup"]),
        "mounts[3].options[0]: \"tmpcopyup\" is only for type tmpfs"
    );
}

#[test]
fn id_mappings() {
    assert_eq!(good("bind", &[]).idmap, None);
    assert_eq!(good("bind", &["idmap"]).idmap, Some(IdMap { scope: Scope::Mount, mappings: None }));
    assert_eq!(good("bind", &["ridmap"]).idmap, Some(IdMap { scope: Scope::Tree, mappings: None }));
    let mapping = vec![IdMapping { inside: 0, outside: 0, count: 1 }];
    let own = |options: &[&str]| {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let mount = Mount {
            destination: "/a".to_owned(),
            source: Some("/b".to_owned()),
            options,
            uid_mappings: mapping.clone(),
            gid_mappings: mapping.clone(),
            ..Mount::default()
        };
        MountRequest::parse(0, mount).expect("a good mount").idmap
    };
    let both = Some((mapping.clone(), mapping.clone()));
    assert_eq!(own(&["bind"]), Some(IdMap { scope: Scope::Mount, mappings: both.clone() }));
    assert_eq!(own(&["bind", "ridmap"]), Some(IdMap { scope: Scope::Tree, mappings: both }));
}

/// Options of every kind, alone and several in one, with quotes and commas.
fn any_options() -> impl Strategy<Value = Vec<String>> {
    let known =
        prop::sample::select(OPTIONS.map(|(name, _)| name).to_vec()).prop_map(str::to_owned);
    let own = "[a-c]{1,2}(=[a-c,\"=]{0,5})?(,(ro|nosuid|sync|[a-c](=[a-c\"]{0,2})?)){0,2}";
    prop::collection::vec(prop_oneof![3 => known, 1 => own], 0..8)
}

proptest! {
    #[test]
    fn a_mount_that_is_written_is_read_as_the_same(
        kind in prop::sample::select(vec!["bind", "rbind", "tmpfs", "proc", "none"]),
        options in any_options(),
        mapped in any::<bool>(),
    ) {
        let map = vec![IdMapping { inside: 0, outside: 1000, count: 5 }];
        let mappings = if mapped { map } else { Vec::new() };
        let mount = Mount {
            destination: "/data".to_owned(),
            kind: Some(kind.to_owned()),
            source: Some("src".to_owned()),
            options,
            uid_mappings: mappings.clone(),
            gid_mappings: mappings,
        };
        if let Ok(request) = MountRequest::parse(3, mount) {
            let text = serde_json::to_string(&request).expect("it can be written");
            let again = serde_json::from_str(&text).expect("a mount");
            prop_assert_eq!(MountRequest::parse(3, again), Ok(request), "{}", text);
        }
    }
}
