//! What runtime.md of the runtime specification 1.3 demands, in its order.

use super::{Demand, demand};

/// All of it.
pub(super) const DEMANDS: &[Demand] = &[
    demand("runtime.md, Scope", "who creates a container can use the operations on it", &["lifecycle::create_runs_nothing_before_start", "lifecycle::kill_takes_names_and_numbers", "lifecycle::delete_takes_a_created_container"]),
    demand("runtime.md, State", "it has ociVersion, id, status, pid, bundle and annotations, in JSON", &["lifecycle::state_has_what_the_specification_asks_for"]),
    demand("runtime.md, State", "id is unique on the host", &["lifecycle::a_second_create_with_the_same_id_fails_and_harms_nothing"]).but("unique in a state directory (`--root`), as under runc: each engine has its own"),
    demand("runtime.md, State", "a further status stands for a new state", &["lifecycle::pause_stops_and_resume_goes_on"]),
    demand("runtime.md, State", "pid is there when created or running; of hooks inside it is that which the container sees", &["lifecycle::state_has_what_the_specification_asks_for", "hooks::hooks_inside_get_the_pid_that_the_container_sees"]),
    demand("runtime.md, Lifecycle", "the environment is made as config.json says, or it is an error", &["process::a_limit_that_cannot_be_raised_is_an_error", "bad_input::mount_type_unknown"]),
    demand("runtime.md, Lifecycle", "the program does not run at create", &["lifecycle::create_runs_nothing_before_start"]),
    demand("runtime.md, Lifecycle", "changes of config.json after create have no effect", &["lifecycle::a_configuration_that_changes_after_create_has_no_effect"]),
    demand("runtime.md, Lifecycle", "prestart, createRuntime and createContainer hooks run; one that fails is an error, stops and removes the container, and poststop hooks run", &["hooks::hooks_run_in_their_order", "hooks::a_failing_hook_fails_the_verb_and_cleans_up", "hooks::after_a_failing_hook_the_container_is_gone_and_poststop_hooks_have_run_once"]).but("poststop hooks run as well after a failure that is no hook's, once hooks have had their turn; runc runs them after any failure"),
    demand("runtime.md, Lifecycle", "startContainer hooks run; one that fails is an error, stops and removes the container, and poststop hooks run", &["hooks::hooks_run_in_their_order", "hooks::after_a_failing_hook_the_container_is_gone_and_poststop_hooks_have_run_once"]).but("runc 1.3 leaves it stopped, for `delete`, and its `start` succeeds"),
    demand("runtime.md, Lifecycle", "start runs the program", &["lifecycle::create_runs_nothing_before_start"]),
    demand("runtime.md, Lifecycle", "poststart hooks run; one that fails is an error, stops and removes the container, and poststop hooks run (up to 1.2 it was a warning)", &["hooks::hooks_run_in_their_order", "hooks::after_a_failing_hook_the_container_is_gone_and_poststop_hooks_have_run_once"]).but("runc 1.3 runs them at `create`, with the same end"),
    demand("runtime.md, Lifecycle", "delete undoes what create did", &["lifecycle::delete_takes_a_created_container", "crash::killed_in_create"]),
    demand("runtime.md, Lifecycle", "poststop hooks run; one that fails is logged as a warning, and the others run", &["hooks::a_failing_poststop_hook_does_not_keep_the_container"]),
    demand("runtime.md, Errors", "an error leaves everything as it was", &["bad_input::root_path_is_a_file", "hooks::a_failing_hook_fails_the_verb_and_cleans_up"]),
    demand("runtime.md, Operations", "state, create, start, kill and delete are there", &["lifecycle::verbs_on_an_unknown_container_fail"]),
    demand("runtime.md, Query State", "without an id, and of a container that does not exist, it is an error", &["lifecycle::usage_errors_have_a_code_of_their_own", "lifecycle::verbs_on_an_unknown_container_fail"]),
    demand("runtime.md, Query State", "it is the state above", &["lifecycle::state_has_what_the_specification_asks_for"]),
    demand("runtime.md, Create", "without an id or a bundle it is an error", &["bad_input::a_missing_bundle_is_an_error", "lifecycle::usage_errors_have_a_code_of_their_own"]).but("without `--bundle` the bundle is the current directory, as under runc"),
    demand("runtime.md, Create", "an id that is taken or not valid is an error, and no container is made", &["lifecycle::a_second_create_with_the_same_id_fails_and_harms_nothing", "concurrency::of_many_with_one_id_exactly_one_wins", "bad_input::ids_that_are_paths_are_refused"]),
    demand("runtime.md, Create", "all but process.args is applied, process.args not until start", &["lifecycle::create_runs_nothing_before_start"]),
    demand("runtime.md, Create", "a property that cannot be applied is an error, and no container is made", &["process::a_limit_that_cannot_be_raised_is_an_error", "bad_input::root_path_is_a_file"]),
    demand("runtime.md, Start", "without an id it is an error", &["lifecycle::usage_errors_have_a_code_of_their_own"]),
    demand("runtime.md, Start", "of a container that does not exist, or is not created, it is an error without effect", &["lifecycle::verbs_on_an_unknown_container_fail", "lifecycle::start_twice_fails"]),
    demand("runtime.md, Start", "without process it is an error", &["bad_input::process_args_missing"]).but("at create, as nothing could start such a container"),
    demand("runtime.md, Kill", "without an id it is an error", &["lifecycle::usage_errors_have_a_code_of_their_own"]),
    demand("runtime.md, Kill", "of a container that neither waits to be started nor runs it is an error without effect", &["lifecycle::kill_of_a_stopped_container_fails"]),
    demand("runtime.md, Kill", "the signal reaches the container's process", &["lifecycle::kill_takes_names_and_numbers", "lifecycle::a_created_container_can_be_told_to_end"]),
    demand("runtime.md, Delete", "without an id, and of a container that does not exist, it is an error", &["lifecycle::usage_errors_have_a_code_of_their_own", "lifecycle::verbs_on_an_unknown_container_fail"]),
    demand("runtime.md, Delete", "of a container that is not stopped it is an error without effect", &["lifecycle::delete_refuses_a_running_container", "lifecycle::delete_takes_a_created_container"]).but("one that waits to be started is deleted, as under runc: engines give up containers so"),
    demand("runtime.md, Delete", "what create made is removed", &["lifecycle::delete_takes_a_created_container"]),
    demand("runtime.md, Delete", "what the container did not make stays", &["lifecycle::delete_names_what_is_not_its_own_and_leaves_it", "namespaces::deleting_a_member_of_a_pid_namespace_spares_the_owner"]),
];
