//! A team of threads that does one thing at a time, together with the thread that asks for it.
//!
//! A forward has some hundred and fifty regions of a few microseconds to a few milliseconds each, one after the other. So a
//! thread that is done waits a moment without giving its processor away, and only then sleeps: the next region
//! begins within a fraction of a microsecond, and an idle team costs nothing.
//!
//! A region is over when its tasks are done. It does not wait for a thread that the system has not run meanwhile: such
//! a thread finds the region closed. On a machine with more work than processors, the caller alone gets it done.
#![allow(unsafe_code)]

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::buffer::{Buffer, OutOfMemory};
use crate::payload::into_text;
use crate::spawn::spawn;

/// Called on each thread of a team before it does anything else.
pub type ThreadStart = Arc<dyn Fn() + Send + Sync>;

/// How long a thread that waits keeps its processor.
const SPIN: Duration = Duration::from_micros(100);

/// Why a team could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TeamError {
    /// The system gives no more threads.
    #[error("thread {index} of {threads} could not be started")]
    Thread {
        /// Which of them.
        index: usize,
        /// How many there were to be.
        threads: usize,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system gives no more memory.
    #[error("there is no memory for what its threads work on")]
    Memory(#[from] OutOfMemory),
}

/// What a team does: called with the number of the task and the scratch memory of the thread.
type Task<'a> = &'a (dyn Fn(usize, &mut [u32]) + Sync);

/// Threads that wait for work. The caller is one of them: a team of one has no thread of its own.
#[derive(Debug)]
pub struct Team {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    scratch: Buffer<u32>,
}

/// Set while threads may enter the region; the other bits count those that are inside.
const OPEN: u32 = 1 << 31;

struct Shared {
    /// What the region does. Written by the caller while no thread is inside and the gate is closed.
    task: UnsafeCell<Option<RawTask>>,
    /// Rises with each region.
    round: AtomicU32,
    gate: AtomicU32,
    /// The task that the next thread takes.
    next: AtomicUsize,
    /// Threads that sleep, or are about to, until `round` changes.
    sleepers: AtomicUsize,
    /// Whether the caller sleeps, or is about to, until the gate is empty.
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

// SAFETY: `task` is the only field that is not `Sync` by itself. It is written in `Team::run` alone, which has the team
// by `&mut`, while the gate is closed and empty; it is read by threads inside the gate alone. Entering the gate
// (acquire) comes after opening it (release), and closing it waits for those inside. The function that it points to is
// `Sync`.
unsafe impl Sync for Shared {}
// SAFETY: as above; nothing in it belongs to a thread.
unsafe impl Send for Shared {}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("round", &self.round).finish_non_exhaustive()
    }
}

impl Team {
    /// A team of `threads` threads, the caller among them, each with `scratch` words of memory of its own.
    ///
    /// `on_start` runs on each thread that is started. Where it panics, that is logged, and the thread goes on.
    ///
    /// # Errors
    /// [`TeamError`] when the system refuses a thread or memory. The threads that were started have then ended.
    pub fn new(threads: usize, scratch: usize, on_start: Option<ThreadStart>) -> Result<Self, TeamError> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = Arc::new(Shared {
            task: UnsafeCell::new(None),
            round: AtomicU32::new(0),
            gate: AtomicU32::new(0),
            next: AtomicUsize::new(0),
            sleepers: AtomicUsize::new(0),
            caller_sleeps: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            // Who waits without sleeping on a processor that another thread of the team needs delays itself.
            spin: if threads > processors { Duration::ZERO } else { SPIN },
            panic: Mutex::new(None),
        });
        let mut team = Self { shared, workers: Vec::new(), scratch: Buffer::zeroed(scratch)? };
        for index in 1..threads {
            let shared = Arc::clone(&team.shared);
            let memory = Buffer::zeroed(scratch)?;
            let on_start = on_start.clone();
            let worker = spawn(format!("stella-{index}"), move || work(&shared, memory, on_start))
                .map_err(|source| TeamError::Thread { index, threads, source })?;
            team.workers.push(worker);
        }
        Ok(team)
    }

    /// Number of threads, the caller among them.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `task` for each number below `tasks`, on any thread and in any order, and returns when all are done.
    ///
    /// # Panics
    /// When a task does, with its payload. Tasks that no thread has begun by then are not run.
    pub fn run(&mut self, tasks: usize, task: Task<'_>) {
        let shared = &*self.shared;
        if self.workers.is_empty() || tasks < 2 {
            return (0..tasks).for_each(|i| task(i, &mut self.scratch));
        }
        let run: *const (dyn Fn(usize, &mut [u32]) + Sync + '_) = task;
        // SAFETY: only the lifetime changes. The pointer is followed inside the gate alone, and this function does not
        // return or unwind before the gate is closed and empty.
        let run: *const (dyn Fn(usize, &mut [u32]) + Sync + 'static) = unsafe { std::mem::transmute(run) };
        // SAFETY: the gate is closed and empty, as the last call left it, so no thread reads this.
        unsafe { *shared.task.get() = Some(RawTask { run, tasks }) };
        shared.next.store(0, Relaxed);
        shared.gate.store(OPEN, Release);
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
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.stop.store(true, Release);
        self.shared.round.fetch_add(1, SeqCst);
        atomic_wait::wake_all(&self.shared.round);
        for worker in self.workers.drain(..) {
            // A worker does not panic: what it runs is caught.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// Runs tasks until there are no more. A panic is kept for the caller and ends the region early.
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
                // One panic reaches the caller. The others may not panic again here, or nobody would leave the gate.
                Some(_) => drop(into_text(payload)),
            }
        }
    }

    /// Lets no thread in any more, and waits for those inside.
    fn close(&self) {
        let mut inside = self.gate.fetch_and(!OPEN, AcqRel) & !OPEN;
        if inside > 0 {
            inside = spin(self.spin, inside, || self.gate.load(Acquire), |now| now == 0);
        }
        while inside > 0 {
            self.caller_sleeps.store(true, SeqCst);
            inside = self.gate.load(SeqCst);
            if inside > 0 {
                atomic_wait::wait(&self.gate, inside);
                inside = self.gate.load(Acquire);
            }
        }
        self.caller_sleeps.store(false, Relaxed);
    }

    /// Goes in, unless the gate is closed.
    fn enter(&self) -> bool {
        self.gate.fetch_update(AcqRel, Acquire, |gate| (gate & OPEN != 0).then_some(gate + 1)).is_ok()
    }

    fn leave(&self) {
        let before = self.gate.fetch_sub(1, SeqCst);
        // The last one out of a closed gate.
        if before == 1 && self.caller_sleeps.load(SeqCst) {
            atomic_wait::wake_all(&self.gate);
        }
    }

    /// Waits until the round is another than `seen`, and gives it.
    fn next_round(&self, seen: u32) -> u32 {
        let mut now = spin(self.spin, seen, || self.round.load(Acquire), |now| now != seen);
        while now == seen {
            self.sleepers.fetch_add(1, SeqCst);
            atomic_wait::wait(&self.round, seen);
            self.sleepers.fetch_sub(1, SeqCst);
            now = self.round.load(Acquire);
        }
        now
    }
}

