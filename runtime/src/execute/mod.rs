//! From a plan to a running process: opens what the child is handed, starts it, answers it, and
//! says in words what failed.
//!
//! Must never change what the plan says, and must leave no process behind when it fails.

mod bandwidth;
mod end;
mod executed;
mod hooks;
mod idmap;
mod inputs;
mod launch;
pub(crate) mod namespace;
mod netdevice;
mod process;
mod program;
mod report;
pub mod resctrl;
mod rtnetlink;
mod told;

pub use crate::failure::Failure as Error;
pub use bandwidth::limit_bandwidth;
pub(crate) use executed::has_executed;
pub use hooks::{HookStage, run_hooks};
pub use idmap::{IdMaps, write_id_maps};
pub use inputs::Inputs;
pub use launch::{Launch, Milestone, Wait, describe_failure, is_of_hook, read_report};
pub use netdevice::{NetDevices, network_namespace_of};
pub use process::{Exit, LaunchedProcess};
pub use report::{describe, untold};
pub use resctrl::{Resctrl, ResctrlRecord};
pub use told::Told;
