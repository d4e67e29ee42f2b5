//! `brig run`.

use brig::execute::self_protection;
use brig::supervise::{self, Foreground};

use super::{Arguments, Global, Outcome, Verb, container};

pub(super) const VERB: Verb = Verb {
    name: "run",
    summary: "create, start, wait for and delete a container",
    help: "\
usage: brig run [OPTION...] CONTAINER-ID

Makes the container of a bundle and runs its program. Without --detach, passes signals and
terminal data on, waits for the end, removes the container, and exits with its exit code. The
container never gets brig's own terminal: without process.terminal it gets pipes in its place,
with --detach /dev/null.

options: those of `brig create`, and
  -d, --detach            do not wait; `brig delete` removes the container
      --keep              do not remove the container at its end
      --no-subreaper      accepted for compatibility; brig is none
",
    run,
};

fn run(global: &Global, mut arguments: Arguments) -> Outcome {
    let (mut detach, mut keep) = (false, false);
    let (id, options) = container::options(global, &mut arguments, |flag, arguments| {
        match flag {
            "-d" | "--detach" => detach = arguments.switch()?,
            "--keep" => keep = arguments.switch()?,
            "--no-subreaper" => drop(arguments.switch()?),
            _ => return Err(arguments.unknown()),
        }
        Ok(())
    })?;
    arguments.end()?;
    self_protection::ensure()?;
    let foreground = match (detach, keep) {
        (true, _) => Foreground::Detach,
        (false, true) => Foreground::WaitAndKeep,
        (false, false) => Foreground::Wait,
    };
    Ok(supervise::run(&id, &options, foreground)?)
}
