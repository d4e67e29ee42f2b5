//! What confines a running container, of any runtime: read back from the kernel, never from a plan.
//!
//! Two steps. [`Machine::read`] and [`Snapshot::read`] look, at everything, through descriptors that stay those of the
//! processes that they were opened for. Then [`judge`] says what holds, purely: what the kernel does not show, or not to
//! this caller, is unknown, and is never taken for confinement. docs/report.md says what is looked at, and how exposure is
//! counted.
//!
//! Must never change anything, act on a process, or wait for one.

mod against_configuration;
mod against_policy;
mod descriptors;
mod differences;
mod exposure;
mod held;
mod judge;
mod lines;
mod machine;
mod mounts;
mod nodes;
mod process;
mod snapshot;
mod told;

pub use descriptors::{Descriptor, What};
pub use exposure::{Exposure, MODEL, SOUGHT, Sought};
pub use held::{Seen, Unseen};
pub use judge::{Report, SCHEMA, Standard, judge};
pub use lines::{Check, Item, Verdict};
pub use machine::{Group, Machine, Whose};
pub use mounts::{Mount, Table};
pub use nodes::Node;
pub(crate) use process::rlimits;
pub use process::{Details, NAMESPACES, Namespaces, ObservedProcess, Rights};
pub use snapshot::{Host, Member, Snapshot};
