//! What keeping a set asks for, what it is told, and how it ends.

use crate::{
    connection::GrantVersion,
    engine::protocol::machine::{Read, Wait, Write, Written},
};

/// What it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Read the row and take it in hand.
    Read,
    /// Seal the set as this version.
    Seal(GrantVersion),
    /// Write the sealed set over the row in hand.
    Store {
        /// The row.
        write: Write,
        /// The row stays behind: its connection was copied to another store.
        migrated: bool,
    },
    /// Try whether the stored set works, and mark the connection if it does not.
    Verify,
    /// Answer those who wait.
    Answer(Answer),
    /// Wait until the row in hand would survive the loss of a machine.
    Confirm(Confirm),
    /// Look whether the row in hand lives on the same refresh token.
    Compare,
    /// Write into the row in hand that the set is owed a revocation, sealed as its own version.
    Owe,
    /// Revoke the set now: no row can say that it is owed.
    RevokeReceived,
    /// Sleep.
    Sleep(Wait),
}

/// What is to be confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Confirm {
    /// The row that holds the set.
    Set,
    /// The row of a reconnect.
    Reconnect,
}

/// What those who wait are answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The set, or what its verification found.
    Stored,
    /// What the row in hand holds.
    InHand,
    /// There is no such connection any more.
    NotFound,
    /// The connection lives in another store.
    Migrated,
}

/// What came of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "taken apart at once")]
pub enum Event {
    /// Of `Read`.
    Read(Read),
    /// Of `Seal`: whether it is.
    Sealed(bool),
    /// Of `Store` and `Owe`.
    Written(Written),
    /// Of `Verify`, `Answer` and `RevokeReceived`.
    Done,
    /// Of `Confirm`.
    Confirmed(bool),
    /// Of `Compare`.
    Compared(Compared),
    /// Of `Sleep`.
    Woken,
}

/// Whose refresh token stands in the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// Mine.
    Same,
    /// Another one, or none.
    Other,
    /// That cannot be seen now.
    Unknown,
}

/// What became of the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The store has it.
    Safe,
    /// Another set is stored that came later, or from the same refresh token.
    Superseded,
    /// The connection has ended, and the set is revoked, owed a revocation, or the living one.
    Ended,
    /// It stands in the row that stayed behind in a copied store, or is older than that.
    Migrated,
    /// An event came that answers no command.
    Broken,
}

/// What became known on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// The lease had lapsed when the set came, or before it could be stored.
    Late,
    /// The store had lost what it once acknowledged.
    RolledBack,
    /// The store took the set: it is served from memory.
    Stored {
        /// The connection was expired.
        recovers: bool,
    },
    /// A newer set is stored.
    Superseded,
    /// The set in memory belongs to nobody any more.
    Forget,
    /// The set is in this process only: serve it from memory.
    Unsaved,
    /// The same, for a set that is served already: what is stored might be lost with a machine.
    AtRisk,
    /// It is not any more.
    Saved,
    /// It stands in the row that stayed behind.
    CameAfterCopy,
    /// It came for a connection that had ended and was copied away: its grant may live on.
    LeftOver,
    /// A revocation is owed: begin with it.
    Owed,
}
