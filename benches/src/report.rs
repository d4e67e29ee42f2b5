//! What was measured, as text, as Markdown and as JSON.

use std::fs;

use serde_json::{Value, json};

use crate::budget::{Budget, Quantity, Verdict, growth};
use crate::ground::is_cgroup_v2;
use crate::scenario::{Extent, Lane, Load, Outcome, Results, Scenario};
use crate::statistics::{Estimate, Summary, paired_ratio, summarise};
use crate::subject::Subject;

/// What ratios are taken to.
const REFERENCES: [&str; 3] = ["crun", "runc", "floor"];

/// How tables are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Aligned columns for a terminal.
    Text,
    /// For `docs/performance.md`.
    Markdown,
}

/// The machine and how busy it was.
#[derive(Debug, Clone)]
pub struct Machine {
    kernel: String,
    processor: String,
    processors: usize,
    load_before: String,
}

impl Machine {
    /// Looks at the machine before the measurement.
    #[must_use]
    pub fn look() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        Self {
            kernel: kernel_version(),
            processor: model
                .and_then(|line| line.split_once(": "))
                .map_or_else(|| "unknown".into(), |(_, name)| name.trim().to_owned()),
            processors: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            load_before: load_average(),
        }
    }

    /// The load average of the last minute before the measurement.
    #[must_use]
    pub fn load(&self) -> f64 {
        self.load_before.parse().unwrap_or(0.0)
    }

    /// The number of processors.
    #[must_use]
    pub fn processors(&self) -> usize {
        self.processors
    }

    pub(crate) fn describe(&self) -> String {
        format!(
            "Linux {}, {} × {}, cgroup {}, load average {} before and {} after.",
            self.kernel,
            self.processors,
            self.processor,
            cgroup_layout(),
            self.load_before,
            load_average()
        )
    }
}

/// The lane of a subject in a scenario.
#[must_use]
pub fn lane_of<'a>(
    results: &'a Results,
    scenario: Scenario,
    subject: &str,
    load: Load,
) -> Option<&'a Lane> {
    let outcome = results.outcomes.iter().find(|outcome| outcome.scenario == scenario)?;
    find_lane(outcome, subject, load)
}

/// A lane's values of a quantity that every sample has: µs for times, KiB for memory.
#[must_use]
pub fn quantity_values(lane: &Lane, quantity: Quantity) -> Vec<Option<f64>> {
    let value = |sample: &crate::meter::Sample| match quantity {
        Quantity::Cpu => (sample.user_us + sample.system_us) as f64,
        Quantity::Memory => sample.max_rss_kib as f64,
        _ => sample.wall_ns as f64 / 1000.0,
    };
    lane.samples.iter().map(|sample| sample.as_ref().map(value)).collect()
}

/// All tables.
#[must_use]
pub fn render(results: &Results, machine: &Machine, subjects: &[Subject], style: Style) -> String {
    let mut text = format!("{}\n", machine.describe());
    for subject in subjects {
        if let Some(version) = subject.version() {
            text.push_str(&format!("{}: {version}.\n", subject.name));
        }
    }
    if !results.sizes.is_empty() {
        text.push_str(&size_table(results).render(style));
    }
    for outcome in &results.outcomes {
        for table in outcome_tables(results, outcome) {
            text.push_str(&table.render(style));
        }
    }
    text
}

/// The budgets and how each came out.
#[must_use]
pub fn render_budgets(judged: &[(Budget, Verdict)], style: Style) -> String {
    let rows = judged.iter().map(|(budget, verdict)| {
        let (word, figure) = match verdict {
            Verdict::Kept(figure) => ("kept", Some(*figure)),
            Verdict::Missed(figure) => ("MISSED", Some(*figure)),
            Verdict::Unmeasured => ("NOT MEASURED", None),
            Verdict::Skipped => ("skipped", None),
        };
        let is_close =
            figure.is_some_and(|figure| figure.low <= budget.limit && budget.limit < figure.high);
        let word = if is_close { format!("{word}, but within the noise") } else { word.to_owned() };
        vec![budget.describe(), show(figure), word]
    });
    Table {
        title: "budgets".into(),
        header: words(&["budget", "measured", ""]),
        rows: rows.collect(),
    }
    .render(style)
}

