//! Errors for people, and in runc's form for the programs that read `--log`.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use brig::policy::Verdict;
use brig::printable;
use brig::spec::ContainerId;
use brig::supervise::Error;
use brig::supervise::{Event, Observer};
use brig_cgroup::CgroupPlan;

use super::arguments::Usage;

/// The form of the log file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// `time="…" level=error msg="…"`.
    #[default]
    Text,
    /// One JSON object a line; containerd and Podman parse it.
    Json,
}

impl LogFormat {
    pub(super) fn parse(name: &str) -> Result<Self, Usage> {
        match name {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(Usage::new(format!("--log-format: {name:?} is neither text nor json"))),
        }
    }
}

/// Where errors go besides standard error.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(super) file: Option<PathBuf>,
    pub(super) format: LogFormat,
    pub(super) debug: bool,
    began: Instant,
}

impl Default for Log {
    fn default() -> Self {
        Self { file: None, format: LogFormat::default(), debug: false, began: Instant::now() }
    }
}

impl Log {
    /// Whether what is to be written will have a place: said before anything is done, as by runc. The file is not kept
    /// open, as brig enters namespaces with others in them.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let Some(path) = &self.file else { return Ok(()) };
        match open(path) {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::system(format!("--log: opening {}", path.display()), error)
                .with_hint("give a file in a directory that exists, or leave --log out")
                .into()),
        }
    }

    /// Reports the failure of a verb.
    pub(super) fn error(&self, verb: &str, error: &anyhow::Error) {
        let hint = hint(error);
        let chain: Vec<_> = error.chain().map(ToString::to_string).collect();
        printable::tell(&message(verb, &chain, hint.as_deref(), std::io::stderr().is_terminal()));
        let hint = hint.map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
        self.write("error", &format!("{}{hint}", chain.join(": ")));
    }

    /// Reports a wrong command line.
    pub(super) fn usage(&self, usage: &Usage) {
        printable::note(&format!("error: {usage}"));
        let hint = usage.hint().unwrap_or("see `brig --help`");
        printable::note(&format!("hint: {hint}"));
        self.write("error", &format!("{usage} (hint: {hint})"));
    }

    /// Reports what is not done as asked for, or what an operation has gone on without, though nothing fails.
    pub(super) fn warn(&self, message: &str) {
        self.tell("warning", message);
    }

    /// Reports what is being done, with `--debug`, and when: since brig began.
    pub(super) fn debug(&self, message: fmt::Arguments<'_>) {
        if self.debug {
            let ms = self.began.elapsed().as_secs_f64() * 1000.0;
            self.tell("debug", &format!("{ms:.2} ms: {message}"));
        }
    }

    /// Not on standard error where there is a log: it is the container's own under containerd.
    fn tell(&self, level: &str, message: &str) {
        match self.file {
            Some(_) => self.write(level, message),
            None => printable::note(&format!("{level}: {message}")),
        }
    }

    fn judged(&self, id: &str, verdicts: &[Verdict]) {
        for verdict in verdicts {
            self.debug(format_args!("container {id:?}: policy: {verdict}"));
        }
    }

    fn planned(&self, id: &str, operations: usize, cgroup: &CgroupPlan) {
        let mut paths: Vec<&str> = cgroup.directories.iter().map(|it| it.path.as_str()).collect();
        paths.sort_unstable();
        paths.dedup();
        let hierarchies = cgroup.directories.len();
        self.debug(format_args!(
            "container {id:?}: {operations} operations, cgroup /{} in {hierarchies} hierarchies",
            paths.join(", /")
        ));
    }

    fn write(&self, level: &str, message: &str) {
        let Some(path) = &self.file else { return };
        let time = brig::supervise::now();
        let line = match self.format {
            LogFormat::Json => {
                let line = serde_json::json!({ "level": level, "msg": message, "time": time });
                format!("{}\n", printable::lines(&line.to_string()))
            }
            LogFormat::Text => format!("time={time:?} level={level} msg={message:?}\n"),
        };
        // It has been opened before; there is nobody else to tell.
        let _ = open(path).and_then(|mut file| file.write_all(line.as_bytes()));
    }
}

impl Observer for Log {
    fn observe(&self, id: &ContainerId, event: &Event<'_>) {
        let id = id.as_str();
        match event {
            Event::Warned(words) => self.warn(words),
            Event::Judged(verdicts) => self.judged(id, verdicts),
            Event::Planned { plan, cgroup } => self.planned(id, plan.ops.len(), cgroup),
            Event::Born { pid } => {
                self.debug(format_args!("container {id:?}: process {pid} is there"));
            }
            Event::Started => self.debug(format_args!("container {id:?}: its program runs")),
            Event::OutOfMemory => self.debug(format_args!("container {id:?}: out of memory")),
            _ => {}
        }
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// What standard error gets. For people a cause a line; for programs all of them on one, because
/// Podman picks the line that holds the words it knows and shows no other.
fn message(verb: &str, chain: &[String], hint: Option<&str>, for_people: bool) -> String {
    let separator = if for_people { "\ncaused by: " } else { ": " };
    let chain: Vec<_> = chain.iter().map(|words| printable::line(words)).collect();
    let mut text = format!("error: {verb}: {}\n", chain.join(separator));
    if let Some(hint) = hint {
        text.push_str(&format!("hint: {}\n", printable::line(hint)));
    }
    text
}

/// The hint of whichever error of the chain has one.
fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        let supervise = cause.downcast_ref::<brig::supervise::Error>();
        let spec = cause.downcast_ref::<brig::spec::Error>();
        let configuration = cause.downcast_ref::<brig::configuration::Error>();
        let refusal = cause.downcast_ref::<brig::plan::Refusal>();
        let profile = cause.downcast_ref::<super::unusable::UnusableInput>();
        supervise
            .and_then(|error| error.hint())
            .or_else(|| spec.and_then(|error| error.hint()))
            .or_else(|| configuration.and_then(|error| error.hint()))
            .or_else(|| refusal.and_then(|error| error.hint()))
            .or_else(|| profile.and_then(|error| error.hint()))
            .map(str::to_owned)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::{Log, LogFormat, message};

    #[test]
    fn programs_get_the_whole_chain_on_one_line() {
        let chain = ["exec: \"/x\"".to_owned(), "Permission denied (os error 13)".to_owned()];
        let text = message("create", &chain, Some("look"), false);
        assert_eq!(
            text,
            "error: create: exec: \"/x\": Permission denied (os error 13)\nhint: look\n"
        );
        let text = message("create", &chain, None, true);
        assert_eq!(
            text,
            "error: create: exec: \"/x\"\ncaused by: Permission denied (os error 13)\n"
        );
    }

    #[test]
    fn the_json_log_is_what_containerd_and_podman_parse() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.json");
        let log = Log { file: Some(path.clone()), format: LogFormat::Json, ..Log::default() };
        log.write("error", "a \"quoted\"\nmessage");
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "error");
        assert_eq!(line["msg"], "a \"quoted\"\nmessage");
        let time = line["time"].as_str().unwrap();
        assert!(time.len() == 30 && time.ends_with('Z') && time.contains('T'), "{time}");
    }
}
