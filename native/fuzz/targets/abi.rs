//! Calls the exports in arbitrary order, with valid arguments and with mistakes that the contract of the exports allows: null
//! and misaligned pointers, impossible lengths, wrong sizes, numbers and offsets, and set cancellation flags.
#![no_main]
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, clippy::expect_used, clippy::panic)]

use std::ffi::c_void;
use std::ptr::{null, null_mut, without_provenance, without_provenance_mut};
use std::sync::LazyLock;
use std::sync::atomic::AtomicU32;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use stella_core::ErrorCode;
use stella_fuzz::fixture;
use stella_interop::abi::*;
use stella_interop::counters::*;
use stella_interop::error::*;
use stella_interop::handle_counts::*;
use stella_interop::hash::*;
use stella_interop::log::*;
use stella_interop::model::*;
use stella_interop::session::*;
use stella_interop::tokenize::*;

/// The largest number of live handles of a kind.
const MAX_HANDLES: usize = 3;
/// The largest number of calls of a sequence.
const MAX_CALLS: usize = 24;

/// A pointer argument.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Given {
    Right,
    Null,
    /// Not null, and not aligned for any type of more than one byte.
    Misaligned,
}

/// The length of a slice.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Length {
    Right,
    /// Shorter than the slice.
    Less(u8),
    /// More than memory can hold, so that the call must refuse it.
    Huge(u8),
}

/// The size field of a struct.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Size {
    Right,
    Wrong(u8),
}

impl Size {
    fn of<T>(self) -> u32 {
        match self {
            Self::Right => size_of::<T>() as u32,
            Self::Wrong(size) => u32::from(size),
        }
    }
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Cancel {
    None,
    Clear,
    Set,
    Misaligned,
}

#[derive(Debug, Arbitrary)]
enum Folder<'a> {
    New,
    Qwen2,
    Other(&'a [u8]),
}

#[derive(Debug, Arbitrary)]
struct Open<'a> {
    folder: Folder<'a>,
    options: Given,
    size: Size,
    precision: u8,
    /// Only two values, because each value needs another load.
    max_tokens: bool,
    dimension: u16,
    load_mode: u8,
    unchecked: u8,
    manifest: Option<&'a [u8]>,
    sink: Option<u8>,
    out: Given,
    encoder: u8,
}

#[derive(Debug, Arbitrary)]
struct Embed {
    session: Result<u8, Given>,
    ids: Vec<u16>,
    ids_given: (Given, Length),
    cu_seqlens: Vec<u8>,
    cu_seqlens_given: (Given, Length),
    options: (Given, Size, u8, u32),
    dimensions: Vec<u16>,
    dimensions_given: (Given, Length),
    left_out: Vec<u8>,
    cancel: Cancel,
    rows: u8,
    rows_given: (Given, Length),
}

