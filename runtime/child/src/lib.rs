//! What runs between clone3 and execve.
#![no_std]
