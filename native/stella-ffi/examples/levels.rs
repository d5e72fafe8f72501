//! Prints the instruction sets that the kernels can use in this process, one per line.

use stella_kernels::cpu::CpuLevel;

fn main() {
    for level in CpuLevel::available() {
        println!("{level}");
    }
}