/// Everything, with all samples.
#[must_use]
pub fn json(results: &Results, machine: &Machine, subjects: &[Subject], extent: Extent) -> Value {
    let lanes = |outcome: &Outcome| -> Vec<Value> { outcome.lanes.iter().map(lane_json).collect() };
    let scenarios: Vec<Value> = results
        .outcomes
        .iter()
        .map(|outcome| json!({ "name": outcome.scenario.name(), "lanes": lanes(outcome) }))
        .collect();
    let subjects: Vec<Value> = subjects
        .iter()
        .map(|subject| json!({ "name": subject.name, "version": subject.version() }))
        .collect();
    let sizes: Vec<Value> = results
        .sizes
        .iter()
        .map(|size| json!({ "subject": size.subject, "bytes": size.bytes }))
        .collect();
    json!({
        "machine": {
            "kernel": machine.kernel,
            "processor": machine.processor,
            "processors": machine.processors,
            "cgroups": cgroup_layout(),
            "load_before": machine.load_before,
            "load_after": load_average(),
        },
        "extent": {
            "iterations": extent.iterations,
            "gap_ms": extent.gap.as_millis() as u64,
            "mounts": extent.mounts,
            "containers": extent.containers,
        },
        "subjects": subjects,
        "sizes": sizes,
        "scenarios": scenarios,
        "left_behind": results.left_behind,
    })
}

fn lane_json(lane: &Lane) -> Value {
    let samples: Vec<Value> = lane
        .samples
        .iter()
        .map(|sample| {
            sample.map_or(Value::Null, |sample| {
                json!({
                    "wall_ns": sample.wall_ns,
                    "user_us": sample.user_us,
                    "system_us": sample.system_us,
                    "max_rss_kib": sample.max_rss_kib,
                    "minor_faults": sample.minor_faults,
                })
            })
        })
        .collect();
    json!({
        "subject": lane.subject,
        "beside": lane.beside,
        "loaded": lane.load == Load::Added,
        "syscalls": lane.syscalls,
        "failures": lane.failures,
        "samples": samples,
    })
}

pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn render(&self, style: Style) -> String {
        match style {
            Style::Text => self.render_text(),
            Style::Markdown => self.render_markdown(),
        }
    }

    fn render_text(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&self.header]).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let lines: Vec<String> = [&self.header].into_iter().chain(&self.rows).map(line).collect();
        format!("\n{}\n{}\n", self.title, lines.join("\n"))
    }

    fn render_markdown(&self) -> String {
        let line = |row: &Vec<String>| format!("| {} |\n", row.join(" | "));
        let rule: String = (0..self.header.len())
            .map(|column| if column == 0 { "|---" } else { "|--:" })
            .collect();
        let rows: String = self.rows.iter().map(line).collect();
        format!("\n### {}\n\n{}{rule}|\n{rows}", self.title, line(&self.header))
    }
}

fn size_table(results: &Results) -> Table {
    let row = |size: &crate::scenario::Size| {
        let mib = size.bytes as f64 / f64::from(1 << 20);
        vec![size.subject.clone(), size.bytes.to_string(), format!("{mib:.2}")]
    };
    Table {
        title: "size: the program, without shared libraries".into(),
        header: words(&["subject", "bytes", "MiB"]),
        rows: results.sizes.iter().map(row).collect(),
    }
}

fn outcome_tables(results: &Results, outcome: &Outcome) -> Vec<Table> {
    let mut tables = vec![figures_table(outcome)];
    match outcome.scenario {
        Scenario::Mounts | Scenario::Containers => tables.push(growth_table(results, outcome)),
        _ => tables.push(ratio_table(outcome)),
    }
    tables
}

fn figures_table(outcome: &Outcome) -> Table {
    let row = |lane: &Lane| {
        let wall = summary_of(lane, Quantity::Wall);
        let cpu = summary_of(lane, Quantity::Cpu);
        let memory = summary_of(lane, Quantity::Memory);
        let faults: Vec<f64> =
            lane.samples.iter().flatten().map(|sample| sample.minor_faults as f64).collect();
        let whole =
            |value: Option<f64>| value.map_or_else(|| "–".into(), |value| format!("{value:.0}"));
        vec![
            label(lane),
            whole(wall.map(|wall| wall.median)),
            whole(wall.map(|wall| wall.min)),
            whole(wall.map(|wall| wall.p90)),
            whole(cpu.map(|cpu| cpu.median)),
            whole(cpu.map(|cpu| cpu.min)),
            whole(memory.map(|memory| memory.median)),
            whole(summarise(&faults).map(|faults| faults.median)),
            lane.syscalls.map_or_else(|| "–".into(), |count| count.to_string()),
            format!("{}/{}", lane.failures.len(), lane.samples.len()),
        ]
    };
    Table {
        title: format!("{}: {}", outcome.scenario.name(), purpose(outcome.scenario)),
        header: words(&[
            "subject", "wall µs", "min", "p90", "CPU µs", "min", "peak KiB", "faults", "syscalls",
            "failed",
        ]),
        rows: outcome.lanes.iter().map(row).collect(),
    }
}

