//! A scope's unit properties: what systemd is told of the limits that are written to its files.
//!
//! systemd writes its own view again whenever the daemon is reloaded, so it has to know.
//! Reference: systemd.resource-control(5), org.freedesktop.systemd1(5).

use brig_spec::NumberList;

use super::scope::Scope;
use super::step::{Absent, Step, writes};
pub(crate) use super::value::{Property, Value};

/// Those of a new scope around process `pid`, with the limits in `steps`.
pub(crate) fn of_scope(scope: &Scope, steps: &[Step], pid: i32) -> Vec<Property> {
    let mut properties = vec![
        ("Description", Value::Text(scope.description.clone())),
        ("Slice", Value::Text(scope.slice.clone())),
        ("PIDs", Value::Pids(vec![pid.unsigned_abs()])),
        // The tree below the scope is the container's; systemd keeps out of it.
        ("Delegate", Value::Flag(true)),
        // The container does not end before the services that it may need.
        ("DefaultDependencies", Value::Flag(false)),
        // A scope that has failed goes away by itself (systemd 236).
        ("CollectMode", Value::Text("inactive-or-failed".into())),
        ("MemoryAccounting", Value::Flag(true)),
        ("CPUAccounting", Value::Flag(true)),
        ("IOAccounting", Value::Flag(true)),
        ("TasksAccounting", Value::Flag(true)),
    ];
    properties.retain(|(name, _)| scope.asked.iter().all(|(asked, _)| asked != name));
    properties.extend(scope.asked.iter().cloned());
    properties.extend(of_limits(steps));
    properties
}

/// Those that say what `steps` write. A control for which systemd has no
/// property is one that it does not touch.
pub(crate) fn of_limits(steps: &[Step]) -> Vec<Property> {
    let mut found = Vec::new();
    for write in writes(steps) {
        let number = || match write.value.as_str() {
            "max" => Some(u64::MAX),
            value => value.parse().ok(),
        };
        let name = match write.file.as_str() {
            "memory.max" => "MemoryMax",
            "memory.high" => "MemoryHigh",
            "memory.low" => "MemoryLow",
            "memory.min" => "MemoryMin",
            "memory.swap.max" => "MemorySwapMax",
            "pids.max" => "TasksMax",
            "cpu.weight" => "CPUWeight",
            "io.weight" => "IOWeight",
            "io.bfq.weight" => {
                if let Absent::Instead { value, .. } = &write.absent {
                    let value = value.parse().ok().map(Value::Number);
                    found.extend(value.map(|value| ("IOWeight", value)));
                }
                continue;
            }
            "cpuset.cpus" | "cpuset.mems" => {
                let name =
                    if write.file.ends_with("cpus") { "AllowedCPUs" } else { "AllowedMemoryNodes" };
                // What only the kernel can read (`unified` may say `all`) is for the file alone.
                let list = NumberList::parse(&write.value);
                found.extend(list.map(|list| (name, Value::Bytes(list.bytes()))));
                continue;
            }
            "cpu.max" => {
                found.extend(quota(&write.value));
                continue;
            }
            _ => continue,
        };
        found.extend(number().map(|number| (name, Value::Number(number))));
    }
    found
}

/// `CPUQuotaPerSecUSec` and the period for a value of `cpu.max`. systemd rounds to whole
/// percents; the exact value is written to the file afterwards, and never above this.
fn quota(value: &str) -> Vec<Property> {
    const DEFAULT_PERIOD_US: u64 = 100_000;
    const PERCENT_US: u64 = 10_000;
    let mut words = value.split_whitespace();
    let quota = words.next().and_then(|word| word.parse::<u64>().ok());
    let period = words.next().and_then(|word| word.parse::<u64>().ok());
    let mut found = Vec::new();
    if let Some(period) = period {
        found.push(("CPUQuotaPeriodUSec", Value::Number(period)));
    }
    let per_second = quota.map_or(u64::MAX, |quota| {
        let period = period.unwrap_or(DEFAULT_PERIOD_US).max(1);
        (quota.saturating_mul(1_000_000) / period).div_ceil(PERCENT_US).saturating_mul(PERCENT_US)
    });
    found.push(("CPUQuotaPerSecUSec", Value::Number(per_second)));
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::scope::tests::{facts, request};
    use super::super::{CgroupPlan, CgroupRequest};
    use super::*;

    fn planned(resources: &str) -> CgroupPlan {
        let resources = serde_json::from_str(resources).unwrap();
        let request = CgroupRequest { resources: Some(&resources), ..request(None, false) };
        CgroupPlan::new(&facts("/"), &request).unwrap()
    }

    #[test]
    fn limits_are_properties_too() {
        let plan = planned(
            r#"{"memory": {"limit": 100, "swap": 300}, "pids": {"limit": -1},
                "cpu": {"shares": 1024, "quota": 33333, "period": 50000, "cpus": "0-2,9", "mems": "0-7:1/4"},
                "blockIO": {"weight": 1000}}"#,
        );
        let expected = [
            ("AllowedCPUs", Value::Bytes(vec![0b111, 0b10])),
            ("AllowedMemoryNodes", Value::Bytes(vec![0b1_0001])),
            ("CPUWeight", Value::Number(100)),
            ("CPUQuotaPeriodUSec", Value::Number(50000)),
            ("CPUQuotaPerSecUSec", Value::Number(670_000)),
            ("MemorySwapMax", Value::Number(200)),
            ("MemoryMax", Value::Number(100)),
            ("TasksMax", Value::Number(u64::MAX)),
            ("IOWeight", Value::Number(10_000)),
        ];
        assert_eq!(of_limits(&plan.steps), expected);
        assert!(
            plan.lines()[0]
                .starts_with("start transient unit brig-web\\x2b1.scope in system.slice")
        );
    }
}
