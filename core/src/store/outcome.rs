//! Outcomes of writes, and a store's own warnings.

/// The version of a row: a counter and a random write id, compared whole. The store makes a new one at every swap, so
/// that a store that was rolled back cannot match a snapshot of before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Revision {
    /// Grows by one at every write of the row.
    pub counter: u64,
    /// Random, new at every write.
    pub write: u128,
}

/// What became of an insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Inserted {
    /// The row is stored.
    Created(Revision),
    /// A row with this id exists; nothing was changed.
    Occupied,
}

/// What became of a compare-and-swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Swap {
    /// The row is replaced.
    Swapped(Revision),
    /// The row has another revision; nothing was changed.
    Conflict,
    /// There is no such row.
    Missing,
}

/// What became of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Removed {
    /// The row is gone.
    Gone,
    /// The row has another revision; nothing was changed.
    Conflict,
    /// There is no such row.
    Missing,
}

/// A warning about a store's durability: what it cannot promise, or could not find out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Stable, in lower case with underscores, for instance `redis_durability_unknown`.
    pub code: &'static str,
    /// What it means and what to do, with counts where there are some. It holds no secret.
    pub message: String,
}