/// Reads until what is read is `good` or the time is over, and gives what was read last.
fn spin(time: Duration, mut now: u32, read: impl Fn() -> u32, good: impl Fn(u32) -> bool) -> u32 {
    // The clock is asked now and then.
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

/// What a thread of the team does.
fn work(shared: &Shared, mut scratch: Buffer<u32>, on_start: Option<ThreadStart>) {
    if let Some(on_start) = on_start
        && let Err(payload) = catch_unwind(AssertUnwindSafe(|| on_start()))
    {
        let text = into_text(payload).unwrap_or_default();
        log::error!("a thread of a session panicked at its start: {text}");
    }
    let mut seen = 0;
    loop {
        seen = shared.next_round(seen);
        if shared.stop.load(Acquire) {
            return;
        }
        if !shared.enter() {
            continue;
        }
        // The round cannot end while this thread is inside.
        seen = shared.round.load(Acquire);
        // SAFETY: inside the gate nobody writes it, and what it points to is alive.
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
    fn what_tasks_wrote_is_there_after_the_region_however_long_threads_slept() {
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
    fn other_threads_take_tasks_too() {
        let mut team = Team::new(2, 0, None).unwrap();
        let barrier = std::sync::Barrier::new(2);
        // Neither task ends before both have begun: one thread alone would wait for ever.
        team.run(2, &|_, _| {
            barrier.wait();
        });
    }

    #[test]
    fn scratch_belongs_to_one_thread_at_a_time() {
        let mut team = Team::new(4, 16, None).unwrap();
        team.run(500, &|i, scratch| {
            scratch.fill(i as u32);
            std::thread::yield_now();
            assert_eq!(scratch, [i as u32; 16]);
        });
    }

    #[test]
    fn a_panic_on_any_thread_reaches_the_caller_and_the_team_goes_on() {
        let mut team = Team::new(3, 0, None).unwrap();
        let caller = std::thread::current().id();
        for on_caller in [true, false] {
            let barrier = std::sync::Barrier::new(3);
            let result = catch_unwind(AssertUnwindSafe(|| {
                team.run(3, &|i, _| {
                    // Each thread has one task.
                    barrier.wait();
                    assert!((std::thread::current().id() == caller) != on_caller, "guilty {}", i < 3);
                });
            }));
            assert_eq!(*result.unwrap_err().downcast::<String>().unwrap(), "guilty true");
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
    fn panics_whose_payload_panics_on_drop_reach_the_caller_and_the_team_goes_on() {
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
    fn each_thread_starts_by_what_it_was_given_and_outlives_a_panic_in_it() {
        let starts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&starts);
        let team = Team::new(
            4,
            0,
            Some(Arc::new(move || {
                counted.fetch_add(1, Relaxed);
                panic!("at the start");
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
