//! The client of `programs/meter.c`, which runs one command at a time and says what it cost.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// A command line: the program first.
pub type Argv = Vec<OsString>;

/// What one command cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// From before its creation until it was reaped, in nanoseconds.
    pub wall_ns: u64,
    /// Time on a processor in user mode, in microseconds. This and what follows are of wait4(2): the
    /// command and those of its descendants that it waited for. A container that outlives the command
    /// (`create`, `exec --detach`) is not in it, nor is what the kernel does later in its own threads.
    pub user_us: u64,
    /// Time on a processor in kernel mode, in microseconds.
    pub system_us: u64,
    /// The largest resident set of any of those processes, in KiB.
    pub max_rss_kib: u64,
    /// Page faults that needed no I/O.
    pub minor_faults: u64,
}

/// A running `meter`.
#[derive(Debug)]
pub struct Meter {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    log: PathBuf,
}

/// Bind mounts that a meter makes in a mount namespace of its own.
#[derive(Debug, Clone, Copy)]
pub struct ExtraMounts<'a> {
    /// The directory under which they are made.
    pub dir: &'a Path,
    /// How many.
    pub count: u32,
}

impl Meter {
    /// Starts `program`, in this process's mount namespace or in a copy of it with `extra` mounts.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(
        program: &Path,
        log: PathBuf,
        timeout: Duration,
        extra: Option<ExtraMounts<'_>>,
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg(&log).arg(timeout.as_millis().to_string());
        if let Some(extra) = extra {
            command.arg(extra.dir).arg(extra.count.to_string());
        }
        let mut child = command
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("meter has no output")?;
        Ok(Self { child, input, output: BufReader::new(output), log })
    }

    /// Runs `argv` to its end and says what it cost.
    ///
    /// # Errors
    /// When the command fails or does not end in time: with the end of what it printed.
    pub fn run(&mut self, argv: &[OsString]) -> Result<Sample> {
        let reply = self.exchange(argv).context("the meter ended unexpectedly")?;
        let fields = reply
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<Vec<u64>, _>>()
            .with_context(|| format!("the meter says {reply:?}"))?;
        let [wall_ns, user_us, system_us, max_rss_kib, minor_faults, status, timed_out] =
            fields[..]
        else {
            bail!("the meter says {reply:?}");
        };
        ensure!(timed_out == 0, "`{}` did not end in time", words(argv));
        ensure!(
            status == 0,
            "`{}` failed with {}: {}",
            words(argv),
            describe(status),
            self.last_words()
        );
        Ok(Sample { wall_ns, user_us, system_us, max_rss_kib, minor_faults })
    }

    /// What the last command printed.
    #[must_use]
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    fn exchange(&mut self, argv: &[OsString]) -> Result<String> {
        let mut body = Vec::new();
        for argument in argv {
            body.extend_from_slice(argument.as_bytes());
            body.push(0);
        }
        let mut frame = u32::try_from(body.len())?.to_ne_bytes().to_vec();
        frame.extend_from_slice(&body);
        let input = self.input.as_mut().context("closed")?;
        input.write_all(&frame)?;
        let mut reply = String::new();
        ensure!(self.output.read_line(&mut reply)? > 0, "it closed its output");
        Ok(reply)
    }

    fn last_words(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().rev().take(3).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("; ")
    }
}

impl Drop for Meter {
    /// Ends the meter, and with it the mount namespace that it may have.
    fn drop(&mut self) {
        drop(self.input.take());
        // It ends at the end of its input. An error here means that it is gone already.
        let _ = self.child.wait();
    }
}

/// A command line from borrowed words.
pub fn argv<'a>(words: impl IntoIterator<Item = &'a OsStr>) -> Argv {
    words.into_iter().map(OsStr::to_os_string).collect()
}

fn words(argv: &[OsString]) -> String {
    argv.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// A wait status in words (wait(2): the low 7 bits are the signal, the next byte the exit code).
fn describe(status: u64) -> String {
    match status & 0x7f {
        0 => format!("status {}", status >> 8),
        signal => format!("signal {signal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::describe;

    #[test]
    fn statuses_are_told_from_signals() {
        assert_eq!(describe(1 << 8), "status 1");
        assert_eq!(describe(9), "signal 9");
    }
}
