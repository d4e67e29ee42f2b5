//! What a seccomp filter costs: to compile, to load, and at each call.
//!
//! Promises: Docker's default profile, compiled by brig-seccomp and by libseccomp with its binary tree,
//! is measured in the same iterations as no filter at all, in processes of their own; a filter that
//! decides otherwise than the profile is an error, not a figure. `src/bin/filters.rs` runs it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::report::{Machine, Style, Table, show, words};
use crate::statistics::{Estimate, Random, paired_ratio, summarise};

/// Whose filter it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Nobody's.
    None,
    /// brig-seccomp's.
    Brig,
    /// libseccomp's, `SCMP_FLTATR_CTL_OPTIMIZE` 2.
    Libseccomp,
}

impl Subject {
    /// All.
    pub const ALL: [Self; 3] = [Self::None, Self::Brig, Self::Libseccomp];

    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Brig => "brig",
            Self::Libseccomp => "libseccomp",
        }
    }
}

/// What is measured, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// From the profile's rules to the program's bytes.
    Compile,
    /// seccomp(2).
    Load,
    /// A call that the profile does not allow.
    Denied,
    /// A call that it allows for five values of an argument.
    Personality,
    /// A call that it allows for a mask of an argument.
    Clone,
    /// A call that it allows whatever its arguments.
    Allowed,
}

impl Quantity {
    /// All, in the order of the tables.
    pub const ALL: [Self; 6] =
        [Self::Compile, Self::Load, Self::Denied, Self::Personality, Self::Clone, Self::Allowed];

    fn name(self) -> &'static str {
        match self {
            Self::Compile => "compile",
            Self::Load => "load",
            Self::Denied => "denied",
            Self::Personality => "personality",
            Self::Clone => "clone",
            Self::Allowed => "allowed",
        }
    }

    /// The errno under a filter that decides as Docker's profile does.
    fn errno(self) -> i32 {
        match self {
            Self::Denied => 1,
            Self::Clone => 22,
            _ => 0,
        }
    }
}

/// The most that brig's may be of libseccomp's.
pub const BUDGETS: [(Quantity, f64); 5] = [
    (Quantity::Compile, 0.02),
    (Quantity::Load, 0.5),
    (Quantity::Denied, 1.0),
    (Quantity::Personality, 1.0),
    (Quantity::Clone, 1.0),
];

/// The budget in words, such as `compile ≤ 0.02 × libseccomp`.
#[must_use]
pub fn describe(budget: (Quantity, f64)) -> String {
    format!("{} ≤ {} × libseccomp", budget.0.name(), budget.1)
}

/// One iteration's values of one subject, by quantity.
pub type Sample = [Option<f64>; Quantity::ALL.len()];

/// What was measured: samples of each subject, by iteration, and the programs' lengths.
#[derive(Debug, Clone, Default)]
pub struct Results {
    samples: [Vec<Sample>; Subject::ALL.len()],
    instructions: [usize; Subject::ALL.len()],
}

/// Compiles for a subject: the nanoseconds it took, and the program's bytes.
pub type Compile<'a> = &'a dyn Fn(Subject) -> Result<Option<(f64, Vec<u8>)>>;

/// Calls in a batch: a tenth of a millisecond, which is shorter than a turn of the scheduler.
const CALLS: &str = "1000";

/// Measures.
///
/// # Errors
/// When a filter cannot be compiled or loaded, or does not decide as the profile does.
pub fn measure(iterations: usize, program: &Path, compile: Compile<'_>) -> Result<Results> {
    let dir = program.parent().context("the program has no directory")?;
    let mut results = Results::default();
    let mut random = Random::new(0x5eed);
    let mut order = Subject::ALL;
    for _ in 0..iterations {
        random.shuffle(&mut order);
        for subject in order {
            let mut sample = Sample::default();
            let mut path = PathBuf::from("-");
            if let Some((nanoseconds, bytes)) = compile(subject)? {
                sample[Quantity::Compile as usize] = Some(nanoseconds);
                results.instructions[subject as usize] = bytes.len() / 8;
                path = dir.join(format!("{}-{}.bpf", subject.name(), std::process::id()));
                std::fs::write(&path, bytes)
                    .with_context(|| format!("write {}", path.display()))?;
            }
            let run = Command::new(program).arg(CALLS).arg(&path).output();
            if subject != Subject::None {
                std::fs::remove_file(&path)?;
            }
            let run = run.with_context(|| format!("run {}", program.display()))?;
            ensure!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr).trim());
            read(&String::from_utf8_lossy(&run.stdout), subject, &mut sample)?;
            results.samples[subject as usize].push(sample);
        }
    }
    Ok(results)
}

/// Takes the program's lines into the sample.
fn read(text: &str, subject: Subject, sample: &mut Sample) -> Result<()> {
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [name, nanoseconds, errno] = fields[..] else { bail!("not a measurement: {line:?}") };
        let quantity = Quantity::ALL.into_iter().find(|quantity| quantity.name() == name);
        let quantity = quantity.with_context(|| format!("not a measurement: {line:?}"))?;
        let errno: i32 = errno.parse()?;
        ensure!(
            subject == Subject::None || errno == quantity.errno(),
            "{name} fails with errno {errno} under {}'s filter, not {}",
            subject.name(),
            quantity.errno()
        );
        sample[quantity as usize] = Some(nanoseconds.parse()?);
    }
    Ok(())
}

