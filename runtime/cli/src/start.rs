//! `brig start`.

use std::os::fd::AsFd;

use brig::deadline::Deadline;
use brig::execute::Wait;
use brig::spec::Hooks;

use super::arguments::Arguments;
use super::flags::NONE;
use super::foreground::{Notifier, hearing};
use super::global::Global;
use super::verb::{Does, Outcome, Verb};

pub(super) const VERB: Verb = Verb {
    name: "start",
    summary: "run the program of a created container",
    help: "\
usage: brig start CONTAINER-ID

Starts the program of a container that `brig create` made. With NOTIFY_SOCKET for both, waits until the
program says that it is ready, or ends, and tells the service manager, with its pid.
",
    flags: &NONE,
    does: Does::Run(run),
};

fn run(global: &Global, arguments: Arguments) -> Outcome {
    let container = global.only(arguments)?;
    let notifier = Notifier::of_environment()?;
    let start = |wait: &mut dyn Wait| match &notifier {
        Some(notifier) => container.start_heard(notifier.socket().as_fd(), wait).map(Some),
        None => container.start(wait).map(|()| None),
    };
    // A hook would outlive a brig that a signal ends.
    let hooks = container.spec().map(|spec| &spec.hooks);
    let any = |hooks: &Hooks| !hooks.start_container.is_empty() || !hooks.poststart.is_empty();
    let heard = match hooks.is_ok_and(any) {
        true => hearing(start)?,
        false => {
            let mut patient = Deadline::NEVER;
            start(&mut patient)?
        }
    };
    match (heard, &notifier) {
        (Some(true), Some(notifier)) => notifier.until_ready(&container)?,
        (Some(false), _) => global.log.warn(
            "the service manager of NOTIFY_SOCKET hears nothing of the container: it was created without that",
        ),
        _ => {}
    }
    Ok(0)
}
