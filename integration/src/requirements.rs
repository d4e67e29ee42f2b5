//! What the runtime specification demands (MUST, SHOULD), and the tests that show it: for `docs/conformance.md`.
//!
//! Promises: each entry names tests that are there, and that fail where the demand is not met; a test reads the sources
//! for them. What is not in the list is not claimed: it is begun, not complete.
//! Reference: runtime-spec 1.3, runtime.md, config.md, config-linux.md.

use std::fmt::Write as _;

/// A demand.
pub struct Demand {
    /// The document and the section.
    pub place: &'static str,
    /// What is demanded, in short.
    pub what: &'static str,
    /// `FILE::TEST` of `integration/tests`.
    pub tests: &'static [&'static str],
}

const fn demand(place: &'static str, what: &'static str, tests: &'static [&'static str]) -> Demand {
    Demand { place, what, tests }
}

const STATE: &str = "runtime.md, State";
const LIFECYCLE: &str = "runtime.md, Lifecycle";
const CREATE: &str = "runtime.md, Create";
const START: &str = "runtime.md, Start";
const KILL: &str = "runtime.md, Kill";
const DELETE: &str = "runtime.md, Delete";
const VERSION: &str = "config.md, Specification version";
const ROOT: &str = "config.md, Root";
const MOUNTS: &str = "config.md, Mounts";
const PROCESS: &str = "config.md, Process";
const HOOKS: &str = "config.md, POSIX-platform Hooks";
const NAMESPACES: &str = "config-linux.md, Namespaces";
const DEVICES: &str = "config-linux.md, Devices";
const CGROUPS: &str = "config-linux.md, Control groups";
const SECCOMP: &str = "config-linux.md, Seccomp";

