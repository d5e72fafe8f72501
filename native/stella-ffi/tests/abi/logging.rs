//! Log sinks and the records that reach them.

use std::ffi::c_void;
use std::ptr::null;
use std::ptr::null_mut;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use stella_interop::log::*;
use stella_interop::model::*;
use stella_interop::session::*;

use super::support::{live, turn};
use super::{folder, session, succeed};

/// The records that a sink received, and the number of its releases.
#[derive(Default)]
struct Received {
    records: Mutex<Vec<(u32, String, String)>>,
    released: AtomicUsize,
}

impl Received {
    fn records(&self) -> Vec<(u32, String, String)> {
        self.records.lock().expect("lock").clone()
    }

    fn released(&self) -> usize {
        self.released.load(Ordering::SeqCst)
    }

    fn new_sink(&self, min_level: u32) -> *mut StellaLogSink {
        let (mut sink, user_data) = (null_mut(), std::ptr::from_ref(self).cast_mut().cast());
        succeed(unsafe { stella_log_sink_new(Some(write), Some(release), user_data, min_level, &mut sink) });
        sink
    }
}

unsafe extern "C" fn write(
    received: *mut c_void,
    level: u32,
    target: *const u8,
    target_length: usize,
    message: *const u8,
    message_length: usize,
) {
    let text =
        |p, len| String::from_utf8(unsafe { std::slice::from_raw_parts(p, len) }.to_vec()).expect("UTF-8");
    let received = unsafe { &*received.cast::<Received>() };
    let record = (level, text(target, target_length), text(message, message_length));
    received.records.lock().expect("lock").push(record);
}

unsafe extern "C" fn release(received: *mut c_void) {
    unsafe { &*received.cast::<Received>() }.released.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn records_reach_the_sink_of_their_model_until_its_last_user_is_freed() {
    let _turn = turn();
    let (loud, quiet) = (Received::default(), Received::default());
    let before = live();
    let path = folder("tiny-new");
    let open = |sink| {
        let mut model = null_mut();
        succeed(unsafe { stella_model_open(path.as_ptr(), path.len(), null(), sink, &mut model) });
        model
    };
    let (loud_sink, quiet_sink) = (loud.new_sink(0), quiet.new_sink(3));
    let (first, second) = (open(loud_sink), open(quiet_sink));
    let records = loud.records();
    assert!(records.iter().any(|(level, target, text)| {
        *level == 2
            && target.starts_with("stella_core")
            && text.contains("NewModel")
            && text.contains("3 layers")
    }));
    assert!(quiet.records().is_empty(), "information is below warning");

    unsafe {
        stella_log_sink_free(loud_sink);
        let session = session(first);
        assert!(
            loud.records().len() > records.len(),
            "the model logs after the handle of its sink was freed"
        );
        stella_model_free(first);
        assert_eq!(loud.released(), 0);
        stella_session_free(session);
    }
    // A thread of the session may end later than its handle; the last thread releases the sink.
    for _ in 0..1000 {
        if loud.released() > 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(loud.released(), 1);
    unsafe {
        stella_log_sink_free(quiet_sink);
        stella_model_free(second);
    }
    assert_eq!(quiet.released(), 1);
    assert_eq!(live(), before);
}