#[derive(Debug, Arbitrary)]
enum Call<'a> {
    Open(Open<'a>),
    Estimate(Open<'a>),
    Info(Result<u8, Given>, Given, Size),
    Dimensions(Result<u8, Given>, u8, (Given, Length), Given),
    Prompt(Result<u8, Given>, u8, (Given, Size)),
    Tokenize {
        model: Result<u8, Given>,
        text: &'a [u8],
        text_is_null: bool,
        offsets: Vec<u16>,
        offsets_given: (Given, Length),
        options: (Given, Size, Option<Vec<u8>>, u8, u32),
        capacity: u8,
        ids: (Given, Length),
        counts: Given,
        ids_length: Given,
    },
    Places {
        model: Result<u8, Given>,
        text: &'a [u8],
        options: (Given, Size, Option<Vec<u8>>, u8, u32),
        capacity: u8,
        ids: (Given, Length),
        places: Given,
        count: Given,
        ids_length: Given,
    },
    SessionNew(Result<u8, Given>, (Given, Size, u16, u32), Given),
    Embed(Embed),
    EmbedTokens(Embed, (Given, Length), u16),
    SinkNew(bool, bool, u32, Given),
    FreeModel(u8),
    FreeSession(u8),
    FreeSink(u8),
    Numbers(u32),
}

/// The handles of one sequence.
#[derive(Default)]
struct Handles {
    models: Vec<*mut StellaModel>,
    sessions: Vec<*mut StellaSession>,
    sinks: Vec<*mut StellaLogSink>,
}

/// Returns a handle of a list, or an invalid pointer.
fn pick<T>(list: &[*mut T], which: Result<u8, Given>) -> *const T {
    match which {
        Ok(at) if !list.is_empty() => list[at as usize % list.len()],
        Ok(_) | Err(Given::Right | Given::Null) => null(),
        Err(Given::Misaligned) => without_provenance(0x1001),
    }
}

fn pointer<T>(given: Given, right: *const T) -> *const T {
    match given {
        Given::Right => right,
        Given::Null => null(),
        // Bytes are always aligned.
        Given::Misaligned if align_of::<T>() == 1 => null(),
        Given::Misaligned => without_provenance(0x1001),
    }
}

fn pointer_mut<T>(given: Given, right: *mut T) -> *mut T {
    pointer(given, right.cast_const()).cast_mut()
}

/// Returns a length for a slice of `right` elements. A length that is too large must be one that the call refuses.
fn length<T>(length: Length, right: usize) -> usize {
    match length {
        Length::Right => right,
        Length::Less(n) => right.saturating_sub(n as usize),
        Length::Huge(n) => (isize::MAX as usize / size_of::<T>()) + 1 + n as usize,
    }
}

/// Reads an error as a caller would and frees it.
fn take(error: *mut StellaError) -> bool {
    if error.is_null() {
        return true;
    }
    unsafe {
        let chain: Vec<String> = (0..stella_error_chain_length(error))
            .map(|level| {
                let mut text = vec![0; stella_error_message(error, level, null_mut(), 0)];
                stella_error_message(error, level, text.as_mut_ptr(), text.len());
                String::from_utf8(text).expect("messages are UTF-8")
            })
            .collect();
        let code = stella_error_code(error);
        assert!(code > 0 && !chain.is_empty() && stella_error_text_index(error) >= -1);
        if code == ErrorCode::Panic as i32 || code == ErrorCode::Internal as i32 {
            panic!("{code}: {chain:?}");
        }
        stella_error_free(error);
    }
    false
}

unsafe extern "C" fn write(
    _: *mut c_void,
    level: u32,
    target: *const u8,
    tl: usize,
    text: *const u8,
    ml: usize,
) {
    let read = |p, len| unsafe { std::slice::from_raw_parts(p, len) };
    assert!(level <= 4 && std::str::from_utf8(read(target, tl)).is_ok());
    assert!(std::str::from_utf8(read(text, ml)).is_ok());
}

unsafe extern "C" fn release(_: *mut c_void) {}

static FOLDERS: LazyLock<[String; 2]> = LazyLock::new(|| {
    ["tiny-new", "tiny-qwen2"].map(|name| fixture(name).to_str().expect("UTF-8").to_owned())
});

/// Models that stay open, so that opening them again is cheap. They are stored as numbers, because pointers are not `Sync`.
static HELD: LazyLock<[usize; 2]> = LazyLock::new(|| {
    FOLDERS.each_ref().map(|path| {
        let mut model = null_mut();
        let error = unsafe { stella_model_open(path.as_ptr(), path.len(), null(), null(), &mut model) };
        assert!(take(error));
        model as usize
    })
});

fuzz_target!(|calls: Vec<Call<'_>>| {
    LazyLock::force(&HELD);
    let before = [0, 1, 2, 3, 4].map(|kind| stella_live_handles(kind));
    let mut handles = Handles::default();
    for call in calls.into_iter().take(MAX_CALLS) {
        unsafe { run(call, &mut handles) };
    }
    let alive = [handles.models.len(), handles.sessions.len(), handles.sinks.len(), 0, 0];
    for (kind, (before, alive)) in before.iter().zip(alive).enumerate() {
        assert_eq!(stella_live_handles(kind as u32), before + alive, "handles of kind {kind}");
    }
    unsafe {
        for model in handles.models {
            stella_model_free(model);
        }
        for sink in handles.sinks {
            stella_log_sink_free(sink);
        }
        for session in handles.sessions {
            stella_session_free(session);
        }
    }
    assert_eq!(
        [0, 1, 2, 3, 4].map(|kind| stella_live_handles(kind)),
        before,
        "live handles after all were freed"
    );
});

