//! The program's allocator: dlmalloc over a few large pieces of memory.
//!
//! brig's programs are short-lived and small. musl's allocator maps and unmaps pages for almost every
//! growing buffer; this one asks for 64 KiB or more at a time. The lock is std's, a compare-and-swap
//! where nobody waits; threads may allocate, and free what others made.
//!
//! It must never be used after clone3 in the child, which could find the lock taken.

use std::alloc::{GlobalAlloc, Layout};
use std::fmt;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dlmalloc::Dlmalloc;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// An allocator for `#[global_allocator]`.
pub struct Allocator(Mutex<Dlmalloc<Pages>>);

impl Allocator {
    /// An allocator that has asked the kernel for nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(Dlmalloc::new_with_allocator(Pages)))
    }

    fn locked(&self) -> MutexGuard<'_, Dlmalloc<Pages>> {
        // A panic while it is held ends the program.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Allocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Allocator")
    }
}

impl Default for Allocator {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: every pointer comes from dlmalloc's functions of the same meaning and contract, and the
// lock is held while one runs, so that each has the heap to itself. The caller upholds the contract
// of `GlobalAlloc`, which is theirs.
unsafe impl GlobalAlloc for Allocator {
    /// # Safety
    /// As `GlobalAlloc` says.
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { self.locked().malloc(layout.size(), layout.align()) }
    }

    /// # Safety
    /// As `GlobalAlloc` says.
    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { self.locked().free(memory, layout.size(), layout.align()) }
    }

    /// # Safety
    /// As `GlobalAlloc` says.
    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { self.locked().calloc(layout.size(), layout.align()) }
    }

    /// # Safety
    /// As `GlobalAlloc` says.
    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        unsafe { self.locked().realloc(memory, layout.size(), layout.align(), size) }
    }
}

/// Memory from the kernel (mmap(2)).
#[derive(Debug)]
struct Pages;

// SAFETY: what `alloc` returns is a fresh private mapping of zeroes of the size that it says, which
// nobody else knows; `free` gives back only what dlmalloc got that way. Nothing else is promised.
unsafe impl dlmalloc::Allocator for Pages {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        // SAFETY: at an address of the kernel's choice, so over no other mapping.
        let memory = unsafe {
            let access = ProtFlags::READ | ProtFlags::WRITE;
            mmap_anonymous(ptr::null_mut(), size, access, MapFlags::PRIVATE)
        };
        memory.map_or((ptr::null_mut(), 0, 0), |memory| (memory.cast(), size, 0))
    }

    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        ptr::null_mut()
    }

    fn free_part(&self, _: *mut u8, _: usize, _: usize) -> bool {
        false
    }

    fn free(&self, memory: *mut u8, size: usize) -> bool {
        // SAFETY: dlmalloc gives back a whole piece that `alloc` returned, and uses it no more.
        unsafe { munmap(memory.cast(), size) }.is_ok()
    }

    fn can_release_part(&self, _: u32) -> bool {
        false
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        // dlmalloc rounds by it; a multiple of the real one does as well (64 KiB on some arm64).
        65536
    }
}

#[cfg(test)]
#[allow(clippy::multiple_unsafe_ops_per_block, reason = "the memory is used where it is made")]
mod tests {
    use std::thread;

    use super::*;

    static ALLOCATOR: Allocator = Allocator::new();

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 16).expect("a layout")
    }

    /// Fills memory of many sizes, grows it, and finds what was written.
    fn exercise(seed: u8) {
        let mut held = Vec::new();
        for round in 0..400_usize {
            let size = 1 + (round * 7919) % 50_000;
            // SAFETY: the layout has a size, and the memory is as large as it says.
            let memory = unsafe {
                let memory = ALLOCATOR.alloc(layout(size));
                memory.write_bytes(seed, size);
                ALLOCATOR.realloc(memory, layout(size), size * 2)
            };
            held.push((memory as usize, size));
        }
        for (memory, size) in held {
            let memory = memory as *mut u8;
            // SAFETY: allocated above with twice the size, of which the first half was written.
            unsafe {
                assert!((0..size).all(|at| *memory.add(at) == seed));
                ALLOCATOR.dealloc(memory, layout(size * 2));
            }
        }
    }

    #[test]
    fn threads_share_it_and_find_what_they_wrote() {
        thread::scope(|scope| {
            for seed in 1..9 {
                scope.spawn(move || exercise(seed));
            }
        });
    }

    #[test]
    fn zeroed_memory_is_zero_after_use_too() {
        for _ in 0..100 {
            // SAFETY: the layout has a size, and the memory is used within it.
            unsafe {
                let memory = ALLOCATOR.alloc_zeroed(layout(9000));
                assert!((0..9000).all(|at| *memory.add(at) == 0));
                memory.write_bytes(0xff, 9000);
                ALLOCATOR.dealloc(memory, layout(9000));
            }
        }
    }
}
