//! Holes of the kernel that begin with a call which a filter can refuse, and whether a profile refuses it.
//!
//! Data, and a judgement that the compiler's own verdicts make: nothing here says that a profile closes a hole. What is
//! judged is the way in, not the hole: a closed one cannot be reached by the programs that the profile confines, on a
//! kernel that has it. Must never be read as a list of all holes, or of all ways into one.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompOperator as Op};

use crate::arch::Arch;
use crate::compare::{Freedom, outcomes};
use crate::error::CompileError;
use crate::terms::Condition;
use crate::verdict::Verdicts;

/// A hole, or several with one way in.
#[derive(Clone, Copy, Debug)]
pub struct Mitigation {
    /// What it is called: that of the hole where it has one, else that of the way in.
    pub name: &'static str,
    /// Which they are.
    pub cves: &'static [&'static str],
    /// What is needed to get there, one after the other; each is one of several calls.
    pub steps: &'static [&'static [Entry]],
    /// What is behind it, in one line.
    pub why: &'static str,
}

/// A call with the arguments that lead there.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// In words: `socket AF_ALG`.
    pub words: &'static str,
    /// The call.
    pub call: &'static str,
    /// Argument, the bits that count, what they are.
    pub arguments: &'static [(u32, u64, u64)],
    /// The one architecture whose entry has the hole; none where all have.
    pub only: Option<Arch>,
}

/// What a profile makes of a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Some step is refused by every call and on every architecture.
    Closed,
    /// It is open for calls of another architecture than the kernel's own.
    Foreign,
    /// The kernel's own calls lead there.
    Open,
}

impl State {
    /// In a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Foreign => "open by 32-bit calls",
            Self::Open => "open",
        }
    }
}

const fn entry(
    words: &'static str,
    call: &'static str,
    arguments: &'static [(u32, u64, u64)],
) -> Entry {
    Entry { words, call, arguments, only: None }
}

/// The bits of an argument that the kernel reads as an int.
const INT: u64 = 0xffff_ffff;
/// `FUTEX_CMD_MASK`, linux/futex.h.
const FUTEX_COMMAND: u64 = INT & !0x180;
/// What tells types of sockets apart (`SOCK_TYPE_MASK`, linux/net.h), and no flag.
const TYPE: u64 = 0xf;

const NEW_USER_NAMESPACE: &[Entry] = &[
    entry("unshare CLONE_NEWUSER", "unshare", &[(0, 0x1000_0000, 0x1000_0000)]),
    entry("clone CLONE_NEWUSER", "clone", &[(0, 0x1000_0000, 0x1000_0000)]),
    entry("clone3", "clone3", &[]),
];
const MOUNT: &[Entry] = &[entry("mount", "mount", &[]), entry("fsopen", "fsopen", &[])];
const BPF: &[Entry] = &[entry("bpf", "bpf", &[])];
const IO_URING: &[Entry] = &[entry("io_uring_setup", "io_uring_setup", &[])];
const PACKET: &[Entry] = &[entry("socket AF_PACKET", "socket", &[(0, INT, 17)])];
const XFRM: &[Entry] = &[entry("socket NETLINK_XFRM", "socket", &[(0, INT, 16), (2, INT, 6)])];
const NETFILTER: &[Entry] =
    &[entry("socket NETLINK_NETFILTER", "socket", &[(0, INT, 16), (2, INT, 12)])];
const PTRACE: &[Entry] = &[entry("ptrace", "ptrace", &[])];

