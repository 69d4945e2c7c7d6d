//! Errors: what can be wrong with a server when a store is opened on it, and how Redis's failures read as [`StoreError`].

use std::fmt;

use grantry::store::{StoreError, StoreErrorKind};
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why a store could not be opened. No variant has the address with its password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The address is not one of a Redis server.
    #[error("the store's address cannot be used: {reason}; write redis://user:password@host:port/database")]
    BadAddress {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The server cannot be reached, or does not answer.
    #[error(
        "Redis at {server} cannot be reached ({detail}); check that it runs and that this host may connect"
    )]
    Unreachable {
        /// Host and port.
        server: String,
        /// What happened.
        detail: &'static str,
    },
    /// The server refuses the user or the password.
    #[error("Redis at {server} refuses the user or the password; check both in the store's address")]
    Refused {
        /// Host and port.
        server: String,
    },
    /// The user may not run a command that the store needs.
    #[error(
        "Redis at {server} forbids {command} to this user; allow the commands that the store's documentation lists"
    )]
    Forbidden {
        /// Host and port.
        server: String,
        /// What was tried.
        command: &'static str,
    },
    /// The server is too old.
    #[error("Redis at {server} is {found}; use 7.0 or newer")]
    TooOld {
        /// Host and port.
        server: String,
        /// Its version.
        found: String,
    },
    /// The server has another role than the address says.
    #[error("Redis at {server} is {role}; give {instead}")]
    OtherRole {
        /// Host and port.
        server: String,
        /// What it is.
        role: &'static str,
        /// What to give as the address.
        instead: &'static str,
    },
    /// The server drops keys when its memory is full.
    #[error(
        "Redis at {server} drops keys when its memory is full ({policy}), which loses tokens; \
         set maxmemory-policy to noeviction"
    )]
    Evicts {
        /// Host and port.
        server: String,
        /// Its `maxmemory-policy`.
        policy: String,
    },
    /// The server keeps nothing: no log of its writes, no replica.
    #[error(
        "Redis at {server} has neither an append-only file nor a replica, so a restart loses every connection; \
         set appendonly to yes, or say that loss is accepted"
    )]
    KeepsNothing {
        /// Host and port.
        server: String,
    },
    /// A store cannot be made now.
    #[error(
        "Redis at {server} takes no writes ({detail}), so that no store can be made there; give it room and open again"
    )]
    TakesNoWrites {
        /// Host and port.
        server: String,
        /// Why not.
        detail: &'static str,
    },
    /// There is no store under the key prefix.
    #[error("Redis at {server} has no store under this key prefix; give the address that the service uses")]
    NoStore {
        /// Host and port.
        server: String,
    },
    /// Other data stands where the store's record of itself should.
    #[error("Redis at {server} has other data under this key prefix; choose another prefix or database")]
    ForeignData {
        /// Host and port.
        server: String,
    },
    /// A newer release made the store, or one that spreads it otherwise.
    #[error("the store on {server} is of another release ({detail}); use that release")]
    OtherRelease {
        /// Host and port.
        server: String,
        /// What this release does not know.
        detail: String,
    },
}

impl OpenError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadAddress { .. } => "redis_bad_address",
            Self::Unreachable { .. } => "redis_unreachable",
            Self::Refused { .. } => "redis_refused",
            Self::Forbidden { .. } => "redis_forbidden",
            Self::TooOld { .. } => "redis_too_old",
            Self::OtherRole { .. } => "redis_other_role",
            Self::Evicts { .. } => "redis_evicts",
            Self::KeepsNothing { .. } => "redis_keeps_nothing",
            Self::TakesNoWrites { .. } => "redis_takes_no_writes",
            Self::NoStore { .. } => "redis_no_store",
            Self::ForeignData { .. } => "redis_foreign_data",
            Self::OtherRelease { .. } => "redis_other_release",
        }
    }

    /// What it means that `command` failed while the store was opened.
    pub(crate) fn of(server: &str, command: &'static str, failure: Failure) -> Self {
        let server = server.to_owned();
        match failure.cause {
            Cause::Refused => Self::Refused { server },
            Cause::Forbidden => Self::Forbidden { server, command },
            Cause::Foreign => Self::ForeignData { server },
            Cause::Full => Self::TakesNoWrites {
                server,
                detail: failure.what,
            },
            Cause::Lost | Cause::Busy | Cause::Demoted | Cause::Mistake => Self::Unreachable {
                server,
                detail: failure.what,
            },
        }
    }
}

/// What is left of a driver's error. The driver's text is dropped, because it can quote commands and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    cause: Cause,
    what: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// No answer: nobody knows what became of the command.
    Lost,
    /// The server is loading, failing over or running a long script.
    Busy,
    /// The server has no room, or cannot write.
    Full,
    /// The server is no primary any more.
    Demoted,
    /// User or password.
    Refused,
    /// The user may not do this.
    Forbidden,
    /// A key or an answer has another form.
    Foreign,
    /// The command is wrong.
    Mistake,
}

