//! `brig run`.

use super::arguments::Arguments;
use super::create::{self, ParsedFlags};
use super::flags::{Flag, Flags, ignored, switch};
use super::foreground::{Notifier, Signals, Stop, Wanted, in_foreground, remove_after};
use super::global::Global;
use super::self_protection;
use super::verb::{Does, Outcome, Verb};

pub(super) const VERB: Verb = Verb {
    name: "run",
    summary: "create, start, wait for and delete a container",
    help: "\
usage: brig run [OPTION...] CONTAINER-ID

Makes the container of a bundle and runs its program. Without --detach, passes signals and
terminal data on, waits for the end, removes the container, and exits with its exit code. The
container never gets brig's own terminal: without process.terminal pipes replace it, with --detach
/dev/null.

With NOTIFY_SOCKET, as for a service of Type=notify, the program has such a socket too, and the service
manager hears from brig that it is ready, and its status; with --detach brig waits for that, or for the
program's end.
",
    flags: &FLAGS,
    does: Does::Run(run),
};

const FLAGS: Flags<ParsedFlags> =
    Flags(&[("options of `brig create`", create::OPTIONS), ("options of its own", OPTIONS)]);

const OPTIONS: &[Flag<ParsedFlags>] = &[
    switch("-d, --detach  do not wait; `brig delete` removes the container", |it| &mut it.detach),
    switch("--keep  do not remove the container at its end", |it| &mut it.keep),
    ignored("--no-subreaper  accepted for compatibility; brig does not become a subreaper"),
];

fn run(global: &Global, mut arguments: Arguments) -> Outcome {
    let mut parsed = ParsedFlags::default();
    FLAGS.read(&mut arguments, &mut parsed)?;
    let (id, mut options) = parsed.options(global, arguments)?;
    let node = global.node()?;
    self_protection::ensure()?;
    let blueprint = parsed.blueprint(global, &node, &id)?;
    let wanted = Wanted::first(&blueprint.config, parsed.console_socket.as_deref());
    let told = parsed.told()?;
    let notifier = Notifier::of_environment()?;
    let wanted = wanted.heard_by(notifier.as_ref());
    options.notify = notifier.as_ref().map(|notifier| notifier.socket().clone());
    // Blocked from here on, to be heard.
    let signals = if parsed.detach { None } else { Some(Signals::block()?) };
    let mut container = None;
    let ended = in_foreground(signals.as_ref(), wanted, Stop::PassOn, |io, wait| {
        let (new, process) = node.run(&id, blueprint, &options, io, wait)?;
        container = Some(new);
        told.tell(process)
    });
    if let (Ok(_), true, Some(notifier), Some(container)) =
        (&ended, parsed.detach, &notifier, &container)
    {
        notifier.until_ready(container)?;
    }
    let ended = match ended.is_ok() && (parsed.detach || parsed.keep) {
        true => ended,
        false => remove_after(ended, container, signals.as_ref()),
    };
    Ok(ended?.code)
}
