//! The memory of a process that loads and unloads models for a long time. The only test of its file, because it measures the
//! memory of the process.
#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, clippy::expect_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::ptr::null_mut;
use std::sync::Barrier;
use std::thread;

use stella_interop::model::*;

/// The memory of the process in kilobytes, while it has a model and after it freed the model.
#[derive(Debug, Clone, Copy)]
struct Held {
    loaded: i64,
    freed: i64,
}

/// Loads the shipped model with a limit of tokens and frees it. Models with different limits share nothing.
fn load_and_free(max_tokens: u32) -> Held {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src/StellaInterop.Models.Mini/model");
    let folder = folder.to_str().expect("the path is UTF-8");
    let options = StellaModelOptions { max_tokens, ..Default::default() };
    let mut model = null_mut();
    let error = unsafe { stella_model_open(folder.as_ptr(), folder.len(), &options, null_mut(), &mut model) };
    assert!(error.is_null());
    let loaded = anonymous_kilobytes();
    unsafe { stella_model_free(model) };
    Held { loaded, freed: anonymous_kilobytes() }
}

fn anonymous_kilobytes() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("RssAnon");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Each load runs on another thread, and so on another heap: all threads stay alive until the last has loaded.
#[test]
fn a_process_that_loads_and_unloads_gives_memory_back() {
    const THREADS: u32 = 16;
    /// The kilobytes that a thread keeps: its stack, and fragments of pages in its heap.
    const OF_A_THREAD: i64 = 1 << 10;
    // This raises the threshold of glibc: it now takes blocks of up to this size from the heap of a thread, and keeps twice as
    // much.
    unsafe {
        let host = Layout::array::<u8>(24 << 20).expect("a size");
        System.dealloc(System.alloc(host), host);
    }
    let first = load_and_free(64);
    let turns = Barrier::new(THREADS as usize);
    let more: Vec<Held> = thread::scope(|threads| {
        let loads: Vec<_> = (0..THREADS)
            .map(|i| {
                let turns = &turns;
                threads.spawn(move || {
                    for _ in 0..i {
                        turns.wait();
                    }
                    let held = load_and_free(65 + i);
                    for _ in i..THREADS {
                        turns.wait();
                    }
                    held
                })
            })
            .collect();
        loads.into_iter().map(|load| load.join().expect("no panic")).collect()
    });
    println!("{first:?}, then {more:?}");
    for (i, held) in more.iter().enumerate() {
        let most = OF_A_THREAD * (i as i64 + 2);
        assert!(held.loaded - first.loaded < most, "{first:?}, thread {i}: {held:?}");
        assert!(held.freed - first.freed < most, "{first:?}, thread {i}: {held:?}");
    }
}
