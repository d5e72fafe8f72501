//! What the processor can do, and which of it is used.

use std::fmt;
use std::sync::OnceLock;

/// Environment variable that caps the level, for tests and for finding out what a fault depends on.
pub const LEVEL_VARIABLE: &str = "STELLA_CPU_LEVEL";

/// Instruction sets, each of which holds those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CpuLevel {
    /// What every processor of the architecture has.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
    /// AVX-512 with VNNI: products of bytes.
    Avx512Vnni,
    /// AVX-512 with VNNI and BF16: products of bfloat16.
    Avx512Bf16,
    /// Intel AMX: tiles of bytes and bfloat16.
    Amx,
}

impl CpuLevel {
    /// Every level, lowest first.
    pub const ALL: [Self; 6] =
        [Self::Portable, Self::Avx2, Self::Avx512, Self::Avx512Vnni, Self::Avx512Bf16, Self::Amx];

    /// The name by which [`LEVEL_VARIABLE`] and reports call it.
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

    /// The level of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// Whether this machine can run it.
    pub fn is_available(self) -> bool {
        found().available.contains(&self)
    }

    /// The levels that this machine can run, lowest first.
    pub fn available() -> &'static [Self] {
        &found().available
    }

    /// The level that is used unless a caller names one: the fastest that there is, or the one that
    /// [`LEVEL_VARIABLE`] names, or the best below it. The variable is read once.
    pub fn preferred() -> Self {
        found().preferred
    }
}

impl fmt::Display for CpuLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

struct Found {
    available: Vec<CpuLevel>,
    preferred: CpuLevel,
    tiles: Tiles,
}

/// The AMX tiles of this machine.
#[derive(Debug, PartialEq, Eq)]
enum Tiles {
    /// The processor has none.
    Absent,
    /// The processor has them without AVX-512 BF16, which is used with them.
    Alone,
    /// The system refused the state that they need, with this error.
    Refused(String),
    /// The process may use them.
    Permitted,
}

/// Explains why `level` uses no tiles, and how urgent it is to know. `None` when it uses them or the processor has none.
pub fn unused_tiles(level: CpuLevel) -> Option<(log::Level, String)> {
    explain(&found().tiles, level)
}

fn explain(tiles: &Tiles, level: CpuLevel) -> Option<(log::Level, String)> {
    if level == CpuLevel::Amx {
        return None;
    }
    match tiles {
        Tiles::Absent => None,
        Tiles::Alone => Some((
            log::Level::Info,
            format!("The processor has AMX tiles but no AVX-512 BF16, so {level} is used."),
        )),
        Tiles::Refused(error) => Some((
            log::Level::Warn,
            format!(
                "The system refused AMX tiles to this process ({error}), so {level} is used, which is slower. The usual \
                 cause is a thread with a small alternate signal stack. Load a model before such a thread starts."
            ),
        )),
        Tiles::Permitted => Some((
            log::Level::Info,
            format!(
                "AMX tiles are available, but {level} was asked for, by {LEVEL_VARIABLE} or by an option."
            ),
        )),
    }
}

fn found() -> &'static Found {
    static FOUND: OnceLock<Found> = OnceLock::new();
    FOUND.get_or_init(|| {
        let (available, tiles) = detect();
        let cap = std::env::var(LEVEL_VARIABLE).ok();
        let preferred = choose(&available, has_tiles(), cap.as_deref());
        Found { available, preferred, tiles }
    })
}

/// The best of `available`, at most `cap`.
///
/// Where the processor has AMX, its AVX-512 product of bfloat16 is slower than widening to `f32`: it runs at a quarter
/// of the rate of FMA and does twice the work (measured on Sapphire Rapids). So there that level is taken only when it
/// is asked for. This is decided by what the processor is and not by a race, so that every start of a process gives
/// the same bits.
fn choose(available: &[CpuLevel], tiles: bool, cap: Option<&str>) -> CpuLevel {
    let cap = cap.filter(|name| !name.is_empty()).and_then(|name| {
        let level = CpuLevel::from_name(name);
        if level.is_none() {
            let names = CpuLevel::ALL.map(CpuLevel::name).join(", ");
            log::warn!("{LEVEL_VARIABLE} is {name:?} and is ignored; it may be one of {names}");
        }
        level
    });
    let allowed = |level: &&CpuLevel| match cap {
        Some(cap) => **level <= cap,
        None => **level != CpuLevel::Avx512Bf16 || !tiles,
    };
    available.iter().rfind(allowed).copied().unwrap_or(CpuLevel::Portable)
}

