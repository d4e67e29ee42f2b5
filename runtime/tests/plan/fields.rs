//! Which field of config.json a failing operation is about.

use brig::plan::Start;
use brig_child::Op;
use brig_child::op::FileOp;
use serde_json::json;

use crate::support::{Machine, config, planned, spec_of};

#[test]
fn devices_are_named_by_their_fields() {
    let mut config = config(None);
    config["linux"]["devices"] = json!([
        {"path": "/srv/pipe", "type": "p"}, {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]);
    planned(&spec_of(&config), &Machine::v2(), Start::AtGate, |plan| {
        let plan = plan.expect("a plan");
        let nodes = plan.ops.iter().enumerate().filter_map(|(index, op)| match op {
            Op::File(FileOp::Mknod { path, .. }) => {
                Some((path.to_str().expect("text"), plan.field_of(index)))
            }
            _ => None,
        });
        let of = |name: &str| nodes.clone().find(|(path, _)| *path == name).expect("a node").1;
        assert_eq!(of("pipe"), Some("linux.devices[0]"));
        assert_eq!(of("fuse"), Some("linux.devices[1]"));
        assert_eq!(of("file"), None, "of the masks");
    });
}
