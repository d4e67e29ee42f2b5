//! Runs commands with bounded time and keeps what they said.
//!
//! Output goes to files, not pipes: a detached container keeps its standard output open long after
//! the runtime has exited, and waiting for the end of a pipe would wait for the container.

use crate::binaries;
use serde_json::Value;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Which runtime is under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// brig.
    Brig,
    /// runc.
    Runc,
    /// crun.
    Crun,
}

impl Flavour {
    /// Whether brig's own promises hold.
    pub fn is_brig(self) -> bool {
        self == Flavour::Brig
    }
}

/// The runtime under test, by what `--version` says.
pub fn flavour() -> Flavour {
    static FLAVOUR: OnceLock<Flavour> = OnceLock::new();
    *FLAVOUR.get_or_init(|| {
        let mut command = Command::new(binaries::runtime());
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped());
        let child = crate::leftovers::own(|| command.spawn()).expect("run the runtime under test");
        let output = child.wait_with_output().expect("wait for the runtime under test");
        match String::from_utf8_lossy(&output.stdout).split_whitespace().next() {
            Some("runc") => Flavour::Runc,
            Some("crun") => Flavour::Crun,
            _ => Flavour::Brig,
        }
    })
}

/// How long a command may take before it counts as hung. An emulated machine is slow.
const LIMIT: Duration = Duration::from_secs(60);

/// A command to be run.
pub struct Call {
    command: Command,
    words: String,
    dir: PathBuf,
    limit: Duration,
    has_stdin: bool,
}

impl Call {
    /// `program`, whose output files are made in `dir`.
    pub fn new(program: impl AsRef<OsStr>, dir: &Path) -> Call {
        let name = Path::new(program.as_ref()).file_name().unwrap_or_default();
        Call {
            words: name.to_string_lossy().into_owned(),
            command: Command::new(program),
            dir: dir.to_owned(),
            limit: LIMIT,
            has_stdin: false,
        }
    }

    /// Appends an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Call {
        let _ = write!(self.words, " {}", arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }

    /// Appends arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(self, args: impl IntoIterator<Item = S>) -> Call {
        args.into_iter().fold(self, Call::arg)
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Call {
        self.command.env(name, value);
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn cwd(mut self, dir: &Path) -> Call {
        self.command.current_dir(dir);
        self
    }

    /// The same command as the arguments of another, such as strace.
    #[must_use]
    pub fn under<S: AsRef<OsStr>>(mut self, wrapper: impl IntoIterator<Item = S>) -> Call {
        let mut wrapper = wrapper.into_iter();
        let mut command = Command::new(wrapper.next().expect("a program"));
        command.args(wrapper).arg(self.command.get_program()).args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(dir) = self.command.get_current_dir() {
            command.current_dir(dir);
        }
        self.command = command;
        self
    }

    /// What the command reads; nothing by default.
    ///
    /// # Panics
    /// When the file that holds it cannot be written.
    #[must_use]
    pub fn stdin(mut self, bytes: &[u8]) -> Call {
        let path = self.file("in");
        fs::write(&path, bytes).expect("write standard input");
        self.command.stdin(File::open(&path).expect("open standard input"));
        self.has_stdin = true;
        self
    }

    /// Reads from `stdin`, for instance a pipe that stays open.
    #[must_use]
    pub fn stdin_from(mut self, stdin: Stdio) -> Call {
        self.command.stdin(stdin);
        self.has_stdin = true;
        self
    }

    /// How long it may take.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Call {
        self.limit = limit;
        self
    }

