//! Rules about controls of the cgroup beside those of [`super::resources`]: swap, disks, huge pages, and what only files of
//! cgroup v2 hold.
//!
//! Where a host has cgroup v1 there is no such file: that is recorded, and refused where nothing else keeps what the rule
//! is for.

use std::collections::BTreeMap;

use brig_spec::{BlockIo, HugepageLimit, Resources, ThrottleDevice};

use super::resources::NO_CGROUP;
use super::{Facts, is_on, rule};
use crate::profile::Profile;
use crate::value::{Bytes, DiskRates};
use crate::verdict::{Rule, Verdicts};

const SWAP: &str = "memory.swap.max";

/// Files with rules of their own: their names, the rules, the least and the most, and whether these have to be.
fn files(profile: &Profile) -> [(&'static str, Rule, i64, Option<i64>); 4] {
    let tree = rule!(profile, cgroup_tree);
    let number = |most: Option<u32>| most.map(i64::from);
    [
        ("memory.high", rule!(profile, memory_high), 0, profile.memory_high.max.map(|max| max.0)),
        ("memory.oom.group", rule!(profile, oom_group), 1, Some(1)),
        ("cgroup.max.descendants", tree, 0, number(profile.cgroup_tree.max_descendants)),
        ("cgroup.max.depth", tree, 0, number(profile.cgroup_tree.max_depth)),
    ]
}

/// Whether a rule here says what a file may have in it.
pub(super) fn judges(file: &str, profile: &Profile) -> bool {
    files(profile).iter().any(|(name, rule, ..)| *name == file && is_on(*rule))
}

/// `facts` of a container that is made; a change has none, and leaves as it is what it does not name. `writes_cgroups`: nothing
/// else keeps the container from making cgroups.
pub(super) fn judge(
    resources: &mut Resources,
    profile: &Profile,
    facts: Option<&Facts>,
    writes_cgroups: bool,
    verdicts: &mut Verdicts,
) {
    swap(resources, profile, facts, verdicts);
    let block_io = resources.block_io.get_or_insert_default();
    io(block_io, profile, facts.is_some(), verdicts);
    resources.block_io = resources.block_io.take().filter(|all| *all != BlockIo::default());
    huge_pages(&mut resources.hugepage_limits, profile, facts, verdicts);
    by_name(&mut resources.unified, profile, verdicts);
    for (file, rule, least, most) in files(profile) {
        let Some(most) = most.filter(|_| is_on(rule)) else { continue };
        match facts {
            Some(facts) if !resources.unified.contains_key(file) && facts.unlimitable.has(file) => {
                let field = format!("linux.resources.unified[{file:?}]");
                verdicts.miss(rule, field, "as the kernel has it", NO_CGROUP);
            }
            Some(facts) if !facts.cgroup_v2 => {
                let is_kept = file.starts_with("memory.") || !writes_cgroups;
                let asked = format!("no {file}, which needs cgroup v2,");
                verdicts.lack(rule, "linux.resources.unified", asked, is_kept);
            }
            _ => control(&mut resources.unified, file, (rule, least, most), facts, verdicts),
        }
    }
}

/// A file that has a number in it, which a container that is made has in any case.
fn control(
    unified: &mut BTreeMap<String, String>,
    file: &str,
    (rule, least, most): (Rule, i64, i64),
    facts: Option<&Facts>,
    verdicts: &mut Verdicts,
) {
    let field = format!("linux.resources.unified[{file:?}]");
    let asked = unified.get(file).map(|text| text.trim());
    let words = match asked {
        None if facts.is_none() => return,
        None => "as the kernel has it".to_owned(),
        Some("max") => "no limit".to_owned(),
        Some(text) => match text.parse::<i64>() {
            Ok(asked) if (least..=most).contains(&asked) => return,
            Ok(asked) => asked.to_string(),
            // It may be less than the rule allows.
            Err(_) => {
                return verdicts.refuse(rule, field, format!("{text:?}, which is no number,"));
            }
        },
    };
    if verdicts.limit(rule, field, words, most.to_string()) {
        unified.insert(file.to_owned(), most.to_string());
    }
}

/// The field is memory and swap together (config-linux.md "Memory"); 0 is what Go cannot tell from none. A change of the
/// memory alone leaves v2's limit of swap as it is, and v1's of both.
fn swap(
    resources: &mut Resources,
    profile: &Profile,
    facts: Option<&Facts>,
    verdicts: &mut Verdicts,
) {
    let rule = rule!(profile, swap);
    let Some(max) = profile.swap.max.filter(|_| is_on(rule)) else { return };
    let field = "linux.resources.memory.swap";
    let mut memory = resources.memory.unwrap_or_default();
    let above_0 = |amount: Option<i64>| amount.filter(|amount| *amount > 0);
    let asked = memory.swap.filter(|both| *both != 0);
    let is_named = resources.unified.contains_key(SWAP);
    if facts.is_some_and(|facts| facts.unlimitable.memory)
        && !is_named
        && above_0(memory.limit).is_none()
        && asked.is_none()
    {
        return verdicts.miss(rule, field, "no limit", NO_CGROUP);
    }
    match (above_0(memory.limit), facts) {
        (Some(limit), _) => {
            let most = limit.saturating_add(max.0);
            let both = above_0(asked);
            if (asked.is_none() && facts.is_none()) || both.is_some_and(|both| both <= most) {
            } else if facts.is_some_and(|facts| !facts.limits_swap) {
                verdicts.lack(rule, field, "no limit, as the kernel has none,", true);
            } else {
                let words = both.map_or("no limit".to_owned(), |both| Bytes(both).to_string());
                if verdicts.limit(rule, field, words, format!("{max} beside the memory")) {
                    memory.swap = Some(most);
                    resources.memory = Some(memory);
                }
            }
        }
        (None, Some(facts)) if facts.cgroup_v2 => {}
        (None, _) if asked.is_some() || facts.is_some() => {
            verdicts.refuse(rule, field, "swap without a limit of memory beside it");
        }
        (None, _) => {}
    }
    if is_named || facts.is_some_and(|facts| facts.cgroup_v2) && above_0(memory.limit).is_none() {
        control(&mut resources.unified, SWAP, (rule, 0, max.0), facts, verdicts);
    }
}

/// The usual weight is not the same on all hosts (cgroup v1, v2, BFQ), and many have none: where none is asked for it holds.
fn io(asked: &mut BlockIo, profile: &Profile, is_new: bool, verdicts: &mut Verdicts) {
    let rule = rule!(profile, io);
    let Some(most) = profile.io.weight.filter(|_| is_on(rule)) else { return };
    let mut lower = |name: &str, weight: &mut Option<u16>| {
        let field = format!("linux.resources.blockIO.{name}");
        if let Some(more) = weight.filter(|weight| *weight > most)
            && verdicts.limit(rule, field, more.to_string(), most.to_string())
        {
            *weight = Some(most);
        }
    };
    lower("weight", &mut asked.weight);
    lower("leafWeight", &mut asked.leaf_weight);
    for (index, device) in asked.weight_device.iter_mut().enumerate() {
        lower(&format!("weightDevice[{index}].weight"), &mut device.weight);
        lower(&format!("weightDevice[{index}].leafWeight"), &mut device.leaf_weight);
    }
    let lists = [
        ("throttleReadBpsDevice", &mut asked.throttle_read_bps_device),
        ("throttleWriteBpsDevice", &mut asked.throttle_write_bps_device),
        ("throttleReadIOPSDevice", &mut asked.throttle_read_iops_device),
        ("throttleWriteIOPSDevice", &mut asked.throttle_write_iops_device),
    ];
    for (which, (name, list)) in lists.into_iter().enumerate() {
        for disk in profile.io.disks.iter().flatten() {
            if let Some(most) = disk.rates().get(which).copied().flatten() {
                let field = format!("linux.resources.blockIO.{name}");
                throttle(list, &field, disk, most, (rule, is_new), verdicts);
            }
        }
    }
}

/// Of a disk that is listed twice, the last rate holds.
fn throttle(
    list: &mut Vec<ThrottleDevice>,
    field: &str,
    disk: &DiskRates,
    most: u64,
    (rule, is_new): (Rule, bool),
    verdicts: &mut Verdicts,
) {
    let (major, minor) = (disk.device.major, disk.device.minor);
    let mut is_named = false;
    for (index, one) in list.iter_mut().enumerate() {
        if (one.major, one.minor) == (major, minor) {
            is_named = true;
            if (one.rate == 0 || one.rate > most)
                && verdicts.limit(
                    rule,
                    format!("{field}[{index}]"),
                    one.rate.to_string(),
                    most.to_string(),
                )
            {
                one.rate = most;
            }
        }
    }
    let asked = format!("no rate of {}", disk.device);
    if !is_named && is_new && verdicts.limit(rule, field, asked, most.to_string()) {
        list.push(ThrottleDevice { major, minor, rate: most });
    }
}

fn huge_pages(
    limits: &mut Vec<HugepageLimit>,
    profile: &Profile,
    facts: Option<&Facts>,
    verdicts: &mut Verdicts,
) {
    let rule = rule!(profile, hugetlb);
    let Some(max) = profile.hugetlb.max.filter(|_| is_on(rule)) else { return };
    for (index, one) in limits.iter_mut().enumerate() {
        if one.limit < 0 || one.limit > max.0 {
            let asked = match one.limit {
                ..0 => "no limit".to_owned(),
                bytes => Bytes(bytes).to_string(),
            };
            let field = format!("linux.resources.hugepageLimits[{index}]");
            if verdicts.limit(rule, field, asked, max.to_string()) {
                one.limit = max.0;
            }
        }
    }
    for size in facts.into_iter().flat_map(|facts| &facts.huge_pages) {
        let asked = format!("no limit of pages of {size}");
        if !limits.iter().any(|one| one.page_size == *size)
            && verdicts.limit(rule, "linux.resources.hugepageLimits", asked, max.to_string())
        {
            limits.push(HugepageLimit { page_size: size.clone(), limit: max.0 });
        }
    }
}

/// `MAJOR:MINOR` in the one spelling.
fn device(word: &str) -> Option<String> {
    let (major, minor) = word.split_once(':')?;
    let number = |digits: &str| digits.parse::<u32>().ok();
    Some(format!("{}:{}", number(major)?, number(minor)?))
}

/// Files by name that stand against what has fields of its own: written last, they would hold.
fn by_name(unified: &mut BTreeMap<String, String>, profile: &Profile, verdicts: &mut Verdicts) {
    let (rule_io, rule_pages) = (rule!(profile, io), rule!(profile, hugetlb));
    let pages = profile.hugetlb.max.unwrap_or_default();
    let disks = profile.io.disks.as_deref().unwrap_or_default();
    unified.retain(|file, value| {
        let (rule, fits) = match file.as_str() {
            // Of both the usual is 100, which every rule allows; more is not, whatever it comes to in the field.
            "io.weight" | "io.bfq.weight" => {
                let is_known = |word: &str| {
                    let is_weight = word.parse().is_ok_and(|weight: u32| weight <= 100);
                    is_weight || word == "default" || device(word).is_some()
                };
                (rule_io, value.split_whitespace().all(is_known))
            }
            "io.max" => {
                // The kernel takes numbers that are spelled in other ways; what is no number to us may be one to it.
                let is_listed = |line: &str| {
                    let found = line.split_whitespace().next().and_then(device);
                    found.is_none_or(|found| disks.iter().any(|disk| disk.numbers() == found))
                };
                (rule_io, disks.is_empty() || !value.lines().any(is_listed))
            }
            file if file.starts_with("hugetlb.") => {
                let bytes = value.trim().parse::<i64>();
                (rule_pages, bytes.is_ok_and(|bytes| (0..=pages.0).contains(&bytes)))
            }
            _ => return true,
        };
        let field = format!("linux.resources.unified[{file:?}]");
        fits || !is_on(rule)
            || !verdicts.limit(rule, field, format!("{value:?}"), "the limit's own field")
    });
}
