//! Helpers that the test files share.
// Each test file uses only some of them.
#![allow(dead_code)]

use stella_kernels::Kernels;
use stella_kernels::cpu::CpuLevel;
use stella_kernels::team::Team;

/// Returns the kernels of every available instruction set.
pub fn kernels() -> impl Iterator<Item = Kernels> {
    CpuLevel::available().iter().filter_map(|&level| Kernels::for_level(level))
}

/// Starts a team with enough scratch memory for every test.
pub fn team(threads: usize) -> Team {
    Team::new(threads, 1 << 18, None).expect("threads")
}

/// A source of random numbers from -1 to 1.
pub struct Noise(pub u64);

impl Noise {
    pub fn numbers(&mut self, count: usize) -> Vec<f32> {
        let mut next = || {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z >> 40) as f32 - 8_388_608.0) / 8_388_608.0
        };
        (0..count).map(|_| next()).collect()
    }
}

pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The normal distribution function, by a series of positive terms, so that nothing cancels.
pub fn phi(x: f64) -> f64 {
    if x < -9.0 {
        return 0.0;
    }
    let (mut term, mut sum) = (x.abs(), x.abs());
    for i in 1..400 {
        term *= x * x / f64::from(2 * i + 1);
        sum += term;
    }
    let above = sum * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    0.5 + above.copysign(x)
}