    fn file(&self, kind: &str) -> PathBuf {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        self.dir.join(format!("{kind}{}", NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(mut self) -> Running {
        let (out, err) = (self.file("out"), self.file("err"));
        if !self.has_stdin {
            self.command.stdin(Stdio::null());
        }
        self.command
            .stdout(File::create(&out).expect("create output file"))
            .stderr(File::create(&err).expect("create output file"));
        let child = match crate::leftovers::own(|| self.command.spawn()) {
            Ok(child) => child,
            Err(error) => panic!("cannot run {}: {error}", self.words),
        };
        Running { child, words: self.words, out, err, limit: self.limit, start: Instant::now() }
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it cannot be started or does not end in time.
    pub fn go(self) -> Output {
        self.spawn().wait()
    }
}

/// A command that runs.
pub struct Running {
    child: Child,
    words: String,
    out: PathBuf,
    err: PathBuf,
    limit: Duration,
    start: Instant,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        read(&self.out)
    }

    /// What it has complained about so far.
    pub fn stderr(&self) -> String {
        read(&self.err)
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it with SIGKILL, as the machine's operator or its OOM killer would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end in time; it is killed then.
    pub fn wait(mut self) -> Output {
        let deadline = self.start + self.limit;
        let mut pause = Duration::from_micros(200);
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() > deadline => {
                    let tree = crate::machine::descendants(self.pid());
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    panic!(
                        "`{}` hung for {:?}\nstdout: {}\nstderr: {}\nits processes: {tree:?}",
                        self.words,
                        self.limit,
                        read(&self.out),
                        read(&self.err)
                    );
                }
                Ok(None) => std::thread::sleep(pause),
                Err(error) => panic!("cannot wait for `{}`: {error}", self.words),
            }
            pause = (pause * 2).min(Duration::from_millis(5));
        };
        crate::leftovers::disown(self.pid());
        Output {
            words: self.words,
            status,
            out: self.out,
            err: self.err,
            took: self.start.elapsed(),
        }
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// A command that has ended, and what it said.
#[derive(Clone, Debug)]
pub struct Output {
    words: String,
    /// How it ended.
    pub status: ExitStatus,
    out: PathBuf,
    err: PathBuf,
    /// How long it took.
    pub took: Duration,
}

impl Output {
    /// Standard output until now: what it started may still write.
    pub fn stdout(&self) -> String {
        read(&self.out)
    }

    /// Standard error until now.
    pub fn stderr(&self) -> String {
        read(&self.err)
    }

    /// The file with its standard output.
    pub fn stdout_path(&self) -> &Path {
        &self.out
    }

    /// Whether it exited with 0.
    pub fn succeeded(&self) -> bool {
        self.status.success()
    }

    fn report(&self) -> String {
        format!(
            "`{}`: {}\nstdout: {}\nstderr: {}",
            self.words,
            self.status,
            self.stdout(),
            self.stderr()
        )
    }

    /// Asserts the exit code 0.
    ///
    /// # Panics
    /// On any other.
    #[track_caller]
    pub fn ok(self) -> Output {
        self.code(0)
    }

    /// Asserts the exit code.
    ///
    /// # Panics
    /// On any other, or when a signal ended it.
    #[track_caller]
    pub fn code(self, code: i32) -> Output {
        assert_eq!(self.status.code(), Some(code), "{}", self.report());
        self
    }

    /// Asserts that it failed in an orderly way: an exit code, not 0, and words on standard error
    /// (or in the log).
    ///
    /// # Panics
    /// Otherwise.
    #[track_caller]
    pub fn failed(self) -> Output {
        assert!(self.status.signal().is_none(), "died from a signal: {}", self.report());
        assert!(!self.succeeded(), "must fail: {}", self.report());
        self
    }

    /// Asserts that `words` are in standard output or error.
    ///
    /// # Panics
    /// Otherwise.
    #[track_caller]
    pub fn says(self, words: &str) -> Output {
        let said = self.stdout().contains(words) || self.stderr().contains(words);
        assert!(said, "must say `{words}`: {}", self.report());
        self
    }

    /// Asserts what standard output is, but for white space at its ends.
    ///
    /// # Panics
    /// Otherwise.
    #[track_caller]
    pub fn prints(self, text: &str) -> Output {
        assert_eq!(self.stdout().trim(), text, "{}", self.report());
        self
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_str(&self.stdout()) {
            Ok(value) => value,
            Err(error) => panic!("not JSON ({error}): {}", self.report()),
        }
    }
}
