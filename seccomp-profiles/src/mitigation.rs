//! Holes of the kernel that begin with a call which a filter can refuse, and whether a profile refuses it.
//!
//! Data, and a judgement that the compiler's own verdicts make: nothing here says that a profile closes a hole. What is
//! judged is the way in, not the hole: a closed one cannot be reached by the programs that the profile confines, on a
//! kernel that has it. Must never be read as a list of all holes, or of all ways into one.

mod known;
mod switch;

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompOperator as Op};

pub use known::MITIGATIONS;
pub use switch::{find, refusing, without};

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
    /// Where the way in is described.
    pub source: &'static str,
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
    /// Whether the call may run with these arguments, or its multiplexer, whose arguments no filter sees.
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
        let own = arch.syscall_number(self.call);
        let multiplexed = arch.table().multiplexed.iter().find(|one| one.name == self.call);
        own.is_some_and(|number| may_run(verdicts, number, &known))
            || multiplexed.is_some_and(|one| {
                let (mask, value) = (one.mask.into(), one.call.into());
                let which = Condition { index: 0, op: Op::ScmpCmpMaskedEq, value, mask };
                may_run(verdicts, one.through, &[which])
            })
    }
}

/// Whether a call may run where such is known of its arguments. One that somebody is asked about may.
fn may_run(verdicts: &Verdicts, number: u32, known: &[Condition]) -> bool {
    let wide = verdicts.arch().has_wide_arguments();
    let ways = outcomes(verdicts.of_number(number), known, wide);
    ways.iter().any(|way| Freedom::of(way.action) > Freedom::Refused)
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
                let known = Arch::ALL.iter().any(|arch| arch.syscall_number(entry.call).is_some());
                assert!(known, "{}", entry.call);
                assert!(entry.arguments.iter().all(|(_, mask, value)| value & !mask == 0));
            }
        }
    }

    #[test]
    fn the_profiles_that_come_with_brig_close_what_they_can() {
        for name in crate::BUILTIN {
            let profile = builtin(name).expect(name);
            for closed in [
                "ghostlock",
                "futex-requeue",
                "crypto-user",
                "copy-fail",
                "rxrpc",
                "xfrm",
                "nf-tables",
                "bpf",
                "io-uring",
                "x32-recvmmsg",
            ] {
                // Who may make namespaces has packet filters in them.
                let is_open = name == "nested" && closed == "nf-tables";
                let expected = if is_open { State::Open } else { State::Closed };
                assert_eq!(state(&profile, closed), expected, "{name}: {closed}");
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
        // SYS_BIND: no socket comes of it.
        let of_bind = multiplexed.replace(
            "\"socketcall\"]",
            "\"socketcall\"], \"args\": [{\"index\": 0, \"value\": 2, \"op\": \"SCMP_CMP_EQ\"}]",
        );
        assert_eq!(state(&allowing(&of_bind), "copy-fail"), State::Closed);
        let time64 = r#"{"names": ["futex_time64"], "action": "SCMP_ACT_ALLOW"}"#;
        assert_eq!(state(&allowing(time64), "ghostlock"), State::Foreign);
    }

    #[test]
    fn one_step_that_is_refused_closes_what_needs_two() {
        let netlink = r#"{"names": ["socket"], "action": "SCMP_ACT_ALLOW"}"#;
        assert_eq!(state(&allowing(netlink), "nf-tables"), State::Closed);
        let both = r#"{"names": ["socket", "unshare"], "action": "SCMP_ACT_ALLOW"}"#;
        assert_eq!(state(&allowing(both), "nf-tables"), State::Open);
    }
}
