//! How the program `brig` is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = |what: &str| std::env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    if target("ARCH") == "x86_64" {
        // Where it begins: see `brig_sys::entry`.
        println!("cargo:rustc-link-arg-bin=brig=-Wl,-e,brig_entry");
    }
    // Only x86_64's static programs are position-independent, and have such a list at all.
    if target("ENV") == "musl" && target("ARCH") == "x86_64" {
        // What is relocated at every start takes 1 KiB to list instead of 60 (musl 1.2.4).
        println!("cargo:rustc-link-arg-bin=brig=-Wl,-z,pack-relative-relocs");
    }
}
