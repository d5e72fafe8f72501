//! Only the beginning of a long text costs memory. The test has its own counting allocator instead of that of the library.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, clippy::expect_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use stella_core::model::Model;
use stella_core::model_options::ModelOptions;
use stella_core::model_registry;
use stella_core::text::tokenizer::{LongText, Truncation};

/// Counts allocated bytes, freed or not.
struct CountingAllocator;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) };
    }
}

/// The length of the prompt s2p of the fixtures.
const S2P_BYTES: usize =
    "Instruct: Given a web search query, retrieve relevant passages that answer the query.\nQuery: ".len();

/// Tokenizes `text`. Returns the number of allocated bytes, and the limit that truncated the text.
fn allocated_bytes(
    model: &Model,
    text: &str,
    prompt: Option<&str>,
    with_places: bool,
) -> (usize, Truncation) {
    let (mut ids, mut places) = (Vec::new(), Vec::new());
    let before = ALLOCATED.load(Relaxed);
    let count = if with_places {
        model
            .tokenize_with_places(text, prompt, LongText::Truncate, &mut ids, &mut places)
            .expect("tokenizes")
    } else {
        model.tokenize([text], prompt, LongText::Truncate, &mut ids).expect("tokenizes")[0]
    };
    (ALLOCATED.load(Relaxed) - before, count.truncation)
}

#[test]
fn a_text_beyond_the_byte_limit_costs_no_more_memory_than_one_at_the_limit() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/models");
    for name in ["tiny-new", "tiny-qwen2"] {
        let options = ModelOptions { max_tokens: Some(16), ..Default::default() };
        let model = model_registry::open(&fixtures.join(name), &options).expect("loads");
        let long = "rivers and seas ".repeat(4 << 20);
        for (prompt, with_places) in
            [(Some("document"), false), (Some("s2p"), false), (Some("document"), true), (Some("s2p"), true)]
        {
            let limit = &long[..model.max_text_bytes() + 1];
            // The first call also allocates the words that the tokenizer caches.
            allocated_bytes(&model, limit, prompt, with_places);
            let (least, cut) = allocated_bytes(&model, limit, prompt, with_places);
            assert_eq!(cut, Truncation::Bytes);
            let (found, cut) = allocated_bytes(&model, &long, prompt, with_places);
            assert_eq!((cut, found), (Truncation::Bytes, least), "{name} {prompt:?}, places: {with_places}");
        }
        let blank = format!("{}rivers", " ".repeat(64 << 20));
        let (found, cut) = allocated_bytes(&model, &blank, None, true);
        assert!(found < 4 << 20, "{name}: {found}");
        assert_eq!(
            cut == Truncation::None,
            name == "tiny-new",
            "only the tokenizer of Qwen2 has tokens for blanks"
        );
        let refused = model.tokenize([&*long], Some("s2p"), LongText::Error, &mut Vec::new());
        let error = refused.expect_err("too long").to_string();
        assert!(error.contains(&(long.len() + S2P_BYTES).to_string()), "{error}");
    }
}
