//! A team of threads that runs one parallel region at a time, together with the calling thread.
//!
//! A forward pass has about 150 regions, one after the other, of a few microseconds to a few milliseconds each. So a
//! thread without work spins for a moment before it sleeps: the next region begins within a fraction of a microsecond, and
//! an idle team costs nothing.
//!
//! A region ends when its tasks are done. It does not wait for a thread that the system has not scheduled meanwhile: such
//! a thread finds the region closed. On an overloaded machine the calling thread can finish a region alone.
#![allow(unsafe_code)]

use std::any::Any;
use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::buffer::{Buffer, OutOfMemory};
use crate::payload::into_text;
use crate::spawn::spawn;

/// A hook that each started thread of a team runs first.
pub type ThreadStart = Arc<dyn Fn() + Send + Sync>;

/// How long a waiting thread spins before it sleeps.
const SPIN: Duration = Duration::from_micros(100);

/// The reason why a team could not be created.
#[derive(Debug, thiserror::Error)]
pub enum TeamError {
    /// The system refused a thread.
    #[error("Could not start thread {index} of {threads}.")]
    Thread {
        /// Number of the thread. The calling thread has number 0.
        index: usize,
        /// Threads of the team, including the calling thread.
        threads: usize,
        /// The system's error.
        source: std::io::Error,
    },
    /// The system refused the scratch memory.
    #[error("Could not allocate the scratch memory of the threads.")]
    Memory(#[from] OutOfMemory),
}

/// A function that runs one task. Its arguments are the number of the task and the scratch memory of the thread.
type Task<'a> = &'a (dyn Fn(usize, &mut [u32]) + Sync);

/// Threads that run the tasks of a region. The calling thread is one of them, so a team of one starts no thread.
#[derive(Debug)]
pub struct Team {
    shared: Arc<Shared>,
    handles: Vec<JoinHandle<()>>,
    scratch: Buffer<u32>,
}

/// Bit of [`Shared::region`] that is set while threads may enter the region. The other bits count the threads inside.
const OPEN: u32 = 1 << 31;

struct Shared {
    /// The task of the region. Written by the caller while the region is closed and empty.
    task: UnsafeCell<Option<RawTask>>,
    /// Incremented with each region.
    round: AtomicU32,
    /// [`OPEN`], and the number of threads inside the region.
    region: AtomicU32,
    /// Number of the next task.
    next: AtomicUsize,
    /// Threads that sleep, or are about to sleep, until `round` changes.
    sleepers: AtomicUsize,
    /// Whether the caller sleeps, or is about to sleep, until the region is empty.
    caller_sleeps: AtomicBool,
    stop: AtomicBool,
    spin: Duration,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

#[derive(Clone, Copy)]
struct RawTask {
    run: *const (dyn Fn(usize, &mut [u32]) + Sync),
    tasks: usize,
}

// SAFETY: `task` is the only field that is not `Sync` by itself. Only `Team::run`, which has the team by `&mut`, writes it,
// while the region is closed and empty. Only threads inside the region read it. Entering a region (acquire) happens after
// opening it (release), and closing a region waits for the threads inside. The function that `task` points to is `Sync`.
unsafe impl Sync for Shared {}
// SAFETY: as above. No field belongs to a thread.
unsafe impl Send for Shared {}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("round", &self.round).finish_non_exhaustive()
    }
}

