//! Argument vectors and environments, as execve(2) takes them.

use core::ffi::{CStr, c_char};
use core::marker::PhantomData;

/// One pointer of an argument vector.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Arg<'a>(*const c_char, PhantomData<&'a CStr>);

impl<'a> Arg<'a> {
    /// The end of a vector.
    pub const END: Self = Self(core::ptr::null(), PhantomData);

    /// A string of a vector.
    #[must_use]
    pub fn new(text: &'a CStr) -> Self {
        Self(text.as_ptr(), PhantomData)
    }

    /// The string, `None` for [`Arg::END`].
    #[must_use]
    pub fn text(&self) -> Option<&'a CStr> {
        // SAFETY: a pointer that is not null comes from `new`, whose string lives for 'a.
        (!self.0.is_null()).then(|| unsafe { CStr::from_ptr(self.0) })
    }
}

/// A null-terminated vector of strings, as execve(2) takes it.
#[derive(Clone, Copy, Debug)]
pub struct Vector<'a>(&'a [Arg<'a>]);

impl<'a> Vector<'a> {
    /// `None` unless the last element is [`Arg::END`] and no other is.
    #[must_use]
    pub fn new(args: &'a [Arg<'a>]) -> Option<Self> {
        let (last, others) = args.split_last()?;
        (last.0.is_null() && others.iter().all(|arg| !arg.0.is_null())).then_some(Self(args))
    }

    pub(crate) fn as_ptr(&self) -> *const *const c_char {
        self.0.as_ptr().cast()
    }

    /// The strings in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a CStr> {
        self.0.iter().filter_map(Arg::text)
    }
}
