//! System call names and numbers of each architecture, packed at compile time.
//!
//! Names lie end to end in one string, sorted, with no pointers: nothing for the loader to
//! relocate when brig starts. Numbers are those of Linux 6.17 from the `syscalls` crate.

/// The calls of one architecture.
pub(crate) struct CallTable {
    /// All names, sorted, one after the other.
    names: &'static [u8],
    /// Where each name ends in `names`.
    ends: &'static [u16],
    /// The number of each name.
    numbers: &'static [u32],
    /// The beginning of each name, which sorts as the names do.
    keys: &'static [u64],
}

/// The first eight bytes.
const fn key(name: &[u8]) -> u64 {
    let mut key = 0;
    let mut at = 0;
    while at < 8 {
        key = key << 8 | if at < name.len() { name[at] as u64 } else { 0 };
        at += 1;
    }
    key
}

impl CallTable {
    /// The number of a name.
    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        let wanted = key(name.as_bytes());
        let from = self.keys.partition_point(|&key| key < wanted);
        (from..self.keys.len())
            .take_while(|&at| self.keys[at] == wanted)
            .find(|&at| self.bytes(at) == name.as_bytes())
            .map(|at| self.numbers[at])
    }

    /// The name of a number; of several names of one number, the last in the alphabet.
    pub(crate) fn name(&self, number: u32) -> Option<&'static str> {
        let at = self.numbers.iter().rposition(|&other| other == number)?;
        std::str::from_utf8(self.bytes(at)).ok()
    }

    /// All names and their numbers, sorted by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, u32)> + '_ {
        (0..self.ends.len()).filter_map(|at| {
            let name = std::str::from_utf8(self.bytes(at)).ok()?;
            Some((name, self.numbers[at]))
        })
    }

    fn bytes(&self, at: usize) -> &'static [u8] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.names[usize::from(start)..usize::from(self.ends[at])]
    }
}

type Entry = (&'static str, u32);

const fn is_less(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut at = 0;
    while at < a.len() && at < b.len() {
        if a[at] != b[at] {
            return a[at] < b[at];
        }
        at += 1;
    }
    a.len() < b.len()
}

const fn is_same(a: &str, b: &str) -> bool {
    !is_less(a, b) && !is_less(b, a)
}

const fn lists(list: &[&str], name: &str) -> bool {
    let mut at = 0;
    while at < list.len() {
        if is_same(list[at], name) {
            return true;
        }
        at += 1;
    }
    false
}

const fn renames(list: &[Entry], name: &str) -> bool {
    let mut at = 0;
    while at < list.len() {
        if is_same(list[at].0, name) {
            return true;
        }
        at += 1;
    }
    false
}

const fn sorted<const N: usize>(mut entries: [Entry; N]) -> [Entry; N] {
    let mut at = 1;
    while at < N {
        let mut to = at;
        while to > 0 && is_less(entries[to].0, entries[to - 1].0) {
            let entry = entries[to];
            entries[to] = entries[to - 1];
            entries[to - 1] = entry;
            to -= 1;
        }
        at += 1;
    }
    entries
}

const fn total_length(entries: &[Entry]) -> usize {
    let mut total = 0;
    let mut at = 0;
    while at < entries.len() {
        total += entries[at].0.len();
        at += 1;
    }
    assert!(total <= u16::MAX as usize);
    total
}

const fn pack_names<const LENGTH: usize>(entries: &[Entry]) -> [u8; LENGTH] {
    let mut names = [0; LENGTH];
    let mut to = 0;
    let mut at = 0;
    while at < entries.len() {
        let name = entries[at].0.as_bytes();
        let mut byte = 0;
        while byte < name.len() {
            names[to] = name[byte];
            to += 1;
            byte += 1;
        }
        at += 1;
    }
    names
}

const fn pack_ends<const N: usize>(entries: &[Entry; N]) -> [u16; N] {
    let mut ends = [0; N];
    let mut total = 0;
    let mut at = 0;
    while at < N {
        total += entries[at].0.len();
        ends[at] = total as u16;
        at += 1;
    }
    ends
}

const fn pack_numbers<const N: usize>(entries: &[Entry; N]) -> [u32; N] {
    let mut numbers = [0; N];
    let mut at = 0;
    while at < N {
        numbers[at] = entries[at].1;
        at += 1;
    }
    numbers
}

const fn pack_keys<const N: usize>(entries: &[Entry; N]) -> [u64; N] {
    let mut keys = [0; N];
    let mut at = 0;
    while at < N {
        keys[at] = key(entries[at].0.as_bytes());
        at += 1;
    }
    keys
}

/// Packs a table of the `syscalls` crate, leaving out the `without` names and putting in the
/// `with` entries, which also replace those of the same name.
macro_rules! call_table {
    ($table:ident, $arch:ident, without: $without:expr, with: $with:expr) => {
        #[allow(long_running_const_eval)]
        pub(crate) static $table: CallTable = {
            use syscalls::$arch::Sysno;
            const WITHOUT: &[&str] = $without;
            const WITH: &[Entry] = $with;
            const LAST: usize = Sysno::last() as usize;
            const fn kept(number: usize) -> Option<&'static str> {
                match Sysno::new(number) {
                    Some(call) if lists(WITHOUT, call.name()) || renames(WITH, call.name()) => None,
                    Some(call) => Some(call.name()),
                    None => None,
                }
            }
            const COUNT: usize = {
                let mut count = WITH.len();
                let mut number = 0;
                while number <= LAST {
                    if kept(number).is_some() {
                        count += 1;
                    }
                    number += 1;
                }
                count
            };
            const ENTRIES: [Entry; COUNT] = {
                let mut entries = [("", 0); COUNT];
                let mut count = 0;
                while count < WITH.len() {
                    entries[count] = WITH[count];
                    count += 1;
                }
                let mut number = 0;
                while number <= LAST {
                    if let Some(name) = kept(number) {
                        entries[count] = (name, number as u32);
                        count += 1;
                    }
                    number += 1;
                }
                sorted(entries)
            };
            const LENGTH: usize = total_length(&ENTRIES);
            static NAMES: [u8; LENGTH] = pack_names(&ENTRIES);
            static ENDS: [u16; COUNT] = pack_ends(&ENTRIES);
            static NUMBERS: [u32; COUNT] = pack_numbers(&ENTRIES);
            static KEYS: [u64; COUNT] = pack_keys(&ENTRIES);
            CallTable { names: &NAMES, ends: &ENDS, numbers: &NUMBERS, keys: &KEYS }
        };
    };
}

