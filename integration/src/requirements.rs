//! What the runtime specification demands (MUST, SHOULD), and the tests that show it, for `docs/conformance.md`; and what
//! brig does with runc's flags.
//!
//! Promises: each entry names tests that are there, and that fail where the demand is not met; a test reads the sources
//! for them. Where brig does otherwise the entry says so, and why. What is demanded of Windows and Solaris is left out.
//! Reference: runtime-spec 1.3, runtime.md, config.md, config-linux.md.

use std::fmt::Write as _;

mod config_linux_md;
mod config_md;
mod flags;
mod runtime_md;

pub use flags::{FLAGS, Flags, of_runc};

/// A demand.
#[derive(Debug)]
pub struct Demand {
    /// The document and the section.
    pub place: &'static str,
    /// What is demanded, in short.
    pub what: &'static str,
    /// `FILE::TEST` of `integration/tests`, or `PATH::TEST` of another package.
    pub tests: &'static [&'static str],
    /// What brig does otherwise, and why.
    pub but: Option<&'static str>,
}

const fn demand(place: &'static str, what: &'static str, tests: &'static [&'static str]) -> Demand {
    Demand { place, what, tests, but: None }
}

impl Demand {
    /// The same, with what brig does otherwise.
    const fn but(self, but: &'static str) -> Demand {
        Demand { but: Some(but), ..self }
    }
}

/// All demands, in the documents' order.
fn demands() -> impl Iterator<Item = &'static Demand> {
    let all = [runtime_md::DEMANDS, config_md::DEMANDS, config_linux_md::DEMANDS];
    all.into_iter().flatten()
}

/// Their part of the document.
#[must_use]
pub fn table() -> String {
    let mut text = String::from(
        "\n## Demands of the specification\n\n\
         What version 1.3 demands of a runtime on Linux (MUST and REQUIRED; SHOULD where that is said), in short, and the\n\
         tests that show it: of `integration/tests`, where no path is given. \"Otherwise\" is what brig does instead, and why.\n\n\
         | where | what | tests | otherwise |\n|---|---|---|---|\n",
    );
    for Demand { place, what, tests, but } in demands() {
        let tests: Vec<String> = tests.iter().map(|test| format!("`{test}`")).collect();
        let but = but.unwrap_or_default();
        let _ = writeln!(text, "| {place} | {what} | {} | {but} |", tests.join(", "));
    }
    text + &flags::table()
}

#[cfg(test)]
mod tests {
    use super::demands;

    #[test]
    fn every_demand_names_tests_that_are_there() {
        for demand in demands() {
            assert!(!demand.tests.is_empty(), "{}", demand.what);
            for test in demand.tests {
                let (file, name) = test.split_once("::").expect("FILE::TEST");
                let path = match file.contains('/') {
                    true => crate::binaries::workspace().join(file),
                    false => {
                        crate::binaries::workspace().join(format!("integration/tests/{file}.rs"))
                    }
                };
                let source = std::fs::read_to_string(path).expect("the test's source");
                let plain = source.contains(&format!("#[test]\nfn {name}()"))
                    || source.contains(&format!("#[test]\n    fn {name}()"));
                let of_table = source.contains(&format!("\n    {name}: |b|"));
                let of_random_values = source.contains(&format!("\n    fn {name}(rules in "));
                assert!(plain || of_table || of_random_values, "{test} is no test");
            }
        }
    }
}
