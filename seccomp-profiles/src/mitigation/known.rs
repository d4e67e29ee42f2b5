//! The holes: data.
//!
//! A source of the form "LTP name" is the test of the Linux Test Project that comes the same way (`runtest/cve` there).

use super::{Entry, Mitigation};
use crate::arch::Arch;

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
const XFRM: &[Entry] = &[
    entry("socket NETLINK_XFRM", "socket", &[(0, INT, 16), (2, INT, 6)]),
    entry("socket AF_KEY", "socket", &[(0, INT, 15)]),
];
/// 32-bit programs have a second futex(2), for times after 2038.
const WAIT_REQUEUE_PI: &[Entry] = &[
    entry("futex FUTEX_WAIT_REQUEUE_PI", "futex", &[(1, FUTEX_COMMAND, 11)]),
    entry("futex_time64 FUTEX_WAIT_REQUEUE_PI", "futex_time64", &[(1, FUTEX_COMMAND, 11)]),
];
const CMP_REQUEUE_PI: &[Entry] = &[
    entry("futex FUTEX_CMP_REQUEUE_PI", "futex", &[(1, FUTEX_COMMAND, 12)]),
    entry("futex_time64 FUTEX_CMP_REQUEUE_PI", "futex_time64", &[(1, FUTEX_COMMAND, 12)]),
];
const STREAM: &[Entry] = &[
    entry("socket AF_INET, SOCK_STREAM", "socket", &[(0, INT, 2), (1, TYPE, 1)]),
    entry("socket AF_INET6, SOCK_STREAM", "socket", &[(0, INT, 10), (1, TYPE, 1)]),
];
const NETFILTER: &[Entry] =
    &[entry("socket NETLINK_NETFILTER", "socket", &[(0, INT, 16), (2, INT, 12)])];
const PTRACE: &[Entry] = &[entry("ptrace", "ptrace", &[])];

