//! The target is brig's own (`brig::fuzz`), so that tests run it as well.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| brig_fuzz::run("dbus", bytes));
