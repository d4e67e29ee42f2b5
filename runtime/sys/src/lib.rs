//! Thin safe wrappers over the system calls that nix and rustix lack.
