//! ended