/// The holes, by way in. Each CVE is named for what its public description says of how it is reached.
pub const MITIGATIONS: &[Mitigation] = &[
    Mitigation {
        name: "ghostlock",
        cves: &["CVE-2026-43499", "CVE-2014-3153"],
        steps: &[&[
            entry("futex FUTEX_CMP_REQUEUE_PI", "futex", &[(1, FUTEX_COMMAND, 12)]),
            entry("futex_requeue", "futex_requeue", &[]),
        ]],
        why: "waiters of one futex are moved to a lock with priority inheritance, and back when that fails",
    },
    Mitigation {
        name: "copy-fail",
        cves: &["CVE-2026-31431"],
        steps: &[&[entry("socket AF_ALG", "socket", &[(0, INT, 38)])]],
        why: "the kernel's ciphers write into pages of files that containers share",
    },
    Mitigation {
        name: "rxrpc",
        cves: &["CVE-2026-43500", "CVE-2026-31635"],
        steps: &[&[entry("socket AF_RXRPC", "socket", &[(0, INT, 33)])]],
        why: "decryption in place, in pages that are a file's (Dirty Frag)",
    },
    Mitigation {
        name: "xfrm",
        cves: &["CVE-2026-43284", "CVE-2026-46300", "CVE-2022-27666", "CVE-2019-15666"],
        steps: &[NEW_USER_NAMESPACE, XFRM],
        why: "IPsec, set up by root of a user namespace",
    },
    Mitigation {
        name: "nf-tables",
        cves: &[
            "CVE-2024-1086",
            "CVE-2023-32233",
            "CVE-2022-34918",
            "CVE-2022-32250",
            "CVE-2022-1015",
        ],
        steps: &[NEW_USER_NAMESPACE, NETFILTER],
        why: "packet filters, written by root of a user namespace",
    },
    Mitigation {
        name: "user-namespaces",
        cves: &["CVE-2021-22555", "CVE-2021-33909", "CVE-2018-18955", "CVE-2017-1000112"],
        steps: &[NEW_USER_NAMESPACE],
        why: "what only root reaches is reached by root of a new user namespace",
    },
    Mitigation {
        name: "mounts-in-user-namespaces",
        cves: &["CVE-2023-0386", "CVE-2021-3493", "CVE-2015-1328", "CVE-2022-0492"],
        steps: &[NEW_USER_NAMESPACE, MOUNT],
        why: "overlay file systems and cgroup hierarchies, mounted by root of a user namespace",
    },
    Mitigation {
        name: "fsconfig",
        cves: &["CVE-2022-0185", "CVE-2021-4154"],
        steps: &[&[entry("fsopen", "fsopen", &[])], &[entry("fsconfig", "fsconfig", &[])]],
        why: "parameters of a file system that is not mounted yet",
    },
    Mitigation {
        name: "bpf",
        cves: &[
            "CVE-2023-2163",
            "CVE-2022-23222",
            "CVE-2021-3490",
            "CVE-2020-8835",
            "CVE-2017-16995",
            "CVE-2016-4557",
        ],
        steps: &[BPF],
        why: "programs that the kernel's verifier wrongly takes for harmless",
    },
    Mitigation {
        name: "io-uring",
        cves: &[
            "CVE-2024-0582",
            "CVE-2023-2598",
            "CVE-2022-29582",
            "CVE-2022-2602",
            "CVE-2021-41073",
        ],
        steps: &[IO_URING],
        why: "a second interface to half of the kernel, which no filter sees",
    },
    Mitigation {
        name: "packet",
        cves: &["CVE-2020-14386", "CVE-2017-15649", "CVE-2017-7308", "CVE-2016-8655"],
        steps: &[PACKET],
        why: "rings of raw packets; needs CAP_NET_RAW",
    },
    Mitigation {
        name: "dccp",
        cves: &["CVE-2017-6074"],
        steps: &[&[
            entry("socket AF_INET, SOCK_DCCP", "socket", &[(0, INT, 2), (1, TYPE, 6)]),
            entry("socket AF_INET6, SOCK_DCCP", "socket", &[(0, INT, 10), (1, TYPE, 6)]),
        ]],
        why: "a protocol that nobody uses, loaded by whoever asks",
    },
    Mitigation {
        name: "tipc",
        cves: &["CVE-2021-43267"],
        steps: &[&[entry("socket AF_TIPC", "socket", &[(0, INT, 30)])]],
        why: "a protocol of clusters, loaded by whoever asks",
    },
    Mitigation {
        name: "rds",
        cves: &["CVE-2019-11815", "CVE-2018-5333"],
        steps: &[&[entry("socket AF_RDS", "socket", &[(0, INT, 21)])]],
        why: "a protocol of databases, loaded by whoever asks",
    },
    Mitigation {
        name: "can",
        cves: &["CVE-2021-3609"],
        steps: &[&[entry("socket AF_CAN", "socket", &[(0, INT, 29)])]],
        why: "the bus of cars, loaded by whoever asks",
    },
    Mitigation {
        name: "vsock",
        cves: &["CVE-2021-26708"],
        steps: &[&[entry("socket AF_VSOCK", "socket", &[(0, INT, 40)])]],
        why: "sockets between a virtual machine and its host",
    },
    Mitigation {
        name: "keyrings",
        cves: &["CVE-2016-0728"],
        steps: &[&[entry("keyctl", "keyctl", &[])]],
        why: "keyrings are counted, and the counter overflowed",
    },
    Mitigation {
        name: "message-queues",
        cves: &["CVE-2017-11176"],
        steps: &[&[entry("mq_notify", "mq_notify", &[])]],
        why: "a socket is freed twice where it is told of a message",
    },
    Mitigation {
        name: "traceme",
        cves: &["CVE-2019-13272"],
        steps: &[PTRACE],
        why: "the credentials of whoever traces are taken from the wrong process",
    },
    Mitigation {
        name: "typing-into-terminals",
        cves: &["CVE-2017-5226", "CVE-2019-10063"],
        steps: &[&[entry("ioctl TIOCSTI", "ioctl", &[(1, INT, 0x5412)])]],
        why: "what is typed into the caller's terminal is run by the caller's shell",
    },
    Mitigation {
        name: "pasting-into-consoles",
        cves: &["CVE-2023-28100"],
        steps: &[&[entry("ioctl TIOCLINUX", "ioctl", &[(1, INT, 0x541c)])]],
        why: "what is pasted into a console is run by its shell",
    },
    Mitigation {
        name: "x32-recvmmsg",
        cves: &["CVE-2014-0038"],
        steps: &[&[Entry {
            words: "recvmmsg of x32",
            call: "recvmmsg",
            arguments: &[],
            only: Some(Arch::X32),
        }]],
        why: "a pointer of the program's is taken for the kernel's, in the entry of x32 alone",
    },
    Mitigation {
        name: "watch-queues",
        cves: &["CVE-2022-0995"],
        steps: &[&[entry("pipe2 O_NOTIFICATION_PIPE", "pipe2", &[(1, 0x80, 0x80)])]],
        why: "filters of a queue of notifications, written beyond their end",
    },
    Mitigation {
        name: "dirty-pipe",
        cves: &["CVE-2022-0847"],
        steps: &[&[entry("splice", "splice", &[])]],
        why: "pages of files that are read into a pipe can be written; no program does without splice",
    },
];

