//! Faults of the instance host that tests order in advance.

use serde::{Deserialize, Serialize};

use crate::fault_queue::{Counted, elsewhere, once, one_second};

/// What goes wrong at the instance host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum InstanceFaultKind {
    /// 401 `INVALID_SESSION_ID`, though the access token is valid. The call does not run.
    Unauthorized,
    /// A 503. The call does not run.
    Unavailable {
        /// Whether the body is an HTML page instead of `SERVER_UNAVAILABLE`.
        #[serde(default)]
        html: bool,
    },
    /// A redirect to another host. The call does not run.
    Redirect {
        /// Where to.
        #[serde(default = "elsewhere")]
        location: String,
        /// The status of the answer.
        #[serde(default = "found")]
        status: u16,
    },
    /// The call runs; the connection is closed in the middle of the body.
    CloseMidBody,
    /// The call runs; the body is sent in small pieces.
    SlowBody {
        /// Milliseconds between two pieces.
        #[serde(default = "one_second")]
        ms: u64,
        /// How many bytes in a piece.
        #[serde(default = "one_byte")]
        bytes: usize,
    },
    /// The call runs; the connection is closed without an answer.
    Close,
    /// The call does not run and is never answered.
    Hang,
}

/// An ordered fault of the instance host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceFault {
    /// What goes wrong.
    #[serde(flatten)]
    pub kind: InstanceFaultKind,
    /// For how many calls; 1 by default.
    #[serde(default = "once")]
    pub times: u64,
    /// How many matching calls pass first.
    #[serde(default)]
    pub skip: u64,
    /// Only for calls whose path contains this.
    #[serde(default)]
    pub path: Option<String>,
}

impl InstanceFault {
    /// A fault for the next call.
    pub fn once(kind: InstanceFaultKind) -> Self {
        Self {
            kind,
            times: 1,
            skip: 0,
            path: None,
        }
    }

    /// The same fault for so many calls.
    pub fn times(self, times: u64) -> Self {
        Self { times, ..self }
    }
}

impl Counted for InstanceFault {
    type Kind = InstanceFaultKind;
    fn parts(&mut self) -> (&Self::Kind, &mut u64, &mut u64) {
        (&self.kind, &mut self.skip, &mut self.times)
    }
}

fn found() -> u16 {
    302
}

fn one_byte() -> usize {
    1
}
