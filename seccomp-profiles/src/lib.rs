//! Compiler from OCI `linux.seccomp` to classic BPF, and the profiles brig ships.
#![forbid(unsafe_code)]