impl Mitigation {
    /// What a profile makes of it, on a kernel whose native architecture is `kernel`.
    fn state(&self, all: &[Verdicts]) -> State {
        let native = all.iter().filter(|verdicts| verdicts.arch() == verdicts.arch().kernel());
        let native: Vec<&Verdicts> = native.collect();
        let any = |step: &[Entry], of: &[&Verdicts]| {
            step.iter().any(|entry| of.iter().any(|verdicts| entry.is_open(verdicts)))
        };
        let every: Vec<&Verdicts> = all.iter().collect();
        if !self.steps.iter().all(|step| any(step, &every)) {
            State::Closed
        } else if self.steps.iter().all(|step| any(step, &native)) {
            State::Open
        } else {
            State::Foreign
        }
    }
}

impl Entry {
    /// Whether the call may run with these arguments. One that somebody is asked about may.
    fn is_open(&self, verdicts: &Verdicts) -> bool {
        let arch = verdicts.arch();
        if self.only.is_some_and(|only| only != arch) {
            return false;
        }
        let known: Vec<Condition> = self
            .arguments
            .iter()
            .map(|&(index, mask, value)| Condition { index, op: Op::ScmpCmpMaskedEq, value, mask })
            .collect();
        let may_run = |name: &str, known: &[Condition]| {
            verdicts.of(name).is_some_and(|verdict| {
                let ways = outcomes(verdict, known, arch.has_wide_arguments());
                ways.iter().any(|way| Freedom::of(way.action) > Freedom::Refused)
            })
        };
        // On 32-bit x86 sockets are made by one call more, whose arguments no filter sees.
        may_run(self.call, &known) || self.call == "socket" && may_run("socketcall", &[])
    }
}

