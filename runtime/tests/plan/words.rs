//! What errors say of an operation.

use brig::plan::{Start, render, render_op};
use serde_json::json;

use crate::support::{Machine, config, planned, spec_of};

/// Arguments and environments may hold secrets, and an error goes into logs.
#[test]
fn errors_show_no_arguments_and_no_environment() {
    let mut config = config(None);
    config["process"]["args"] = json!(["sh", "SECRET"]);
    config["process"]["env"] = json!(["TOKEN=SECRET"]);
    let hook = json!([{"path": "/opt/hook", "args": ["hook", "SECRET"], "env": ["TOKEN=SECRET"]}]);
    config["hooks"] = json!({"createContainer": hook, "startContainer": hook});
    planned(&spec_of(&config), &Machine::v2(), Start::AtGate, |plan| {
        let plan = plan.expect("a plan");
        for op in plan.ops {
            let words = render_op(op, &plan.slots);
            assert!(!words.contains("SECRET"), "{words}");
        }
        assert_eq!(render(&plan).matches("SECRET").count(), 6, "`brig plan` shows all of it");
    });
}
