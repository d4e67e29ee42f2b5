//! How much a container's interfaces may send and receive: token buckets (tc-tbf(8)), where nobody inside can lift them.
//!
//! What the container sends is limited at its interface; without CAP_NET_ADMIN nobody inside can change that. What it
//! receives is limited at the other end of a pair of virtual interfaces, which is the host's. Promises: what is limited to
//! less already stays so. Must never touch an interface of the host that is not the other end of one of the container's.
//!
//! Interfaces that come later have no limit: engines connect a container before they start it, by CNI or hooks.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::Error;
use super::rtnetlink::{Link, Socket};
use crate::policy::Bandwidth;

/// Limits all interfaces of the network namespace `inside` but the loopback one.
///
/// # Errors
/// Names the interface. One whose other end is not in the network namespace of the calling thread cannot be limited in what
/// it receives; nor can the host's own interfaces.
pub fn limit_bandwidth(inside: &OwnedFd, limits: Bandwidth) -> Result<(), Error> {
    let failed = |what: &str, error: io::Error| Error::system(format!("bandwidth: {what}"), error);
    let mut host = Socket::open().map_err(|error| failed("netlink socket", error))?;
    let mut pods = Socket::open_in(inside)
        .map_err(|error| failed("entering the container's network namespace", error))?;
    let links = pods.links().map_err(|error| failed("listing interfaces", error))?;
    let outer = host.links().map_err(|error| failed("listing the host's interfaces", error))?;
    // Since it has listed them, the host knows every namespace that one of them leads to by a number.
    let number = host
        .number_of(inside.as_raw_fd())
        .map_err(|error| failed("the container's network namespace", error))?;
    for link in links.iter().filter(|link| !link.is_loopback) {
        let of = |what: &str| format!("limiting what interface {:?} {what}", link.name);
        if let Some(rate) = limits.egress {
            limit(&mut pods, link.index, rate).map_err(|error| failed(&of("sends"), error))?;
        }
        if let Some(rate) = limits.ingress {
            let other = other_end(link, &outer, number).ok_or_else(|| cannot_be_limited(link))?;
            limit(&mut host, other, rate).map_err(|error| failed(&of("receives"), error))?;
        }
    }
    Ok(())
}

fn limit(socket: &mut Socket, index: i32, rate: u64) -> io::Result<()> {
    match socket.rate(index)? {
        Some(less) if less <= rate => Ok(()),
        _ => socket.limit_rate(index, rate),
    }
}

/// The interface of the host at the other end: each says of the other that it is.
fn other_end(link: &Link, outer: &[Link], inside: Option<i32>) -> Option<i32> {
    let at = link.peer.filter(|_| link.is_veth)?;
    let is_it = |other: &&Link| {
        other.index == at
            && other.is_veth
            && other.peer == Some(link.index)
            && inside.is_some()
            && other.peer_namespace == inside
    };
    outer.iter().find(is_it).map(|other| other.index)
}

fn cannot_be_limited(link: &Link) -> Error {
    Error::plain(format!(
        "bandwidth: what interface {:?} receives cannot be limited: its other end is not the host's",
        link.name
    ))
    .with_hint(
        "only a pair of virtual interfaces (veth) can be; set ingress_mbit to \"unlimited\" in the node's policy for others",
    )
}

#[cfg(test)]
mod tests {
    use super::{Link, other_end};

    #[test]
    fn the_other_end_is_what_says_so_itself() {
        let of = |index, peer, peer_namespace| Link {
            index,
            is_veth: true,
            peer: Some(peer),
            peer_namespace,
            ..Link::default()
        };
        let (inside, host) = (of(2, 7, Some(0)), of(7, 2, Some(4)));
        assert_eq!(other_end(&inside, std::slice::from_ref(&host), Some(4)), Some(7));
        assert_eq!(
            other_end(&inside, std::slice::from_ref(&host), Some(5)),
            None,
            "another container's"
        );
        assert_eq!(
            other_end(&inside, std::slice::from_ref(&host), None),
            None,
            "not known to the host"
        );
        assert_eq!(other_end(&inside, &[of(7, 3, Some(4))], Some(4)), None, "of another interface");
        let bridge = Link { is_veth: false, ..host };
        assert_eq!(other_end(&inside, &[bridge], Some(4)), None);
        let macvlan = Link { is_veth: false, ..inside };
        assert_eq!(other_end(&macvlan, &[of(7, 2, Some(4))], Some(4)), None);
    }
}
