//! Detects the instruction sets of the processor (AVX2, AVX-512, AMX) and chooses the preferred instruction set.
//!
//! `table.rs` has the kernels of each instruction set. No Neon kernels exist yet, so Arm processors run the portable
//! kernels: plain Rust on arrays of four `f32`. The compiler translates them to instructions that every processor of the
//! target has, which on AArch64 include Neon. bfloat16 weights are widened to `f32` there.
//!
//! A new instruction set, for example Neon, needs:
//!
//! 1. Here: a variant of [`CpuLevel`], its entries in [`CpuLevel::ALL`] and [`CpuLevel::name`], and its detection in
//!    `detect`. `choose` prefers the last available variant, but skips AVX-512 BF16 on processors with AMX.
//! 2. `simd/NAME.rs`, declared in `simd/mod.rs`: an implementation of `Simd` for its `f32` vectors, and of `Dot` for
//!    products in `f32`, bfloat16 (native, or widened to `f32`) and int8.
//! 3. `table.rs`: a module that compiles the kernels with its target features, its `KernelTable`, and its arm in
//!    `KernelTable::of`.
//! 4. `stella-ffi/src/model.rs` and `src/StellaInterop/Values/StellaModelOptions.cs`: a value of `StellaCpuLevel`, with its
//!    line in `PublicAPI.Unshipped.txt`. Its number is the position of the variant. Existing numbers must not change.
//!    The build of the
//!    library writes the bindings, and `dotnet cake --target=Docs` writes `docs/abi.md`.
//! 5. Tests: the vectors in the tests of `math.rs`. The other tests run every available instruction set by themselves.
//!    For benchmarks, the limits in `benches/kernels.rs`.

use std::fmt;
use std::sync::OnceLock;

/// Environment variable that caps the instruction set, for tests and for the diagnosis of faults.
pub const LEVEL_VARIABLE: &str = "STELLA_CPU_LEVEL";

/// Instruction sets. Each x86-64 instruction set includes the instruction sets before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CpuLevel {
    /// The instructions that every processor of the target architecture has. Arm has no kernels beyond these.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
    /// AVX-512 with VNNI: int8 products.
    Avx512Vnni,
    /// AVX-512 with VNNI and BF16: bfloat16 products.
    Avx512Bf16,
    /// Intel AMX: int8 and bfloat16 products of tiles.
    Amx,
}

impl CpuLevel {
    /// All instruction sets, lowest first.
    pub const ALL: [Self; 6] =
        [Self::Portable, Self::Avx2, Self::Avx512, Self::Avx512Vnni, Self::Avx512Bf16, Self::Amx];

    /// Returns the name in [`LEVEL_VARIABLE`] and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Vnni => "avx512-vnni",
            Self::Avx512Bf16 => "avx512-bf16",
            Self::Amx => "amx",
        }
    }

    /// Finds the instruction set by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// Whether this process can use the instruction set.
    pub fn is_available(self) -> bool {
        detected().available.contains(&self)
    }

    /// Returns the instruction sets that this process can use, lowest first.
    pub fn available() -> &'static [Self] {
        &detected().available
    }

    /// Returns the instruction set that is used unless a caller chooses another: the fastest available one that does not
    /// exceed [`LEVEL_VARIABLE`]. The variable is read once.
    pub fn preferred() -> Self {
        detected().preferred
    }
}

impl fmt::Display for CpuLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

struct Detected {
    available: Vec<CpuLevel>,
    preferred: CpuLevel,
    amx: AmxState,
}

