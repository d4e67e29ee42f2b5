//! The rule about what of the host is bound into a container.

use brig_spec::Config;
use brig_spec::mount::Kind;

use super::{is_on, rule};
use crate::profile::Profile;
use crate::source::{Places, Sources};
use crate::verdict::Verdicts;

/// The field of the root.
const ROOT: &str = "root.path";

pub(super) fn judge(
    config: &Config,
    profile: &Profile,
    (sources, set): (&Sources, usize),
    verdicts: &mut Verdicts,
) {
    let rule = rule!(profile, bind_sources);
    if !is_on(rule) {
        return;
    }
    let nothing = Places::default();
    let places = sources.places.get(set).unwrap_or(&nothing);
    for (index, mount) in config.mounts.iter().enumerate() {
        let Kind::Bind(_) = mount.kind else { continue };
        let field = format!("mounts[{index}].source");
        let against = match sources.of(&field) {
            Some(source) => places.against_bind(source),
            None => Some(format!("{:?} (not examined)", mount.source)),
        };
        if let Some(asked) = against {
            verdicts.refuse(rule, field, asked);
        }
    }
    let against = match sources.of(ROOT) {
        Some(source) => places.against_root(source, sources.bundle),
        None => Some(format!("{} (not examined)", config.root.path)),
    };
    if let Some(asked) = against {
        verdicts.refuse(rule, ROOT, asked);
    }
}
