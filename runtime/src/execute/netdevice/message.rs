//! As much of rtnetlink(7) as moving an interface takes: links and addresses, nothing else.
//!
//! Answers come from the kernel, but lengths in them are still checked: a message that does not
//! hold together is an error, never a panic.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

/// `NLM_F_REQUEST | NLM_F_ACK`.
const CHANGE: u16 = 0x1 | 0x4;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x1 | 0x300;
/// `NLM_F_EXCL | NLM_F_CREATE`.
const NEW: u16 = 0x200 | 0x400;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER_BYTES: usize = 16;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
/// `struct ifinfomsg`, `struct ifaddrmsg`.
const LINK_BYTES: usize = 16;
const ADDRESS_BYTES: usize = 8;
/// `IFF_UP` of netdevice(7).
const IFF_UP: u32 = 1;
const IFA_F_PERMANENT: u32 = 0x80;
/// `IFA_F_NODAD`, `IFA_F_HOMEADDRESS`, `IFA_F_MANAGETEMPADDR`, `IFA_F_NOPREFIXROUTE`,
/// `IFA_F_MCAUTOJOIN`: what whoever set the address chose. The others are the kernel's own.
const CHOSEN_FLAGS: u32 = 0x02 | 0x10 | 0x100 | 0x200 | 0x400;
/// `RT_SCOPE_UNIVERSE`.
const GLOBAL: u8 = 0;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: i32,
    pub(super) name: String,
    pub(super) up: bool,
}

/// An address of an interface, as it is given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    family: u8,
    prefix_length: u8,
    flags: u32,
    /// `IFA_ADDRESS`, `IFA_LOCAL`, `IFA_BROADCAST`.
    attributes: Vec<(u16, Vec<u8>)>,
}

/// A request under construction.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: u16, body: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(body);
        Self(bytes)
    }

    fn link(kind: u16, flags: u16, index: i32, up: u32) -> Self {
        let mut body = [0; LINK_BYTES];
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        body[8..12].copy_from_slice(&up.to_ne_bytes());
        // The mask of flags to change.
        body[12..16].copy_from_slice(&up.to_ne_bytes());
        Self::new(kind, flags, &body)
    }

    fn attribute(mut self, kind: u16, data: &[u8]) -> Self {
        let length = u16::try_from(4 + data.len()).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }
}

/// A socket of `NETLINK_ROUTE`.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// In the network namespace of the calling thread.
    pub(super) fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        Ok(Self { fd, sequence: 0 })
    }

    pub(super) fn links(&mut self) -> io::Result<Vec<Link>> {
        let answers = self.ask(Message::link(RTM_GETLINK, DUMP, 0, 0))?;
        Ok(answers.iter().filter_map(|body| parse_link(body)).collect())
    }

    /// The interface of that name: `ENODEV` where there is none.
    pub(super) fn link(&mut self, name: &str) -> io::Result<Link> {
        let found = self.links()?.into_iter().find(|link| link.name == name);
        found.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
    }

    /// Its permanent addresses of global scope.
    pub(super) fn addresses(&mut self, index: i32) -> io::Result<Vec<Address>> {
        let answers = self.ask(Message::new(RTM_GETADDR, DUMP, &[0; ADDRESS_BYTES]))?;
        Ok(answers.iter().filter_map(|body| parse_address(body, index)).collect())
    }

    /// Moves an interface to the network namespace `namespace`, where it is called `name`.
    pub(super) fn move_link(&mut self, index: i32, namespace: RawFd, name: &str) -> io::Result<()> {
        let message = Message::link(RTM_NEWLINK, CHANGE, index, 0)
            .attribute(IFLA_NET_NS_FD, &namespace.to_ne_bytes())
            .attribute(IFLA_IFNAME, &[name.as_bytes(), b"\0"].concat());
        self.ask(message).map(drop)
    }

    pub(super) fn set_up(&mut self, index: i32) -> io::Result<()> {
        self.ask(Message::link(RTM_NEWLINK, CHANGE, index, IFF_UP)).map(drop)
    }

    pub(super) fn add_addresses(&mut self, index: i32, addresses: &[Address]) -> io::Result<()> {
        for address in addresses {
            let mut body = [address.family, address.prefix_length, 0, GLOBAL, 0, 0, 0, 0];
            body[4..].copy_from_slice(&index.to_ne_bytes());
            let mut message = Message::new(RTM_NEWADDR, CHANGE | NEW, &body);
            for (kind, data) in &address.attributes {
                message = message.attribute(*kind, data);
            }
            if address.flags != 0 {
                message = message.attribute(IFA_FLAGS, &address.flags.to_ne_bytes());
            }
            self.ask(message)?;
        }
        Ok(())
    }

    /// Sends a request; the bodies of what comes back, without their headers.
    fn ask(&mut self, message: Message) -> io::Result<Vec<Vec<u8>>> {
        self.sequence += 1;
        let sequence = self.sequence;
        let fd = self.fd.as_raw_fd();
        send(fd, &message.finish(sequence), MsgFlags::empty())?;
        // The kernel fills at most 32 KiB at once (netlink_dump in net/netlink/af_netlink.c).
        let mut buffer = vec![0; 64 << 10];
        let mut bodies = Vec::new();
        loop {
            let length = recv(fd, &mut buffer, MsgFlags::MSG_TRUNC)?;
            let mut rest = buffer.get(..length).ok_or_else(broken)?;
            while !rest.is_empty() {
                let (kind, answered, body, next) = split(rest).ok_or_else(broken)?;
                rest = next;
                match kind {
                    _ if answered != sequence => {}
                    NLMSG_DONE => return Ok(bodies),
                    NLMSG_ERROR => match word(body, 0).ok_or_else(broken)?.cast_signed() {
                        0 => return Ok(bodies),
                        errno => return Err(io::Error::from_raw_os_error(-errno)),
                    },
                    _ => bodies.push(body.to_vec()),
                }
            }
        }
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer does not hold together")
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// The first message: type, sequence number, body; and what follows it.
fn split(bytes: &[u8]) -> Option<(u16, u32, &[u8], &[u8])> {
    let length = usize::try_from(word(bytes, 0)?).ok()?;
    let body = bytes.get(HEADER_BYTES..length)?;
    let next = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((half(bytes, 4)?, word(bytes, 8)?, body, next))
}

/// Attributes up to the first that does not hold together.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(half(bytes, 0)?);
        let found = (half(bytes, 2)?, bytes.get(4..length)?);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(found)
    })
}

