//! The form of policy files and drop-ins as a JSON Schema, made from the table of the rules.
//!
//! Promises: what the parser refuses because a key is unknown, missing or of another type, the schema refuses too; a test
//! compares them. Reference: json-schema.org, draft 2020-12.

use std::collections::BTreeMap;

use brig_spec::{NamespaceType, RlimitType};

use crate::conditions::Annotation;
use crate::ids::RANGE_IDS;
use crate::profile::{Mode, Profile};
use crate::value::{
    Bytes, Capabilities, Device, DiskRates, EngineProgram, FilterName, HookProgram, MappedRoot,
    Megabits, Mitigation, Only, Processors, Scope, SwitchedOff, Unmappable,
};

/// How a value is written in a policy file.
pub(crate) trait Form {
    /// As a JSON Schema.
    fn form() -> String;
}

/// The keys of a table that has to have all of `required`, each with its form.
fn table(properties: &[(&str, String)], required: &[&str]) -> String {
    let properties: Vec<String> =
        properties.iter().map(|(name, form)| format!("\"{name}\":{form}")).collect();
    let required: Vec<String> = required.iter().map(|name| format!("\"{name}\"")).collect();
    format!(
        "{{\"type\":\"object\",\"properties\":{{{}}},\"required\":[{}],\"additionalProperties\":false}}",
        properties.join(","),
        required.join(",")
    )
}

fn table_of(form: &str) -> String {
    format!("{{\"type\":\"object\",\"additionalProperties\":{form}}}")
}

fn list_of(form: &str) -> String {
    format!("{{\"type\":\"array\",\"items\":{form}}}")
}

fn number(least: i64, most: u64) -> String {
    format!("{{\"type\":\"integer\",\"minimum\":{least},\"maximum\":{most}}}")
}

fn one_of<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<String> = names.map(|name| format!("\"{name}\"")).collect();
    format!("{{\"enum\":[{}]}}", names.join(","))
}

fn text_like(pattern: &str) -> String {
    format!("{{\"type\":\"string\",\"pattern\":\"{pattern}\"}}")
}

/// The schema of a policy file; that of a drop-in is its `$defs/dropIn`.
#[must_use]
pub fn schema() -> String {
    let mode = [Mode::Off, Mode::Audit, Mode::Enforce, Mode::Refuse].map(Mode::name);
    let mode = one_of(mode.into_iter());
    let mut rules = vec![("extends", String::form())];
    for (rule, values) in Profile::forms() {
        let mut keys = vec![("mode", mode.clone())];
        keys.extend(values);
        let form = table(&keys, &[]);
        // A test reads the whole as JSON.
        let what = rule.what.replace('"', "\\\"");
        let about = format!("{{\"description\":\"{what}\",");
        rules.push((rule.name, form.replacen('{', &about, 1)));
    }
    let to = |name: &str| format!("{{\"$ref\":\"#/$defs/{name}\"}}");
    let version = "{\"const\":1}".to_owned();
    let names = || list_of(&String::form());
    let exception = table(
        &[
            ("reason", String::form()),
            ("expires", "{\"type\":\"string\",\"format\":\"date\",\"pattern\":\"^[0-9]{4}-[0-9]{2}-[0-9]{2}$\"}".to_owned()),
            ("drop_in", text_like("^[^/]*[.]toml$")),
            ("rules", list_of(&one_of(crate::RULES.iter().map(|rule| rule.name)))),
            ("profiles", names()),
        ],
        &["reason", "expires", "drop_in", "rules", "profiles"],
    );
    let drop_in = table(
        &[("version", version.clone()), ("profiles", names()), ("rules", to("rules"))],
        &["version", "rules"],
    );
    let tighten = table(
        &[("annotation", String::form()), ("values", names()), ("profile", String::form())],
        &["annotation", "values", "profile"],
    );
    // Whole ranges, neither the first nor the last of all (see IdPool).
    let ranges = |most: u32| {
        let (least, most) = (RANGE_IDS, u64::from(most) * u64::from(RANGE_IDS));
        number(i64::from(least), most).replacen('{', &format!("{{\"multipleOf\":{least},"), 1)
    };
    let ids = table(&[("first", ranges(65_534)), ("count", ranges(65_534))], &["first", "count"]);
    let file = table(
        &[
            ("version", version),
            ("default", String::form()),
            ("selectable", names()),
            ("ids", ids),
            ("profile", table_of(&to("rules"))),
            ("exception", table_of(&to("exception"))),
            ("tighten", table_of(&tighten)),
        ],
        &["version", "default"],
    );
    let rules = table(&rules, &[]);
    let head = format!(
        "{{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"title\":\"brig policy, version 1\",\
         \"$defs\":{{\"rules\":{rules},\"exception\":{exception},\"dropIn\":{drop_in}}},"
    );
    file.replacen('{', &head, 1)
}

