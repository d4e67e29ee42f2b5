//! As much of rtnetlink(7) as moving an interface and limiting it takes: links, addresses and token buckets, nothing else.
//!
//! Answers come from the kernel, but lengths in them are still checked: a message that does not
//! hold together is an error, never a panic.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::thread;

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

/// `NLM_F_REQUEST`.
const REQUEST: u16 = 0x1;
/// `NLM_F_REQUEST | NLM_F_ACK`.
const CHANGE: u16 = 0x1 | 0x4;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x1 | 0x300;
/// `NLM_F_EXCL | NLM_F_CREATE`.
const NEW: u16 = 0x200 | 0x400;
/// `NLM_F_REPLACE | NLM_F_CREATE`.
const REPLACE: u16 = 0x100 | 0x400;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER_BYTES: usize = 16;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWQDISC: u16 = 36;
const RTM_GETQDISC: u16 = 38;
const RTM_GETNSID: u16 = 90;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINK: u16 = 5;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_INFO_KIND: u16 = 1;
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
const TC_H_ROOT: u32 = u32::MAX;
/// `TC_LINKLAYER_ETHERNET`: the kernel computes by itself how long a packet takes, without a table of the caller's.
const LINKLAYER_ETHERNET: u8 = 1;
/// `struct tc_tbf_qopt`: two `struct tc_ratespec` of 12 bytes, the rate at 8; the length of the queue; two more.
const TBF_BYTES: usize = 36;
/// `struct tcmsg`.
const TC_BYTES: usize = 20;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
/// `struct ifinfomsg`, `struct ifaddrmsg`.
const LINK_BYTES: usize = 16;
const ADDRESS_BYTES: usize = 8;
/// `IFF_UP` of netdevice(7).
const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 8;
const IFA_F_PERMANENT: u32 = 0x80;
/// `IFA_F_NODAD`, `IFA_F_HOMEADDRESS`, `IFA_F_MANAGETEMPADDR`, `IFA_F_NOPREFIXROUTE`,
/// `IFA_F_MCAUTOJOIN`: what whoever set the address chose. The others are the kernel's own.
const CHOSEN_FLAGS: u32 = 0x02 | 0x10 | 0x100 | 0x200 | 0x400;
/// `RT_SCOPE_UNIVERSE`.
const GLOBAL: u8 = 0;

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: i32,
    pub(super) name: String,
    pub(super) up: bool,
    pub(super) is_loopback: bool,
    /// Whether it is one end of a pair, veth(4).
    pub(super) is_veth: bool,
    /// The number of the link at its other end or below it, in that one's namespace.
    pub(super) peer: Option<i32>,
    /// By which number its own namespace knows the other one's, where that is another.
    pub(super) peer_namespace: Option<i32>,
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
    /// In the network namespace `namespace`.
    ///
    /// A socket stays where it was made, whichever thread uses it later: a thread of its own makes it.
    pub(super) fn open_in(namespace: &OwnedFd) -> io::Result<Self> {
        thread::scope(|scope| {
            let made = thread::Builder::new().spawn_scoped(scope, || {
                setns(namespace, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)?;
                Self::open()
            })?;
            made.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
        })
    }

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

    /// By which number this namespace knows another; `None` where it knows it by none.
    pub(super) fn number_of(&mut self, namespace: RawFd) -> io::Result<Option<i32>> {
        let message = Message::new(RTM_GETNSID, REQUEST, &[0; 4])
            .attribute(NETNSA_FD, &namespace.to_ne_bytes());
        let answers = self.ask_one(message)?;
        let number = attributes(answers.get(4..).ok_or_else(broken)?)
            .find(|(kind, _)| *kind == NETNSA_NSID)
            .and_then(|(_, data)| word(data, 0));
        Ok(number.map(u32::cast_signed).filter(|number| *number >= 0))
    }

    /// What an interface sends at most, in bytes a second, where a token bucket says so (tc-tbf(8)).
    pub(super) fn rate(&mut self, index: i32) -> io::Result<Option<u64>> {
        let answers = self.ask(Message::new(RTM_GETQDISC, DUMP, &tcmsg(index, 0)))?;
        Ok(answers.iter().find_map(|body| parse_rate(body, index)))
    }

    /// Has an interface send at most `rate` bytes a second, in the place of what ordered its packets before.
    pub(super) fn limit_rate(&mut self, index: i32, rate: u64) -> io::Result<()> {
        let burst = burst(rate);
        // What waits for longer than a tenth of a second is dropped.
        let queue = burst.saturating_add(u32::try_from(rate / 10).unwrap_or(u32::MAX));
        let mut parameters = [0; TBF_BYTES];
        parameters[1] = LINKLAYER_ETHERNET;
        // The old field holds 32 bits; where that is not enough the attribute of 64 counts.
        let short = u32::try_from(rate).unwrap_or(u32::MAX);
        parameters[8..12].copy_from_slice(&short.to_ne_bytes());
        parameters[24..28].copy_from_slice(&queue.to_ne_bytes());
        let mut options = Message(Vec::new())
            .attribute(TCA_TBF_PARMS, &parameters)
            .attribute(TCA_TBF_BURST, &burst.to_ne_bytes());
        if u64::from(short) < rate {
            options = options.attribute(TCA_TBF_RATE64, &rate.to_ne_bytes());
        }
        let body = tcmsg(index, TC_H_ROOT);
        let message = Message::new(RTM_NEWQDISC, CHANGE | REPLACE, &body)
            .attribute(TCA_KIND, b"tbf\0")
            .attribute(TCA_OPTIONS, &options.0);
        self.ask(message).map(drop)
    }

    /// Sends a request that has one answer, without an acknowledgement after it.
    fn ask_one(&mut self, message: Message) -> io::Result<Vec<u8>> {
        self.sequence += 1;
        let fd = self.fd.as_raw_fd();
        send(fd, &message.finish(self.sequence), MsgFlags::empty())?;
        let mut buffer = vec![0; 4 << 10];
        loop {
            let length = recv(fd, &mut buffer, MsgFlags::MSG_TRUNC)?;
            let whole = buffer.get(..length).ok_or_else(broken)?;
            let (kind, answered, body, _) = split(whole).ok_or_else(broken)?;
            if answered != self.sequence {
                continue;
            }
            return match kind {
                NLMSG_ERROR => {
                    let errno = word(body, 0).ok_or_else(broken)?.cast_signed();
                    Err(io::Error::from_raw_os_error(-errno))
                }
                _ => Ok(body.to_vec()),
            };
        }
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
    let flags = word(body, 8)?;
    let of = |wanted: u16| {
        let found = attributes(body.get(LINK_BYTES..)?).find(|(kind, _)| *kind == wanted);
        found.map(|(_, data)| data)
    };
    let number = |wanted| of(wanted).and_then(|data| word(data, 0)).map(u32::cast_signed);
    let name = of(IFLA_IFNAME)?;
    let kind = of(IFLA_LINKINFO)
        .and_then(|info| attributes(info).find(|(kind, _)| *kind == IFLA_INFO_KIND))
        .map(|(_, kind)| without_end(kind));
    Some(Link {
        index,
        name: String::from_utf8_lossy(without_end(name)).into_owned(),
        up: flags & IFF_UP != 0,
        is_loopback: flags & IFF_LOOPBACK != 0,
        is_veth: kind == Some(b"veth"),
        peer: number(IFLA_LINK).filter(|peer| *peer > 0),
        peer_namespace: number(IFLA_LINK_NETNSID),
    })
}

