//! What a change of limits does, as data.

use brig_spec::Resources;

use super::directories::Targets;
use super::limits::limits;
use super::step::{Directory, Step};
use super::{Driver, enable_controllers};
use crate::Error;

/// The limits of a cgroup that is there already.
pub(crate) struct Change {
    /// Controllers that the limits need.
    pub(crate) enable: Vec<Step>,
    /// The limits.
    pub(crate) limits: Vec<Step>,
    /// `memory.checkBeforeUpdate` for a memory limit: it must not be below the usage.
    pub(crate) usage_limit_bytes: Option<u64>,
}

/// Plans the change to what `resources` names in `directories`; devices are left.
///
/// # Errors
/// [`Error::Field`], naming the field that cannot be honoured on this layout.
pub(crate) fn change(
    directories: &[Directory],
    driver: Driver,
    resources: &Resources,
) -> Result<Change, Error> {
    let limits = limits(&Targets(directories), Some(resources))?;
    let checked = resources.memory.filter(|memory| memory.check_before_update == Some(true));
    let limit = checked.and_then(|memory| u64::try_from(memory.limit?).ok());
    Ok(Change {
        enable: enable_controllers(directories, &limits, driver),
        limits,
        usage_limit_bytes: limit.filter(|bytes| *bytes != 0),
    })
}
