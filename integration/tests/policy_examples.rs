//! The worked examples of docs/policy.md: each is put into /etc/brig as it stands there, and held against what its text
//! says of it.

use brig_integration::{Bundle, Lab, Value, binaries, json, need};
use std::fs;
use std::path::Path;

const FILE: &str = "/etc/brig/policy.toml";
const DROP_INS: &str = "/etc/brig/policy.d";

/// An example, by its title, and configurations that it decides on.
struct Example {
    title: &'static str,
    /// What the node's own configuration selects; else its default.
    selects: Option<&'static str>,
    cases: &'static [Case],
}

struct Case {
    /// A word for the configuration's file.
    name: &'static str,
    asks: fn(Bundle) -> Bundle,
    comes_to: ComesTo,
}

/// Whether the container would be made.
enum ComesTo {
    /// With verdicts by these rules that have these words; a rule without words has no verdict.
    Made(&'static [(&'static str, &'static str)]),
    /// Not, and by no rule but this.
    Refused(&'static str),
}
use ComesTo::{Made, Refused};

const fn case(name: &'static str, asks: fn(Bundle) -> Bundle, comes_to: ComesTo) -> Case {
    Case { name, asks, comes_to }
}

const EXAMPLES: &[Example] = &[
    Example {
        title: "A web server on port 80",
        selects: Some("web"),
        cases: &[
            case(
                "root",
                Bundle::service,
                Made(&[
                    ("remapping", "of its own"),
                    ("capabilities", "CAP_CHOWN, CAP_SETGID, CAP_SETUID, CAP_NET_BIND_SERVICE"),
                    ("read_only_root", "/var/lib/nginx"),
                    ("pids", "64"),
                ]),
            ),
            case(
                "user",
                |bundle| {
                    let port = json!(["CAP_NET_BIND_SERVICE"]);
                    let sets = ["bounding", "permitted", "effective", "inheritable", "ambient"];
                    let sets = sets.map(|set| (set.to_owned(), port.clone()));
                    user(bundle, 101)
                        .set("/process/capabilities", Value::Object(sets.into_iter().collect()))
                },
                Made(&[("capabilities", ""), ("ambient_capabilities", "")]),
            ),
        ],
    },
    Example {
        title: "A database on a volume",
        selects: Some("database"),
        cases: &[
            case(
                "volume",
                |bundle| volume(bundle, "/srv/databases/one"),
                Made(&[
                    ("bind_sources", ""),
                    ("memory", "8 GiB"),
                    ("processors", "4"),
                    ("remapping", "of its own"),
                ]),
            ),
            case("elsewhere", |bundle| volume(bundle, "/srv/other"), Refused("bind_sources")),
        ],
    },
    Example {
        title: "Builds with user namespaces",
        selects: Some("builder"),
        cases: &[
            case(
                "builder",
                |bundle| {
                    device(bundle, "/dev/fuse", 10, 229)
                        .set("/linux/maskedPaths", json!([]))
                        .set("/linux/readonlyPaths", json!([]))
                },
                Made(&[
                    ("devices", ""),
                    ("masked_paths", ""),
                    ("read_only_paths", ""),
                    ("seccomp", ""),
                    ("remapping", "of its own"),
                ]),
            ),
            case("hosts-root", |bundle| bundle.user_namespace(0), Refused("remapping")),
        ],
    },
    Example {
        title: "A GPU",
        selects: Some("gpu"),
        cases: &[
            case(
                "gpu",
                |bundle| device(bundle, "/dev/dri/renderD128", 226, 128),
                Made(&[("devices", ""), ("memory", "32 GiB")]),
            ),
            case("disk", |bundle| device(bundle, "/dev/sda", 8, 0), Made(&[("devices", "8:0")])),
            case(
                "hook",
                |bundle| bundle.set("/hooks/createContainer", json!([{"path": "/bin/true"}])),
                Refused("hooks"),
            ),
        ],
    },
    Example {
        title: "A monitoring agent that sees all processes",
        selects: Some("agent"),
        cases: &[
            case(
                "agent",
                |bundle| agent(user(bundle, 65534)),
                Made(&[
                    ("namespaces", ""),
                    ("remapping", ""),
                    ("bind_sources", ""),
                    ("capabilities", "none"),
                ]),
            ),
            case("root", agent, Refused("users")),
            case(
                "user",
                |bundle| agent(user(bundle, 65534)).set("/process/user/uid", 1000),
                Refused("users"),
            ),
            case(
                "ipc",
                |bundle| agent(user(bundle, 65534)).without_namespace("ipc"),
                Refused("namespaces"),
            ),
            case(
                "engine",
                |bundle| agent(user(bundle, 65534)).bind(Path::new("/run"), "/host", &["ro"]),
                Refused("bind_sources"),
            ),
        ],
    },
    Example {
        title: "System pods of Kubernetes",
        selects: Some("system"),
        cases: &[
            case(
                "system",
                |bundle| pod(bundle, "kube-system").without_namespace("network"),
                Made(&[("namespaces", "")]),
            ),
            case(
                "guest",
                |bundle| pod(bundle, "guests").without_namespace("network"),
                Refused("namespaces"),
            ),
            case(
                "quiet-guest",
                |bundle| pod(bundle, "ci"),
                Made(&[("pids", "128"), ("seccomp", "sandbox")]),
            ),
            case(
                "outside",
                |bundle| pod(bundle, "kube-system").set("/linux/cgroupsPath", "/elsewhere"),
                Refused("cgroup_parent"),
            ),
        ],
    },
    Example {
        title: "System pods of Kubernetes",
        selects: None,
        cases: &[case(
            "system",
            |bundle| pod(bundle, "kube-system").without_namespace("network"),
            Refused("namespaces"),
        )],
    },
    Example {
        title: "An engine that maps users itself",
        selects: None,
        cases: &[
            case(
                "engines",
                |bundle| bundle.user_namespace(231_072),
                Made(&[("remapping", ""), ("users", "")]),
            ),
            case("host", |bundle| bundle, Made(&[("remapping", "of its own")])),
            case("pool", |bundle| bundle.user_namespace(2_000_224_256), Refused("remapping")),
            case("root", |bundle| user(bundle, 1000).user_namespace(0), Refused("remapping")),
        ],
    },
    Example {
        title: "A pod that asks for less",
        selects: None,
        cases: &[
            case("as-it-is", |bundle| bundle, Made(&[("pids", "512")])),
            case(
                "sandbox",
                |bundle| less(bundle, "sandbox"),
                Made(&[("pids", "128"), ("capabilities", "none")]),
            ),
            case(
                "offline",
                |bundle| less(bundle, "offline"),
                Made(&[("pids", "512"), ("annotations", "")]),
            ),
            case("more", |bundle| less(bundle, "oci"), Refused("annotations")),
            case(
                "other",
                |bundle| bundle.set("/annotations", json!({"io.brig.seccomp": "off"})),
                Refused("annotations"),
            ),
        ],
    },
    Example {
        title: "Code that nobody has read",
        selects: None,
        cases: &[
            case(
                "program",
                |bundle| {
                    let files = json!([{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}]);
                    user(bundle, 1000).set("/process/rlimits", files)
                },
                Made(&[
                    ("memory", "256 MiB"),
                    ("pids", "32"),
                    ("rlimits", "256"),
                    ("seccomp", "sandbox"),
                    ("capabilities", "none"),
                ]),
            ),
            case("volume", |bundle| volume(bundle, "/srv/databases/one"), Refused("bind_sources")),
        ],
    },
    Example {
        title: "An exception for a while",
        selects: None,
        cases: &[
            case(
                "build",
                |bundle| device(bundle, "/dev/fuse", 10, 229),
                Made(&[("devices", "50-fuse.toml")]),
            ),
            case("disk", |bundle| device(bundle, "/dev/sda", 8, 0), Made(&[("devices", "8:0")])),
        ],
    },
    Example {
        title: "From runc to restricted",
        selects: None,
        cases: &[case(
            "everything",
            |bundle| {
                volume(device(bundle, "/dev/sda", 8, 0), "/etc")
                    .without_namespace("network")
                    .set("/hooks/prestart", json!([{"path": "/bin/true"}]))
                    .set("/linux/sysctl", json!({"kernel.msgmax": "4096"}))
            },
            Made(&[
                ("namespaces", "network"),
                ("bind_sources", "/etc"),
                ("hooks", "/bin/true"),
                ("devices", "8:0"),
                ("sysctls", "kernel.msgmax"),
                ("read_only_root", "true"),
                ("memory", "1 GiB"),
                ("users", "user 0"),
                ("remapping", "of its own"),
            ]),
        )],
    },
];

fn user(bundle: Bundle, id: u32) -> Bundle {
    bundle.set("/process/user", json!({"uid": id, "gid": id}))
}

fn volume(bundle: Bundle, source: &str) -> Bundle {
    bundle.bind(Path::new(source), "/data", &["rw"])
}

fn device(bundle: Bundle, path: &str, major: u32, minor: u32) -> Bundle {
    let device = json!({"path": path, "type": "c", "major": major, "minor": minor});
    let allowed =
        json!({"allow": true, "type": "c", "major": major, "minor": minor, "access": "rw"});
    bundle.set("/linux/devices", json!([device])).set("/linux/resources/devices/-", allowed)
}

fn agent(bundle: Bundle) -> Bundle {
    let bundle = bundle.without_namespace("pid").without_namespace("network");
    bundle.bind(Path::new("/proc"), "/host/proc", &["ro"])
}

fn pod(bundle: Bundle, namespace: &str) -> Bundle {
    let annotations = json!({
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.sandbox-namespace": namespace,
    });
    bundle.set("/annotations", annotations).set("/linux/cgroupsPath", "/kubepods/pod1/container")
}

fn less(bundle: Bundle, profile: &str) -> Bundle {
    bundle.set("/annotations", json!({"io.brig.profile": profile}))
}

/// The section with the examples.
fn page() -> String {
    let page = fs::read_to_string(binaries::workspace().join("docs/policy.md")).expect("read");
    let (_, examples) = page.split_once("\n## Worked examples\n").expect("the section");
    examples.split("\n## ").next().unwrap_or(examples).to_owned()
}

/// The titles of examples which are whole files, and the blocks of each: the policy file, and then drop-ins.
fn examples() -> Vec<(String, Vec<String>)> {
    let page = page();
    let sections = page.split("\n### ").skip(1).filter_map(|section| {
        let (title, text) = section.split_once('\n')?;
        let blocks = blocks(text);
        blocks
            .first()
            .is_some_and(|block| block.starts_with("version"))
            .then(|| (title.to_owned(), blocks))
    });
    sections.collect()
}

fn blocks(section: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    for line in section.lines() {
        let block = blocks.last_mut().expect("one");
        match line.strip_prefix("    ") {
            Some(code) => *block += &format!("{code}\n"),
            None if line.is_empty() && !block.is_empty() => *block += "\n",
            None => blocks.push(String::new()),
        }
    }
    blocks.retain(|block| !block.trim().is_empty());
    blocks
}

/// Puts an example into /etc/brig; where it has an exception, with that as its last day, as the one in the page passes.
fn install(blocks: &[String], last_day: &str) {
    let _none = fs::remove_dir_all(DROP_INS);
    let lines = blocks[0].lines().map(|line| match line.split_once(" = ") {
        Some(("expires", _)) => format!("expires = {last_day}\n"),
        _ => format!("{line}\n"),
    });
    fs::write(FILE, lines.collect::<String>()).expect("write a policy");
    for block in &blocks[1..] {
        fs::create_dir_all(DROP_INS).expect("make a directory");
        fs::write(Path::new(DROP_INS).join("50-fuse.toml"), block).expect("write a drop-in");
    }
}

/// What the node says of a configuration: the exit code, and each verdict as text by its rule and outcome.
fn explain(lab: &Lab, selects: Option<&str>, bundle: &Bundle) -> (Option<i32>, Vec<[String; 3]>) {
    let call = selects.iter().fold(lab.runtime(), |call, name| call.args(["--profile", name]));
    let output = call.args(["policy", "explain", "--json", "--bundle"]).arg(&bundle.dir).go();
    let explained = output.json();
    let verdicts = explained["verdicts"].as_array().expect("a list").iter().map(|one| {
        let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
        [text("rule"), text("outcome"), one.to_string()]
    });
    (output.status.code(), verdicts.collect())
}

fn check(what: &str, comes_to: &ComesTo, (code, verdicts): (Option<i32>, Vec<[String; 3]>)) {
    let refused: Vec<_> = verdicts.iter().filter(|[_, outcome, _]| outcome == "refused").collect();
    match comes_to {
        Made(expected) => {
            assert_eq!(code, Some(0), "{what}: {refused:?}");
            for (rule, words) in *expected {
                let of_rule: Vec<_> = verdicts.iter().filter(|[of, ..]| of == rule).collect();
                let is_as_expected = match *words {
                    "" => of_rule.is_empty(),
                    words => of_rule.iter().any(|[.., text]| text.contains(words)),
                };
                assert!(is_as_expected, "{what}: {rule} {words:?}: {of_rule:?}");
            }
        }
        Refused(rule) => {
            assert_eq!(code, Some(1), "{what}: {verdicts:?}");
            assert!(refused.iter().all(|[of, ..]| of == rule), "{what}: {refused:?}");
        }
    }
}

/// Beside what each says of a configuration, the same by a corpus, which says nothing of what is bound.
fn judge(lab: &Lab, example: &Example) {
    let corpus = lab.path("corpus");
    fs::create_dir(&corpus).expect("make a directory");
    let mut count = 0;
    for case in example.cases {
        let bundle = (case.asks)(lab.bundle());
        bundle.write();
        let what = format!("{}: {}", example.title, case.name);
        check(&what, &case.comes_to, explain(lab, example.selects, &bundle));
        let name = match case.comes_to {
            Made(_) => format!("{}.json", case.name),
            Refused("bind_sources") => continue,
            Refused(_) => format!("{}.refused.json", case.name),
        };
        fs::copy(bundle.dir.join("config.json"), corpus.join(name)).expect("copy");
        count += 1;
    }
    let call =
        example.selects.iter().fold(lab.runtime(), |call, name| call.args(["--profile", name]));
    let all = format!("{count} of {count} as expected");
    call.args(["policy", "test"]).arg(&corpus).go().ok().says(&all);
}

#[test]
fn each_worked_example_decides_as_it_says() {
    need!(Brig);
    let lab = Lab::new();
    lab.tmpfs(Path::new("/srv"));
    for dir in ["/srv/databases/one", "/srv/other"] {
        fs::create_dir_all(dir).expect("make a directory");
    }
    let examples = examples();
    for (title, blocks) in &examples {
        install(blocks, "2099-12-31");
        lab.runtime().args(["policy", "check"]).go().ok();
        let judged: Vec<_> = EXAMPLES.iter().filter(|example| example.title == title).collect();
        assert!(!judged.is_empty(), "nothing shows what {title:?} does");
        judged.into_iter().for_each(|example| judge(&lab, example));
    }
    for example in EXAMPLES {
        let is_there = examples.iter().any(|(title, _)| title == example.title);
        assert!(is_there, "docs/policy.md has no example {:?}", example.title);
    }
    assert!(examples.len() >= 10, "{}", examples.len());
}

#[test]
fn the_exception_among_the_examples_ends_with_its_day() {
    need!(Brig);
    let lab = Lab::new();
    let examples = examples();
    let (_, blocks) = examples.iter().find(|(title, _)| title.contains("exception")).expect("one");
    let bundle = device(lab.bundle(), "/dev/fuse", 10, 229);
    bundle.write();
    let outcomes = |last_day: &str| -> Vec<String> {
        install(blocks, last_day);
        let (_, verdicts) = explain(&lab, None, &bundle);
        let of_devices = verdicts.into_iter().filter(|[rule, ..]| rule == "devices");
        of_devices.map(|[_, outcome, _]| outcome).collect()
    };
    assert_eq!(outcomes("2099-12-31"), ["excepted"]);
    assert_eq!(outcomes("2026-11-01"), ["expired", "limited", "limited"]);
}

/// A rule that comes to be in the level comes to be in the example.
#[test]
fn the_example_of_a_migration_takes_nothing_away() {
    need!(Brig);
    let lab = Lab::new();
    let examples = examples();
    let (_, blocks) = examples.iter().find(|(title, _)| title.contains("From runc")).expect("one");
    install(blocks, "2099-12-31");
    let shown = lab.runtime().args(["policy", "show"]).go().ok().stdout();
    let of_mode = |mode: &str| {
        shown.lines().filter(|line| line.split_whitespace().nth(1) == Some(mode)).count()
    };
    assert!(of_mode("audit") >= 30, "{shown}");
    assert_eq!((of_mode("enforce"), of_mode("refuse")), (0, 0), "{shown}");
}