impl Failure {
    pub(crate) const TIMEOUT: Self = Self {
        cause: Cause::Lost,
        what: "there was no answer in time",
    };
    pub(crate) const RESTING: Self = Self {
        cause: Cause::Busy,
        what: "the server could not be reached a moment ago",
    };
    pub(crate) const UNSERVED: Self = Self {
        cause: Cause::Busy,
        what: "no node of the Cluster serves this part",
    };
    pub(crate) const SENT_ROUND: Self = Self {
        cause: Cause::Busy,
        what: "the nodes of the Cluster send the call round",
    };

    pub(crate) fn of(error: &RedisError) -> Self {
        use ServerErrorKind as S;
        let (cause, what) = match error.kind() {
            ErrorKind::Io if error.is_timeout() => return Self::TIMEOUT,
            ErrorKind::Io if error.is_connection_refusal() => (Cause::Lost, "the connection was refused"),
            ErrorKind::Io => (Cause::Lost, "the connection was lost"),
            ErrorKind::Parse => (Cause::Lost, "the answer is not one of Redis"),
            ErrorKind::AuthenticationFailed => (Cause::Refused, "the user or the password was refused"),
            ErrorKind::UnexpectedReturnType => (Cause::Foreign, "an answer has another form"),
            ErrorKind::Server(S::BusyLoading) => (Cause::Busy, "the server is loading its data (LOADING)"),
            ErrorKind::Server(S::MasterDown | S::ClusterDown | S::TryAgain) => {
                (Cause::Busy, "the server is failing over")
            }
            ErrorKind::Server(S::Moved | S::Ask | S::CrossSlot) => {
                (Cause::Mistake, "the server is a node of a Cluster")
            }
            ErrorKind::MasterNameNotFoundBySentinel => (Cause::Busy, "no Sentinel names a primary"),
            ErrorKind::Server(S::ReadOnly) => (Cause::Demoted, "the server is a replica (READONLY)"),
            ErrorKind::Server(S::NoPerm) => (Cause::Forbidden, "the user may not run a command (NOPERM)"),
            _ => match error.code() {
                Some("OOM") => (Cause::Full, "the server's memory is full (OOM)"),
                Some("MISCONF") => (Cause::Full, "the server cannot write to its disk (MISCONF)"),
                Some("NOREPLICAS") => (Cause::Full, "the server has too few replicas (NOREPLICAS)"),
                Some("BUSY") => (Cause::Busy, "the server is running a long script (BUSY)"),
                Some("NOAUTH" | "WRONGPASS") => (Cause::Refused, "the user or the password was refused"),
                Some("WRONGTYPE") => (Cause::Foreign, "a key has another type (WRONGTYPE)"),
                _ => (Cause::Mistake, "the server refused a command"),
            },
        };
        Self { cause, what }
    }

    /// Whether the connection ended under the call, or before it.
    pub(crate) fn is_cut(self) -> bool {
        matches!(self.cause, Cause::Lost | Cause::Demoted) && self != Self::TIMEOUT
    }

    /// Whether the server will not answer this user or this question.
    pub(crate) fn is_no_answer(self) -> bool {
        matches!(self.cause, Cause::Forbidden | Cause::Mistake)
    }

    /// Whether the server does not know the command, or not so.
    pub(crate) fn is_mistake(self) -> bool {
        self.cause == Cause::Mistake
    }

    /// Whether another node may be in this one's place by now.
    pub(crate) fn is_of_the_node(self) -> bool {
        matches!(self.cause, Cause::Lost | Cause::Busy | Cause::Demoted)
    }

    /// Whether the connection is of no more use.
    pub(crate) fn ends_connection(self) -> bool {
        matches!(self.cause, Cause::Lost | Cause::Demoted | Cause::Refused)
    }

    fn kind(self) -> StoreErrorKind {
        match self.cause {
            // What a user may do is set right by an operator, as a full disk is.
            Cause::Lost | Cause::Busy | Cause::Full | Cause::Demoted | Cause::Refused | Cause::Forbidden => {
                StoreErrorKind::Unavailable
            }
            Cause::Foreign => StoreErrorKind::Corrupt,
            Cause::Mistake => StoreErrorKind::Invalid,
        }
    }

    /// A failure of `operation` as the engine sees it.
    pub(crate) fn store_error(self, operation: &'static str) -> StoreError {
        StoreError::new(self.kind(), operation, self)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis: {}", self.what)
    }
}

impl std::error::Error for Failure {}

/// A failure, and where the call may be made instead: nothing was done here.
pub(crate) struct Trouble {
    pub(crate) failure: Failure,
    pub(crate) way: Option<Way>,
}

/// Where a node of a Cluster sends a call.
pub(crate) enum Way {
    /// This node serves the slot from now on.
    Moved(String),
    /// This node, for this call.
    Ask(String),
    /// Here again a little later: some of the slot's keys have left and some have not.
    Leaving,
}

impl Trouble {
    pub(crate) fn of(error: &RedisError) -> Self {
        let address = error.redirect_node().map(|(address, _)| address.to_owned());
        let way = match (error.kind(), address) {
            (ErrorKind::Server(ServerErrorKind::Moved), Some(address)) => Some(Way::Moved(address)),
            (ErrorKind::Server(ServerErrorKind::Ask), Some(address)) => Some(Way::Ask(address)),
            (ErrorKind::Server(ServerErrorKind::TryAgain), _) => Some(Way::Leaving),
            _ => None,
        };
        Self {
            failure: Failure::of(error),
            way,
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self { failure, way: None }
    }
}
