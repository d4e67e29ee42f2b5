//! The plan as text for `brig plan`: a line for each directory and each write, in order.

use super::{Absent, CgroupPlan, Scope, Step, Write};

impl CgroupPlan {
    /// The plan for a person: a line for each directory and each write, in order.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.scope.iter().flat_map(Scope::lines).collect();
        lines.extend(self.steps.iter().flat_map(|step| self.step_lines(step)));
        lines
    }

    fn step_lines(&self, step: &Step) -> Vec<String> {
        let at = |directory: &usize| self.directories[*directory].absolute().display().to_string();
        match step {
            Step::MakeDirectory { directory } => vec![format!("mkdir {}", at(directory))],
            Step::EnableControllers { directory, need, want } => vec![format!(
                "enable controllers above {}: need [{}], want [{}]",
                at(directory),
                need.join(" "),
                want.join(" ")
            )],
            Step::FillCpuset { directory, cpus, mems } => {
                let own = match (cpus, mems) {
                    (true, true) => "cpus and mems",
                    (true, false) => "cpus",
                    (false, true) => "mems",
                    (false, false) => "nothing",
                };
                vec![format!("inherit cpuset {}: own {own}, ancestors where empty", at(directory))]
            }
            Step::Write(write) => vec![self.write_line(write)],
            Step::WriteGroup(group) => group.iter().map(|write| self.write_line(write)).collect(),
            Step::AttachDevices { directory, rules, program } => {
                let mut lines = vec![format!(
                    "attach device program {}: {} instructions",
                    at(directory),
                    program.len()
                )];
                lines.extend(rules.iter().map(|rule| format!("  {rule}")));
                lines
            }
            Step::ChangeOwner { directory, uid, gid } => {
                vec![format!("chown {uid}:{gid} {}", at(directory))]
            }
        }
    }

    fn write_line(&self, write: &Write) -> String {
        let path = self.directories[write.directory].absolute().join(&write.file);
        let note = match (&write.absent, write.default) {
            (_, true) => " (default: only if the directory was there)".to_owned(),
            (Absent::Fail, _) => String::new(),
            (Absent::Satisfied, _) => " (if the file is there)".to_owned(),
            (Absent::Instead { file, value }, _) => format!(" (or {value:?} to {file})"),
        };
        format!("write {} {:?} for {}{note}", path.display(), write.value, write.field)
    }
}
