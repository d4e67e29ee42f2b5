//! What brig may cost, and whether it keeps to it.
//!
//! Ratios and counts, no absolute times: those say more about the machine than about the runtime. A
//! budget is missed when the measured figure is above it; an interval that holds the budget is shown, so
//! that the reader sees a close call.

use crate::report::{lane_of, quantity_values};
use crate::scenario::{Load, Results, Scenario};
use crate::statistics::{Estimate, paired_ratio, ratio_of_medians};

/// A measured quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Time from start to end.
    Wall,
    /// User and system time.
    Cpu,
    /// Number of system calls.
    Syscalls,
    /// Peak resident memory.
    Memory,
    /// Wall time with the scenario's load relative to that without.
    WallGrowth,
    /// The same of CPU time, which noise disturbs less.
    CpuGrowth,
    /// Size of the program in MiB.
    SizeMib,
}

/// What a quantity is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Against {
    /// The same of another subject.
    Subject(&'static str),
    /// Nothing: the limit is absolute.
    Absolute,
}

/// One line of the table below.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Where it is measured.
    pub scenario: Scenario,
    /// What is measured.
    pub quantity: Quantity,
    /// What it is compared with.
    pub against: Against,
    /// The largest figure that keeps the budget.
    pub limit: f64,
}

const fn ratio(scenario: Scenario, quantity: Quantity, other: &'static str, limit: f64) -> Budget {
    Budget { scenario, quantity, against: Against::Subject(other), limit }
}

const fn absolute(scenario: Scenario, quantity: Quantity, limit: f64) -> Budget {
    Budget { scenario, quantity, against: Against::Absolute, limit }
}

/// brig's budgets. The ratios to the floor are what the design promises; those to crun and runc are what
/// makes a change of runtime worth its while. Growth may be 10 %, which is what noise alone reaches.
pub const BUDGETS: &[Budget] = &[
    absolute(Scenario::Size, Quantity::SizeMib, 3.0),
    ratio(Scenario::Memory, Quantity::Memory, "crun", 1.0),
    ratio(Scenario::Run, Quantity::Wall, "crun", 0.55),
    ratio(Scenario::Run, Quantity::Cpu, "crun", 0.55),
    ratio(Scenario::Run, Quantity::Syscalls, "crun", 0.55),
    ratio(Scenario::Run, Quantity::Wall, "runc", 0.2),
    ratio(Scenario::Run, Quantity::Cpu, "runc", 0.2),
    ratio(Scenario::Run, Quantity::Wall, "floor", 1.5),
    ratio(Scenario::Run, Quantity::Cpu, "floor", 1.5),
    ratio(Scenario::RunGap, Quantity::Wall, "crun", 0.3),
    ratio(Scenario::RunDocker, Quantity::Wall, "crun", 0.22),
    ratio(Scenario::RunDocker, Quantity::Cpu, "crun", 0.22),
    ratio(Scenario::RunDocker, Quantity::Syscalls, "crun", 0.55),
    ratio(Scenario::RunDocker, Quantity::Wall, "runc", 0.12),
    ratio(Scenario::RunDocker, Quantity::Cpu, "runc", 0.12),
    ratio(Scenario::RunDocker, Quantity::Wall, "floor", 1.5),
    ratio(Scenario::RunDocker, Quantity::Cpu, "floor", 1.5),
    ratio(Scenario::Create, Quantity::Wall, "crun", 0.5),
    ratio(Scenario::Start, Quantity::Wall, "crun", 0.5),
    absolute(Scenario::Mounts, Quantity::WallGrowth, 1.1),
    absolute(Scenario::Mounts, Quantity::CpuGrowth, 1.1),
    absolute(Scenario::Containers, Quantity::WallGrowth, 1.1),
    absolute(Scenario::Containers, Quantity::CpuGrowth, 1.1),
];

/// How a budget came out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// Within the limit.
    Kept(Estimate),
    /// Above it.
    Missed(Estimate),
    /// The figure is missing although its scenario was measured: as bad as a miss.
    Unmeasured,
    /// The other subject was left out on purpose.
    Skipped,
}

impl Verdict {
    /// Whether it should stop a release.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Missed(_) | Self::Unmeasured)
    }
}