impl Form for String {
    fn form() -> String {
        "{\"type\":\"string\"}".to_owned()
    }
}

impl Form for bool {
    fn form() -> String {
        "{\"type\":\"boolean\"}".to_owned()
    }
}

impl Form for u16 {
    fn form() -> String {
        number(0, u64::from(Self::MAX))
    }
}

impl<T: Form> Form for Only<T> {
    fn form() -> String {
        format!("{{\"anyOf\":[{{\"const\":\"any\"}},{}]}}", list_of(&T::form()))
    }
}

impl Form for Scope {
    fn form() -> String {
        one_of(["abstract-sockets", "signals"].into_iter())
    }
}

impl Form for HookProgram {
    fn form() -> String {
        let digest = text_like("^[0-9A-Fa-f]{64}$");
        let keys = [("path", String::form()), ("owner", u32::form()), ("sha256", digest)];
        table(&keys, &["path", "sha256"])
    }
}

impl Form for EngineProgram {
    fn form() -> String {
        table(&[("path", String::form()), ("args", Vec::<String>::form())], &["path", "args"])
    }
}

impl Form for Mitigation {
    fn form() -> String {
        let all = brig_seccomp::mitigation::MITIGATIONS.iter();
        one_of(all.flat_map(|one| one.cves.iter().chain([&one.name]).copied()))
    }
}

impl Form for SwitchedOff {
    fn form() -> String {
        let keys = [("name", Mitigation::form()), ("reason", String::form())];
        table(&keys, &["name", "reason"])
    }
}

impl Form for DiskRates {
    fn form() -> String {
        let (bytes, number) = (Bytes::form, u64::form);
        let keys = [
            ("device", Device::form()),
            ("read_bps", bytes()),
            ("write_bps", bytes()),
            ("read_iops", number()),
            ("write_iops", number()),
        ];
        table(&keys, &["device"])
    }
}

impl Form for u32 {
    fn form() -> String {
        number(0, u64::from(Self::MAX))
    }
}

impl Form for u64 {
    fn form() -> String {
        number(0, Self::MAX)
    }
}

impl Form for i32 {
    fn form() -> String {
        number(i64::from(Self::MIN), Self::MAX.unsigned_abs().into())
    }
}

impl<T: Form> Form for Vec<T> {
    fn form() -> String {
        list_of(&T::form())
    }
}

impl Form for NamespaceType {
    fn form() -> String {
        one_of(Self::ALL.iter().map(|kind| kind.name()))
    }
}

impl Form for BTreeMap<RlimitType, u64> {
    fn form() -> String {
        let keys: Vec<_> = RlimitType::ALL.iter().map(|kind| (kind.name(), u64::form())).collect();
        table(&keys, &[])
    }
}

impl Form for Capabilities {
    fn form() -> String {
        list_of(&text_like("^[A-Za-z_]+$"))
    }
}

impl Form for Annotation {
    fn form() -> String {
        one_of(Self::ALL.iter().map(|one| one.name()))
    }
}

impl Form for FilterName {
    fn form() -> String {
        one_of(Self::ALL.iter().map(|one| one.name()))
    }
}

impl Form for MappedRoot {
    fn form() -> String {
        one_of(["read-only", "ephemeral"].into_iter())
    }
}

impl Form for Unmappable {
    fn form() -> String {
        one_of(["refuse", "read-only"].into_iter())
    }
}

impl Form for Bytes {
    fn form() -> String {
        let text = text_like("^[0-9]+([.][0-9]+)? ?([KkMmGgTtPp]([Ii]?[Bb])?|[Bb])?$");
        format!("{{\"anyOf\":[{},{text}]}}", number(0, i64::MAX.unsigned_abs()))
    }
}

impl Form for Megabits {
    fn form() -> String {
        format!(
            "{{\"anyOf\":[{},{}]}}",
            number(1, u64::from(u32::MAX)),
            one_of(["unlimited"].into_iter())
        )
    }
}

impl Form for Processors {
    fn form() -> String {
        "{\"type\":\"number\",\"minimum\":0.001,\"maximum\":1000000}".to_owned()
    }
}

impl Form for Device {
    fn form() -> String {
        text_like("^[bc] [0-9]+:[0-9]+$")
    }
}

#[cfg(test)]
mod tests;
