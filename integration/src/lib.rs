//! Harness of the integration tests: a runtime under test, run as its callers run it, on the real
//! kernel.
//!
//! Promises: a test that ends, however it ends, leaves nothing on the machine; one that ends well
//! has shown that the *runtime* left nothing (see [`leftovers`]). Must never: touch the machine's
//! own cgroup mounts, `/etc` or `/run`; wait without a bound; pass because something was missing
//! (see [`need`]).
//!
//! A test reads:
//!
//! ```no_run
//! use brig_integration::{Lab, json};
//! let lab = Lab::new();
//! let c = lab.container(lab.bundle().sh("exit 7"));
//! c.run().code(7);
//! ```
//!
//! The runtime is `$BRIG`; without it, brig is taken from (or built into) the target directory. Any
//! runtime with runc's command line can be tested: what only brig promises is skipped for others.
#![forbid(unsafe_code)]

pub mod binaries;
pub mod bundle;
pub mod command;
pub mod conformance;
pub mod console;
pub mod container;
pub mod engine;
pub mod imports;
pub mod lab;
pub mod leftovers;
pub mod machine;
pub mod need;
pub mod programs;
pub mod requirements;
pub mod tidy;
pub mod workloads;

pub use bundle::Bundle;
pub use command::Output;
pub use console::Console;
pub use container::Container;
pub use lab::{Lab, POLICY};
pub use need::Need;
pub use serde_json::{Value, from_slice, from_value, json};

use std::time::{Duration, Instant};

/// Waits until `done` holds, at most `limit`; says whether it did.
pub fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_micros(500);
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// How long anything that should happen at once may take: generous, for emulated machines.
pub const PATIENCE: Duration = Duration::from_secs(30);
