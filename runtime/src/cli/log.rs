//! Errors for people, and in runc's form for the programs that read `--log`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use super::Usage;

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
            _ => Err(Usage::new(format!(
                "--log-format: {name:?} is neither text nor json"
            ))),
        }
    }
}

/// Where errors go besides standard error.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub(super) file: Option<PathBuf>,
    pub(super) format: LogFormat,
    pub(super) debug: bool,
}

impl Log {
    /// Reports the failure of a verb.
    pub(super) fn error(&self, verb: &str, error: &anyhow::Error) {
        let hint = hint(error);
        let mut text = format!("error: {verb}: {error}\n");
        for cause in error.chain().skip(1) {
            text.push_str(&format!("caused by: {cause}\n"));
        }
        if let Some(hint) = &hint {
            text.push_str(&format!("hint: {hint}\n"));
        }
        let _ = std::io::stderr().write_all(text.as_bytes());
        let chain: Vec<_> = error.chain().map(ToString::to_string).collect();
        let hint = hint
            .map(|hint| format!(" (hint: {hint})"))
            .unwrap_or_default();
        self.write("error", &format!("{}{hint}", chain.join(": ")));
    }

    /// Notes a wrong command line; standard error gets the words from elsewhere.
    pub(super) fn usage(&self, usage: &Usage) {
        self.write("error", &usage.to_string());
    }

    /// Reports what is being done, with `--debug`.
    pub(super) fn debug(&self, message: &str) {
        if self.debug {
            let _ = writeln!(std::io::stderr(), "debug: {message}");
            self.write("debug", message);
        }
    }

    fn write(&self, level: &str, message: &str) {
        let Some(path) = &self.file else { return };
        let time = crate::supervise::now();
        let line = match self.format {
            LogFormat::Json => {
                let line = serde_json::json!({ "level": level, "msg": message, "time": time });
                format!("{line}\n")
            }
            LogFormat::Text => format!("time={time:?} level={level} msg={message:?}\n"),
        };
        let file = OpenOptions::new().append(true).create(true).open(path);
        // The error has been told on standard error already; there is nobody else to tell.
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}

/// The hint of whichever error of the chain has one.
fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        let supervise = cause.downcast_ref::<crate::supervise::Error>();
        let spec = cause.downcast_ref::<crate::spec::Error>();
        let bundle = cause.downcast_ref::<crate::bundle::Error>();
        let refusal = cause.downcast_ref::<crate::plan::Refusal>();
        supervise
            .and_then(|error| error.hint())
            .or_else(|| spec.and_then(|error| error.hint()))
            .or_else(|| bundle.and_then(|error| error.hint()))
            .or_else(|| refusal.and_then(|error| error.hint()))
            .map(str::to_owned)
    })
}