impl Team {
    /// Creates a team of `threads` threads, including the calling thread, each with `scratch` words of scratch memory.
    ///
    /// `on_start` runs on each started thread. If it panics, the panic is logged and the thread keeps running.
    ///
    /// # Errors
    /// [`TeamError`] when the system refuses a thread or memory. Threads that were already started have ended by then.
    pub fn new(threads: usize, scratch: usize, on_start: Option<ThreadStart>) -> Result<Self, TeamError> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = Arc::new(Shared {
            task: UnsafeCell::new(None),
            round: AtomicU32::new(0),
            region: AtomicU32::new(0),
            next: AtomicUsize::new(0),
            sleepers: AtomicUsize::new(0),
            caller_sleeps: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            // With more threads than processors, spinning would steal time from a teammate, so do not spin.
            spin: if threads > processors { Duration::ZERO } else { SPIN },
            panic: Mutex::new(None),
        });
        let mut team = Self { shared, handles: Vec::new(), scratch: Buffer::zeroed(scratch)? };
        for index in 1..threads {
            let shared = Arc::clone(&team.shared);
            let memory = Buffer::zeroed(scratch)?;
            let on_start = on_start.clone();
            let handle = spawn(format!("stella-{index}"), move || work(&shared, memory, on_start))
                .map_err(|source| TeamError::Thread { index, threads, source })?;
            team.handles.push(handle);
        }
        Ok(team)
    }

    /// Returns the number of threads, including the calling thread.
    pub fn threads(&self) -> usize {
        self.handles.len() + 1
    }

    /// Runs a region: calls `task` with each number below `tasks`, on any thread and in any order. Returns when all tasks
    /// are done.
    ///
    /// # Panics
    /// When a task panics, with the payload of the task. Tasks that no thread has begun by then are skipped.
    pub fn run(&mut self, tasks: usize, task: Task<'_>) {
        let shared = &*self.shared;
        if self.handles.is_empty() || tasks < 2 {
            return (0..tasks).for_each(|i| task(i, &mut self.scratch));
        }
        let run: *const (dyn Fn(usize, &mut [u32]) + Sync + '_) = task;
        // SAFETY: only the lifetime changes. Only threads inside the region follow the pointer, and this function does not
        // return or unwind before the region is closed and empty.
        let run: *const (dyn Fn(usize, &mut [u32]) + Sync + 'static) = unsafe { std::mem::transmute(run) };
        // SAFETY: the region is closed and empty, as the last call left it, so no thread reads the task.
        unsafe { *shared.task.get() = Some(RawTask { run, tasks }) };
        shared.next.store(0, Relaxed);
        shared.region.store(OPEN, Release);
        shared.round.fetch_add(1, SeqCst);
        if shared.sleepers.load(SeqCst) > 0 {
            atomic_wait::wake_all(&shared.round);
        }
        shared.take_tasks(tasks, task, &mut self.scratch);
        shared.close();
        let panic = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
    }

    /// Runs `task` once for each row block of `rows` rows. With enough rows, every thread gets several blocks.
    pub(crate) fn run_row_blocks(&mut self, rows: usize, task: &(dyn Fn(Range<usize>, &mut [u32]) + Sync)) {
        let block = (rows / (4 * self.threads())).clamp(1, 16);
        self.run(rows.div_ceil(block), &|i, scratch| task(i * block..((i + 1) * block).min(rows), scratch));
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.stop.store(true, Release);
        self.shared.round.fetch_add(1, SeqCst);
        atomic_wait::wake_all(&self.shared.round);
        for handle in self.handles.drain(..) {
            // A started thread never panics: it catches the panics of tasks.
            let _ = handle.join();
        }
    }
}

impl Shared {
    /// Runs tasks until none is left. A panic is kept for the caller and ends the region early.
    fn take_tasks(&self, tasks: usize, task: Task<'_>, scratch: &mut [u32]) {
        let result = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let i = self.next.fetch_add(1, Relaxed);
                if i >= tasks {
                    return;
                }
                task(i, scratch);
            }
        }));
        if let Err(payload) = result {
            self.next.store(tasks, Relaxed);
            let mut first = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut *first {
                None => *first = Some(payload),
                // Only the first panic reaches the caller. Freeing another payload must not panic again, or this thread
                // would never leave the region.
                Some(_) => drop(into_text(payload)),
            }
        }
    }

    /// Closes the region and waits for the threads inside.
    fn close(&self) {
        let mut inside = self.region.fetch_and(!OPEN, AcqRel) & !OPEN;
        if inside > 0 {
            inside = spin(self.spin, inside, || self.region.load(Acquire), |now| now == 0);
        }
        while inside > 0 {
            self.caller_sleeps.store(true, SeqCst);
            inside = self.region.load(SeqCst);
            if inside > 0 {
                atomic_wait::wait(&self.region, inside);
                inside = self.region.load(Acquire);
            }
        }
        self.caller_sleeps.store(false, Relaxed);
    }

    /// Enters the region. Returns whether it was open.
    fn enter(&self) -> bool {
        self.region.fetch_update(AcqRel, Acquire, |region| (region & OPEN != 0).then_some(region + 1)).is_ok()
    }

    /// Leaves the region, and wakes the caller if it waits for this thread.
    fn leave(&self) {
        let before = self.region.fetch_sub(1, SeqCst);
        // The last thread leaves a closed region.
        if before == 1 && self.caller_sleeps.load(SeqCst) {
            atomic_wait::wake_all(&self.region);
        }
    }

    /// Waits until the round is no longer `last`, and returns the new round.
    fn next_round(&self, last: u32) -> u32 {
        let mut now = spin(self.spin, last, || self.round.load(Acquire), |now| now != last);
        while now == last {
            self.sleepers.fetch_add(1, SeqCst);
            atomic_wait::wait(&self.round, last);
            self.sleepers.fetch_sub(1, SeqCst);
            now = self.round.load(Acquire);
        }
        now
    }
}

/// Reads until a value is `good` or the time is over. Returns the last value.
fn spin(time: Duration, mut now: u32, read: impl Fn() -> u32, good: impl Fn(u32) -> bool) -> u32 {
    // Reads between two looks at the clock.
    const READS: usize = 32;
    let start = Instant::now();
    loop {
        for _ in 0..READS {
            now = read();
            if good(now) {
                return now;
            }
            std::hint::spin_loop();
        }
        if start.elapsed() >= time {
            return now;
        }
    }
}