/// Whether the process can use AMX.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(
    not(all(target_arch = "x86_64", target_os = "linux")),
    allow(dead_code, reason = "other processors have no AMX, and other systems are not asked for it")
)]
enum AmxState {
    /// The processor has no AMX.
    Absent,
    /// The processor has AMX, but the kernels cannot use it for this reason.
    Unusable(&'static str),
    /// The system refused the register state for tiles, with this error.
    Refused(String),
    /// The process may use AMX.
    Permitted,
}

/// Explains why the kernels of `level` do not use AMX, with the severity of the message. Returns `None` if they use AMX or
/// the processor has no AMX.
pub fn explain_unused_amx(level: CpuLevel) -> Option<(log::Level, String)> {
    explain(&detected().amx, level)
}

fn explain(amx: &AmxState, level: CpuLevel) -> Option<(log::Level, String)> {
    if level == CpuLevel::Amx {
        return None;
    }
    match amx {
        AmxState::Absent => None,
        AmxState::Unusable(reason) => Some((
            log::Level::Info,
            format!("The processor has AMX, but {reason}, so the kernels use {level}."),
        )),
        AmxState::Refused(error) => Some((
            log::Level::Warn,
            format!(
                "The system refused AMX to this process ({error}), so the kernels use {level}, which is slower. The usual \
                 cause is a thread with a small alternate signal stack. Load a model before such a thread starts."
            ),
        )),
        AmxState::Permitted => Some((
            log::Level::Info,
            format!("AMX is available, but {LEVEL_VARIABLE} or an option limits the kernels to {level}."),
        )),
    }
}

fn detected() -> &'static Detected {
    static DETECTED: OnceLock<Detected> = OnceLock::new();
    DETECTED.get_or_init(|| {
        let (available, amx) = detect();
        let cap = std::env::var(LEVEL_VARIABLE).ok();
        let preferred = choose(&available, has_amx(), cap.as_deref());
        Detected { available, preferred, amx }
    })
}

/// Chooses the fastest instruction set of `available` up to `cap`.
///
/// On a processor with AMX, the AVX-512 BF16 product is slower than widening to `f32`: it runs at a quarter of the rate
/// of FMA and does twice the work (measured on Sapphire Rapids). So AVX-512 BF16 is chosen there only if `cap` names it.
/// The choice depends on the processor and not on a measurement, so that every start of a process gives the same bits.
fn choose(available: &[CpuLevel], has_amx: bool, cap: Option<&str>) -> CpuLevel {
    let cap = cap.filter(|name| !name.is_empty()).and_then(|name| {
        let level = CpuLevel::from_name(name);
        if level.is_none() {
            let names = CpuLevel::ALL.map(CpuLevel::name).join(", ");
            log::warn!(
                "Ignoring {LEVEL_VARIABLE}={name:?}, which is not an instruction set. Use one of {names}."
            );
        }
        level
    });
    let allowed = |level: &&CpuLevel| match cap {
        Some(cap) => **level <= cap,
        None => **level != CpuLevel::Avx512Bf16 || !has_amx,
    };
    available.iter().rfind(allowed).copied().unwrap_or(CpuLevel::Portable)
}

/// Detects the available instruction sets, lowest first.
#[cfg(target_arch = "x86_64")]
fn detect() -> (Vec<CpuLevel>, AmxState) {
    use std::arch::is_x86_feature_detected as has;
    let avx2 = has!("avx2") && has!("fma");
    let avx512 = avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
    let vnni = avx512 && has!("avx512vnni");
    let bf16 = vnni && has!("avx512bf16");
    let amx = match (has_amx(), bf16) {
        (false, _) => AmxState::Absent,
        // The AMX kernel table also has AVX-512 BF16 kernels.
        (true, false) => AmxState::Unusable("it has no AVX-512 BF16"),
        (true, true) => request_amx(),
    };
    let levels = [true, avx2, avx512, vnni, bf16, amx == AmxState::Permitted];
    let available =
        CpuLevel::ALL.into_iter().zip(levels).filter_map(|(level, has)| has.then_some(level)).collect();
    (available, amx)
}

/// Returns only the portable instruction set: there are no kernels for other architectures, such as Arm with Neon.
#[cfg(not(target_arch = "x86_64"))]
fn detect() -> (Vec<CpuLevel>, AmxState) {
    (vec![CpuLevel::Portable], AmxState::Absent)
}

