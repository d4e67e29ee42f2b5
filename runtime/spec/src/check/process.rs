//! `process`: what execve(2), setresuid(2), capset(2), setrlimit(2), sched_setattr(2) … would refuse.

use super::super::error::Error;
use super::super::model::{
    IoPriority, IoPriorityClass, Process, Rlimit, Scheduler, SchedulerPolicy, User,
};
use super::{absolute_path, environment, no_nul, number_list};

pub(super) fn check(process: &Process) -> Result<(), Error> {
    match process.args.as_slice() {
        [] => {
            return Err(Error::missing("process.args").with_hint("give the program to run"));
        }
        [program, ..] if program.is_empty() => return Err(Error::missing("process.args[0]")),
        args => {
            for (index, arg) in args.iter().enumerate() {
                no_nul(arg, || format!("process.args[{index}]"))?;
            }
        }
    }
    environment(&process.env, "process.env")?;
    absolute_path(&process.cwd, || "process.cwd".to_owned())?;
    user(&process.user)?;
    rlimits(&process.rlimits)?;
    labels(process)?;
    if let Some(score) = process.oom_score_adj
        && !(-1000..=1000).contains(&score)
    {
        return Err(Error::range("process.oomScoreAdj", score, "-1000 to 1000"));
    }
    if let Some(size) = &process.console_size {
        // `struct winsize` has 16 bits for each (TIOCSWINSZ(2const)).
        for (name, value) in [("height", size.height), ("width", size.width)] {
            if value > u64::from(u16::MAX) {
                return Err(Error::range(
                    format!("process.consoleSize.{name}"),
                    value,
                    "0 to 65535",
                ));
            }
        }
    }
    process.io_priority.as_ref().map_or(Ok(()), io_priority)?;
    process.scheduler.as_ref().map_or(Ok(()), scheduler)?;
    if let Some(affinity) = &process.exec_cpu_affinity {
        for (name, list) in [("initial", &affinity.initial), ("final", &affinity.last)] {
            if let Some(list) = list {
                number_list(list, || format!("process.execCPUAffinity.{name}"))?;
            }
        }
    }
    Ok(())
}

/// To setresuid(2) and setgroups(2), -1 means "leave it as it is", which would be root.
fn user(user: &User) -> Result<(), Error> {
    let real = |id: u32, field: String| match id {
        u32::MAX => Err(Error::range(field, id, "0 to 4294967294")),
        _ => Ok(()),
    };
    real(user.uid, "process.user.uid".to_owned())?;
    real(user.gid, "process.user.gid".to_owned())?;
    let groups = &user.additional_gids;
    for (index, gid) in groups.iter().enumerate() {
        real(*gid, format!("process.user.additionalGids[{index}]"))?;
    }
    // `NGROUPS_MAX`, linux/limits.h.
    const GROUPS_LIMIT: usize = 65_536;
    if groups.len() > GROUPS_LIMIT {
        return Err(Error::range(
            "process.user.additionalGids",
            groups.len(),
            "at most 65536 groups",
        ));
    }
    match user.umask {
        Some(umask) if umask > 0o777 => {
            Err(Error::range("process.user.umask", format!("{umask:#o}"), "0 to 0o777 (511)"))
        }
        _ => Ok(()),
    }
}

fn rlimits(limits: &[Rlimit]) -> Result<(), Error> {
    for (index, limit) in limits.iter().enumerate() {
        if limits[..index].iter().any(|other| other.kind == limit.kind) {
            let what = format!("{} is limited twice", limit.kind.name());
            return Err(Error::conflict(format!("process.rlimits[{index}].type"), what)
                .with_hint("remove one of the two"));
        }
        if limit.soft > limit.hard {
            let what = format!("{} is above the hard limit of {}", limit.soft, limit.hard);
            return Err(Error::conflict(format!("process.rlimits[{index}].soft"), what)
                .with_hint("lower the soft limit, or raise the hard one"));
        }
    }
    Ok(())
}

/// One line each is written to /proc/self/attr.
fn labels(process: &Process) -> Result<(), Error> {
    let labels = [
        ("process.apparmorProfile", &process.apparmor_profile),
        ("process.selinuxLabel", &process.selinux_label),
    ];
    for (field, label) in labels {
        if let Some(label) = label
            && label.contains(['\0', '\n'])
        {
            return Err(Error::invalid(field, label, "has a NUL byte or a line break in it"));
        }
    }
    Ok(())
}

/// ioprio_set(2).
fn io_priority(priority: &IoPriority) -> Result<(), Error> {
    let level = priority.priority;
    let allowed = match priority.class {
        IoPriorityClass::Idle => return Ok(()),
        IoPriorityClass::RealTime | IoPriorityClass::BestEffort => 0..=7,
    };
    if allowed.contains(&level) {
        return Ok(());
    }
    Err(Error::range("process.ioPriority.priority", level, "0 to 7"))
}

/// sched_setattr(2) and sched(7).
fn scheduler(scheduler: &Scheduler) -> Result<(), Error> {
    use SchedulerPolicy as P;
    let policy = scheduler.policy;
    if policy == P::Iso {
        return Err(Error::invalid(
            "process.scheduler.policy",
            "SCHED_ISO",
            "is reserved and not in any kernel",
        ));
    }
    let nice = scheduler.nice;
    let priority = scheduler.priority;
    let nice_range = if matches!(policy, P::Other | P::Batch) { -20..=19 } else { 0..=0 };
    if !nice_range.contains(&nice) {
        let range = format!("{} to {} for {}", nice_range.start(), nice_range.end(), policy.name());
        return Err(Error::range("process.scheduler.nice", nice, &range));
    }
    let priority_range = if matches!(policy, P::Fifo | P::RoundRobin) { 1..=99 } else { 0..=0 };
    if !priority_range.contains(&priority) {
        let range =
            format!("{} to {} for {}", priority_range.start(), priority_range.end(), policy.name());
        return Err(Error::range("process.scheduler.priority", priority, &range));
    }
    deadline(scheduler, policy)
}

/// `__checkparam_dl` of the kernel: at least 1024 ns, below 2^63, runtime <= deadline <= period.
fn deadline(scheduler: &Scheduler, policy: SchedulerPolicy) -> Result<(), Error> {
    let times = [
        ("runtime", scheduler.runtime),
        ("deadline", scheduler.deadline),
        ("period", scheduler.period),
    ];
    let field = |name: &str| format!("process.scheduler.{name}");
    if policy != SchedulerPolicy::Deadline {
        return match times.iter().find(|(_, ns)| *ns != 0) {
            Some((name, _)) => Err(Error::conflict(
                field(name),
                format!("is only for SCHED_DEADLINE, not {}", policy.name()),
            )),
            None => Ok(()),
        };
    }
    let [(_, runtime), (_, deadline), (_, period)] = times;
    if let Some((name, ns)) = times.iter().find(|(_, ns)| *ns >= 1 << 63) {
        return Err(Error::range(field(name), ns, "below 2^63 nanoseconds"));
    }
    if runtime < 1024 {
        return Err(Error::range(field("runtime"), runtime, "at least 1024 nanoseconds"));
    }
    if runtime > deadline {
        return Err(Error::conflict(
            field("runtime"),
            format!("{runtime} is more than the deadline of {deadline}"),
        ));
    }
    // A period of 0 means that of the deadline.
    if period != 0 && deadline > period {
        return Err(Error::conflict(
            field("deadline"),
            format!("{deadline} is more than the period of {period}"),
        ));
    }
    Ok(())
}
