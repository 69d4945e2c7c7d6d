//! Recently verified keys, so that the calls of a busy caller cost neither a store read nor an HMAC each.

use std::sync::Arc;

use super::verified::VerifiedKey;
use crate::{id::KeyId, time::Timestamp};

/// How long an entry is valid, in milliseconds. A revocation must take effect everywhere within a second, and the clock may
/// lag by some milliseconds.
const MAX_AGE: u64 = 950;
/// The most entries. Only verified keys are kept.
const MAX_ENTRIES: usize = 4096;

struct Entry {
    key: Arc<VerifiedKey>,
    /// The tick before the store was asked: from then on a revocation may have been missed.
    asked_at: u64,
    expires_at: Option<Timestamp>,
}

impl Entry {
    fn is_fresh(&self, tick: u64) -> bool {
        tick.checked_sub(self.asked_at).is_some_and(|age| age < MAX_AGE)
    }
}

/// Verified keys by the SHA-256 of what was presented: a digest of a secret can be looked up without regard to timing.
pub(super) struct Cache(papaya::HashMap<[u8; 32], Entry, foldhash::fast::RandomState>);

impl Cache {
    pub(super) fn new() -> Self {
        Self(papaya::HashMap::with_hasher(
            foldhash::fast::RandomState::default(),
        ))
    }

    pub(super) fn get(&self, digest: &[u8; 32], tick: u64, now: Timestamp) -> Option<Arc<VerifiedKey>> {
        let entries = self.0.pin();
        let entry = entries.get(digest)?;
        let live = entry.is_fresh(tick) && entry.expires_at.is_none_or(|end| now < end);
        live.then(|| entry.key.clone())
    }

    /// Keeps a key that the store knew when it was asked at `asked_at`.
    pub(super) fn put(
        &self,
        digest: [u8; 32],
        key: Arc<VerifiedKey>,
        asked_at: u64,
        expires_at: Option<Timestamp>,
    ) {
        let entries = self.0.pin();
        if entries.len() >= MAX_ENTRIES {
            entries.retain(|_, entry| entry.is_fresh(asked_at));
        }
        if entries.len() < MAX_ENTRIES {
            let entry = Entry {
                key,
                asked_at,
                expires_at,
            };
            entries.insert(digest, entry);
        }
    }

    pub(super) fn forget(&self, id: &KeyId) {
        self.0.pin().retain(|_, entry| entry.key.id != *id);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::KeyKind;

    fn key() -> Arc<VerifiedKey> {
        Arc::new(VerifiedKey {
            id: KeyId::generate(),
            kind: KeyKind::Api,
            integration: None,
        })
    }

    #[test]
    fn entries_serve_for_less_than_a_second() {
        let cache = Cache::new();
        let now = Timestamp(0);
        cache.put([1; 32], key(), 10_000, None);
        assert!(cache.get(&[1; 32], 10_000, now).is_some());
        assert!(cache.get(&[1; 32], 10_949, now).is_some());
        assert!(cache.get(&[1; 32], 10_950, now).is_none());
        assert!(cache.get(&[2; 32], 10_000, now).is_none());
        // A clock that went back proves nothing about the age.
        assert!(cache.get(&[1; 32], 9_999, now).is_none());
    }

    #[test]
    fn an_expired_key_does_not_serve() {
        let cache = Cache::new();
        cache.put([1; 32], key(), 0, Some(Timestamp(500)));
        assert!(cache.get(&[1; 32], 0, Timestamp(499)).is_some());
        assert!(cache.get(&[1; 32], 0, Timestamp(500)).is_none());
    }

    #[test]
    fn it_is_bounded() {
        let cache = Cache::new();
        let digest = |n: usize| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&n.to_be_bytes());
            digest
        };
        for n in 0..MAX_ENTRIES + 100 {
            cache.put(digest(n), key(), 5, None);
        }
        assert_eq!(cache.len(), MAX_ENTRIES);
        cache.put(digest(0), key(), 5 + MAX_AGE, None);
        assert_eq!(cache.len(), 1);
    }
}