unsafe fn run(call: Call<'_>, handles: &mut Handles) {
    match call {
        Call::Open(open) => unsafe { open_model(&open, handles, false) },
        Call::Estimate(open) => unsafe { open_model(&open, handles, true) },
        Call::Info(model, given, size) => unsafe {
            let mut info =
                Box::new(StellaModelInfo { size: size.of::<StellaModelInfo>(), ..Default::default() });
            if take(stella_model_info(pick(&handles.models, model), pointer_mut(given, &mut *info))) {
                assert!(info.hidden_size > 0 && info.dimension_count > 0 && info.memory_estimate > 0);
            }
            let mut fingerprint = Box::new([0u8; STELLA_HASH_BYTES as usize]);
            let out = pointer_mut(given, fingerprint.as_mut_ptr());
            if take(stella_model_fingerprint(pick(&handles.models, model), 0, out, fingerprint.len())) {
                assert_ne!(*fingerprint, [0; STELLA_HASH_BYTES as usize]);
            }
        },
        Call::Prompt(model, number, (given, size)) => unsafe {
            let mut info =
                Box::new(StellaPromptInfo { size: size.of::<StellaPromptInfo>(), ..Default::default() });
            let done = take(stella_model_prompt(
                pick(&handles.models, model),
                u32::from(number),
                pointer_mut(given, &mut *info),
            ));
            if done {
                for (text, len) in [(info.name, info.name_length), (info.text, info.text_length)] {
                    assert!(std::str::from_utf8(std::slice::from_raw_parts(text, len)).is_ok());
                }
            }
        },
        Call::Dimensions(model, capacity, (given, claimed), out) => unsafe {
            let mut dimensions = vec![0u32; capacity as usize];
            let mut count = Box::new(0);
            take(stella_model_dimensions(
                pick(&handles.models, model),
                pointer_mut(given, dimensions.as_mut_ptr()),
                length::<u32>(claimed, dimensions.len()),
                pointer_mut(out, &mut *count),
            ));
        },
        Call::Tokenize {
            model,
            text,
            text_is_null,
            offsets,
            offsets_given: (offsets_given, texts),
            options: (options_given, size, prompt, long_text, first_text),
            capacity,
            ids: (ids_given, ids_claimed),
            counts: counts_given,
            ids_length: length_given,
        } => unsafe {
            let offsets: Vec<usize> = offsets.into_iter().map(usize::from).collect();
            if offsets.is_empty() {
                return;
            }
            let options = Box::new(StellaTokenizeOptions {
                size: size.of::<StellaTokenizeOptions>(),
                long_text: u32::from(long_text),
                first_text,
                reserved: 0,
                prompt: prompt.as_ref().map_or(null(), |name| name.as_ptr()),
                prompt_length: prompt.as_ref().map_or(0, Vec::len),
            });
            let text_count = length::<usize>(texts, offsets.len() - 1);
            let mut ids = vec![0u32; capacity as usize];
            let mut counts = vec![StellaTokenCount::default(); offsets.len() - 1];
            let mut found = Box::new(0);
            let done = take(stella_model_tokenize(
                pick(&handles.models, model),
                if text_is_null { null() } else { text.as_ptr() },
                text.len(),
                pointer(offsets_given, offsets.as_ptr()),
                text_count,
                pointer(options_given, &*options),
                pointer_mut(ids_given, ids.as_mut_ptr()),
                length::<u32>(ids_claimed, ids.len()),
                pointer_mut(counts_given, counts.as_mut_ptr()),
                pointer_mut(length_given, &mut *found),
            ));
            if done {
                let kept: u32 = counts[..text_count].iter().map(|c| c.kept).sum();
                assert!(*found == kept as usize && *found <= ids.len());
            }
        },
        Call::Places {
            model,
            text,
            options: (options_given, size, prompt, long_text, first_text),
            capacity,
            ids: (ids_given, claimed),
            places: places_given,
            count: count_given,
            ids_length: length_given,
        } => unsafe {
            let options = Box::new(StellaTokenizeOptions {
                size: size.of::<StellaTokenizeOptions>(),
                long_text: u32::from(long_text),
                first_text,
                reserved: 0,
                prompt: prompt.as_ref().map_or(null(), |name| name.as_ptr()),
                prompt_length: prompt.as_ref().map_or(0, Vec::len),
            });
            let mut ids = vec![0u32; capacity as usize];
            let mut places = vec![StellaPlace::default(); capacity as usize];
            let (mut count, mut found) = (Box::new(StellaTokenCount::default()), Box::new(0));
            let done = take(stella_model_tokenize_places(
                pick(&handles.models, model),
                text.as_ptr(),
                text.len(),
                pointer(options_given, &*options),
                pointer_mut(ids_given, ids.as_mut_ptr()),
                pointer_mut(places_given, places.as_mut_ptr()),
                length::<u32>(claimed, ids.len()),
                pointer_mut(count_given, &mut *count),
                pointer_mut(length_given, &mut *found),
            ));
            if done {
                assert!(*found == count.kept as usize && *found <= ids.len());
                let inside = |p: &StellaPlace| p.begin <= p.end && p.end as usize <= text.len();
                assert!(places[..*found].iter().all(inside), "{places:?}");
            }
        },
        Call::SessionNew(model, (given, size, threads, max_batch_tokens), out) => unsafe {
            if handles.sessions.len() == MAX_HANDLES {
                return;
            }
            let options = Box::new(StellaSessionOptions {
                size: size.of::<StellaSessionOptions>(),
                // Threads are slow to start, so the number is either small or above the limit.
                threads: if threads < 1025 { u32::from(threads % 3) } else { u32::from(threads) },
                max_batch_tokens,
            });
            let mut session = null_mut();
            let model = pick(&handles.models, model);
            if take(stella_session_new(model, pointer(given, &*options), pointer_mut(out, &mut session))) {
                handles.sessions.push(session);
            }
        },
        Call::Embed(embed) => unsafe {
            embed_with(&embed, handles, &mut |session, ids, n, cu_seqlens, m, options, cancel, out, len| {
                stella_session_embed(session, ids, n, cu_seqlens, m, options, cancel, out, len)
            });
        },
        Call::EmbedTokens(embed, (hidden_given, hidden_claimed), hidden_length) => unsafe {
            let spans: Vec<StellaSpan> = embed
                .cu_seqlens
                .windows(2)
                .map(|pair| StellaSpan { begin: pair[0].into(), end: pair[1].into() })
                .collect();
            let mut hidden = vec![0.0f32; hidden_length as usize];
            embed_with(&embed, handles, &mut |session, ids, n, _, _, options, cancel, out, len| {
                stella_session_embed_tokens(
                    session,
                    ids,
                    n,
                    pointer(embed.cu_seqlens_given.0, spans.as_ptr()),
                    length::<StellaSpan>(embed.cu_seqlens_given.1, spans.len()),
                    options,
                    cancel,
                    pointer_mut(hidden_given, hidden.as_mut_ptr()),
                    length::<f32>(hidden_claimed, hidden.len()),
                    out,
                    len,
                )
            });
        },
        Call::SinkNew(has_write, has_release, level, out) => unsafe {
            if handles.sinks.len() == MAX_HANDLES {
                return;
            }
            let mut sink = null_mut();
            let write: Option<WriteCallback> = has_write.then_some(write);
            let release: Option<ReleaseCallback> = has_release.then_some(release);
            if take(stella_log_sink_new(write, release, null_mut(), level, pointer_mut(out, &mut sink))) {
                handles.sinks.push(sink);
            }
        },
        Call::FreeModel(at) => unsafe { stella_model_free(remove(&mut handles.models, at)) },
        Call::FreeSession(at) => unsafe { stella_session_free(remove(&mut handles.sessions, at)) },
        Call::FreeSink(at) => unsafe { stella_log_sink_free(remove(&mut handles.sinks, at)) },
        Call::Numbers(number) => {
            assert_eq!(stella_abi_version(), STELLA_ABI_VERSION);
            assert_eq!(stella_abi_struct_size(number) == 0, number > StellaStruct::PromptInfo as u32);
            let _ = (stella_live_handles(number), stella_counter(number));
            unsafe {
                assert_eq!((stella_error_code(null()), stella_error_chain_length(null())), (0, 0));
                assert_eq!(stella_error_code(without_provenance_mut(0x1001)), 0);
                hash(number);
            }
        }
    }
}

