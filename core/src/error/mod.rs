//! The one error type that callers of the broker see.
//!
//! Three things are kept apart: what happened ([`Code`]), whether the same call may be made again, and what the caller
//! should do ([`Advice`]). No foreign error text gets in: HTTP clients print URLs with their queries, JSON parsers
//! print values. Tests compare codes; people read messages.
//!
//! The underlying failure of a store, a vault or a connection is kept as [`source`](std::error::Error::source), for the
//! operator's log ([`causes`]) only.

mod codes;
mod kind;

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

pub use codes::Code;
pub use kind::Kind;

use crate::{id::IdError, random::NoRandomness};

/// What the caller should do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice {
    /// Make the same call again after this time.
    Retry {
        /// How long to wait first.
        after: Duration,
    },
    /// Let the user connect again.
    Reconnect,
    /// Change the request.
    FixRequest,
    /// Change the configuration of the integration or of the host.
    FixConfiguration,
    /// Check whether the call took effect before repeating it.
    Check,
    /// Give up; a person must look.
    Fail,
}

/// Calls of the month against the plan, for [`Code::PlanLimitExceeded`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanUsage {
    /// Calls allowed per calendar month.
    pub limit: u64,
    /// Calls made in this calendar month.
    pub used: u64,
}

/// An error of the broker: a stable code, a sentence, and what to do. Cheap to clone, since many callers may wait for
/// one refresh.
///
/// Equality compares what a caller is told and ignores causes.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    code: Code,
    /// A reason from a closed list, such as the provider's error code as we classed it.
    reason: Option<&'static str>,
    retry_after: Option<Duration>,
    plan: Option<PlanUsage>,
    /// Shared, so that a clone costs a count.
    cause: Option<Arc<dyn StdError + Send + Sync>>,
}

impl PartialEq for Inner {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            code,
            reason,
            retry_after,
            plan,
            cause: _,
        } = self;
        *code == other.code
            && *reason == other.reason
            && *retry_after == other.retry_after
            && *plan == other.plan
    }
}

impl Eq for Inner {}

impl Error {
    /// An error with just a code.
    pub fn new(code: Code) -> Self {
        Self(Box::new(Inner {
            code,
            reason: None,
            retry_after: None,
            plan: None,
            cause: None,
        }))
    }

    /// Adds a reason from a closed list, such as a field's name or a provider's error code.
    #[must_use]
    pub fn because(mut self, reason: &'static str) -> Self {
        self.0.reason = Some(reason);
        self
    }

    /// Sets how long to wait before the same call may be made again.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Adds the plan's figures.
    #[must_use]
    pub fn with_plan(mut self, plan: PlanUsage) -> Self {
        self.0.plan = Some(plan);
        self
    }

    /// Attaches the cause, for logs. It must not contain a secret, a URL with a query, or a bound value.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.cause = Some(Arc::from(cause.into()));
        self
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The reason, if known.
    pub fn reason(&self) -> Option<&'static str> {
        self.0.reason
    }

    /// How long to wait before the same call, if known. [`Error::advice`] says whether repeating it makes sense.
    pub fn wait(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The plan's figures, for [`Code::PlanLimitExceeded`].
    pub fn plan(&self) -> Option<PlanUsage> {
        self.0.plan
    }

    /// What to do.
    pub fn advice(&self) -> Advice {
        match self.0.code.kind() {
            Kind::Request | Kind::Key => Advice::FixRequest,
            Kind::Connect | Kind::Reconnect => Advice::Reconnect,
            Kind::Configuration => Advice::FixConfiguration,
            Kind::Retry | Kind::Limit => Advice::Retry {
                after: self.0.retry_after.unwrap_or(Duration::from_secs(1)),
            },
            Kind::Outcome => Advice::Check,
            Kind::Internal => Advice::Fail,
        }
    }

    /// Whether the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        matches!(self.advice(), Advice::Retry { .. })
    }
}

impl From<Code> for Error {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.code.message())?;
        if let Some(reason) = self.0.reason {
            write!(f, " ({reason})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({}", self.0.code.as_str())?;
        if let Some(reason) = self.0.reason {
            write!(f, ", {reason}")?;
        }
        if let Some(after) = self.0.retry_after {
            write!(f, ", retry after {after:?}")?;
        }
        f.write_str(")")
    }
}

/// The cause is for logs. Neither `Display` nor `Debug` nor the HTTP surface shows it.
impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .cause
            .as_deref()
            .map(|cause| cause as &(dyn StdError + 'static))
    }
}

/// What led to `error`, nearest cause first, as `store: swap_connection failed: Unavailable: SQLite error 13: …`; empty if
/// it has no cause. For an operator's log; callers get the error without it.
pub fn causes(error: &dyn StdError) -> String {
    let mut text = String::new();
    let mut next = error.source();
    while let Some(cause) = next {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

impl From<IdError> for Error {
    fn from(error: IdError) -> Self {
        Self::new(match error {
            IdError::Empty => Code::IdEmpty,
            IdError::TooLong => Code::IdTooLong,
            IdError::InvalidCharacter => Code::IdInvalid,
        })
    }
}

impl From<NoRandomness> for Error {
    fn from(_: NoRandomness) -> Self {
        Self::new(Code::VaultUnavailable).because("randomness")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_unique_snake_case_and_say_what_to_do() {
        let mut seen = HashSet::new();
        for code in Code::ALL {
            let text = code.as_str();
            assert!(seen.insert(text), "{text} stands twice");
            assert!(
                text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{text}"
            );
            assert!(code.message().ends_with('.'), "{text}");
            assert!((400..=504).contains(&code.http_status()), "{text}");
        }
    }

    #[test]
    fn an_error_is_one_word() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn a_cause_is_for_the_log_only() {
        let bare = Error::new(Code::StoreUnavailable).because("connection");
        let disk = std::io::Error::other(std::io::Error::other("the disk is full"));
        let caused = bare.clone().caused_by(disk);
        assert_eq!(caused, bare);
        assert_eq!(caused.to_string(), bare.to_string());
        assert_eq!(format!("{caused:?} {caused:#?}"), format!("{bare:?} {bare:#?}"));
        assert_eq!(causes(&caused), "the disk is full");
        assert_eq!(causes(&bare), "");
        // A clone has it, too: many callers wait for one refresh.
        assert!(caused.clone().source().is_some());
    }
}