impl Budget {
    /// The budget in words, such as `run: wall time ≤ 0.55 × crun`.
    #[must_use]
    pub fn describe(&self) -> String {
        let quantity = match self.quantity {
            Quantity::Wall => "wall time",
            Quantity::Cpu => "CPU time",
            Quantity::Syscalls => "system calls",
            Quantity::Memory => "peak memory",
            Quantity::WallGrowth => "growth of wall time",
            Quantity::CpuGrowth => "growth of CPU time",
            Quantity::SizeMib => "MiB",
        };
        let against = match self.against {
            Against::Subject(other) => format!(" × {other}"),
            Against::Absolute => String::new(),
        };
        format!("{}: {quantity} ≤ {}{against}", self.scenario.name(), self.limit)
    }

    fn judge(&self, results: &Results, candidate: &str, excluded: &[String]) -> Verdict {
        if let Against::Subject(other) = self.against
            && excluded.iter().any(|name| name == other)
        {
            return Verdict::Skipped;
        }
        match self.figure(results, candidate) {
            None => Verdict::Unmeasured,
            Some(figure) if figure.value <= self.limit => Verdict::Kept(figure),
            Some(figure) => Verdict::Missed(figure),
        }
    }

    fn figure(&self, results: &Results, candidate: &str) -> Option<Estimate> {
        match (self.quantity, self.against) {
            (Quantity::SizeMib, _) => {
                let size = results.sizes.iter().find(|size| size.subject == candidate)?;
                Some(exact(size.bytes as f64 / f64::from(1 << 20)))
            }
            (Quantity::WallGrowth, _) => {
                growth_beyond_floor(results, self.scenario, candidate, Quantity::Wall)
            }
            (Quantity::CpuGrowth, _) => {
                growth_beyond_floor(results, self.scenario, candidate, Quantity::Cpu)
            }
            (Quantity::Syscalls, Against::Subject(other)) => {
                let own = lane_of(results, self.scenario, candidate, Load::None)?.syscalls?;
                let others = lane_of(results, self.scenario, other, Load::None)?.syscalls?;
                Some(exact(own as f64 / others as f64))
            }
            (quantity, Against::Subject(other)) => paired_ratio(
                &quantity_values(lane_of(results, self.scenario, candidate, Load::None)?, quantity),
                &quantity_values(lane_of(results, self.scenario, other, Load::None)?, quantity),
            ),
            (_, Against::Absolute) => None,
        }
    }
}

/// Judges the budgets of the measured scenarios.
#[must_use]
pub fn judge_all(
    results: &Results,
    measured: &[Scenario],
    candidate: &str,
    excluded: &[String],
) -> Vec<(Budget, Verdict)> {
    let asked = BUDGETS.iter().filter(|budget| measured.contains(&budget.scenario));
    asked.map(|budget| (*budget, budget.judge(results, candidate, excluded))).collect()
}

/// A subject's wall or CPU time with the scenario's load relative to that without.
#[must_use]
pub fn growth(
    results: &Results,
    scenario: Scenario,
    subject: &str,
    beside: Option<&str>,
    quantity: Quantity,
) -> Option<Estimate> {
    let outcome = results.outcomes.iter().find(|outcome| outcome.scenario == scenario)?;
    let values = |load| {
        let lane = outcome.lanes.iter().find(|lane| {
            lane.subject == subject && lane.load == load && lane.beside.as_deref() == beside
        })?;
        Some(quantity_values(lane, quantity))
    };
    let (loaded, unloaded) = (values(Load::Added)?, values(Load::None)?);
    match scenario {
        // Taken in the same iterations.
        Scenario::Mounts => paired_ratio(&loaded, &unloaded),
        // Taken in blocks, one after the other.
        _ => ratio_of_medians(&loaded, &unloaded),
    }
}

/// The growth that is the subject's own: what the kernel itself slowed down with many containers is taken
/// off, as the floor beside it shows it. Mounts need no such allowance: a runtime need not copy them.
fn growth_beyond_floor(
    results: &Results,
    scenario: Scenario,
    candidate: &str,
    quantity: Quantity,
) -> Option<Estimate> {
    let own = growth(results, scenario, candidate, None, quantity)?;
    if scenario == Scenario::Mounts {
        return Some(own);
    }
    let kernel = growth(results, scenario, "floor", Some(candidate), quantity)
        .map_or(1.0, |floor| floor.value.max(1.0));
    Some(Estimate { value: own.value / kernel, low: own.low / kernel, high: own.high / kernel })
}

