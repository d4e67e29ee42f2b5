//! Measuring: one function per kind of scenario, all over the same interleaved loop.
//!
//! Promises: every subject meets the same conditions in the same iteration, and no container stays behind,
//! whether a command fails, hangs or is interrupted.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::ground::Ground;
use crate::interrupt::Interrupt;
use crate::meter::{Argv, ExtraMounts, Meter, Sample};
use crate::programs::Programs;
use crate::scenario::{Extent, Lane, Load, Outcome, Results, Scenario, Size};
use crate::statistics::Random;
use crate::subject::{Bundle, Subject};

/// Runs before the measured ones: page cache, dentries and the runtimes' own one-time work.
const WARM_UP: u32 = 3;
/// A command that takes longer hangs.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Runs under strace, of which the median count is taken: Go's runtime makes a varying number of calls.
const TRACED_RUNS: usize = 3;
/// Peak memory varies little, so few runs do.
const MEMORY_ITERATIONS: u32 = 10;
/// The order of the subjects differs in every iteration, but not between two measurements.
const ORDER_SEED: u64 = 42;

/// A measured command with what must be done before and after it.
struct Steps {
    before: Vec<Argv>,
    timed: Argv,
    after: Vec<Argv>,
}

impl Steps {
    fn run(&self, meter: &mut Meter, gap: Duration) -> Result<Sample> {
        for argv in &self.before {
            meter.run(argv)?;
        }
        sleep(gap);
        let sample = meter.run(&self.timed)?;
        for argv in &self.after {
            meter.run(argv)?;
        }
        Ok(sample)
    }
}

/// Which subject a lane measures, and through which meter.
#[derive(Clone, Copy)]
struct Track {
    subject: usize,
    load: Load,
}

/// A measurement under way.
pub struct Bench<'a> {
    subjects: &'a [Subject],
    ground: &'a mut Ground,
    interrupt: &'a Interrupt,
    programs: &'a Programs,
    extent: Extent,
    meter: Meter,
    loaded_meter: Option<Meter>,
    alive: Vec<(usize, String)>,
    random: Random,
}

impl<'a> Bench<'a> {
    /// Gets ready to measure `subjects`.
    ///
    /// # Errors
    /// When the meter does not start.
    pub fn new(
        subjects: &'a [Subject],
        ground: &'a mut Ground,
        interrupt: &'a Interrupt,
        programs: &'a Programs,
        extent: Extent,
    ) -> Result<Self> {
        let meter = Meter::start(&programs.meter, ground.place().join("log"), TIMEOUT, None)?;
        Ok(Self {
            subjects,
            ground,
            interrupt,
            programs,
            extent,
            meter,
            loaded_meter: None,
            alive: Vec::new(),
            random: Random::new(ORDER_SEED),
        })
    }

    /// Measures the scenarios and deletes the containers, also when interrupted.
    ///
    /// # Errors
    /// When a subject cannot do what is asked at all, or at an interrupt.
    pub fn measure(&mut self, scenarios: &[Scenario]) -> Result<Results> {
        let mut results = Results::default();
        let measured = self.measure_all(scenarios, &mut results);
        self.delete_all();
        measured?;
        results.left_behind = self.ground.sweep(None)?;
        Ok(results)
    }

    fn measure_all(&mut self, scenarios: &[Scenario], results: &mut Results) -> Result<()> {
        for &scenario in scenarios {
            eprintln!("measuring {} ...", scenario.name());
            let lanes = match scenario {
                Scenario::Size => {
                    for subject in self.subjects {
                        let bytes = subject.size_bytes()?;
                        results.sizes.push(Size { subject: subject.name.clone(), bytes });
                    }
                    continue;
                }
                Scenario::Memory | Scenario::Run | Scenario::RunGap | Scenario::RunDocker => {
                    self.measure_run(scenario)
                }
                Scenario::Create | Scenario::Start => self.measure_lifecycle(scenario),
                Scenario::Exec => self.measure_exec(),
                Scenario::Mounts => self.measure_mounts(),
                Scenario::Containers => self.measure_containers(),
            };
            let lanes = lanes.with_context(|| format!("scenario {}", scenario.name()))?;
            results.outcomes.push(Outcome { scenario, lanes });
        }
        Ok(())
    }

