//! What may go wrong, and how often at most.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A turn lapses although its holder lives: it was paused, or its clock jumped.
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
}

/// How often each fault may still happen: two bits each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults(pub u32);

impl Faults {
    pub const BITS: u32 = 26;

    pub fn of(list: &[(Fault, u8)]) -> Self {
        Self(
            list.iter()
                .map(|&(fault, times)| u32::from(times.min(3)) << (2 * fault as u32))
                .sum(),
        )
    }

    /// One more, of those that may happen at all.
    pub fn stretched(mut self, fault: Fault) -> Self {
        if self.may(fault) {
            self.0 += 1 << (2 * fault as u32);
        }
        self
    }

    pub fn may(self, fault: Fault) -> bool {
        self.0 >> (2 * fault as u32) & 3 > 0
    }

    pub fn spend(&mut self, fault: Fault) {
        self.0 -= 1 << (2 * fault as u32);
    }
}
