//! The verbs of the command line, one after the other, as engines and people use them.
use brig_integration::{Lab, json};

#[test]
fn run_passes_output_and_exit_code_on() {
    let lab = Lab::new();
    let c = lab.container(lab.bundle().sh("echo out; echo err >&2; exit 7"));
    c.run().code(7).prints("out").says("err");
    let v = lab.view(lab.bundle());
    println!("{v:#}");
    lab.assert_clean();
}
