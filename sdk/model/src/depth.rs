//! Bounds on reading recursive types from bytes that nobody has checked: on nesting, because a frame of a megabyte could
//! nest deep enough to overflow the reader's stack, which no caller can catch; and on how many values there are, because
//! one takes a byte of a frame and some fifty of memory.

use std::cell::Cell;

/// Deepest nesting that is read.
pub(crate) const LIMIT: usize = 64;
/// Most values of one message, or of one value where it is read by itself: at most some 200 MiB of memory.
pub(crate) const MOST_VALUES: usize = 4 << 20;

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static VALUES: Cell<usize> = const { Cell::new(0) };
    static WITHIN: Cell<bool> = const { Cell::new(false) };
}

pub(crate) struct Guard(());

impl Guard {
    /// Enters one value; an error beyond [`LIMIT`] or [`MOST_VALUES`].
    pub(crate) fn enter<E: serde::de::Error>() -> Result<Self, E> {
        let depth = DEPTH.get();
        if depth >= LIMIT {
            return Err(E::custom(format_args!("nested deeper than {LIMIT} levels")));
        }
        let values = if depth == 0 && !WITHIN.get() { 1 } else { VALUES.get() + 1 };
        if values > MOST_VALUES {
            return Err(E::custom(format_args!("more than {MOST_VALUES} values")));
        }
        VALUES.set(values);
        DEPTH.set(depth + 1);
        Ok(Self(()))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get().saturating_sub(1));
    }
}

/// Reads one message: all the values in it count together.
pub fn one_message<T>(read: impl FnOnce() -> T) -> T {
    struct Within(bool);
    impl Drop for Within {
        fn drop(&mut self) {
            WITHIN.set(self.0);
        }
    }
    VALUES.set(0);
    let _within = Within(WITHIN.replace(true));
    read()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

    fn nulls(count: usize) -> Value {
        Value::List(vec![Value::Null; count])
    }

    #[test]
    fn a_value_of_too_many_values_is_not_read() {
        let fits = postcard::to_stdvec(&nulls(MOST_VALUES - 1)).unwrap();
        assert!(postcard::from_bytes::<Value>(&fits).is_ok());
        // The count begins anew with each value that is read by itself.
        assert!(postcard::from_bytes::<Value>(&fits).is_ok());
        let over = postcard::to_stdvec(&nulls(MOST_VALUES)).unwrap();
        assert!(postcard::from_bytes::<Value>(&over).is_err());
    }

    #[test]
    fn the_values_of_a_message_count_together() {
        let half = nulls(MOST_VALUES / 2);
        let two = postcard::to_stdvec(&vec![half.clone(), half]).unwrap();
        assert!(postcard::from_bytes::<Vec<Value>>(&two).is_ok());
        assert!(one_message(|| postcard::from_bytes::<Vec<Value>>(&two)).is_err());
        assert!(postcard::from_bytes::<Vec<Value>>(&two).is_ok(), "the message is over");
    }
}
