//! A container's life: create, start, run, exec, kill, pause, delete; the state that is kept of it.
//!
//! Promises: what fails leaves nothing behind, or says what is left and keeps the record; a brig that is
//! killed at any point leaves a record from which `delete --force` cleans up, and no record goes before what it
//! names. Must never act on a pid whose process is not the one that was recorded.

mod activation;
mod blueprint;
mod bundle;
mod circumstances;
mod confinement;
mod container;
mod control;
mod create;
mod delete;
mod early_hooks;
mod exec;
mod frozen;
mod gate;
mod held;
mod home;
mod ids;
mod io;
mod joined;
mod known;
mod landlock;
mod layers;
mod lock;
mod members;
mod node;
mod observer;
mod outside;
mod poststop;
mod preview;
mod process;
mod readiness;
mod record;
mod recorded;
mod remap;
mod root;
mod run;
mod seccomp_agent;
mod start;
mod state;
mod status;
mod transaction;

pub use crate::failure::{Failure as Error, Kind as ErrorKind};
pub use crate::plan::Systemd;
pub use activation::ActivationSockets;
pub use blueprint::{Blueprint, Landlock, Remapped};
pub use confinement::Confinement;
pub use container::Container;
pub use control::Happened;
pub use create::Options;
pub use delete::Force;
pub use exec::ExecOptions;
pub use held::HeldNamespaces;
pub use io::{Io, NULL, character_device};
pub use known::Shown;
pub use node::Node;
pub use observer::{Event, Observer};
pub use process::Process;
pub use record::{Listed, Record, StateDirectory};
pub use remap::{Remap, RemapRoot, Unmappable};
pub use root::Root;
pub use seccomp_agent::HANDOVER_FLAGS;
pub use state::now;
pub use status::Status;
