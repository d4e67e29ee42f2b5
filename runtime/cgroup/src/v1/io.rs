//! cgroup v1's limits on what is outside processor and memory: block devices, huge
//! pages, the network, RDMA.

use std::collections::BTreeMap;

use brig_spec::{BlockIo, HugepageLimit, Network, Rdma, ThrottleDevice};

use super::super::Error;
use super::super::convert::check_page_size;
use super::super::plan::{Absent, Step, Targets, Write};
use super::super::v2;

/// `linux.resources.blockIO.weight` and its kind: 10 to 1000, 0 is "not set".
pub(crate) fn check_weight(weight: Option<u16>, field: &str) -> Result<Option<u16>, Error> {
    match weight {
        Some(0) | None => Ok(None),
        Some(weight) if (10..=1000).contains(&weight) => Ok(Some(weight)),
        Some(weight) => Err(Error::field(field, format!("{weight} is not between 10 and 1000"))),
    }
}

pub(super) fn io_limits(
    steps: &mut Vec<Step>,
    targets: &Targets<'_>,
    io: &BlockIo,
) -> Result<(), Error> {
    let mut push = |file: &str, bfq: Option<&str>, value: String, field: &str| {
        let instead = |file: &str| Absent::Instead { file: file.into(), value: value.clone() };
        let absent = bfq.map_or(Absent::Fail, instead);
        let directory = targets.need("blkio", field)?;
        steps.push(Step::Write(Write::new(directory, file, value, field).absent(absent)));
        Ok::<(), Error>(())
    };
    let field = "linux.resources.blockIO.weight";
    if let Some(weight) = check_weight(io.weight, field)? {
        push("blkio.weight", Some("blkio.bfq.weight"), weight.to_string(), field)?;
    }
    let field = "linux.resources.blockIO.leafWeight";
    if let Some(weight) = check_weight(io.leaf_weight, field)? {
        push("blkio.leaf_weight", None, weight.to_string(), field)?;
    }
    for (index, device) in io.weight_device.iter().enumerate() {
        let name = format!("{}:{}", device.major, device.minor);
        let field = format!("linux.resources.blockIO.weightDevice[{index}].weight");
        if let Some(weight) = check_weight(device.weight, &field)? {
            let value = format!("{name} {weight}");
            push("blkio.weight_device", Some("blkio.bfq.weight_device"), value, &field)?;
        }
        let field = format!("linux.resources.blockIO.weightDevice[{index}].leafWeight");
        if let Some(weight) = check_weight(device.leaf_weight, &field)? {
            push("blkio.leaf_weight_device", None, format!("{name} {weight}"), &field)?;
        }
    }
    for (devices, name, file) in throttles(io) {
        for (index, device) in devices.iter().enumerate() {
            let field = format!("linux.resources.blockIO.{name}[{index}]");
            let value = format!("{}:{} {}", device.major, device.minor, device.rate);
            push(&format!("blkio.throttle.{file}"), None, value, &field)?;
        }
    }
    Ok(())
}

/// The four throttle lists with their name in config.json and in v1.
pub(crate) fn throttles(io: &BlockIo) -> [(&[ThrottleDevice], &'static str, &'static str); 4] {
    [
        (&io.throttle_read_bps_device, "throttleReadBpsDevice", "read_bps_device"),
        (&io.throttle_write_bps_device, "throttleWriteBpsDevice", "write_bps_device"),
        (&io.throttle_read_iops_device, "throttleReadIOPSDevice", "read_iops_device"),
        (&io.throttle_write_iops_device, "throttleWriteIOPSDevice", "write_iops_device"),
    ]
}

pub(super) fn hugetlb_limits(
    steps: &mut Vec<Step>,
    targets: &Targets<'_>,
    limits: &[HugepageLimit],
) -> Result<(), Error> {
    for (index, limit) in limits.iter().enumerate() {
        let field = format!("linux.resources.hugepageLimits[{index}]");
        let size = &limit.page_size;
        check_page_size(size, &field)?;
        let Some((directory, unified)) = targets.find("hugetlb") else {
            targets.need("hugetlb", &field)?;
            continue;
        };
        if unified {
            v2::hugetlb_limit(steps, directory, limit, &field);
            continue;
        }
        let value = limit.limit.max(-1);
        // Reservations are limited alike, or a container could reserve every page
        // of the host (Linux 5.7, hugetlb.rst).
        for (kind, absent) in [("", Absent::Fail), ("rsvd.", Absent::Satisfied)] {
            let file = format!("hugetlb.{size}.{kind}limit_in_bytes");
            let write = Write::new(directory, file, value, field.as_str());
            steps.push(Step::Write(write.default_if(value == -1).absent(absent)));
        }
    }
    Ok(())
}

pub(super) fn network_limits(
    steps: &mut Vec<Step>,
    targets: &Targets<'_>,
    network: &Network,
) -> Result<(), Error> {
    if let Some(class) = network.class_id.filter(|class| *class != 0) {
        let field = "linux.resources.network.classID";
        let directory = targets.need("net_cls", field)?;
        steps.push(Step::Write(Write::new(directory, "net_cls.classid", class, field)));
    }
    for (index, priority) in network.priorities.iter().enumerate() {
        let field = format!("linux.resources.network.priorities[{index}]");
        let name = &priority.name;
        // IFNAMSIZ is 16 with the terminator; the file's separator is white space.
        if name.is_empty()
            || name.len() > 15
            || name.contains(|c: char| c.is_whitespace() || c == '/')
        {
            return Err(Error::field(field, format!("{name:?} is not the name of an interface")));
        }
        let directory = targets.need("net_prio", &field)?;
        let value = format!("{name} {}", priority.priority);
        steps.push(Step::Write(Write::new(directory, "net_prio.ifpriomap", value, field)));
    }
    Ok(())
}

/// `rdma.max`: the same file in v1 and v2 (rdma.rst).
pub(crate) fn rdma_limits(
    steps: &mut Vec<Step>,
    targets: &Targets<'_>,
    rdma: &BTreeMap<String, Rdma>,
) -> Result<(), Error> {
    for (name, limit) in rdma {
        let field = format!("linux.resources.rdma.{name}");
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(Error::field(field, format!("{name:?} is not the name of a device")));
        }
        let mut value = name.clone();
        for (key, limit) in [("hca_handle", limit.hca_handles), ("hca_object", limit.hca_objects)] {
            if let Some(limit) = limit {
                value.push_str(&format!(" {key}={limit}"));
            }
        }
        if value.len() > name.len() {
            let directory = targets.need("rdma", &field)?;
            steps.push(Step::Write(Write::new(directory, "rdma.max", value, field)));
        }
    }
    Ok(())
}