/// The holes, by way in. Each CVE is named for what its public description says of how it is reached.
pub const MITIGATIONS: &[Mitigation] = &[
    Mitigation {
        name: "ghostlock",
        cves: &["CVE-2026-43499", "CVE-2014-3153"],
        steps: &[WAIT_REQUEUE_PI, CMP_REQUEUE_PI],
        why: "waiters of one futex are moved to a lock with priority inheritance, and back when that fails",
        source: "AlmaLinux of 2026-07-09; NVD",
    },
    Mitigation {
        name: "futex-requeue",
        cves: &["CVE-2026-31554"],
        steps: &[&[entry("futex_requeue", "futex_requeue", &[])]],
        why: "waiters are moved from a futex to one with other flags, and one is freed",
        source: "Linux 19f94b390586",
    },
    Mitigation {
        name: "copy-fail",
        cves: &["CVE-2026-31431", "CVE-2025-39964", "CVE-2019-8912", "CVE-2017-17806"],
        steps: &[&[entry("socket AF_ALG", "socket", &[(0, INT, 38)])]],
        why: "the kernel's ciphers write into pages of files that containers share",
        source: "theori-io/copy-fail-CVE-2026-31431; LTP af_alg01, af_alg07",
    },
    Mitigation {
        name: "rxrpc",
        cves: &["CVE-2026-43500", "CVE-2026-31635"],
        steps: &[&[entry("socket AF_RXRPC", "socket", &[(0, INT, 33)])]],
        why: "decryption in place, in pages that are a file's (Dirty Frag)",
        source: "Red Hat RHSB-2026-003",
    },
    Mitigation {
        name: "xfrm",
        cves: &[
            "CVE-2026-43284",
            "CVE-2026-46300",
            "CVE-2026-43503",
            "CVE-2022-27666",
            "CVE-2019-15666",
            "CVE-2017-16939",
        ],
        steps: &[NEW_USER_NAMESPACE, XFRM],
        why: "IPsec, set up by root of a user namespace",
        source: "Red Hat RHSB-2026-003; LTP cve-2017-16939",
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
        source: "gVisor's CVE track record; NVD",
    },
    Mitigation {
        name: "user-namespaces",
        cves: &["CVE-2021-22555", "CVE-2021-33909", "CVE-2018-18955", "CVE-2017-1000112"],
        steps: &[NEW_USER_NAMESPACE],
        why: "what only root reaches is reached by root of a new user namespace",
        source: "LTP userns08, setsockopt05, setsockopt08",
    },
    Mitigation {
        name: "mounts-in-user-namespaces",
        cves: &["CVE-2023-0386", "CVE-2021-3493", "CVE-2015-1328", "CVE-2022-0492"],
        steps: &[NEW_USER_NAMESPACE, MOUNT],
        why: "overlay file systems and cgroup hierarchies, mounted by root of a user namespace",
        source: "NVD",
    },
    Mitigation {
        name: "fsconfig",
        cves: &["CVE-2022-0185", "CVE-2021-4154"],
        steps: &[&[entry("fsopen", "fsopen", &[])], &[entry("fsconfig", "fsconfig", &[])]],
        why: "parameters of a file system that is not mounted yet",
        source: "LTP fsconfig03; DirtyCred (CCS 2022)",
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
        source: "LTP bpf_prog03, bpf_prog04, bpf_prog05; NVD",
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
        source: "LTP io_uring02; gVisor's CVE track record",
    },
    Mitigation {
        name: "crypto-user",
        cves: &["CVE-2018-19854"],
        steps: &[&[entry("socket NETLINK_CRYPTO", "socket", &[(0, INT, 16), (2, INT, 21)])]],
        why: "what the kernel's ciphers say about themselves",
        source: "LTP crypto_user01",
    },
    Mitigation {
        name: "packet",
        cves: &["CVE-2020-14386", "CVE-2017-15649", "CVE-2017-7308", "CVE-2016-8655"],
        steps: &[PACKET],
        why: "rings of raw packets; needs CAP_NET_RAW",
        source: "LTP sendto03, fanout01, setsockopt02, setsockopt06",
    },
    Mitigation {
        name: "dccp",
        cves: &["CVE-2017-6074"],
        steps: &[&[
            entry("socket AF_INET, SOCK_DCCP", "socket", &[(0, INT, 2), (1, TYPE, 6)]),
            entry("socket AF_INET6, SOCK_DCCP", "socket", &[(0, INT, 10), (1, TYPE, 6)]),
        ]],
        why: "a protocol that nobody uses, whose module any program can load",
        source: "NVD",
    },
    Mitigation {
        name: "kernel-tls",
        cves: &[
            "CVE-2025-39946",
            "CVE-2024-26800",
            "CVE-2024-26584",
            "CVE-2024-26583",
            "CVE-2023-52447",
        ],
        steps: &[
            STREAM,
            &[entry("setsockopt TCP_ULP", "setsockopt", &[(1, INT, 6), (2, INT, 31)])],
        ],
        why: "TLS in the kernel; which protocol TCP_ULP asks for is behind a pointer",
        source: "gVisor's CVE track record",
    },
    Mitigation {
        name: "tipc",
        cves: &["CVE-2021-43267"],
        steps: &[&[entry("socket AF_TIPC", "socket", &[(0, INT, 30)])]],
        why: "a protocol of clusters, whose module any program can load",
        source: "NVD; haxx.in/posts/pwning-tipc",
    },
    Mitigation {
        name: "rds",
        cves: &["CVE-2019-11815", "CVE-2018-5333"],
        steps: &[&[entry("socket AF_RDS", "socket", &[(0, INT, 21)])]],
        why: "a protocol of databases, whose module any program can load",
        source: "NVD",
    },
    Mitigation {
        name: "can",
        cves: &["CVE-2021-3609"],
        steps: &[&[entry("socket AF_CAN", "socket", &[(0, INT, 29)])]],
        why: "the bus of cars, whose module any program can load",
        source: "LTP can_bcm01",
    },
    Mitigation {
        name: "vsock",
        cves: &["CVE-2025-38618", "CVE-2025-21756", "CVE-2021-26708"],
        steps: &[&[entry("socket AF_VSOCK", "socket", &[(0, INT, 40)])]],
        why: "sockets between a virtual machine and its host",
        source: "LTP vsock01; gVisor's CVE track record",
    },
    Mitigation {
        name: "keyrings",
        cves: &["CVE-2017-7472", "CVE-2016-9604", "CVE-2016-0728", "CVE-2015-7550"],
        steps: &[&[entry("keyctl", "keyctl", &[])]],
        why: "keyrings of sessions, processes and users",
        source: "LTP keyctl02, keyctl04, keyctl08; NVD",
    },
    Mitigation {
        name: "new-keys",
        cves: &["CVE-2017-15274", "CVE-2017-12193"],
        steps: &[&[entry("add_key", "add_key", &[])]],
        why: "keys of all types, made from what a program hands over",
        source: "LTP add_key02, add_key04",
    },
    Mitigation {
        name: "requested-keys",
        cves: &["CVE-2017-6951"],
        steps: &[&[entry("request_key", "request_key", &[])]],
        why: "keys that a program of the host is to fetch",
        source: "LTP request_key05",
    },
    Mitigation {
        name: "message-queues",
        cves: &["CVE-2017-11176"],
        steps: &[&[entry("mq_notify", "mq_notify", &[])]],
        why: "a socket is freed twice where it is told of a message",
        source: "NVD",
    },
    Mitigation {
        name: "ptrace",
        cves: &["CVE-2019-13272", "CVE-2018-1000199", "CVE-2018-8897", "CVE-2017-15537"],
        steps: &[PTRACE],
        why: "credentials, registers and breakpoints of other processes",
        source: "LTP ptrace07, ptrace08, ptrace09; NVD",
    },
    Mitigation {
        name: "typing-into-terminals",
        cves: &["CVE-2017-5226", "CVE-2019-10063"],
        steps: &[&[entry("ioctl TIOCSTI", "ioctl", &[(1, INT, 0x5412)])]],
        why: "what is typed into the caller's terminal is run by the caller's shell",
        source: "NVD; ioctl_tty(2)",
    },
    Mitigation {
        name: "pasting-into-consoles",
        cves: &["CVE-2023-28100"],
        steps: &[&[entry("ioctl TIOCLINUX", "ioctl", &[(1, INT, 0x541c)])]],
        why: "what is pasted into a console is run by its shell",
        source: "NVD; ioctl_console(2)",
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
        why: "a pointer of the program's is taken for the kernel's, only in the entry of x32",
        source: "blog.includesecurity.com of 2014-03",
    },
    Mitigation {
        name: "segments",
        cves: &["CVE-2017-17053", "CVE-2015-3290"],
        steps: &[&[entry("modify_ldt", "modify_ldt", &[])]],
        why: "segments of 16-bit and 32-bit programs",
        source: "LTP cve-2017-17053, cve-2015-3290",
    },
    Mitigation {
        name: "perf",
        cves: &["CVE-2020-25704"],
        steps: &[&[entry("perf_event_open", "perf_event_open", &[])]],
        why: "counters of the processor and of the kernel",
        source: "LTP perf_event_open03",
    },
    Mitigation {
        name: "line-disciplines",
        cves: &["CVE-2017-2636"],
        steps: &[&[entry("ioctl TIOCSETD", "ioctl", &[(1, INT, 0x5423)])]],
        why: "rare line disciplines of a terminal; which one is behind a pointer",
        source: "LTP pty05",
    },
    Mitigation {
        name: "waitid",
        cves: &["CVE-2017-5123"],
        steps: &[&[entry("waitid", "waitid", &[])]],
        why: "an address that is not checked; programs wait for their children so",
        source: "gVisor's CVE track record",
    },
    Mitigation {
        name: "watch-queues",
        cves: &["CVE-2022-0995"],
        steps: &[&[entry("pipe2 O_NOTIFICATION_PIPE", "pipe2", &[(1, 0x80, 0x80)])]],
        why: "filters of a queue of notifications, written beyond their end",
        source: "NVD",
    },
    Mitigation {
        name: "dirty-pipe",
        cves: &["CVE-2022-0847"],
        steps: &[&[entry("splice", "splice", &[])]],
        why: "pages of files that are read into a pipe can be written; no program does without splice",
        source: "LTP dirtypipe",
    },
];