fn ratio_table(outcome: &Outcome) -> Table {
    let references: Vec<&Lane> =
        REFERENCES.iter().filter_map(|name| find_lane(outcome, name, Load::None)).collect();
    let quantities: &[(Quantity, &str)] = match outcome.scenario {
        Scenario::Memory => &[(Quantity::Memory, "memory")],
        _ => &[(Quantity::Wall, "wall"), (Quantity::Cpu, "CPU")],
    };
    let mut header = vec!["ratio [95 %]".to_owned()];
    for (_, name) in quantities {
        header.extend(references.iter().map(|lane| format!("{name} / {}", lane.subject)));
    }
    let row = |lane: &Lane| {
        let mut cells = vec![label(lane)];
        for (quantity, _) in quantities {
            let own = quantity_values(lane, *quantity);
            cells.extend(references.iter().map(|reference| {
                if reference.subject == lane.subject {
                    return "1".into();
                }
                show(paired_ratio(&own, &quantity_values(reference, *quantity)))
            }));
        }
        cells
    };
    let title = format!("{}: paired ratios", outcome.scenario.name());
    Table { title, header, rows: outcome.lanes.iter().map(row).collect() }
}

fn growth_table(results: &Results, outcome: &Outcome) -> Table {
    let loaded = outcome.lanes.iter().filter(|lane| lane.load == Load::Added);
    let row = |lane: &Lane| {
        let growth_of = |quantity| {
            let beside = lane.beside.as_deref();
            show(growth(results, outcome.scenario, &lane.subject, beside, quantity))
        };
        let name = label(&Lane { load: Load::None, ..lane.clone() });
        vec![name, growth_of(Quantity::Wall), growth_of(Quantity::Cpu)]
    };
    Table {
        title: format!("{}: growth", outcome.scenario.name()),
        header: words(&["subject", "wall, loaded / not [95 %]", "CPU, loaded / not [95 %]"]),
        rows: loaded.map(row).collect(),
    }
}

fn purpose(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::Run => "`run` of a program that ends at once, back to back",
        Scenario::RunGap => "the same after idle time",
        Scenario::RunDocker => "`run` of Docker's bundle",
        Scenario::Create => {
            "`create`; what the container's own process does is not in CPU and faults"
        }
        Scenario::Start => "`start` of a created container",
        Scenario::Exec => "`exec` in a running container",
        Scenario::Mounts => "`run` among many mounts",
        Scenario::Containers => "`run` among many containers",
        Scenario::Memory => "peak memory of `run`",
        Scenario::Size => "size",
    }
}

fn label(lane: &Lane) -> String {
    let beside = lane.beside.as_ref().map_or_else(String::new, |name| format!(" beside {name}"));
    let load = if lane.load == Load::Added { ", loaded" } else { "" };
    format!("{}{beside}{load}", lane.subject)
}

fn find_lane<'a>(outcome: &'a Outcome, subject: &str, load: Load) -> Option<&'a Lane> {
    outcome.lanes.iter().find(|lane| lane.subject == subject && lane.load == load)
}

fn summary_of(lane: &Lane, quantity: Quantity) -> Option<Summary> {
    let values: Vec<f64> = quantity_values(lane, quantity).into_iter().flatten().collect();
    summarise(&values)
}

pub(crate) fn show(estimate: Option<Estimate>) -> String {
    match estimate {
        None => "–".into(),
        Some(Estimate { value, low, high }) if low == high => format!("{value:.3}"),
        Some(Estimate { value, low, high }) => format!("{value:.3} [{low:.3}, {high:.3}]"),
    }
}

pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn cgroup_layout() -> &'static str {
    if is_cgroup_v2() { "v2" } else { "v1" }
}

/// The version without what a distribution or a cloud appends to it.
fn kernel_version() -> String {
    let release = read_line("/proc/sys/kernel/osrelease");
    release.split('-').next().unwrap_or_default().to_owned()
}

fn load_average() -> String {
    let line = read_line("/proc/loadavg");
    line.split_whitespace().next().unwrap_or("0").to_owned()
}

fn read_line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}
