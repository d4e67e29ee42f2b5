//! `libcontainer-run --root DIR run --bundle DIR ID`: what runc's command of that form does, by the
//! crate libcontainer. The second reference of `integration/tests/differential.rs`.
//!
//! Promises to add nothing to what libcontainer does with the bundle, to end with the program's exit
//! code, and to have the container deleted by then, however it ended. Must never be an engine of
//! anything but that comparison.
#![forbid(unsafe_code)]

use anyhow::{Context as _, Result, bail};
use libcontainer::container::Container;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use nix::sys::wait::{WaitStatus, waitpid};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["--root", root, "run", "--bundle", bundle, id] => run(root, bundle, id),
        _ => {
            eprintln!("usage: libcontainer-run --root DIR run --bundle DIR ID");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the container in `bundle` to its end; its exit code, or 128 + the signal's number.
fn run(root: &str, bundle: &str, id: &str) -> Result<u8> {
    let built = ContainerBuilder::new(id.to_owned(), SyscallType::default())
        .with_root_path(root)
        .and_then(ContainerBuilder::validate_id)
        .and_then(|b| b.as_init(bundle).with_systemd(false).with_detach(false).build());
    let mut container = match built {
        Ok(container) => container,
        Err(error) => {
            // A build that fails leaves its state directory.
            let state = Path::new(root).join(id);
            if let Ok(mut container) = Container::load(state.clone()) {
                let _ = container.delete(true);
            }
            let _ = std::fs::remove_dir_all(state);
            return Err(error).context("libcontainer: create");
        }
    };
    let outcome = container.start().context("libcontainer: start").and_then(|()| wait(&container));
    container.delete(true).context("libcontainer: delete")?;
    outcome
}

fn wait(container: &Container) -> Result<u8> {
    let pid = container.pid().context("libcontainer: the container has no process")?;
    match waitpid(pid, None).context("wait for the container's process")? {
        WaitStatus::Exited(_, code) => Ok(u8::try_from(code).unwrap_or(u8::MAX)),
        WaitStatus::Signaled(_, signal, _) => Ok(128 + u8::try_from(signal as i32).unwrap_or(0)),
        other => bail!("the container's process neither ended nor was killed: {other:?}"),
    }
}
