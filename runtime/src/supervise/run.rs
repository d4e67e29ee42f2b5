//! `run`: make and start in one.

use super::blueprint::Blueprint;
use super::container::Container;
use super::create::{Options, make};
use super::node::Node;
use super::observer::Event;
use super::process::Process;
use super::{Error, Io};
use crate::execute::Wait;
use crate::plan::Start;
use crate::spec::ContainerId;

impl Node {
    /// Makes a container whose program runs at once. Who waits for its end removes it then ([`Container::remove`]).
    ///
    /// # Errors
    /// As [`Node::create`] and [`Container::start`]; then nothing is left, nor of one whose poststart hooks fail.
    pub fn run(
        &self,
        id: &ContainerId,
        blueprint: Blueprint,
        options: &Options,
        io: Io,
        wait: &mut dyn Wait,
    ) -> Result<(Container, Process), Error> {
        let created = make(self, id, blueprint, options, Start::AtOnce, io, wait)?;
        let (container, known, process, lock) = Container::of(self.observer(), id, created);
        known.emit(&Event::Started);
        match known.poststart(&lock, wait.stop()) {
            Ok(()) => Ok((container, process)),
            Err(error) => Err(known.give_up(&lock, wait.stop(), error)),
        }
    }
}
