//! Read, decide, swap; repeated if the row was written meanwhile.

use super::{Found, Ledger, record::Record};
use crate::{
    engine::{limits, scope::Scope},
    error::{Code, Error},
    id::ConnectionId,
    store::{HotFacts, Swap},
};

/// What to do with a row, and the caller's result.
pub(crate) enum Change<T> {
    /// Write the record as it was changed.
    Write(T),
    /// It is as it should be.
    Keep(T),
}

impl Ledger {
    /// Changes a connection that is not deleted, by whatever `decide` makes of its record. Decided again on a conflict.
    ///
    /// # Errors
    /// As [`Ledger::find`]; those of `decide`; `connection_conflict` if it never gets its turn. An error of the store means
    /// that the outcome is not known: the same change may be made again.
    pub(crate) async fn update<T>(
        &self,
        scope: Scope<'_>,
        id: &ConnectionId,
        mut decide: impl FnMut(&mut Record, HotFacts) -> Result<Change<T>, Error>,
    ) -> Result<T, Error> {
        for _ in 0..limits::UPDATE_TRIES {
            let found = self.find(scope, id).await?;
            if let Some(done) = self.try_change(found, &mut decide).await? {
                return Ok(done);
            }
        }
        Err(Code::ConnectionConflict.into())
    }

    /// [`Ledger::update`] of any row, ended or not; `None` if there is none.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn amend<T>(
        &self,
        id: &ConnectionId,
        mut decide: impl FnMut(&mut Record, HotFacts) -> Result<Change<T>, Error>,
    ) -> Result<Option<T>, Error> {
        for _ in 0..limits::UPDATE_TRIES {
            let Some(found) = self.read(id).await? else {
                return Ok(None);
            };
            if let Some(done) = self.try_change(found, &mut decide).await? {
                return Ok(Some(done));
            }
        }
        Err(Code::ConnectionConflict.into())
    }

    /// `None` if the row was written meanwhile.
    async fn try_change<T>(
        &self,
        found: Found,
        decide: &mut impl FnMut(&mut Record, HotFacts) -> Result<Change<T>, Error>,
    ) -> Result<Option<T>, Error> {
        let Found {
            mut record,
            revision,
            hot,
            ..
        } = found;
        let done = match decide(&mut record, hot)? {
            Change::Keep(done) => return Ok(Some(done)),
            Change::Write(done) => done,
        };
        match self.swap(&record, revision).await? {
            Swap::Swapped(_) => Ok(Some(done)),
            Swap::Conflict => Ok(None),
            Swap::Missing => Err(Code::ConnectionNotFound.into()),
        }
    }
}