    fn measure_run(&mut self, scenario: Scenario) -> Result<Vec<Lane>> {
        let tracks = self.tracks(|_| true);
        let bundle = if scenario == Scenario::RunDocker { Bundle::Docker } else { Bundle::Default };
        let iterations =
            if scenario == Scenario::Memory { MEMORY_ITERATIONS } else { self.extent.iterations };
        let gap = if scenario == Scenario::RunGap { self.extent.gap } else { Duration::ZERO };
        let steps =
            |subject: &Subject, place: &Path, id: &str| run_steps(subject, place, bundle, id);
        let mut lanes = self.interleave(&tracks, iterations, gap, steps)?;
        if matches!(scenario, Scenario::Run | Scenario::RunDocker) {
            self.count_syscalls(&tracks, &mut lanes, steps)?;
        }
        Ok(lanes)
    }

    fn measure_lifecycle(&mut self, scenario: Scenario) -> Result<Vec<Lane>> {
        let tracks = self.tracks(Subject::has_lifecycle);
        let steps = |subject: &Subject, place: &Path, id: &str| {
            let create = subject.create(place, Bundle::Default, id);
            let after = vec![subject.delete(place, id)];
            match scenario {
                Scenario::Create => Steps { before: Vec::new(), timed: create, after },
                _ => Steps { before: vec![create], timed: subject.start(place, id), after },
            }
        };
        let mut lanes = self.interleave(&tracks, self.extent.iterations, Duration::ZERO, steps)?;
        // strace follows what it traces to its end, and a created container does not end.
        if scenario == Scenario::Start {
            self.count_syscalls(&tracks, &mut lanes, steps)?;
        }
        Ok(lanes)
    }

    fn measure_exec(&mut self) -> Result<Vec<Lane>> {
        let tracks = self.tracks(Subject::has_lifecycle);
        let mut containers = BTreeMap::new();
        for track in &tracks {
            let id = self.start_paused(track.subject)?;
            containers.insert(self.subjects[track.subject].name.clone(), id);
        }
        let steps = |subject: &Subject, place: &Path, _: &str| Steps {
            before: Vec::new(),
            timed: subject.exec(place, containers.get(&subject.name).map_or("", String::as_str)),
            after: Vec::new(),
        };
        let mut lanes = self.interleave(&tracks, self.extent.iterations, Duration::ZERO, steps)?;
        self.count_syscalls(&tracks, &mut lanes, steps)?;
        self.delete_all();
        Ok(lanes)
    }

    fn measure_mounts(&mut self) -> Result<Vec<Lane>> {
        let dir = self.ground.place().join("mounts");
        let log = self.ground.place().join("log-mounts");
        let extra = ExtraMounts { dir: &dir, count: self.extent.mounts };
        self.loaded_meter = Some(Meter::start(&self.programs.meter, log, TIMEOUT, Some(extra))?);
        let mut tracks = self.tracks(|_| true);
        let loaded: Vec<Track> =
            tracks.iter().map(|track| Track { load: Load::Added, ..*track }).collect();
        tracks.extend(loaded);
        let lanes = self.interleave(
            &tracks,
            self.extent.iterations,
            Duration::ZERO,
            |subject, place, id| run_steps(subject, place, Bundle::Default, id),
        );
        self.loaded_meter = None;
        lanes
    }

