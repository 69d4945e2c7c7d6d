//! The result of verifying a key.

use crate::{
    id::{IntegrationId, KeyId},
    store::KeyKind,
};

/// A presented key that is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedKey {
    /// Its public part.
    pub id: KeyId,
    /// What it may do.
    pub kind: KeyKind,
    /// The integration that it belongs to; `None` for admin keys.
    pub integration: Option<IntegrationId>,
}