/// Body of a started thread: runs the tasks of each region until the team stops.
fn work(shared: &Shared, mut scratch: Buffer<u32>, on_start: Option<ThreadStart>) {
    if let Some(on_start) = on_start
        && let Err(payload) = catch_unwind(AssertUnwindSafe(|| on_start()))
    {
        let text = into_text(payload).unwrap_or_else(|| "a payload that is not text".to_owned());
        log::error!("The start hook of a session's thread panicked: {text}. The thread keeps running.");
    }
    let mut round = 0;
    loop {
        round = shared.next_round(round);
        if shared.stop.load(Acquire) {
            return;
        }
        if !shared.enter() {
            continue;
        }
        // The round may have advanced before this thread entered. It cannot advance while the thread is inside.
        round = shared.round.load(Acquire);
        // SAFETY: while a thread is inside the region, nobody writes the task, and the function is alive.
        let run = unsafe { (*shared.task.get()).map(|raw| (&*raw.run, raw.tasks)) };
        if let Some((task, tasks)) = run {
            shared.take_tasks(tasks, task, &mut scratch);
        }
        shared.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once() {
        for threads in [1, 2, 3, 8] {
            let mut team = Team::new(threads, 0, None).unwrap();
            assert_eq!(team.threads(), threads);
            for tasks in (0..40).chain([1000]) {
                let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                team.run(tasks, &|i, _| {
                    counts[i].fetch_add(1, Relaxed);
                });
                assert!(counts.iter().all(|n| n.load(Relaxed) == 1), "{threads} threads, {tasks} tasks");
            }
        }
    }

    #[test]
    fn writes_of_tasks_are_visible_after_the_region_however_long_threads_slept() {
        let mut team = Team::new(4, 0, None).unwrap();
        for pause in [0, 0, 1, 0, 5].into_iter().cycle().take(200) {
            let sum = AtomicUsize::new(0);
            team.run(64, &|i, _| {
                sum.fetch_add(i, Relaxed);
            });
            assert_eq!(sum.into_inner(), 64 * 63 / 2);
            std::thread::sleep(Duration::from_micros(100 * pause));
        }
    }

    #[test]
    fn two_tasks_run_on_two_threads() {
        let mut team = Team::new(2, 0, None).unwrap();
        let barrier = std::sync::Barrier::new(2);
        // Neither task ends before both have begun, so a single thread would wait forever.
        team.run(2, &|_, _| {
            barrier.wait();
        });
    }

    #[test]
    fn scratch_memory_is_not_shared_by_threads() {
        let mut team = Team::new(4, 16, None).unwrap();
        team.run(500, &|i, scratch| {
            scratch.fill(i as u32);
            std::thread::yield_now();
            assert_eq!(scratch, [i as u32; 16]);
        });
    }

    #[test]
    fn a_panic_on_any_thread_reaches_the_caller_and_the_team_still_works() {
        let mut team = Team::new(3, 0, None).unwrap();
        let caller = std::thread::current().id();
        for on_caller in [true, false] {
            let barrier = std::sync::Barrier::new(3);
            let result = catch_unwind(AssertUnwindSafe(|| {
                team.run(3, &|i, _| {
                    // Each thread has one task.
                    barrier.wait();
                    assert!((std::thread::current().id() == caller) != on_caller, "faulty {}", i < 3);
                });
            }));
            assert_eq!(*result.unwrap_err().downcast::<String>().unwrap(), "faulty true");
            let done = AtomicUsize::new(0);
            team.run(9, &|_, _| {
                done.fetch_add(1, Relaxed);
            });
            assert_eq!(done.into_inner(), 9);
        }
    }

    /// A payload that panics when it is dropped.
    struct Trap;

    impl Drop for Trap {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("dropped");
            }
        }
    }

    #[test]
    fn panics_whose_payload_panics_on_drop_reach_the_caller_and_the_team_still_works() {
        let mut team = Team::new(3, 0, None).unwrap();
        for _ in 0..20 {
            let barrier = std::sync::Barrier::new(3);
            let result = catch_unwind(AssertUnwindSafe(|| {
                team.run(3, &|_, _| {
                    // Each thread has one task, and all panic.
                    barrier.wait();
                    std::panic::panic_any(Trap);
                });
            }));
            let payload = result.unwrap_err();
            assert!(payload.is::<Trap>());
            std::mem::forget(payload);
            let done = AtomicUsize::new(0);
            team.run(9, &|_, _| {
                done.fetch_add(1, Relaxed);
            });
            assert_eq!(done.into_inner(), 9);
        }
    }

    #[test]
    fn each_started_thread_runs_the_start_hook_and_survives_its_panic() {
        let starts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&starts);
        let team = Team::new(
            4,
            0,
            Some(Arc::new(move || {
                counted.fetch_add(1, Relaxed);
                panic!("start hook");
            })),
        );
        let mut team = team.unwrap();
        let barrier = std::sync::Barrier::new(4);
        team.run(4, &|_, _| {
            barrier.wait();
        });
        drop(team);
        assert_eq!(starts.load(Relaxed), 3);
    }
}
