//! How a store fails.

use std::fmt;

use crate::error::{Code, Error};

/// What kind of failure a store had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Transient: the store cannot be reached, is full or is busy.
    Unavailable,
    /// A row does not decode, or the data is damaged.
    Corrupt,
    /// A mistake of the caller or of the schema.
    Invalid,
}

/// A failure of a store. From a write it means that the outcome is unknown.
#[derive(thiserror::Error)]
#[error("store: {operation} failed: {kind:?}")]
pub struct StoreError {
    kind: StoreErrorKind,
    operation: &'static str,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// A failure of `operation`. The source is for the operator's log, and must not contain bound values.
    pub fn new(
        kind: StoreErrorKind,
        operation: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            operation,
            source: Some(source.into()),
        }
    }

    /// A failure without a cause of its own.
    pub fn bare(kind: StoreErrorKind, operation: &'static str) -> Self {
        Self {
            kind,
            operation,
            source: None,
        }
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// The operation that failed.
    pub fn operation(&self) -> &'static str {
        self.operation
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreError({}, {:?})", self.operation, self.kind)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error.kind {
            StoreErrorKind::Unavailable => Self::new(Code::StoreUnavailable),
            StoreErrorKind::Corrupt | StoreErrorKind::Invalid => Self::new(Code::StoreCorrupt),
        }
        .because(error.operation)
        .caused_by(error)
    }
}
