//! `linux.netDevices`: moves interfaces of the host into the container's network namespace.
//!
//! Promises: an interface that has moved is up and has the permanent global addresses it had; what
//! fails half-way is moved back. Must never touch an interface that the specification does not
//! name, nor one inside the namespace once the container has started (config-linux.md, "Namespace
//! Lifecycle and Container Termination": from then on its fate is the kernel's).
//!
//! Reference: rtnetlink(7), netlink(7); numbers from linux/rtnetlink.h, linux/if_link.h and
//! linux/if_addr.h.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::Error;
use super::rtnetlink::{Address, Link, Socket};
use crate::spec::NetDevice;

/// Interfaces that have left the host, and how to bring them back.
#[derive(Debug)]
pub struct NetDevices {
    host: Side,
    inside: Side,
    moved: Vec<Moved>,
}

/// A network namespace, and a socket in it.
#[derive(Debug)]
struct Side {
    namespace: OwnedFd,
    socket: Socket,
}

#[derive(Debug)]
struct Moved {
    host_name: String,
    was_up: bool,
    addresses: Vec<Address>,
    /// Its number inside.
    index: i32,
}

impl NetDevices {
    /// Moves `devices` from brig's own network namespace into `namespace`.
    ///
    /// # Errors
    /// Names the interface; those that had moved are back then. `ENODEV`: there is none of that
    /// name. `EEXIST`: the namespace has one of that name. `EINVAL`: it cannot leave (`lo`).
    pub fn move_into(
        devices: &BTreeMap<String, NetDevice>,
        namespace: OwnedFd,
    ) -> Result<Self, Error> {
        let mut all = Self {
            host: Side::of(network_namespace_of("thread-self")?)?,
            inside: Side::of(namespace)?,
            moved: Vec::new(),
        };
        // The same order each time, so that `%d` gives the same numbers.
        for (host_name, device) in devices {
            let name = device.name.as_deref();
            if let Err(error) = all.move_one(host_name, name.unwrap_or(host_name)) {
                return Err(match all.undo() {
                    Ok(()) => error,
                    Err(left) => {
                        Error::because(format!("cannot undo ({left}) after a failure"), error)
                    }
                });
            }
        }
        Ok(all)
    }

    fn move_one(&mut self, host_name: &str, name: &str) -> Result<(), Error> {
        let failed = |what: &str, error: io::Error| {
            let hint = hint(&error);
            Error::system(format!("linux.netDevices[{host_name:?}]: {what}"), error).with_hint(hint)
        };
        let host = &mut self.host.socket;
        let link = host.link(host_name).map_err(|error| failed("interface lookup", error))?;
        let addresses =
            host.addresses(link.index).map_err(|error| failed("reading its addresses", error))?;
        let before = self.inside.socket.links().map_err(|error| failed("listing links", error))?;
        let target = self.inside.namespace.as_raw_fd();
        self.host
            .socket
            .move_link(link.index, target, name)
            .map_err(|error| failed(&format!("moving it as {name:?}"), error))?;
        let after = self.inside.socket.links().map_err(|error| failed("listing links", error))?;
        let index = arrived(&before, &after, name).ok_or_else(|| {
            failed("interface lookup after the move", io::ErrorKind::NotFound.into())
        })?;
        let was_up = link.up;
        let moved = Moved { host_name: host_name.to_owned(), was_up, addresses, index };
        let inside = &mut self.inside.socket;
        let ready =
            inside.add_addresses(index, &moved.addresses).and_then(|()| inside.set_up(index));
        self.moved.push(moved);
        ready.map_err(|error| failed("giving it its addresses and bringing it up", error))
    }

    /// Brings everything back to the host under its old name, with its addresses.
    ///
    /// # Errors
    /// The first that could not be brought back; the others are still tried.
    pub fn undo(mut self) -> Result<(), Error> {
        let mut first = None;
        for moved in std::mem::take(&mut self.moved).into_iter().rev() {
            if let Err(error) = self.bring_back(&moved) {
                let what = format!("linux.netDevices[{:?}]: bringing it back", moved.host_name);
                let hint = "see `ip link` in the container's network namespace";
                first.get_or_insert(Error::system(what, error).with_hint(hint));
            }
        }
        first.map_or(Ok(()), Err)
    }

    fn bring_back(&mut self, moved: &Moved) -> io::Result<()> {
        let home = self.host.namespace.as_raw_fd();
        self.inside.socket.move_link(moved.index, home, &moved.host_name)?;
        let host = &mut self.host.socket;
        let index = host.link(&moved.host_name)?.index;
        host.add_addresses(index, &moved.addresses)?;
        if moved.was_up { host.set_up(index) } else { Ok(()) }
    }
}

/// The link that was not there before; by its name where that is certain.
fn arrived(before: &[Link], after: &[Link], name: &str) -> Option<i32> {
    let by_name = after.iter().find(|link| link.name == name);
    let new = || after.iter().find(|link| before.iter().all(|old| old.index != link.index));
    by_name.or_else(new).map(|link| link.index)
}

/// The network namespace of a process that cannot be another by now: brig's own thread, or its child.
///
/// # Errors
/// What the kernel says.
pub fn network_namespace_of(process: &str) -> Result<OwnedFd, Error> {
    let path = format!("/proc/{process}/ns/net");
    let failed = |error| Error::system(format!("network namespace: opening {path}"), error);
    File::open(&path).map(OwnedFd::from).map_err(failed)
}

impl Side {
    fn of(namespace: OwnedFd) -> Result<Self, Error> {
        let socket = Socket::open_in(&namespace).map_err(|error| {
            Error::system("linux.netDevices: entering a network namespace", error)
                .with_hint("moving interfaces needs CAP_SYS_ADMIN")
        })?;
        Ok(Self { namespace, socket })
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENODEV) => "the host has no such interface; see `ip link`",
        Some(libc::EEXIST) => {
            "the namespace has an interface of that name; give another in linux.netDevices[].name"
        }
        Some(libc::EINVAL) => "this interface cannot leave its namespace",
        Some(libc::EPERM) => "moving interfaces needs CAP_NET_ADMIN in both namespaces",
        _ => "see rtnetlink(7)",
    }
}

#[cfg(test)]
mod tests {
    use super::{Link, arrived};

    fn link(index: i32, name: &str) -> Link {
        Link { index, name: name.to_owned(), ..Link::default() }
    }

    #[test]
    fn an_interface_is_found_by_its_name_or_because_it_is_new() {
        let before = [link(1, "lo"), link(2, "eth0")];
        let after = [link(1, "lo"), link(2, "eth0"), link(7, "eth1")];
        assert_eq!(arrived(&before, &after, "eth1"), Some(7));
        assert_eq!(arrived(&before, &after, "eth%d"), Some(7), "the kernel chose the name");
        assert_eq!(arrived(&before, &before, "eth%d"), None);
    }
}
