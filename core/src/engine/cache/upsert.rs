//! Filling a papaya map so that its resizes end.

use std::hash::{BuildHasher, Hash};

/// Inserts `value`, or what `merge` makes of the one that is there; gives what is in the map then. `merge` may run more than
/// once.
///
/// Not by `update_or_insert_with`: in papaya 0.2 it begins resizes and copies nothing, so that a map which is filled by it
/// keeps every table that it ever had, and a lookup walks all of them.
pub(super) fn upsert<K, V, S>(
    map: &papaya::HashMapRef<'_, K, V, S, papaya::LocalGuard<'_>>,
    key: &K,
    value: &V,
    merge: impl Fn(&V) -> V,
) -> V
where
    K: Clone + Eq + Hash,
    V: Clone,
    S: BuildHasher,
{
    loop {
        if let Ok(inserted) = map.try_insert(key.clone(), value.clone()) {
            return inserted.clone();
        }
        if let Some(merged) = map.update(key.clone(), &merge) {
            return merged.clone();
        }
        // It was removed in between.
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Counts hashes. A key is hashed anew when it is copied to a larger table.
    #[derive(Default)]
    struct Counting {
        state: foldhash::fast::FixedState,
        hashes: AtomicU64,
    }

    impl BuildHasher for &Counting {
        type Hasher = foldhash::fast::FoldHasher<'static>;

        fn build_hasher(&self) -> Self::Hasher {
            self.hashes.fetch_add(1, Ordering::Relaxed);
            self.state.build_hasher()
        }
    }

    /// Whoever walks the map has the copying done first that is left over: the hashes show how much that is.
    #[test]
    fn a_map_that_grew_is_in_one_table() {
        const ENTRIES: u64 = 10_000;
        let counting = Counting::default();
        let map = papaya::HashMap::with_hasher(&counting);
        for key in 0..ENTRIES {
            upsert(&map.pin(), &key, &key, |old| *old);
        }
        let before = counting.hashes.load(Ordering::Relaxed);
        assert_eq!(map.pin().iter().count(), 10_000);
        let copied = counting.hashes.load(Ordering::Relaxed) - before;
        assert!(copied < ENTRIES / 10, "{copied} entries lay in older tables");
    }

    #[test]
    fn what_is_there_is_merged() {
        let map = papaya::HashMap::new();
        let put = |value: u32| upsert(&map.pin(), &"key", &value, |old| value.max(*old));
        assert_eq!([put(3), put(2), put(5)], [3, 3, 5]);
        assert_eq!(map.pin().get("key"), Some(&5));
    }
}
