//! Lines for the person at the terminal. A reader that has gone away (`skiff up | head`) is no reason to fail.

/// Prints a line; that nobody reads it any more does not matter.
macro_rules! say {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stdout(), $($part)*).unwrap_or_default()
    }};
}

pub(crate) use say;