fn without_end(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\0").unwrap_or(text)
}

fn tcmsg(index: i32, parent: u32) -> [u8; TC_BYTES] {
    let mut body = [0; TC_BYTES];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body[12..16].copy_from_slice(&parent.to_ne_bytes());
    body
}

/// How much may be sent at once: a hundredth of a second, which is a tick of the slowest kernels, or a packet as
/// large as segmentation by the device makes them.
fn burst(rate: u64) -> u32 {
    u32::try_from(rate / 100).unwrap_or(u32::MAX).clamp(64 << 10, 64 << 20)
}

/// The rate of a token bucket at the root of an interface.
fn parse_rate(body: &[u8], index: i32) -> Option<u64> {
    if word(body, 4)?.cast_signed() != index || word(body, 12)? != TC_H_ROOT {
        return None;
    }
    let of = |bytes, wanted: u16| {
        attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, data)| data)
    };
    let all = body.get(TC_BYTES..)?;
    if without_end(of(all, TCA_KIND)?) != b"tbf" {
        return None;
    }
    let options = of(all, TCA_OPTIONS)?;
    let long = of(options, TCA_TBF_RATE64).and_then(|data| data.first_chunk());
    let short = || word(of(options, TCA_TBF_PARMS)?, 8).map(u64::from);
    long.map(|bytes| u64::from_ne_bytes(*bytes)).or_else(short)
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
