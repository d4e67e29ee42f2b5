use serde_json::{Map, Value, json};

use super::*;
use crate::toml_text::Json;
use crate::{LEVELS, Policy};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policy.schema.json");

fn whole() -> Value {
    serde_json::from_str(&schema()).expect("JSON")
}

/// As much of a validator as the schema has words; what it does not know fails.
struct Validator {
    root: Value,
}

impl Validator {
    fn accepts(&self, schema: &Value, value: &Value) -> bool {
        let words = schema.as_object().expect("a schema is an object");
        words.iter().all(|(word, says)| self.holds(word, says, words, value))
    }

    fn holds(&self, word: &str, says: &Value, words: &Map<String, Value>, value: &Value) -> bool {
        let number = || (value.as_f64(), says.as_f64().expect("a number"));
        match word {
            "$schema" | "title" | "$defs" | "description" | "format" => true,
            "$ref" => {
                let pointer = says.as_str().and_then(|path| path.strip_prefix('#'));
                let to = self.root.pointer(pointer.expect("a pointer")).expect("it is there");
                self.accepts(to, value)
            }
            "type" => match says.as_str().expect("a type") {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "integer" => value.is_i64() || value.is_u64(),
                "number" => value.is_number(),
                other => panic!("type {other}"),
            },
            "const" => says == value,
            "enum" => says.as_array().expect("a list").contains(value),
            "anyOf" => says.as_array().expect("a list").iter().any(|one| self.accepts(one, value)),
            "minimum" => {
                matches!(number(), (Some(value), least) if value >= least) || value.is_string()
            }
            "maximum" => {
                matches!(number(), (Some(value), most) if value <= most) || value.is_string()
            }
            "multipleOf" => value
                .as_u64()
                .is_none_or(|one| one.is_multiple_of(says.as_u64().expect("a number"))),
            "items" => {
                value.as_array().is_none_or(|all| all.iter().all(|one| self.accepts(says, one)))
            }
            "required" => {
                let names = says.as_array().expect("a list");
                let is_there = |name: &Value| value.get(name.as_str().expect("a name")).is_some();
                !value.is_object() || names.iter().all(is_there)
            }
            "properties" => {
                let known = says.as_object().expect("an object");
                let one =
                    |(key, value)| known.get(key).is_none_or(|says| self.accepts(says, value));
                value.as_object().is_none_or(|table: &Map<_, _>| table.iter().all(one))
            }
            "additionalProperties" => {
                let known = words.get("properties").and_then(Value::as_object);
                let one = |(key, value): (&String, _)| {
                    known.is_some_and(|known| known.contains_key(key))
                        || *says != json!(false) && self.accepts(says, value)
                };
                value.as_object().is_none_or(|table| table.iter().all(one))
            }
            "pattern" => {
                value.as_str().is_none_or(|text| like(says.as_str().expect("a pattern"), text))
            }
            other => panic!("{other} is not known"),
        }
    }
}

/// The patterns of the schema, as functions: there is no engine for them here.
fn like(pattern: &str, text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match pattern {
        "^[A-Za-z_]+$" => {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphabetic() || c == '_')
        }
        "^[bc] [0-9]+:[0-9]+$" => text
            .strip_prefix("b ")
            .or(text.strip_prefix("c "))
            .and_then(|rest| rest.split_once(':'))
            .is_some_and(|(major, minor)| digits(major) && digits(minor)),
        "^[0-9]{4}-[0-9]{2}-[0-9]{2}$" => text.len() == 10 && digits(&text.replace('-', "")),
        "^[0-9A-Fa-f]{64}$" => {
            text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        }
        "^[^/]*[.]toml$" => !text.contains('/') && text.ends_with(".toml"),
        size if size.starts_with("^[0-9]+([.]") => brig_spec::quantity::size_bytes(text).is_some(),
        other => panic!("{other} is not known"),
    }
}