fn parse_link(body: &[u8]) -> Option<Link> {
    let index = word(body, 4)?.cast_signed();
    let up = word(body, 8)? & IFF_UP != 0;
    let (_, name) = attributes(body.get(LINK_BYTES..)?).find(|(kind, _)| *kind == IFLA_IFNAME)?;
    let name = String::from_utf8_lossy(name.strip_suffix(b"\0").unwrap_or(name)).into_owned();
    Some(Link { index, name, up })
}

fn parse_address(body: &[u8], index: i32) -> Option<Address> {
    let [family, prefix_length, short_flags, scope] = *body.first_chunk()?;
    if word(body, 4)?.cast_signed() != index || scope != GLOBAL {
        return None;
    }
    let mut flags = u32::from(short_flags);
    let mut kept = Vec::new();
    for (kind, data) in attributes(body.get(ADDRESS_BYTES..)?) {
        match kind {
            IFA_FLAGS => flags = word(data, 0)?,
            IFA_ADDRESS | IFA_LOCAL | IFA_BROADCAST => kept.push((kind, data.to_vec())),
            _ => {}
        }
    }
    let flags_kept = flags & CHOSEN_FLAGS;
    (flags & IFA_F_PERMANENT != 0).then_some(Address {
        family,
        prefix_length,
        flags: flags_kept,
        attributes: kept,
    })
}

#[cfg(test)]
mod tests {
    use super::{IFA_ADDRESS, IFA_FLAGS, Message, RTM_NEWADDR, parse_address, split};

    fn address(flags: u32, scope: u8, index: u8) -> Vec<u8> {
        let body = [2, 24, 0, scope, index, 0, 0, 0];
        let message = Message::new(RTM_NEWADDR, 0, &body)
            .attribute(IFA_ADDRESS, &[192, 0, 2, 1])
            .attribute(IFA_FLAGS, &flags.to_ne_bytes());
        let bytes = message.finish(7);
        let (kind, sequence, body, rest) = split(&bytes).expect("it holds together");
        assert_eq!((kind, sequence, rest.len()), (RTM_NEWADDR, 7, 0));
        body.to_vec()
    }

    #[test]
    fn only_permanent_global_addresses_of_the_interface_are_kept() {
        let kept = parse_address(&address(0x280, 0, 3), 3).expect("permanent and global");
        assert_eq!((kept.prefix_length, kept.flags), (24, 0x200), "the kernel's flag is dropped");
        assert_eq!(parse_address(&address(0, 0, 3), 3), None, "from DHCP or an advertisement");
        assert_eq!(parse_address(&address(0x80, 253, 3), 3), None, "link-local");
        assert_eq!(parse_address(&address(0x80, 0, 4), 3), None, "another interface's");
    }

    #[test]
    fn a_message_longer_than_what_came_is_no_message() {
        let mut bytes = Message::new(RTM_NEWADDR, 0, &[0; 8]).finish(1);
        bytes[0] = 200;
        assert_eq!(split(&bytes), None);
        assert_eq!(split(&[1, 0, 0]), None);
    }
}
