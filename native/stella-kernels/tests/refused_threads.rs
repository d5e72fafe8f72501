//! Tests the refusal of threads. The file has one test, because a refusal counts the threads of the whole process.

use std::sync::Arc;

use stella_kernels::spawn::{permit, refuse, spawn, spawn_scoped};
use stella_kernels::team::{Team, TeamError};

#[test]
fn a_refused_thread_is_an_error_and_the_others_start() {
    refuse(2);
    let threads: Vec<_> = (0..3).map(|i| spawn("test".to_owned(), move || i)).collect();
    assert!(!permit(), "The second thread must be refused.");
    let results: Vec<_> = threads.into_iter().map(|thread| thread.ok().map(|t| t.join().ok())).collect();
    assert_eq!(results, [Some(Some(0)), None, Some(Some(2))]);

    refuse(1);
    std::thread::scope(|scope| {
        assert!(spawn_scoped(scope, "test".to_owned(), || ()).is_err());
        assert!(spawn_scoped(scope, "test".to_owned(), || ()).is_ok());
    });
    refuse(1);
    assert!(permit(), "The refusal must still be pending.");
    assert!(spawn("test".to_owned(), || ()).is_ok());

    // A team of four starts three threads. When one is refused, the threads before it end before the error is returned.
    for nth in 1..4 {
        let alive = Arc::new(());
        let held = Arc::clone(&alive);
        refuse(nth);
        let team = Team::new(4, 0, Some(Arc::new(move || drop(held.clone()))));
        match team.map(|_| ()) {
            Err(TeamError::Thread { index, threads: 4, .. }) => assert_eq!(index, nth),
            other => panic!("thread {nth}: {other:?}"),
        }
        assert_eq!(Arc::strong_count(&alive), 1, "A thread outlived the error.");
    }
    assert_eq!(Team::new(4, 0, None).map(|team| team.threads()).ok(), Some(4));
}
