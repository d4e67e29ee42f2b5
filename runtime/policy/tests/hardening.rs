//! docs/hardening.md is what the rules and the levels are; `BRIG_BLESS=1` writes it anew.

use brig_policy::{LEVELS, Mode, Policy, RULES};
use serde_json::Value;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/hardening.md");

const OPENING: &str = "\
# Rules and levels

Made from the rules by their tests; after a change there:
`BRIG_BLESS=1 cargo nextest run -p brig-policy --test hardening`. How a node chooses: [policy.md](policy.md).

PSS are Kubernetes' Pod Security Standards, CIS is the CIS Docker Benchmark 1.6, SP 800-190 NIST's Application Container
Security Guide.

| rule | is about | covers |
|---|---|---|
";

fn document() -> String {
    let mut text = OPENING.to_owned();
    for rule in RULES {
        text.push_str(&format!("| `{}` | {} | {} |\n", rule.name, rule.what, rule.answers));
    }
    for (name, _) in LEVELS {
        let policy = format!("version = 1\ndefault = \"{name}\"\n");
        let profile = Policy::read(&policy).expect("a policy").profile(None).expect("a level");
        let profile = profile.rules();
        let values = serde_json::to_value(profile).expect("JSON");
        text.push_str(&format!("\n## {name}\n\n"));
        if profile.modes().iter().all(|(_, mode)| *mode == Mode::Off) {
            text.push_str("What is asked for holds.\n");
            continue;
        }
        text.push_str("| rule | mode | allows |\n|---|---|---|\n");
        for (rule, mode) in profile.modes().into_iter().filter(|(_, mode)| *mode != Mode::Off) {
            let Some(Value::Object(values)) = values.get(rule) else { continue };
            let allows = values.iter().filter(|(key, _)| *key != "mode");
            let allows: Vec<String> =
                allows.map(|(key, value)| format!("`{key}` {value}")).collect();
            let mode = format!("{mode:?}").to_lowercase();
            text.push_str(&format!("| `{rule}` | {mode} | {} |\n", allows.join("; ")));
        }
    }
    text
}

#[test]
fn the_document_is_what_the_rules_are() {
    let document = document();
    if std::env::var_os("BRIG_BLESS").is_some() {
        std::fs::write(FILE, &document).expect("write the document");
    }
    let written = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(written == document, "docs/hardening.md is out of date: BRIG_BLESS=1 writes it");
}