#[cfg(target_arch = "x86_64")]
fn detect() -> (Vec<CpuLevel>, Tiles) {
    use std::arch::is_x86_feature_detected as has;
    let avx2 = has!("avx2") && has!("fma");
    let avx512 = avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
    let vnni = avx512 && has!("avx512vnni");
    let bf16 = vnni && has!("avx512bf16");
    let tiles = match (has_tiles(), bf16) {
        (false, _) => Tiles::Absent,
        (true, false) => Tiles::Alone,
        (true, true) => {
            crate::amx::request().map_or_else(|e| Tiles::Refused(e.to_string()), |()| Tiles::Permitted)
        }
    };
    let levels = [true, avx2, avx512, vnni, bf16, tiles == Tiles::Permitted];
    let available =
        CpuLevel::ALL.into_iter().zip(levels).filter_map(|(level, has)| has.then_some(level)).collect();
    (available, tiles)
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> (Vec<CpuLevel>, Tiles) {
    (vec![CpuLevel::Portable], Tiles::Absent)
}

/// Whether the processor has tiles of bytes and of bfloat16, whether or not we may use them.
#[cfg(target_arch = "x86_64")]
fn has_tiles() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    const BF16: u32 = 1 << 22;
    const TILE: u32 = 1 << 24;
    const INT8: u32 = 1 << 25;
    // Leaf 7 lists extended features.
    __cpuid(0).eax >= 7 && {
        let wanted = BF16 | TILE | INT8;
        __cpuid_count(7, 0).edx & wanted == wanted
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn has_tiles() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_levels() {
        for level in CpuLevel::ALL {
            assert_eq!(CpuLevel::from_name(level.name()), Some(level));
        }
        assert_eq!(CpuLevel::from_name("sse9"), None);
    }

    #[test]
    fn the_best_level_is_chosen_under_the_cap() {
        use CpuLevel::*;
        let all = CpuLevel::ALL;
        assert_eq!(choose(&all, true, None), Amx);
        assert_eq!(choose(&all[..5], false, None), Avx512Bf16);
        // A machine with tiles that we may not use.
        assert_eq!(choose(&all[..5], true, None), Avx512Vnni);
        assert_eq!(choose(&all, true, Some("avx512-bf16")), Avx512Bf16);
        assert_eq!(choose(&all[..2], false, Some("avx512-vnni")), Avx2);
        assert_eq!(choose(&all, true, Some("portable")), Portable);
        for ignored in ["", "AVX2", "fastest"] {
            assert_eq!(choose(&all, true, Some(ignored)), Amx, "{ignored:?}");
        }
    }

    #[test]
    fn tiles_that_are_not_used_are_explained() {
        use CpuLevel::*;
        let refused = Tiles::Refused("No space left on device (os error 28)".to_owned());
        let (urgency, text) = explain(&refused, Avx512Vnni).unwrap();
        assert_eq!(urgency, log::Level::Warn);
        assert!(text.contains("os error 28") && text.contains("avx512-vnni"), "{text}");
        let (urgency, text) = explain(&Tiles::Permitted, Avx2).unwrap();
        assert!(urgency == log::Level::Info && text.contains(LEVEL_VARIABLE), "{text}");
        assert!(explain(&Tiles::Alone, Avx2).unwrap().1.contains("BF16"));
        assert_eq!(explain(&Tiles::Absent, Avx512Bf16), None);
        assert_eq!(explain(&Tiles::Permitted, Amx), None);
        // The record of a load depends on this machine: there is one exactly when it has tiles that are not used.
        let unused = has_tiles() && CpuLevel::preferred() != Amx;
        assert_eq!(unused_tiles(CpuLevel::preferred()).is_some(), unused);
    }

    #[test]
    fn this_machine_runs_its_own_levels() {
        let available = CpuLevel::available();
        assert_eq!(available.first(), Some(&CpuLevel::Portable));
        assert!(available.is_sorted() && CpuLevel::preferred().is_available());
    }
}
