//! Socket activation: the program is told of sockets that a service manager has opened for it.
//!
//! Promises: what config.json says of other sockets is replaced. Reference: sd_listen_fds(3).

use crate::policy::Hardened;

const COUNT: &str = "LISTEN_FDS";
const PID: &str = "LISTEN_PID";
const NAMES: &str = "LISTEN_FDNAMES";

/// The sockets, which are the descriptors from 3 on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivationSockets {
    /// How many.
    pub count: u32,
    /// What the service manager calls them, with colons between.
    pub names: Option<String>,
}

impl ActivationSockets {
    /// Tells the program of them in its environment: it has another pid.
    pub(super) fn set_environment(&self, spec: &mut Hardened) {
        let (count, names) = (self.count.to_string(), self.names.as_deref());
        spec.replace_variables(&[(COUNT, Some(&count)), (PID, Some("1")), (NAMES, names)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_program_is_told_replaces_what_config_json_says() {
        let text = r#"{"ociVersion": "1.0.2", "root": {"path": "rootfs"}, "process": {"cwd": "/", "args": ["x"],
            "env": ["A=1", "LISTEN_FDS=9", "LISTEN_FDNAMES=x", "LISTEN_PIDS=2"]}}"#;
        let asked = crate::spec::Asked::read(text.as_bytes()).expect("a specification");
        let mut spec = crate::policy::kept(asked);
        ActivationSockets { count: 1, names: Some("web".to_owned()) }.set_environment(&mut spec);
        let told = ["A=1", "LISTEN_PIDS=2", "LISTEN_FDS=1", "LISTEN_PID=1", "LISTEN_FDNAMES=web"];
        assert_eq!(spec.process.env, told);
    }
}
