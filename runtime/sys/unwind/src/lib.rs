//! What stands in for the unwinder in the program `brig` as it is shipped, which ends at a panic.
//!
//! A panic says its message and its place, and aborts (`panic = "abort"`). The backtrace that std would add for
//! `RUST_BACKTRACE` reads tables and symbols that the program does not have; the readers and the unwinder are 7 % of
//! the program. Where the walk over the stack is seen to visit nothing, they are left out.
//!
//! It must never be a dependency of anything but brig-cli: a program has one unwinder. Nothing is defined here in
//! debug builds, nor for other C libraries than musl.

/// Functions of the unwinder that std's code refers to for landing pads. No program that aborts comes to them.
#[cfg(all(target_env = "musl", not(debug_assertions)))]
macro_rules! never_called {
    ($($name:ident)*) => { $(
        // SAFETY: libunwind has the only other function of the name, in a file that is not linked when all of it that
        // somebody needs is defined here; the linker refuses two. Whatever it is called with, it does not return.
        #[unsafe(no_mangle)]
        extern "C" fn $name() -> ! {
            std::process::abort()
        }
    )* };
}

#[cfg(all(target_env = "musl", not(debug_assertions)))]
mod unwinder {
    use std::ffi::{c_int, c_void};

    /// `_URC_END_OF_STACK` of the Itanium C++ ABI, "Exception Handling", 1.2.1.
    const END_OF_STACK: c_int = 5;

    /// Walks over no frame at all: `visit` is never called.
    // SAFETY: as for the functions below; the signature is the ABI's.
    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_Backtrace(
        _visit: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
        _argument: *mut c_void,
    ) -> c_int {
        END_OF_STACK
    }

    never_called! {
        _Unwind_GetDataRelBase _Unwind_GetIPInfo _Unwind_GetLanguageSpecificData _Unwind_GetRegionStart
        _Unwind_GetTextRelBase _Unwind_Resume _Unwind_SetGR _Unwind_SetIP
    }
}
