//! What verifying a key yields.

use crate::{
    id::{IntegrationId, KeyId},
    store::KeyKind,
};

/// A key that was shown and is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedKey {
    /// Its public part.
    pub id: KeyId,
    /// What it may do.
    pub kind: KeyKind,
    /// The integration that it belongs to; `None` for admin keys.
    pub integration: Option<IntegrationId>,
}
