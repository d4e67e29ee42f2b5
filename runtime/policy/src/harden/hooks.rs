//! The rule about hooks: those on the host are programs that it lists, known by their content, or of engines, known by where
//! they are; those in the container are none.
//!
//! createContainer hooks have all of the runtime's privileges and the image's files around them, which is what several of
//! the holes were made of; a startContainer hook is a program of the image, of which nothing is there to be compared yet.

use brig_spec::{Config, Hook, Hooks};

use super::{is_on, rule};
use crate::profile::{Mode, Profile};
use crate::source::{Program, hook_field, is_on_the_host};
use crate::verdict::{Rule, Verdicts};

pub(super) fn judge(
    config: &mut Config,
    profile: &Profile,
    programs: &[Program],
    verdicts: &mut Verdicts,
) {
    let rule = rule!(profile, hooks);
    if !is_on(rule) {
        return;
    }
    refuse(&config.hooks, profile, programs, verdicts);
    let seconds = i64::from(profile.hooks.seconds.unwrap_or_default());
    // So they run in each mode, as nobody who writes a configuration means another program by it.
    let rule = Rule(rule.0, rule.1.min(Mode::Enforce));
    for (stage, _) in Hooks::default().by_name().iter().filter(|(stage, _)| is_on_the_host(stage)) {
        for (index, hook) in config.hooks.by_name_mut(stage).iter_mut().enumerate() {
            let field = |name: &str| format!("{}.{name}", hook_field(stage, index));
            let program = of(programs, &hook_field(stage, index));
            let env = environment(hook, program.is_some_and(|one| is_engines(hook, one, profile)));
            let allowed = if env.is_empty() { "none" } else { PATH };
            if hook.env != env && verdicts.limit(rule, field("env"), "an environment", allowed) {
                hook.env = env;
            }
            let asked = hook.timeout.map_or("no limit".to_owned(), |asked| format!("{asked} s"));
            if hook.timeout.is_none_or(|asked| asked > seconds)
                && verdicts.limit(rule, field("timeout"), asked, format!("{seconds} s"))
            {
                hook.timeout = Some(seconds);
            }
        }
    }
}

/// Where an engine's program may look for others, such as plugins and iptables(8).
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is left of a hook's environment.
fn environment(hook: &Hook, is_engines: bool) -> Vec<String> {
    let has_path = hook.env.iter().any(|variable| variable.starts_with("PATH="));
    if is_engines && has_path { vec![PATH.to_owned()] } else { Vec::new() }
}

fn of<'p>(programs: &'p [Program], field: &str) -> Option<&'p Program> {
    programs.iter().find(|program| program.field == field)
}

/// Whether it is what an engine does with a program of its own.
fn is_engines(hook: &Hook, program: &Program, profile: &Profile) -> bool {
    let mut engines = profile.hooks.engines.iter().flatten();
    !program.is_others
        && engines.any(|engine| engine.fits(&hook.args) && program.at.contains(&engine.path))
}

/// Those that the rule does not allow.
pub(super) fn refuse(
    hooks: &Hooks,
    profile: &Profile,
    programs: &[Program],
    verdicts: &mut Verdicts,
) {
    for (stage, hooks) in hooks.by_name() {
        for (index, hook) in hooks.iter().enumerate() {
            let field = hook_field(stage, index);
            let against = match is_on_the_host(stage) {
                true => against(hook, of(programs, &field), profile),
                false => Some(format!("the program {:?}, in the container,", hook.path)),
            };
            if let Some(asked) = against {
                verdicts.refuse(rule!(profile, hooks), field, asked);
            }
        }
    }
}

/// Why a program may not be a hook.
fn against(hook: &Hook, program: Option<&Program>, profile: &Profile) -> Option<String> {
    let Some(program) = program else { return Some(format!("the program {:?}", hook.path)) };
    if is_engines(hook, program, profile) {
        return None;
    }
    let Program { path, owner, is_others, sha256, .. } = program;
    let allow = profile.hooks.allow.as_deref().unwrap_or_default();
    let mut listed = allow.iter().filter(|one| one.path == *path).peekable();
    if listed.peek().is_none() {
        return Some(format!("the program {path:?}"));
    }
    if *is_others {
        return Some(format!("the program {path:?}, which others than its owner may write,"));
    }
    let has = sha256.as_deref().unwrap_or("unknown");
    let is_listed = listed.any(|one| one.owner == *owner && one.sha256.0 == has);
    (!is_listed).then(|| format!("the program {path:?} of user {owner}, SHA-256 {has},"))
}