/// Hashes as many bytes as the lower half of `number`, into a buffer with the size of its upper half.
unsafe fn hash(number: u32) {
    let (bytes, mut buffer) = (vec![1u8; number as usize & 0xffff], vec![0u8; (number >> 16) as usize % 64]);
    let mut hasher = null_mut();
    unsafe {
        assert!(
            take(stella_hasher_new(&mut hasher)) && !take(stella_hasher_new(without_provenance_mut(0x1001)))
        );
        assert!(take(stella_hasher_update(hasher, bytes.as_ptr(), bytes.len())));
        let fits = buffer.len() >= STELLA_HASH_BYTES as usize;
        assert_eq!(take(stella_hasher_finish(hasher, buffer.as_mut_ptr(), buffer.len())), fits);
        stella_hasher_free(hasher);
    }
}

/// Removes a handle from a list, to free it. Returns null for an empty list.
fn remove<T>(list: &mut Vec<*mut T>, at: u8) -> *mut T {
    if list.is_empty() { null_mut() } else { list.swap_remove(at as usize % list.len()) }
}

unsafe fn open_model(open: &Open<'_>, handles: &mut Handles, estimate: bool) {
    if handles.models.len() == MAX_HANDLES {
        return;
    }
    let path = match &open.folder {
        Folder::New => FOLDERS[0].as_bytes(),
        Folder::Qwen2 => FOLDERS[1].as_bytes(),
        Folder::Other(path) => path,
    };
    let manifest = open.manifest.unwrap_or_default();
    let options = Box::new(StellaModelOptions {
        size: open.size.of::<StellaModelOptions>(),
        precision: open.precision.into(),
        max_tokens: if open.max_tokens { u32::MAX } else { 0 },
        dimension: open.dimension.into(),
        load_mode: open.load_mode.into(),
        unchecked_weights: open.unchecked.into(),
        encoder: open.encoder.into(),
        reserved: 0,
        manifest: open.manifest.map_or(null(), <[u8]>::as_ptr),
        manifest_length: manifest.len(),
    });
    let options = pointer(open.options, &*options);
    unsafe {
        if estimate {
            let mut estimate = Box::new(StellaMemoryEstimate {
                size: open.size.of::<StellaMemoryEstimate>(),
                ..Default::default()
            });
            let workload = StellaWorkload {
                size: open.size.of::<StellaWorkload>(),
                sessions: open.dimension.into(),
                threads: open.precision.into(),
                max_batch_tokens: u32::from(open.dimension) << (open.load_mode % 17),
            };
            let out = pointer_mut(open.out, &mut *estimate);
            if take(stella_model_estimate(path.as_ptr(), path.len(), options, &workload, out)) {
                assert!(estimate.total > 0);
            }
            return;
        }
        let sink = open.sink.map_or(null(), |at| pick(&handles.sinks, Ok(at)));
        let mut model = null_mut();
        if take(stella_model_open(
            path.as_ptr(),
            path.len(),
            options,
            sink,
            pointer_mut(open.out, &mut model),
        )) {
            handles.models.push(model);
        }
    }
}

