//! Why a copy did not complete.

use crate::{error::Error, id::IntegrationId, store::StoreError};

/// Why a copy did not complete, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// Source and target are one.
    #[error(
        "source and target are the same store, or one is a copy of the other's file; name an empty target"
    )]
    SameStore,
    /// The target has data of its own.
    #[error("the target has data that is not of this copy; name an empty one")]
    TargetNotEmpty,
    /// The source is copied to another store than this one.
    #[error("the source was copied, or is being copied, to another store than this one; name that one")]
    OtherTarget,
    /// The source is itself a target that is not complete.
    #[error("a copy into the source is not done; run that one until it is")]
    Unfinished,
    /// An integration's row is of a newer release, or damaged.
    #[error("integration {0} cannot be read; copy with the release that wrote it")]
    Unreadable(IntegrationId),
    /// The stores differ.
    #[error(
        "source and target do not agree: {0}; nothing is used in the target, and nothing is lost in the source"
    )]
    Mismatch(String),
    /// It was asked to stop.
    #[error("stopped; run it again to go on")]
    Stopped,
    /// A store failed.
    #[error("the {side} failed; run it again to go on")]
    Store {
        /// `source` or `target`.
        side: &'static str,
        /// How it failed.
        #[source]
        error: StoreError,
    },
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness")]
    NoRandomness,
}

impl CopyError {
    /// A stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::SameStore => "copy_same_store",
            Self::TargetNotEmpty => "copy_target_not_empty",
            Self::OtherTarget => "copy_other_target",
            Self::Unfinished => "copy_unfinished",
            Self::Unreadable(_) => "copy_unreadable",
            Self::Mismatch(_) => "copy_mismatch",
            Self::Stopped => "copy_stopped",
            Self::Store { error, .. } => match error.kind() {
                crate::store::StoreErrorKind::Unavailable => "store_unavailable",
                _ => "store_corrupt",
            },
            Self::NoRandomness => "no_randomness",
        }
    }

    pub(super) fn source(error: StoreError) -> Self {
        Self::Store {
            side: "source",
            error,
        }
    }

    pub(super) fn target(error: StoreError) -> Self {
        Self::Store {
            side: "target",
            error,
        }
    }
}

/// A row of the target that cannot be read prevents the copy.
impl From<Error> for CopyError {
    fn from(error: Error) -> Self {
        Self::Mismatch(format!("a row cannot be read ({})", error.code().as_str()))
    }
}