call_table!(X86_64, x86_64, without: &[], with: &[]);
// The crate spells `break` as Rust must.
call_table!(X86, x86, without: &["r#break"], with: &[("break", 17)]);
call_table!(X32, x86_64, without: X32_ABSENT, with: X32_OWN);
call_table!(AARCH64, aarch64, without: AARCH64_ABSENT, with: &[("newfstatat", 79)]);
call_table!(ARM, arm, without: &[], with: ARM_PRIVATE);

/// Marked `64` in `arch/x86/entry/syscalls/syscall_64.tbl` and without an x32 number.
const X32_ABSENT: &[&str] = &[
    "_sysctl",
    "create_module",
    "epoll_ctl_old",
    "epoll_wait_old",
    "get_kernel_syms",
    "get_thread_area",
    "nfsservctl",
    "query_module",
    "set_thread_area",
    "uselib",
    "vserver",
];

/// The calls which have a number of their own on x32 (`asm/unistd_x32.h`), without bit 30.
const X32_OWN: &[Entry] = &[
    ("rt_sigaction", 512),
    ("rt_sigreturn", 513),
    ("ioctl", 514),
    ("readv", 515),
    ("writev", 516),
    ("recvfrom", 517),
    ("sendmsg", 518),
    ("recvmsg", 519),
    ("execve", 520),
    ("ptrace", 521),
    ("rt_sigpending", 522),
    ("rt_sigtimedwait", 523),
    ("rt_sigqueueinfo", 524),
    ("sigaltstack", 525),
    ("timer_create", 526),
    ("mq_notify", 527),
    ("kexec_load", 528),
    ("waitid", 529),
    ("set_robust_list", 530),
    ("get_robust_list", 531),
    ("vmsplice", 532),
    ("move_pages", 533),
    ("preadv", 534),
    ("pwritev", 535),
    ("rt_tgsigqueueinfo", 536),
    ("recvmmsg", 537),
    ("sendmmsg", 538),
    ("process_vm_readv", 539),
    ("process_vm_writev", 540),
    ("setsockopt", 541),
    ("getsockopt", 542),
    ("io_setup", 543),
    ("io_submit", 544),
    ("execveat", 545),
    ("preadv2", 546),
    ("pwritev2", 547),
];

/// Calls of 32-bit kernels alone (`asm-generic/unistd.h`, `__BITS_PER_LONG == 32`), which the
/// `syscalls` crate lists for aarch64 too.
const AARCH64_ABSENT: &[&str] = &[
    "clock_adjtime64",
    "clock_getres_time64",
    "clock_gettime64",
    "clock_nanosleep_time64",
    "clock_settime64",
    "futex_time64",
    "io_pgetevents_time64",
    "mq_timedreceive_time64",
    "mq_timedsend_time64",
    "ppoll_time64",
    "pselect6_time64",
    "recvmmsg_time64",
    "rt_sigtimedwait_time64",
    "sched_rr_get_interval_time64",
    "semtimedop_time64",
    "timer_gettime64",
    "timer_settime64",
    "timerfd_gettime64",
    "timerfd_settime64",
    "utimensat_time64",
];

/// `__ARM_NR_*` of `arch/arm/include/uapi/asm/unistd.h`.
const ARM_PRIVATE: &[Entry] = &[
    ("breakpoint", 0x000f_0001),
    ("cacheflush", 0x000f_0002),
    ("usr26", 0x000f_0003),
    ("usr32", 0x000f_0004),
    ("set_tls", 0x000f_0005),
    ("get_tls", 0x000f_0006),
];

/// Calls which exist only on architectures that brig has no table for (kernel tables of MIPS,
/// PowerPC, RISC-V, s390 and SPARC): profiles written for all architectures name them.
pub(crate) const FOREIGN: &str = "cachectl execv getdomainname getpagesize kern_features llseek \
    memory_ordering multiplexer perfctr riscv_flush_icache riscv_hwprobe rtas \
    s390_guarded_storage s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr s390_sthyi \
    sched_get_affinity sched_set_affinity spu_create spu_run subpage_prot swapcontext \
    switch_endian sync_file_range2 sys_debug_setcontext syscall sysmips timerfd utrap_install";

#[cfg(test)]
mod tests {
    use super::{AARCH64, ARM, X32, X86, X86_64};

    #[test]
    fn every_name_of_every_table_is_found_again() {
        for table in [&X86_64, &X86, &X32, &AARCH64, &ARM] {
            let mut last = "";
            for (name, number) in table.iter() {
                assert!(last < name, "{last} {name}");
                assert_eq!(table.number(name), Some(number));
                last = name;
            }
            assert!(table.ends.len() > 300);
            assert_eq!(table.number("no_such_call"), None);
            assert_eq!(table.number(""), None);
        }
    }
}