/// What a profile makes of each of [`MITIGATIONS`], on a kernel whose native architecture is `kernel`.
///
/// # Errors
/// As [`Verdicts::new`].
pub fn states(seccomp: &LinuxSeccomp, kernel: Arch) -> Result<Vec<State>, CompileError> {
    let archs = Arch::ALL.into_iter().filter(|arch| arch.kernel() == kernel.kernel());
    let all: Result<Vec<Verdicts>, _> =
        archs.map(|arch| Verdicts::new(seccomp, kernel, arch)).collect();
    let all = all?;
    Ok(MITIGATIONS.iter().map(|mitigation| mitigation.state(&all)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{builtin, read};

    fn state(profile: &LinuxSeccomp, name: &str) -> State {
        let states = states(profile, Arch::X86_64).expect("it compiles");
        let at = MITIGATIONS.iter().position(|one| one.name == name).expect(name);
        states[at]
    }

    fn allowing(rule: &str) -> LinuxSeccomp {
        let text = format!(
            "{{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"architectures\": [\"SCMP_ARCH_X86_64\", \"SCMP_ARCH_X86\"], \
             \"syscalls\": [{rule}]}}"
        );
        read(text.as_bytes()).expect("a profile")
    }

    #[test]
    fn each_has_a_name_of_its_own_cves_and_calls_that_exist() {
        let mut names: Vec<_> = MITIGATIONS.iter().map(|one| one.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), MITIGATIONS.len());
        for one in MITIGATIONS {
            assert!(one.cves.iter().all(|cve| cve.starts_with("CVE-20")), "{}", one.name);
            for entry in one.steps.iter().copied().flatten() {
                assert!(Arch::X86_64.syscall_number(entry.call).is_some(), "{}", entry.call);
            }
        }
    }

    #[test]
    fn the_profiles_that_come_with_brig_close_what_they_can() {
        for name in crate::BUILTIN {
            let profile = builtin(name).expect(name);
            for closed in [
                "ghostlock",
                "copy-fail",
                "rxrpc",
                "xfrm",
                "nf-tables",
                "bpf",
                "io-uring",
                "x32-recvmmsg",
            ] {
                assert_eq!(state(&profile, closed), State::Closed, "{name}: {closed}");
            }
            assert_eq!(state(&profile, "dirty-pipe"), State::Open, "{name}");
        }
    }

    #[test]
    fn what_is_refused_natively_may_be_open_by_other_calls() {
        let native = r#"{"names": ["socket"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 38, "op": "SCMP_CMP_NE"}]}"#;
        // The kernel reads 32 bits: NE of 64 lets 38 with a bit above pass.
        assert_eq!(state(&allowing(native), "copy-fail"), State::Open);
        let masked = r#"{"names": ["socket"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 4294967295, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]}"#;
        assert_eq!(state(&allowing(masked), "copy-fail"), State::Closed);
        let multiplexed =
            format!("{masked}, {{\"names\": [\"socketcall\"], \"action\": \"SCMP_ACT_ALLOW\"}}");
        assert_eq!(state(&allowing(&multiplexed), "copy-fail"), State::Foreign);
    }

    #[test]
    fn one_step_that_is_refused_closes_what_needs_two() {
        let netlink = r#"{"names": ["socket"], "action": "SCMP_ACT_ALLOW"}"#;
        assert_eq!(state(&allowing(netlink), "nf-tables"), State::Closed);
        let both = r#"{"names": ["socket", "unshare"], "action": "SCMP_ACT_ALLOW"}"#;
        assert_eq!(state(&allowing(both), "nf-tables"), State::Open);
    }
}
