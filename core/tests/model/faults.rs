//! What may go wrong, and how often at most.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A lease lapses although its holder lives: it was paused, or its clock jumped.
    Lapse,
    /// A request never arrives, and its sender learns nothing.
    RequestLost,
    /// A request is processed, and its answer never arrives.
    AnswerLost,
    /// The sender stops waiting; the request is processed later all the same.
    Late,
    Crash,
    /// The store fails and has not written.
    ErrorBefore,
    /// The store fails and has written.
    ErrorAfter,
    /// A definite refusal that may pass.
    MayPass,
    /// The provider answers with an outage, and has not processed the request.
    Unprocessed,
    /// The user connects again.
    Reconnect,
    Delete,
    /// The stored access token ends.
    AccessEnds,
    /// No connection to the provider: the request was not sent, for certain.
    NotSent,
    /// The store fails to read.
    ReadFails,
    /// The store fails a process so often in a row that a machine which gives up at some time does so.
    Outage,
    /// The store does not answer a write, and applies it later, or never.
    LateWrite,
    /// The store does not say that a row would survive the loss of a machine.
    Unconfirmed,
    /// The row is written for a reason that has nothing to do with a refresh.
    Touch,
    /// The vault, the integration or the client's breaker does not let a process go on.
    Refused,
    /// The provider refuses the client.
    ClientRefused,
    /// The provider answers with the tokens of somebody else.
    OtherUser,
    /// The store's clock begins anew: the moments in the row cannot be compared with it.
    ClockGone,
    /// The row of a deleted connection is removed.
    Purge,
    /// A replica takes over that may not have what was not confirmed.
    FailOver,
    /// A backup of the row is taken.
    BackUp,
    /// The row is as it was when the backup was taken.
    RollBack,
}

/// How often each fault may still happen: two bits each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults(u64);

impl Faults {
    /// So many bits for each.
    pub const BITS: u32 = 2;

    pub fn of(list: &[(Fault, u8)]) -> Self {
        let mut faults = Self::default();
        for &(fault, times) in list {
            faults.set(fault, times.min(3));
        }
        faults
    }

    /// One more, of those that may happen at all and as far as that fits.
    pub fn stretched(mut self, fault: Fault) -> Self {
        if self.may(fault) {
            self.set(fault, (self.left(fault) + 1).min(3));
        }
        self
    }

    pub fn may(self, fault: Fault) -> bool {
        self.left(fault) > 0
    }

    pub fn left(self, fault: Fault) -> u8 {
        u8::try_from(self.0 >> Self::place(fault) & 3).unwrap()
    }

    pub fn set(&mut self, fault: Fault, times: u8) {
        assert!(times < 4, "more than two bits hold");
        self.0 &= !(3 << Self::place(fault));
        self.0 |= u64::from(times) << Self::place(fault);
    }

    pub fn spend(&mut self, fault: Fault) {
        self.0 -= 1 << Self::place(fault);
    }

    fn place(fault: Fault) -> u32 {
        Self::BITS * fault as u32
    }
}
