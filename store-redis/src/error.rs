//! Errors of opening a store, and how Redis errors map to [`StoreError`].

use std::fmt;

use grantry::store::{StoreError, StoreErrorKind};
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why a store could not be opened. No variant contains the address with its password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The address does not name a Redis server.
    #[error("the store's address cannot be used: {reason}; write redis://user:password@host:port/database")]
    BadAddress {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The server cannot be reached, or does not reply.
    #[error(
        "Redis at {server} cannot be reached ({detail}); check that it runs and that this host may connect"
    )]
    Unreachable {
        /// Host and port.
        server: String,
        /// What happened.
        detail: &'static str,
    },
    /// The server rejects the user or the password.
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
    #[error("Redis at {server} has version {found}; use 7.0 or newer")]
    TooOld {
        /// Host and port.
        server: String,
        /// Its version.
        found: String,
    },
    /// The server's role does not match the address.
    #[error("Redis at {server} is {role}; give {instead}")]
    OtherRole {
        /// Host and port.
        server: String,
        /// Its role.
        role: &'static str,
        /// The address to use instead.
        instead: &'static str,
    },
    /// The server evicts keys when its memory is full.
    #[error(
        "Redis at {server} evicts keys when its memory is full ({policy}), which loses tokens; \
         set maxmemory-policy to noeviction"
    )]
    Evicts {
        /// Host and port.
        server: String,
        /// Its `maxmemory-policy`.
        policy: String,
    },
    /// The server keeps nothing: it has neither a log of its writes nor a replica.
    #[error(
        "Redis at {server} has neither an append-only file nor a replica, so a restart loses every connection; \
         set appendonly to yes, or accept the loss explicitly"
    )]
    KeepsNothing {
        /// Host and port.
        server: String,
    },
    /// A store cannot be created now.
    #[error(
        "Redis at {server} rejects writes ({detail}), so no store can be created there; free some space and open it again"
    )]
    TakesNoWrites {
        /// Host and port.
        server: String,
        /// Why not.
        detail: &'static str,
    },
    /// No store exists under the key prefix.
    #[error("Redis at {server} has no store under this key prefix; give the address that the service uses")]
    NoStore {
        /// Host and port.
        server: String,
    },
    /// Foreign data is stored under the key of the store's own record.
    #[error("Redis at {server} has other data under this key prefix; choose another prefix or database")]
    ForeignData {
        /// Host and port.
        server: String,
    },
    /// The store was created by a newer release, or by one that distributes it differently.
    #[error("the store on {server} belongs to another release ({detail}); use that release")]
    OtherRelease {
        /// Host and port.
        server: String,
        /// What this release cannot read.
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

    /// What the failure of `command` means for opening the store.
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

/// A classified driver error. The driver's text is dropped, because it can quote commands and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    cause: Cause,
    what: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// No reply: the outcome of the command is unknown.
    Lost,
    /// The server is loading, failing over or running a long script.
    Busy,
    /// The server is out of memory, or cannot write.
    Full,
    /// The server is no longer a primary.
    Demoted,
    /// Wrong user or password.
    Refused,
    /// The user lacks the permission.
    Forbidden,
    /// A key or a reply has an unexpected type.
    Foreign,
    /// The command is wrong.
    Mistake,
}

impl Failure {
    pub(crate) const TIMEOUT: Self = Self {
        cause: Cause::Lost,
        what: "no reply arrived in time",
    };
    pub(crate) const BACKING_OFF: Self = Self {
        cause: Cause::Busy,
        what: "the server could not be reached a moment ago",
    };
    pub(crate) const UNSERVED: Self = Self {
        cause: Cause::Busy,
        what: "no node of the Cluster serves this part",
    };
    pub(crate) const SENT_ROUND: Self = Self {
        cause: Cause::Busy,
        what: "the nodes of the Cluster keep redirecting the call",
    };

    pub(crate) fn of(error: &RedisError) -> Self {
        use ServerErrorKind as S;
        let (cause, what) = match error.kind() {
            ErrorKind::Io if error.is_timeout() => return Self::TIMEOUT,
            ErrorKind::Io if error.is_connection_refusal() => (Cause::Lost, "the connection was refused"),
            ErrorKind::Io => (Cause::Lost, "the connection was lost"),
            ErrorKind::Parse => (Cause::Lost, "the reply is not in Redis' protocol"),
            ErrorKind::AuthenticationFailed => (Cause::Refused, "the user or the password was refused"),
            ErrorKind::UnexpectedReturnType => (Cause::Foreign, "a reply has an unexpected form"),
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

    /// Whether the connection broke during the call, or before it.
    pub(crate) fn is_cut(self) -> bool {
        matches!(self.cause, Cause::Lost | Cause::Demoted) && self != Self::TIMEOUT
    }

    /// Whether the server refuses this user or this command.
    pub(crate) fn is_no_answer(self) -> bool {
        matches!(self.cause, Cause::Forbidden | Cause::Mistake)
    }

    /// Whether the server does not know the command, or not with these arguments.
    pub(crate) fn is_mistake(self) -> bool {
        self.cause == Cause::Mistake
    }

    /// Whether another node may have replaced this one.
    pub(crate) fn is_of_the_node(self) -> bool {
        matches!(self.cause, Cause::Lost | Cause::Busy | Cause::Demoted)
    }

    /// Whether the connection cannot be used any more.
    pub(crate) fn ends_connection(self) -> bool {
        matches!(self.cause, Cause::Lost | Cause::Demoted | Cause::Refused)
    }

    fn kind(self) -> StoreErrorKind {
        match self.cause {
            // Permissions are fixed by an operator, like a full disk.
            Cause::Lost | Cause::Busy | Cause::Full | Cause::Demoted | Cause::Refused | Cause::Forbidden => {
                StoreErrorKind::Unavailable
            }
            Cause::Foreign => StoreErrorKind::Corrupt,
            Cause::Mistake => StoreErrorKind::Invalid,
        }
    }

    /// The error of `operation` as the engine sees it.
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

/// A failure, and where the call may be repeated instead: it did not run here.
pub(crate) struct Trouble {
    pub(crate) failure: Failure,
    pub(crate) way: Option<Way>,
}

/// A Cluster node's redirect.
pub(crate) enum Way {
    /// The named node serves the slot from now on.
    Moved(String),
    /// The named node, for this call only.
    Ask(String),
    /// Here again shortly: only some of the slot's keys have been migrated.
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
