//! What becomes of a set whose connection has ended: it is revoked, unless its tokens are the living ones.

use super::{Command, Compared, Event};
use crate::engine::protocol::machine::{Read, View, Written};

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Owe {
    Reading,
    Comparing,
    /// Into the row in hand, that a revocation is owed.
    Writing,
    /// There is no row that could say so.
    Revoking,
}

/// What follows.
#[derive(Clone, Copy)]
pub(super) enum Owed {
    Next(Owe),
    /// Try all of it again after a while.
    NotNow,
    /// The set is revoked, the living one, or somebody else's business; `owes`: a revocation is owed, in the row.
    Done {
        owes: bool,
    },
    Broken,
}

impl Owe {
    pub(super) fn command(self) -> Command {
        match self {
            Self::Reading => Command::Read,
            Self::Comparing => Command::Compare,
            Self::Writing => Command::Owe,
            Self::Revoking => Command::RevokeReceived,
        }
    }

    /// `write_id`: of the set.
    pub(super) fn on(self, event: Event, write_id: u128) -> Owed {
        match (self, event) {
            (Self::Reading, Event::Read(Read::Row(view))) if is_settled(&view, write_id) => {
                Owed::Done { owes: false }
            }
            (Self::Reading, Event::Read(Read::Row(_))) => Owed::Next(Self::Comparing),
            (Self::Reading, Event::Read(Read::Missing)) => Owed::Next(Self::Revoking),
            (Self::Comparing, Event::Compared(Compared::Other)) => Owed::Next(Self::Writing),
            (Self::Writing, Event::Written(Written::Swapped)) => Owed::Done { owes: true },
            (Self::Comparing, Event::Compared(Compared::Same)) | (Self::Revoking, Event::Done) => {
                Owed::Done { owes: false }
            }
            // A living set must not be revoked by mistake.
            (Self::Reading, Event::Read(Read::Unreadable | Read::Failed))
            | (Self::Comparing, Event::Compared(Compared::Unknown))
            | (Self::Writing, Event::Written(Written::Conflict | Written::Missing | Written::Failed)) => {
                Owed::NotNow
            }
            _ => Owed::Broken,
        }
    }
}

/// It lives elsewhere, perhaps on the very same grant; or my write was applied though its answer was lost.
fn is_settled(view: &View, write_id: u128) -> bool {
    view.migrated.is_some() || view.owed || view.row.write_id == write_id
}
