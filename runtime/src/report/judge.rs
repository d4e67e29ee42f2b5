//! What is said of a container: a line for each thing that confines it, each held against what should hold.
//!
//! Promises: pure. What is not known does not hold; what differs is told with who differs.

use serde_json::{Map, Value};

use super::differences;
use super::exposure::{self, Exposure};
use super::lines::{Item, Lines, Verdict};
use super::machine::cgroup_of;
use super::snapshot::Snapshot;
use super::{against_configuration, against_policy, told};
use crate::policy::{ChosenProfile, Hardened};
use crate::printable;

/// The first field of a report as JSON: it becomes another number when a field changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// A container, as it is.
#[derive(Clone, Debug)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Its id, where brig has made it.
    pub id: Option<String>,
    /// Its first process.
    pub pid: i32,
    /// What that calls itself.
    pub name: String,
    /// Its cgroup, where the caller sees that.
    pub cgroup: Option<String>,
    /// The profile that it is held against.
    pub profile: String,
    /// How many of its processes were looked at.
    pub processes: usize,
    /// How many processes of the machine could not be.
    pub unread: usize,
    /// The worst of all items.
    pub verdict: Verdict,
    /// What confines it.
    pub items: Vec<Item>,
    /// Where it is exposed, the heaviest first.
    pub exposures: Vec<Exposure>,
    /// The version of the model by which exposure is counted.
    pub model: u32,
    /// The sum of the weights.
    pub exposure: u32,
    /// The same where all that is not known is counted too.
    pub exposure_at_most: u32,
    /// What the number is not.
    pub note: &'static str,
}

/// What a container is held against.
#[derive(Clone, Copy, Debug)]
pub struct Standard<'s> {
    /// Its id, where brig has made it.
    pub id: Option<&'s str>,
    /// What holds for it since create, where brig has made it.
    pub spec: Option<&'s Hardened>,
    /// The profile by which it was made, or else the node's.
    pub profile: &'s ChosenProfile,
}

/// Says what confines a container.
#[must_use]
pub fn judge(snapshot: &Snapshot<'_>, standard: &Standard<'_>) -> Report {
    let mut lines = Lines::default();
    told::tell(snapshot, &mut lines);
    differences::check(snapshot, &mut lines);
    if let Some(spec) = standard.spec {
        against_configuration::check(snapshot, spec, standard.profile, &mut lines);
    }
    for set in standard.profile.sets() {
        against_policy::check(snapshot, set, &mut lines);
    }
    let exposed = exposure::of(snapshot);
    let first = snapshot.first().process;
    Report {
        schema: SCHEMA,
        id: standard.id.map(str::to_owned),
        pid: first.pid,
        name: printable::line(&first.name).into_owned(),
        cgroup: cgroup_of(first).map(|path| {
            // Without the hierarchy.
            let path = path.find('/').map_or(path, |at| &path[at..]);
            printable::line(path).into_owned()
        }),
        profile: standard.profile.name.clone(),
        processes: snapshot.members.len(),
        unread: snapshot.unread,
        verdict: lines.0.iter().map(|item| item.verdict).max().unwrap_or(Verdict::Unknown),
        items: lines.0,
        exposure: exposed.iter().filter(|one| one.is_known()).map(|one| one.weight).sum(),
        exposure_at_most: exposed.iter().map(|one| one.weight).sum(),
        exposures: exposed,
        model: exposure::MODEL,
        note: exposure::NOTE,
    }
}

impl Report {
    /// As JSON (docs/report.md).
    #[must_use]
    pub fn to_json(&self) -> Value {
        let exposures = self.exposures.iter().map(|one| {
            let mut fields = vec![
                ("item", one.item.into()),
                ("weight", one.weight.into()),
                ("why", one.why.into()),
                ("fix", one.fix.into()),
            ];
            fields.extend(one.what.as_deref().map(|what| ("what", what.into())));
            object(fields)
        });
        let mut fields = vec![
            ("schema", self.schema.into()),
            ("pid", self.pid.into()),
            ("name", self.name.as_str().into()),
            ("profile", self.profile.as_str().into()),
            ("processes", self.processes.into()),
            ("unread", self.unread.into()),
            ("verdict", self.verdict.name().into()),
            ("items", self.items.iter().map(item).collect()),
            ("exposures", exposures.collect()),
            ("model", self.model.into()),
            ("exposure", self.exposure.into()),
            ("exposure_at_most", self.exposure_at_most.into()),
            ("note", self.note.into()),
        ];
        fields.extend(self.id.as_deref().map(|id| ("id", id.into())));
        fields.extend(self.cgroup.as_deref().map(|path| ("cgroup", path.into())));
        object(fields)
    }
}

fn item(item: &Item) -> Value {
    let checks = item.checks.iter().map(|check| {
        let mut fields = vec![
            ("against", check.against.as_str().into()),
            ("verdict", check.verdict.name().into()),
        ];
        if !check.why.is_empty() {
            fields.push(("why", check.why.as_str().into()));
        }
        object(fields)
    });
    object(vec![
        ("item", item.item.into()),
        ("found", item.found.as_str().into()),
        ("verdict", item.verdict.name().into()),
        ("checks", checks.collect()),
    ])
}

#[inline(never)]
fn object(fields: Vec<(&str, Value)>) -> Value {
    let mut object = Map::new();
    for (name, value) in fields {
        object.insert(name.to_owned(), value);
    }
    Value::Object(object)
}