/// Whether the processor has AMX for int8 and bfloat16. The process may still need the system's permission.
#[cfg(target_arch = "x86_64")]
fn has_amx() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    const BF16: u32 = 1 << 22;
    const TILE: u32 = 1 << 24;
    const INT8: u32 = 1 << 25;
    // Leaf 7 lists extended features.
    __cpuid(0).eax >= 7 && {
        let required = BF16 | TILE | INT8;
        __cpuid_count(7, 0).edx & required == required
    }
}

/// Asks the system for the register state of AMX tiles, and returns its answer. The permission lasts for the life of the process.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
fn request_amx() -> AmxState {
    #[cfg(target_os = "linux")]
    {
        const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
        const XFEATURE_XTILEDATA: libc::c_ulong = 18;
        // SAFETY: the arguments of this call are numbers, and it accesses no memory.
        let refused =
            unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) != 0 };
        if refused {
            AmxState::Refused(std::io::Error::last_os_error().to_string())
        } else {
            AmxState::Permitted
        }
    }
    // Other systems permit AMX at its first use or have another call. Neither was tested.
    #[cfg(not(target_os = "linux"))]
    {
        AmxState::Unusable("this library uses it on Linux only")
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn has_amx() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_finds_its_instruction_set() {
        for level in CpuLevel::ALL {
            assert_eq!(CpuLevel::from_name(level.name()), Some(level));
        }
        assert_eq!(CpuLevel::from_name("sse9"), None);
    }

    #[test]
    fn the_fastest_instruction_set_up_to_the_cap_is_chosen() {
        use CpuLevel::*;
        let all = CpuLevel::ALL;
        assert_eq!(choose(&all, true, None), Amx);
        assert_eq!(choose(&all[..5], false, None), Avx512Bf16);
        // A processor with AMX that the process may not use.
        assert_eq!(choose(&all[..5], true, None), Avx512Vnni);
        assert_eq!(choose(&all, true, Some("avx512-bf16")), Avx512Bf16);
        assert_eq!(choose(&all[..2], false, Some("avx512-vnni")), Avx2);
        assert_eq!(choose(&all, true, Some("portable")), Portable);
        for ignored in ["", "AVX2", "fastest"] {
            assert_eq!(choose(&all, true, Some(ignored)), Amx, "{ignored:?}");
        }
    }

    #[test]
    fn a_message_explains_why_amx_is_unused() {
        use CpuLevel::*;
        let refused = AmxState::Refused("No space left on device (os error 28)".to_owned());
        let (severity, text) = explain(&refused, Avx512Vnni).unwrap();
        assert_eq!(severity, log::Level::Warn);
        assert!(text.contains("os error 28") && text.contains("avx512-vnni"), "{text}");
        let (severity, text) = explain(&AmxState::Permitted, Avx2).unwrap();
        assert!(severity == log::Level::Info && text.contains(LEVEL_VARIABLE), "{text}");
        let (severity, text) = explain(&AmxState::Unusable("it has no AVX-512 BF16"), Avx2).unwrap();
        assert!(severity == log::Level::Info && text.contains("BF16") && text.contains("avx2"), "{text}");
        assert_eq!(explain(&AmxState::Absent, Avx512Bf16), None);
        assert_eq!(explain(&AmxState::Permitted, Amx), None);
        // On this machine there is a message exactly if the processor has AMX and the kernels do not use it.
        let unused = has_amx() && CpuLevel::preferred() != Amx;
        assert_eq!(explain_unused_amx(CpuLevel::preferred()).is_some(), unused);
    }

    #[test]
    fn the_portable_and_the_preferred_instruction_set_are_available() {
        let available = CpuLevel::available();
        assert_eq!(available.first(), Some(&CpuLevel::Portable));
        assert!(available.is_sorted() && CpuLevel::preferred().is_available());
    }
}