type EmbedCall<'a> = dyn FnMut(
        *const StellaSession,
        *const u32,
        usize,
        *const u32,
        usize,
        *const StellaEmbedOptions,
        *const u32,
        *mut f32,
        usize,
    ) -> *mut StellaError
    + 'a;

unsafe fn embed_with(embed: &Embed, handles: &Handles, call: &mut EmbedCall<'_>) {
    let ids: Vec<u32> = embed.ids.iter().map(|&id| u32::from(id) % 1300).collect();
    let cu_seqlens: Vec<u32> = embed.cu_seqlens.iter().map(|&end| u32::from(end)).collect();
    let left_out: Vec<u32> = embed.left_out.iter().map(|&tokens| u32::from(tokens)).collect();
    let (options_given, size, raw, first_text) = embed.options;
    let dimensions: Vec<u32> = embed.dimensions.iter().map(|&dimension| u32::from(dimension)).collect();
    let options = Box::new(StellaEmbedOptions {
        size: size.of::<StellaEmbedOptions>(),
        raw: u32::from(raw),
        first_text,
        dimensions: pointer(embed.dimensions_given.0, dimensions.as_ptr()),
        dimensions_length: length::<u32>(embed.dimensions_given.1, dimensions.len()),
        left_out: left_out.as_ptr(),
        left_out_length: left_out.len(),
    });
    let flag = AtomicU32::new(u32::from(matches!(embed.cancel, Cancel::Set)));
    let cancel = match embed.cancel {
        Cancel::None => null(),
        Cancel::Clear | Cancel::Set => flag.as_ptr().cast_const(),
        Cancel::Misaligned => without_provenance(0x1001),
    };
    let mut rows = vec![f32::NAN; embed.rows as usize * 256];
    let out = pointer_mut(embed.rows_given.0, rows.as_mut_ptr());
    take(call(
        pick(&handles.sessions, embed.session),
        pointer(embed.ids_given.0, ids.as_ptr()),
        length::<u32>(embed.ids_given.1, ids.len()),
        pointer(embed.cu_seqlens_given.0, cu_seqlens.as_ptr()),
        length::<u32>(embed.cu_seqlens_given.1, cu_seqlens.len()),
        pointer(options_given, &*options),
        cancel,
        out,
        length::<f32>(embed.rows_given.1, rows.len()),
    ));
}