/// A policy that has every key.
fn complete() -> Value {
    let mut rules = Map::new();
    for (rule, json) in LEVELS
        .iter()
        .flat_map(|(_, text)| serde_json::from_str::<Map<String, Value>>(text).expect("JSON"))
    {
        rules.insert(rule, json);
    }
    rules.insert("extends".to_owned(), json!("restricted"));
    rules.insert("cgroup_parent".to_owned(), json!({"mode": "refuse", "allow": ["/kubepods"]}));
    for rule in crate::RULES {
        rules.entry(rule.name).or_insert(json!({"mode": "off"}));
    }
    rules["devices"] = json!({"mode": "off", "allow": ["c 10:229"]});
    let exception = json!({
        "reason": "why", "expires": "2026-12-31", "drop_in": "x.toml", "rules": ["pids"], "profiles": ["web"],
    });
    json!({
        "version": 1, "default": "web", "selectable": ["web", "oci"],
        "profile": {"web": rules}, "exception": {"it": exception},
    })
}

/// A value in TOML, on one line.
fn toml(value: &Value) -> String {
    match value {
        Value::Object(table) => {
            let entries: Vec<_> =
                table.iter().map(|(key, value)| format!("{key} = {}", toml(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Array(all) => format!("[{}]", all.iter().map(toml).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn text(file: &Value) -> String {
    let entries = file.as_object().expect("a table").iter();
    entries.map(|(key, value)| format!("{key} = {}\n", toml(value))).collect()
}

/// Pointers to all that is in a value.
fn pointers(value: &Value, at: &str, into: &mut Vec<String>) {
    into.push(at.to_owned());
    let parts: Vec<(String, &Value)> = match value {
        Value::Object(table) => table.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(all) => {
            all.iter().enumerate().take(1).map(|(i, v)| (i.to_string(), v)).collect()
        }
        _ => Vec::new(),
    };
    for (key, value) in parts {
        pointers(value, &format!("{at}/{key}"), into);
    }
}

#[test]
fn the_shipped_schema_is_that_of_the_rules() {
    let text = format!("{}\n", serde_json::to_string_pretty(&whole()).expect("JSON"));
    if std::env::var_os("BRIG_BLESS").is_some() {
        std::fs::write(FILE, &text).expect("write the schema");
    }
    let written = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(written == text, "docs/policy.schema.json is out of date: BRIG_BLESS=1 writes it");
}

#[test]
fn what_the_parser_takes_the_schema_takes() {
    let validator = Validator { root: whole() };
    let file = complete();
    Policy::read(&text(&file)).unwrap_or_else(|error| panic!("{error}"));
    assert!(validator.accepts(&validator.root, &file));
    let rules = &validator.root["$defs"]["rules"];
    for (name, text) in LEVELS {
        let level = serde_json::from_str(text).expect("JSON");
        assert!(validator.accepts(rules, &level), "{name}");
    }
}

/// What is wrong in its form: each value replaced by one of another type, each table with an unknown key, and without each
/// of its keys.
#[test]
fn what_the_parser_refuses_for_its_form_the_schema_refuses() {
    let validator = Validator { root: whole() };
    let good = complete();
    let mut places = Vec::new();
    pointers(&good, "", &mut places);
    let (mut refused, mut taken) = (0, 0);
    let mut compare = |file: &Value, what: &str| {
        let parsed = Policy::read(&text(file));
        let is_accepted = validator.accepts(&validator.root, file);
        match &parsed {
            Err(error) if is_accepted => {
                // What only the parser can know: which names there are, and which values a mode needs.
                let words = error.to_string();
                let is_about_names =
                    ["there is no profile", "required but missing", "unknown capability"]
                        .iter()
                        .any(|known| words.contains(known));
                assert!(is_about_names && !words.starts_with("version"), "{what}: {words}");
            }
            Err(_) => refused += 1,
            Ok(_) => {
                assert!(is_accepted, "{what}: the schema refuses it");
                taken += 1;
            }
        }
    };
    for place in &places[1..] {
        for other in [
            json!(true),
            json!(-1),
            json!(7),
            json!(0.5),
            json!("x y"),
            json!([]),
            json!([true]),
            json!({}),
        ] {
            let mut file = good.clone();
            *file.pointer_mut(place).expect(place) = other.clone();
            compare(&file, &format!("{place} = {other}"));
        }
        let (above, key) = place.rsplit_once('/').expect("a pointer");
        let mut file = good.clone();
        if let Some(table) = file.pointer_mut(above).and_then(Value::as_object_mut) {
            table.remove(key);
            compare(&file, &format!("without {place}"));
        }
    }
    for place in &places {
        let mut file = good.clone();
        if let Some(table) = file.pointer_mut(place).and_then(Value::as_object_mut) {
            table.insert("unknown".to_owned(), json!("x"));
            compare(&file, &format!("{place}/unknown"));
        }
    }
    assert!(refused > 800 && taken > 50, "{refused} refused, {taken} taken");
}

#[test]
fn a_drop_in_has_a_schema_too() {
    let validator = Validator { root: whole() };
    let schema = &validator.root["$defs"]["dropIn"];
    for (text, is_good) in [
        (
            "version = 1\nprofiles = [\"oci\"]\n[rules]\npids = { mode = \"enforce\", max = 5 }",
            true,
        ),
        ("version = 1\n[rules]", true),
        ("version = 2\n[rules]", false),
        ("version = 1", false),
        ("version = 1\ndefault = \"oci\"\n[rules]", false),
        ("version = 1\n[rules.pid]", false),
    ] {
        let value = Json::of(text, |_| false).and_then(|json| json.read()).expect("TOML");
        assert_eq!(validator.accepts(schema, &value), is_good, "{text}");
        assert_eq!(Policy::without_file().add_drop_in("x.toml", text).is_ok(), is_good, "{text}");
    }
}

/// Every example of docs/policy.md that is a file, or the part of one that has profiles.
#[test]
fn the_examples_of_the_documents_are_good() {
    let validator = Validator { root: whole() };
    let document = include_str!("../../../../docs/policy.md");
    let mut blocks = vec![String::new()];
    for line in document.lines() {
        match (line.strip_prefix("    "), line.is_empty()) {
            (Some(code), _) => {
                blocks.iter_mut().last().expect("one").push_str(&format!("{code}\n"));
            }
            (None, true) if blocks.last().is_some_and(|block| !block.is_empty()) => {
                blocks.iter_mut().last().expect("one").push('\n');
            }
            (None, _) => blocks.push(String::new()),
        }
    }
    let (mut files, mut drop_ins) = (0, 0);
    for block in &blocks {
        let value = |text: &str| -> Value {
            let read = Json::of(text, |_| false).and_then(|json| json.read());
            read.unwrap_or_else(|wrong| panic!("{}: {text}", wrong.what))
        };
        if block.contains("\n[rules]\n") {
            drop_ins += 1;
            assert!(
                validator.accepts(&validator.root["$defs"]["dropIn"], &value(block)),
                "{block}"
            );
        } else if block.starts_with("version = 1")
            || block.starts_with("[profile.")
            || block.starts_with("[exception.")
        {
            let head = "version = 1\ndefault = \"oci\"\n";
            let text =
                if block.starts_with("version") { block.clone() } else { format!("{head}{block}") };
            files += 1;
            assert!(validator.accepts(&validator.root, &value(&text)), "{text}");
            let mut known = text.clone();
            if block.starts_with("[exception.") {
                known.push_str("\n[profile.build]\n");
            }
            Policy::read(&known).unwrap_or_else(|error| panic!("{error}: {text}"));
        }
    }
    assert!(files >= 10 && drop_ins >= 1, "{files} files, {drop_ins} drop-ins");
}