/// All that is claimed, in the documents' order.
pub const DEMANDS: &[Demand] = &[
    demand(
        STATE,
        "it has ociVersion, id, status, pid, bundle and annotations",
        &["lifecycle::state_has_what_the_specification_asks_for"],
    ),
    demand(
        "runtime.md, Query State",
        "of a container that does not exist it is an error",
        &["lifecycle::verbs_on_an_unknown_container_fail"],
    ),
    demand(
        LIFECYCLE,
        "changes of config.json after create have no effect",
        &["lifecycle::a_configuration_that_changes_after_create_has_no_effect"],
    ),
    demand(
        LIFECYCLE,
        "a failing prestart, createRuntime or createContainer hook stops and removes the container",
        &["hooks::a_failing_hook_fails_the_verb_and_cleans_up"],
    ),
    demand(
        LIFECYCLE,
        "a failing startContainer hook stops the container",
        &["hooks::a_failing_start_container_hook_fails_start"],
    ),
    demand(
        LIFECYCLE,
        "a failing poststop hook is logged as a warning, and the others run",
        &["hooks::a_failing_poststop_hook_does_not_keep_the_container"],
    ),
    demand(
        CREATE,
        "an id that is taken is an error, and no container is made",
        &[
            "lifecycle::a_second_create_with_the_same_id_fails_and_harms_nothing",
            "concurrency::of_many_with_one_id_exactly_one_wins",
        ],
    ),
    demand(
        CREATE,
        "process.args is not applied until start",
        &["lifecycle::create_runs_nothing_before_start"],
    ),
    demand(
        CREATE,
        "a property that cannot be applied is an error, and no container is made",
        &["process::a_limit_that_cannot_be_raised_is_an_error", "bad_input::root_path_is_a_file"],
    ),
    demand(
        START,
        "of a container that does not exist, or is not created, it is an error without effect",
        &["lifecycle::verbs_on_an_unknown_container_fail", "lifecycle::start_twice_fails"],
    ),
    demand(
        KILL,
        "of a container that neither waits to be started nor runs it is an error",
        &["lifecycle::kill_of_a_stopped_container_fails"],
    ),
    demand(
        KILL,
        "the signal reaches the container's process",
        &["lifecycle::kill_takes_names_and_numbers"],
    ),
    demand(
        DELETE,
        "of a container that does not exist, or is not stopped, it is an error without effect",
        &[
            "lifecycle::verbs_on_an_unknown_container_fail",
            "lifecycle::delete_refuses_a_running_container",
        ],
    ),
    demand(
        VERSION,
        "ociVersion is a semantic version",
        &["bad_input::oci_version_that_is_none", "bad_input::oci_version_missing"],
    ),
    demand(
        ROOT,
        "a directory is at root.path",
        &["bad_input::root_path_missing_on_disk", "bad_input::root_path_is_a_file"],
    ),
    demand(ROOT, "with root.readonly it is read-only inside", &["filesystem::a_readonly_root_is"]),
    demand(
        MOUNTS,
        "mounts are made in the listed order",
        &["filesystem::mounts_come_in_the_listed_order"],
    ),
    demand(
        MOUNTS,
        "a destination that is not absolute is taken from the root",
        &["filesystem::a_relative_destination_is_below_the_root"],
    ),
    demand(PROCESS, "cwd is absolute", &["bad_input::process_cwd_relative"]),
    demand(
        PROCESS,
        "args has an entry",
        &["bad_input::process_args_empty", "bad_input::process_args_missing"],
    ),
    demand(
        PROCESS,
        "capabilities that cannot be granted are logged as a warning, and no failure",
        &["process::capabilities_that_cannot_be_granted_are_left_out_and_logged"],
    ),
    demand(
        PROCESS,
        "rlimits with a type twice are an error, as is one that the kernel does not know",
        &["bad_input::rlimit_twice", "bad_input::rlimit_unknown"],
    ),
    demand(PROCESS, "rlimits are those that getrlimit(2) shows inside", &["process::rlimits"]),
    demand(
        HOOKS,
        "they run in the listed order",
        &["hooks::hooks_of_one_kind_run_in_the_listed_order", "hooks::hooks_run_in_their_order"],
    ),
    demand(
        HOOKS,
        "the state is on their standard input",
        &["hooks::hooks_read_the_state_on_standard_input"],
    ),
    demand(
        HOOKS,
        "they run in the runtime's or the container's namespaces, by their kind",
        &["hooks::hooks_run_in_their_namespaces"],
    ),
    demand(HOOKS, "path is absolute", &["hooks::a_relative_hook_path_is_refused"]),
    demand(
        "config.md, Valid values",
        "unknown values of a fixed set are an error",
        &["bad_input::namespace_unknown", "bad_input::seccomp_action_unknown"],
    ),
    demand(
        NAMESPACES,
        "path is absolute, and a namespace of its type",
        &["bad_input::namespace_path_relative", "bad_input::namespace_path_of_another_kind"],
    ),
    demand(
        NAMESPACES,
        "a type that is not listed is inherited",
        &["namespaces::namespaces_not_listed_are_the_hosts"],
    ),
    demand(NAMESPACES, "a type twice is an error", &["bad_input::namespace_twice"]),
    demand(
        "config-linux.md, Default Devices",
        "null, zero, full, random, urandom, tty, ptmx are there",
        &["filesystem::dev_has_the_standard_nodes_and_links", "filesystem::standard_devices_work"],
    ),
    demand(DEVICES, "listed devices are there", &["filesystem::listed_devices_are_made"]),
    demand(
        CGROUPS,
        "limits hold before the program runs",
        &["limits::limits_are_in_place_before_the_first_instruction"],
    ),
    demand(
        CGROUPS,
        "processes that are executed later are in the container's cgroups",
        &["exec::exec_is_in_the_containers_cgroups"],
    ),
    demand(
        CGROUPS,
        "resources are those that were asked for, after an update, too",
        &["cgroups::limits_are_what_was_asked_and_follow_an_update"],
    ),
    demand(
        SECCOMP,
        "an action, operator, flag or architecture that is unknown is an error",
        &[
            "bad_input::seccomp_action_unknown",
            "bad_input::seccomp_operator_unknown",
            "bad_input::seccomp_flag_unknown",
            "bad_input::seccomp_architecture_unknown",
        ],
    ),
    demand(
        SECCOMP,
        "the listener gets the descriptor and the container's state",
        &["seccomp::notifications_go_to_the_listener_with_the_containers_state"],
    ),
    demand(
        "config-linux.md, Masked and Readonly Paths",
        "they cannot be read, or written",
        &["filesystem::masked_and_readonly_paths"],
    ),
];

/// Their part of the document.
#[must_use]
pub fn table() -> String {
    let mut text = String::from(
        "\n## Demands of the specification\n\n\
         What the runtime specification demands, in short, and the tests of `integration/tests` that show it. What is not\n\
         in the table may hold, and is not claimed.\n\n\
         | where | what | tests |\n|---|---|---|\n",
    );
    for Demand { place, what, tests } in DEMANDS {
        let tests: Vec<String> = tests.iter().map(|test| format!("`{test}`")).collect();
        let _ = writeln!(text, "| {place} | {what} | {} |", tests.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::DEMANDS;

    #[test]
    fn every_demand_names_tests_that_are_there() {
        for demand in DEMANDS {
            assert!(!demand.tests.is_empty(), "{}", demand.what);
            for test in demand.tests {
                let (file, name) = test.split_once("::").expect("FILE::TEST");
                let path =
                    crate::binaries::workspace().join(format!("integration/tests/{file}.rs"));
                let source = std::fs::read_to_string(path).expect("the test's source");
                let plain = source.contains(&format!("#[test]\nfn {name}()"));
                let of_table = source.contains(&format!("\n    {name}: |b|"));
                assert!(plain || of_table, "{test} is no test");
            }
        }
    }
}
