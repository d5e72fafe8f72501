//! The floating-point control state of a thread: rounding mode, flush-to-zero, exception masks.
//!
//! The state belongs to the thread, and a new thread inherits it. A host can change it, often by loading a library that
//! was compiled with `-ffast-math`. The changed state would change the bits of vectors. So this library computes under the
//! default state and restores the host's state afterwards.
#![allow(unsafe_code)]

use std::marker::PhantomData;

/// Guard that keeps the default state on this thread, and restores the previous state when it is dropped.
///
/// Creating the guard writes the control register only if its settings are not the default. Dropping it writes the register
/// only if the state has changed since, sticky exception flags included. The separate state of the x87 unit stays untouched,
/// because the library computes nothing there.
#[derive(Debug)]
#[must_use]
pub struct DefaultFloats {
    before: State,
    /// Makes the guard `!Send`: the state belongs to one thread.
    _thread: PhantomData<*const ()>,
}

impl DefaultFloats {
    /// Saves the state of this thread and sets the default.
    #[inline]
    pub fn enter() -> Self {
        let before = read();
        if !is_default(before) {
            write(DEFAULT);
        }
        Self { before, _thread: PhantomData }
    }
}

impl Drop for DefaultFloats {
    #[inline]
    fn drop(&mut self) {
        if read() != self.before {
            write(self.before);
        }
    }
}

#[cfg(target_arch = "x86_64")]
use mxcsr::{DEFAULT, State, is_default, read, write};

#[cfg(target_arch = "x86_64")]
mod mxcsr {
    use std::arch::asm;

    /// Control bits and sticky exception flags.
    pub(super) type State = u32;

    /// Round to nearest, denormal numbers kept, all exceptions masked, no flag set.
    pub(super) const DEFAULT: State = 0x1f80;
    /// The sticky exception flags. They change no result.
    const FLAGS: State = 0x3f;

    pub(super) fn is_default(state: State) -> bool {
        state & !FLAGS == DEFAULT
    }

    #[inline]
    pub(super) fn read() -> State {
        let mut state: State = 0;
        // SAFETY: stores the register into a number of its size. Without `nomem` and `pure` the compiler moves no memory
        // access across the instruction, and so no arithmetic on numbers from memory.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut state, options(nostack, preserves_flags)) };
        state
    }

    #[inline]
    pub(super) fn write(state: State) {
        // SAFETY: the state is the default or was read from the register, so no reserved bit is set and the instruction
        // does not fault. Loading unmasked exceptions with their flags set raises nothing. Compiled code expects the
        // default state. Another state is set only when a call returns to the host that had set it. The exception flags
        // in the register change, so `preserves_flags` would be a false promise.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const state, options(nostack)) };
    }
}

#[cfg(target_arch = "aarch64")]
use fpcr::{DEFAULT, State, is_default, read, write};

#[cfg(target_arch = "aarch64")]
mod fpcr {
    use std::arch::asm;

    /// FPCR, the control register, and FPSR, which collects exception flags.
    pub(super) type State = (u64, u64);

    /// Round to nearest, denormal numbers kept, no trap, no flag set.
    pub(super) const DEFAULT: State = (0, 0);

    pub(super) fn is_default((control, _): State) -> bool {
        control == DEFAULT.0
    }

    #[inline]
    pub(super) fn read() -> State {
        let (control, status);
        // SAFETY: reads two registers. Without `nomem` and `pure` the compiler moves no memory access across.
        unsafe {
            asm!("mrs {}, fpcr", "mrs {}, fpsr", out(reg) control, out(reg) status, options(nostack, preserves_flags))
        };
        (control, status)
    }

    #[inline]
    pub(super) fn write((control, status): State) {
        // SAFETY: the state is the default or was read from the registers. Compiled code expects the default state.
        // Another state is set only when a call returns to the host that had set it. FPSR changes, so `preserves_flags`
        // would be a false promise.
        unsafe { asm!("msr fpcr, {}", "msr fpsr, {}", in(reg) control, in(reg) status, options(nostack)) };
    }
}

/// The state of other architectures is not handled.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use none::{DEFAULT, State, is_default, read, write};

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod none {
    pub(super) type State = ();
    pub(super) const DEFAULT: State = ();

    pub(super) fn is_default((): State) -> bool {
        true
    }

    pub(super) fn read() -> State {}

    pub(super) fn write((): State) {}
}