    /// Half of the unloaded runs come before the loaded ones and half after, so that a slow drift of the
    /// machine cancels. The floor runs along: how much slower the kernel itself becomes.
    fn measure_containers(&mut self) -> Result<Vec<Lane>> {
        let mut lanes = Vec::new();
        let steps = |subject: &Subject, place: &Path, id: &str| {
            run_steps(subject, place, Bundle::Default, id)
        };
        for track in self.tracks(Subject::has_lifecycle) {
            let mut tracks = vec![track];
            tracks.extend(self.tracks(|subject| !subject.has_lifecycle()));
            let half = self.extent.iterations.div_ceil(2);
            let mut unloaded = self.interleave(&tracks, half, Duration::ZERO, steps)?;
            for _ in 0..self.extent.containers {
                self.start_paused(track.subject)?;
            }
            let mut loaded = self.interleave(&tracks, 2 * half, Duration::ZERO, steps)?;
            self.delete_all();
            let after = self.interleave(&tracks, half, Duration::ZERO, steps)?;
            for (lane, after) in unloaded.iter_mut().zip(after) {
                lane.samples.extend(after.samples);
                lane.failures.extend(after.failures);
            }
            for lane in &mut loaded {
                lane.load = Load::Added;
            }
            let name = &self.subjects[track.subject].name;
            for mut lane in unloaded.into_iter().chain(loaded) {
                lane.beside = (lane.subject != *name).then(|| name.clone());
                lanes.push(lane);
            }
        }
        Ok(lanes)
    }

    fn tracks(&self, wanted: impl Fn(&Subject) -> bool) -> Vec<Track> {
        let found = self.subjects.iter().enumerate().filter(|(_, subject)| wanted(subject));
        found.map(|(subject, _)| Track { subject, load: Load::None }).collect()
    }

    /// Runs every track once in each iteration, in an order of its own each time: with a mere rotation,
    /// a subject would always run in the wake of the same other one.
    fn interleave(
        &mut self,
        tracks: &[Track],
        iterations: u32,
        gap: Duration,
        steps: impl Fn(&Subject, &Path, &str) -> Steps,
    ) -> Result<Vec<Lane>> {
        let mut lanes: Vec<Lane> = tracks.iter().map(|track| self.empty_lane(*track)).collect();
        let mut order: Vec<usize> = (0..tracks.len()).collect();
        for iteration in 0..iterations + WARM_UP {
            self.random.shuffle(&mut order);
            for &index in &order {
                self.interrupt.check()?;
                let sample = self.take(tracks[index], gap, None, &steps);
                let lane = &mut lanes[index];
                if iteration >= WARM_UP {
                    lane.samples.push(sample.as_ref().ok().copied());
                }
                if let Err(error) = sample {
                    lane.failures.push(format!("{error:#}"));
                }
            }
            if iteration + 1 == WARM_UP {
                refuse_the_unable(&lanes)?;
            }
        }
        Ok(lanes)
    }

    fn empty_lane(&self, track: Track) -> Lane {
        Lane {
            subject: self.subjects[track.subject].name.clone(),
            beside: None,
            load: track.load,
            samples: Vec::new(),
            failures: Vec::new(),
            syscalls: None,
        }
    }

    /// One measured command; under strace with its output at `trace`. Whatever happens, no container of
    /// it stays.
    fn take(
        &mut self,
        track: Track,
        gap: Duration,
        trace: Option<&Path>,
        steps: &impl Fn(&Subject, &Path, &str) -> Steps,
    ) -> Result<Sample> {
        let subject = &self.subjects[track.subject];
        let id = self.ground.next_id(&subject.name);
        let mut steps = steps(subject, self.ground.place(), &id);
        if let Some(trace) = trace {
            let mut strace: Argv = ["strace", "-f", "-qq", "-o"].map(OsString::from).to_vec();
            strace.push(trace.into());
            strace.append(&mut steps.timed);
            steps.timed = strace;
        }
        let meter = match track.load {
            Load::None => &mut self.meter,
            Load::Added => self.loaded_meter.as_mut().context("no meter with mounts")?,
        };
        let sample = steps.run(meter, gap);
        if sample.is_err() {
            self.forget(track.subject, &id);
        }
        sample
    }

