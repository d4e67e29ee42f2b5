//! The levels as brig has them in it: each with all that it extends, as JSON, which is read in a fraction of the time.

use std::path::Path;
use std::{env, fs};

use serde_json::Value;

#[path = "src/toml_text.rs"]
mod toml_text;

/// The directory of the levels.
const LEVELS: &str = "src/levels";

fn main() {
    println!("cargo::rerun-if-changed={LEVELS}");
    println!("cargo::rerun-if-changed=src/toml_text.rs");
    let out = env::var("OUT_DIR").expect("cargo sets it");
    for file in fs::read_dir(LEVELS).expect("the levels are there") {
        let path = file.expect("a file").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a level has a name");
        let text = whole(name).to_string();
        fs::write(Path::new(&out).join(name).with_extension("json"), text).expect("write a level");
    }
}

/// A level with all that it extends: a rule of its own may leave values to the other's.
fn whole(name: &str) -> Value {
    let path = Path::new(LEVELS).join(format!("{name}.toml"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let read = toml_text::Json::of(&text, |_| false).and_then(|json| json.read());
    let mut own: Value =
        read.unwrap_or_else(|wrong| panic!("{path:?}: byte {}: {}", wrong.offset, wrong.what));
    let Some(Value::String(extended)) =
        own.as_object_mut().and_then(|rules| rules.remove("extends"))
    else {
        return own;
    };
    let mut whole = whole(&extended);
    for (rule, values) in own.as_object().into_iter().flatten() {
        for (key, value) in values.as_object().into_iter().flatten() {
            whole[rule][key] = value.clone();
        }
    }
    whole
}