impl Results {
    fn values(&self, subject: Subject, quantity: Quantity) -> Vec<Option<f64>> {
        self.samples[subject as usize].iter().map(|sample| sample[quantity as usize]).collect()
    }

    /// brig's relative to libseccomp's, of the same iterations.
    #[must_use]
    pub fn ratio(&self, quantity: Quantity) -> Option<Estimate> {
        let [brig, other] =
            [Subject::Brig, Subject::Libseccomp].map(|subject| self.values(subject, quantity));
        paired_ratio(&brig, &other)
    }

    /// The budgets that are missed, with what was measured; one that was not measured is missed. A
    /// filter is a hundredth of a call, so two calls are often alike: what may be as much as another's
    /// is missed where all of the interval lies above.
    #[must_use]
    pub fn missed(&self) -> Vec<String> {
        let figures = BUDGETS.into_iter().map(|budget| (budget, self.ratio(budget.0)));
        let judged = |figure: Estimate, limit| if limit < 1.0 { figure.value } else { figure.low };
        figures
            .filter(|((_, limit), figure)| figure.is_none_or(|f| judged(f, *limit) > *limit))
            .map(|(budget, figure)| format!("{}: {}", describe(budget), show(figure)))
            .collect()
    }

    /// Both tables.
    #[must_use]
    pub fn render(&self, machine: &Machine, style: Style) -> String {
        let mut text = format!("{}\n", machine.describe());
        let mut header = words(&["filter", "instructions"]);
        header.extend(Quantity::ALL.iter().map(|quantity| format!("{} ns", quantity.name())));
        let rows = Subject::ALL.iter().map(|subject| self.row(*subject));
        let medians = Table { title: "medians".into(), header, rows: rows.collect() };
        let rows = Quantity::ALL.iter().map(|quantity| {
            let limit = BUDGETS.iter().find(|(other, _)| other == quantity);
            let limit = limit.map_or_else(|| "–".into(), |(_, limit)| limit.to_string());
            vec![quantity.name().to_owned(), show(self.ratio(*quantity)), limit]
        });
        let ratios = Table {
            title: "brig / libseccomp, paired".into(),
            header: words(&["", "ratio [95 %]", "budget"]),
            rows: rows.collect(),
        };
        let _ = write!(text, "{}{}", medians.render(style), ratios.render(style));
        text
    }

    fn row(&self, subject: Subject) -> Vec<String> {
        let mut row = vec![subject.name().to_owned()];
        let shown = self.instructions[subject as usize];
        row.push(if shown == 0 { "–".into() } else { shown.to_string() });
        row.extend(Quantity::ALL.iter().map(|quantity| {
            let values: Vec<f64> = self.values(subject, *quantity).into_iter().flatten().collect();
            summarise(&values).map_or_else(|| "–".into(), |found| format!("{:.0}", found.median))
        }));
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(brig: f64, libseccomp: f64) -> Results {
        let all = |value| vec![[Some(value); Quantity::ALL.len()]; 5];
        Results { samples: [all(1.0), all(brig), all(libseccomp)], instructions: [0, 10, 20] }
    }

    #[test]
    fn a_budget_that_is_missed_is_named_with_its_figure() {
        assert!(results(1.0, 100.0).missed().is_empty());
        assert_eq!(results(3.0, 100.0).missed(), ["compile ≤ 0.02 × libseccomp: 0.030"]);
        assert_eq!(results(2.0, 1.0).missed().len(), BUDGETS.len());
        let mut noisy = results(1.0, 100.0);
        for (at, sample) in noisy.samples[Subject::Brig as usize].iter_mut().enumerate() {
            sample[Quantity::Clone as usize] = Some([99.0, 100.0, 101.0, 102.0, 103.0][at]);
        }
        assert!(noisy.ratio(Quantity::Clone).is_some_and(|ratio| ratio.value > 1.0));
        assert!(noisy.missed().is_empty(), "{:?}", noisy.missed());
        assert_eq!(Results::default().missed().len(), BUDGETS.len());
    }

    #[test]
    fn a_filter_that_decides_otherwise_is_an_error() {
        let text = "load 10.0 0\ndenied 5.5 1\npersonality 1 0\nclone 2 22\nallowed 3 0\n";
        let mut sample = Sample::default();
        read(text, Subject::Brig, &mut sample).expect("figures");
        assert_eq!(sample, [None, Some(10.0), Some(5.5), Some(1.0), Some(2.0), Some(3.0)]);
        let allowed = "denied 5.5 14\n";
        assert!(read(allowed, Subject::Brig, &mut sample).is_err());
        assert!(read(allowed, Subject::None, &mut sample).is_ok());
        assert!(read("nonsense 1 0", Subject::None, &mut sample).is_err());
    }

    #[test]
    fn the_documentation_lists_these_budgets() {
        let page = include_str!("../../docs/performance.md");
        for budget in BUDGETS {
            let line = describe(budget);
            assert!(page.contains(&line), "docs/performance.md lacks {line:?}");
        }
    }
}
