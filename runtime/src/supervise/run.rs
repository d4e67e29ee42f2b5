//! `run`: make and start in one.

use super::blueprint::Blueprint;
use super::container::Container;
use super::create::{Options, make};
use super::node::{Event, Node};
use super::{Error, Io};
use crate::execute::{Process, Wait};
use crate::plan::Start;
use crate::spec::ContainerId;

/// See [`Node::run`].
pub(super) fn run(
    node: &Node,
    id: &ContainerId,
    blueprint: Blueprint,
    options: &Options,
    io: Io,
    wait: &mut dyn Wait,
) -> Result<(Container, Process), Error> {
    let created = make(node, id, blueprint, options, Start::AtOnce, io, wait)?;
    let (container, known, process, lock) = Container::of(node, id, created);
    node.tell(id, &Event::Started);
    match known.poststart(&lock, wait.stop()) {
        Ok(()) => Ok((container, process)),
        Err(error) => {
            // What cannot be removed keeps its record.
            let _ = known.remove_under(&lock, wait.stop());
            Err(error)
        }
    }
}
