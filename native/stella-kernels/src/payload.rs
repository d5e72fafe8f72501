//! The payload of a caught panic.

use std::any::Any;

/// Returns the text of a caught panic's payload, and frees the payload.
///
/// Returns `None` if the payload is not text. Such a payload is leaked: dropping it runs foreign code, which could panic
/// again.
pub fn into_text(payload: Box<dyn Any + Send>) -> Option<String> {
    let payload = match payload.downcast::<String>() {
        Ok(text) => return Some(*text),
        Err(payload) => payload,
    };
    match payload.downcast::<&'static str>() {
        Ok(text) => Some((*text).to_owned()),
        Err(foreign) => {
            std::mem::forget(foreign);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{catch_unwind, panic_any};

    struct Trap;

    impl Drop for Trap {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    #[test]
    fn text_payloads_are_returned_and_other_payloads_are_not_dropped() {
        let of = |body: fn()| into_text(catch_unwind(body).unwrap_err());
        assert_eq!(of(|| panic!("a constant")).as_deref(), Some("a constant"));
        assert_eq!(of(|| panic!("number {}", std::hint::black_box(7))).as_deref(), Some("number 7"));
        assert_eq!(of(|| panic_any(Trap)), None);
    }
}