fn exact(value: f64) -> Estimate {
    Estimate { value, low: value, high: value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Sample;
    use crate::scenario::{Lane, Outcome, Size};

    fn lane(subject: &str, load: Load, wall_ns: u64) -> Lane {
        let sample = Sample {
            wall_ns,
            user_us: 0,
            system_us: wall_ns,
            max_rss_kib: wall_ns,
            minor_faults: 0,
        };
        Lane {
            subject: subject.into(),
            beside: None,
            load,
            samples: vec![Some(sample); 5],
            failures: Vec::new(),
            syscalls: Some(wall_ns),
        }
    }

    fn results(scenario: Scenario, lanes: Vec<Lane>) -> Results {
        Results { outcomes: vec![Outcome { scenario, lanes }], ..Results::default() }
    }

    fn failures(results: &Results, scenario: Scenario, excluded: &[String]) -> Vec<String> {
        let judged = judge_all(results, &[scenario], "brig", excluded);
        let failed = judged.into_iter().filter(|(_, verdict)| verdict.is_failure());
        failed.map(|(budget, _)| budget.describe()).collect()
    }

    #[test]
    fn a_miss_is_named() {
        let lanes = vec![lane("brig", Load::None, 60), lane("crun", Load::None, 100)];
        let failed = failures(&results(Scenario::Create, lanes), Scenario::Create, &[]);
        assert_eq!(failed, ["create: wall time ≤ 0.5 × crun"]);
        let lanes = vec![lane("brig", Load::None, 50), lane("crun", Load::None, 100)];
        assert!(failures(&results(Scenario::Create, lanes), Scenario::Create, &[]).is_empty());
    }

    #[test]
    fn a_missing_figure_is_a_failure_unless_the_other_was_left_out() {
        let results = results(Scenario::Create, vec![lane("brig", Load::None, 1)]);
        assert_eq!(failures(&results, Scenario::Create, &[]).len(), 1);
        assert!(failures(&results, Scenario::Create, &["crun".into()]).is_empty());
    }

    #[test]
    fn growth_with_mounts_is_brigs_own() {
        let lanes = vec![lane("brig", Load::None, 100), lane("brig", Load::Added, 120)];
        assert_eq!(failures(&results(Scenario::Mounts, lanes), Scenario::Mounts, &[]).len(), 2);
    }

    #[test]
    fn growth_with_containers_leaves_out_the_kernels() {
        let beside =
            |load, wall_ns| Lane { beside: Some("brig".into()), ..lane("floor", load, wall_ns) };
        let own = [lane("brig", Load::None, 100), lane("brig", Load::Added, 150)];
        let mut lanes = own.to_vec();
        assert_eq!(
            failures(&results(Scenario::Containers, lanes.clone()), Scenario::Containers, &[])
                .len(),
            2
        );
        lanes.extend([beside(Load::None, 10), beside(Load::Added, 14)]);
        assert!(
            failures(&results(Scenario::Containers, lanes), Scenario::Containers, &[]).is_empty()
        );
    }

    #[test]
    fn the_documentation_lists_these_budgets() {
        let page = include_str!("../../docs/performance.md");
        let listed: Vec<&str> =
            page.lines().filter(|line| line.starts_with("- ") && line.contains('≤')).collect();
        let budgets: Vec<String> =
            BUDGETS.iter().map(|budget| format!("- {}", budget.describe())).collect();
        assert_eq!(listed, budgets);
    }

    #[test]
    fn size_is_absolute() {
        let sized = |bytes| Results {
            sizes: vec![Size { subject: "brig".into(), bytes }],
            ..Results::default()
        };
        assert!(failures(&sized(3 << 20), Scenario::Size, &[]).is_empty());
        assert_eq!(failures(&sized((3 << 20) + 1), Scenario::Size, &[]).len(), 1);
    }
}