    /// Removes what a failed command left of a container, by the runtime and, where it cannot, by force.
    fn forget(&mut self, subject: usize, id: &str) {
        let subject = &self.subjects[subject];
        if subject.has_lifecycle() {
            // Often it was never made: the failure that brought us here is the one to report.
            let _ = self.meter.run(&subject.delete(self.ground.place(), id));
        }
        if let Err(error) = self.ground.sweep(Some(id)) {
            eprintln!("warning: {error:#}");
        }
    }

    fn start_paused(&mut self, index: usize) -> Result<String> {
        self.interrupt.check()?;
        let subject = &self.subjects[index];
        let id = self.ground.next_id(&subject.name);
        self.alive.push((index, id.clone()));
        self.meter.run(&subject.create(self.ground.place(), Bundle::Pause, &id))?;
        self.meter.run(&subject.start(self.ground.place(), &id))?;
        Ok(id)
    }

    /// Deletes the long-lived containers. All are killed first: runc waits a tenth of a second for each
    /// that it has to kill itself.
    fn delete_all(&mut self) {
        let alive = std::mem::take(&mut self.alive);
        for (index, id) in &alive {
            let _ = self.meter.run(&self.subjects[*index].kill(self.ground.place(), id));
        }
        for (index, id) in &alive {
            self.forget(*index, id);
        }
    }

    fn count_syscalls(
        &mut self,
        tracks: &[Track],
        lanes: &mut [Lane],
        steps: impl Fn(&Subject, &Path, &str) -> Steps,
    ) -> Result<()> {
        let trace = self.ground.place().join("trace");
        for (track, lane) in tracks.iter().zip(lanes) {
            let mut counts = Vec::new();
            for _ in 0..TRACED_RUNS {
                self.interrupt.check()?;
                match self.take(*track, Duration::ZERO, Some(&trace), &steps) {
                    Ok(_) => counts.push(count_calls(&fs::read_to_string(&trace)?)),
                    Err(error) => eprintln!("warning: {}: not traced: {error:#}", lane.subject),
                }
            }
            counts.sort_unstable();
            lane.syscalls = counts.get(counts.len() / 2).copied();
        }
        Ok(())
    }
}

fn run_steps(subject: &Subject, place: &Path, bundle: Bundle, id: &str) -> Steps {
    Steps { before: Vec::new(), timed: subject.run(place, bundle, id), after: Vec::new() }
}

/// A subject that failed in every warm-up run will not do better later.
fn refuse_the_unable(lanes: &[Lane]) -> Result<()> {
    for lane in lanes {
        if lane.failures.len() == WARM_UP as usize {
            let last = lane.failures.last().cloned().unwrap_or_default();
            return Err(anyhow!(last).context(format!("{} cannot do this", lane.subject)));
        }
    }
    Ok(())
}

/// Calls in a log of `strace -f -qq`: a call that was interrupted by another thread's has two lines, and
/// signals and exits have lines of their own.
fn count_calls(log: &str) -> u64 {
    let is_call = |line: &&str| {
        let rest = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
        !rest.starts_with("<... ") && !rest.starts_with("---") && !rest.starts_with("+++")
    };
    log.lines().filter(is_call).count() as u64
}

#[cfg(test)]
mod tests {
    use super::count_calls;

    #[test]
    fn calls_are_counted_once_and_signals_not_at_all() {
        let log = "10 execve(\"/bin/true\", [], []) = 0\n\
                   10 wait4(-1,  <unfinished ...>\n\
                   11 exit_group(0) = ?\n\
                   10 <... wait4 resumed>) = 11\n\
                   10 --- SIGCHLD {si_signo=SIGCHLD} ---\n\
                   11 +++ exited with 0 +++\n";
        assert_eq!(count_calls(log), 3);
    }
}
