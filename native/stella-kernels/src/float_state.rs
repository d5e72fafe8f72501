//! The floating-point control state of a thread: rounding mode, flush-to-zero, exception masks.
//!
//! The state belongs to the thread, and a new thread inherits it. A host that changed it, often by loading a library
//! compiled with `-ffast-math`, would change bits of vectors. So code of this library computes under the default state
//! and gives the host's state back.
#![allow(unsafe_code)]

use std::marker::PhantomData;

/// Keeps the default state on this thread, and restores the previous state when it is dropped.
///
/// Reads two registers when the state is the default already. The x87 unit has a state of its own that stays untouched:
/// the library computes nothing there.
#[derive(Debug)]
#[must_use]
pub struct DefaultFloats {
    before: State,
    /// The state belongs to one thread.
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
    /// The sticky flags, which change no result.
    const FLAGS: State = 0x3f;

    pub(super) fn is_default(state: State) -> bool {
        state & !FLAGS == DEFAULT
    }

    #[inline]
    pub(super) fn read() -> State {
        let mut state: State = 0;
        // SAFETY: stores the register into a number of its size. Without `nomem` and `pure` the compiler moves no read or
        // write of memory across, and so no arithmetic on numbers from memory.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut state, options(nostack, preserves_flags)) };
        state
    }

    #[inline]
    pub(super) fn write(state: State) {
        // SAFETY: the state is the default or was read from the register, so no reserved bit is set and the instruction
        // does not fault. Loading unmasked exceptions with their flags set raises nothing. Compiled code expects the
        // default state; another state is set only for the host that had set it, when a call returns to the host. The
        // exception flags in the register change, so `preserves_flags` would be a false promise.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const state, options(nostack)) };
    }
}

#[cfg(target_arch = "aarch64")]
use fpcr::{DEFAULT, State, is_default, read, write};

#[cfg(target_arch = "aarch64")]
mod fpcr {
    use std::arch::asm;

    /// FPCR, which controls, and FPSR, which collects exception flags.
    pub(super) type State = (u64, u64);

    /// Round to nearest, denormal numbers kept, no trap, no flag set.
    pub(super) const DEFAULT: State = (0, 0);

    pub(super) fn is_default((control, _): State) -> bool {
        control == DEFAULT.0
    }

    #[inline]
    pub(super) fn read() -> State {
        let (control, status);
        // SAFETY: reads two registers. Without `nomem` and `pure` the compiler moves no read or write of memory across.
        unsafe {
            asm!("mrs {}, fpcr", "mrs {}, fpsr", out(reg) control, out(reg) status, options(nostack, preserves_flags))
        };
        (control, status)
    }

    #[inline]
    pub(super) fn write((control, status): State) {
        // SAFETY: the state is the default or was read from the registers. Compiled code expects the default state;
        // another state is set only for the host that had set it, when a call returns to the host. FPSR changes, so
        // `preserves_flags` would be a false promise.
        unsafe { asm!("msr fpcr, {}", "msr fpsr, {}", in(reg) control, in(reg) status, options(nostack)) };
    }
}

/// Other architectures have no state that is known here.
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
