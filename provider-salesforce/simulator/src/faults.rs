//! Faults of the token endpoint that tests order in advance, and the queues of all pending faults.

use serde::{Deserialize, Serialize};

use crate::fault_queue::{Counted, elsewhere, once, one_second, take};
use crate::instance_faults::{InstanceFault, InstanceFaultKind};

/// What goes wrong at the token endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TokenFaultKind {
    /// An OAuth error. The request is not processed.
    Error {
        /// The `error` of the answer.
        #[serde(default = "invalid_grant")]
        error: String,
        /// The `error_description` of the answer.
        #[serde(default)]
        error_description: String,
        /// The status of the answer.
        #[serde(default = "bad_request")]
        status: u16,
        /// A `Retry-After` header, in seconds.
        #[serde(default)]
        retry_after: Option<u32>,
    },
    /// Processed; then the connection is closed without an answer.
    AnswerLost,
    /// Not processed; the connection is closed.
    RequestLost,
    /// Never answered: the connection stays open until the client closes it.
    Hang {
        /// Whether the request is processed.
        #[serde(default)]
        processed: bool,
    },
    /// Processed; the body of the answer comes one byte at a time.
    Drip {
        /// Milliseconds between two bytes.
        #[serde(default = "one_second")]
        ms: u64,
    },
    /// Processed; the connection is closed in the middle of the answer.
    Truncated,
    /// A 503 with an HTML page. Not processed.
    #[serde(rename = "html_503")]
    Html503,
    /// Processed; then a 500 with an HTML page.
    #[serde(rename = "5xx_after_commit")]
    FailedAfterCommit {
        /// The status of the answer.
        #[serde(default = "internal_error")]
        status: u16,
    },
    /// A redirect that keeps method and body. Not processed.
    Redirect {
        /// Where to.
        #[serde(default = "elsewhere")]
        location: String,
        /// The status of the answer.
        #[serde(default = "temporary_redirect")]
        status: u16,
    },
    /// Processed; then a 200 whose body is not a token response.
    #[serde(rename = "garbage_200")]
    Garbage {
        /// The body.
        #[serde(default = "garbage")]
        body: String,
        /// Its content type.
        #[serde(default = "html")]
        content_type: String,
    },
    /// Processed; the right response with one very long extra field.
    Oversized {
        /// The length of that field, in bytes.
        #[serde(default = "one_mebibyte")]
        bytes: usize,
    },
    /// Processed; the right response with one more member before the others, taken literally: an extra that a client's parser
    /// may stumble over.
    Extra {
        /// The member, such as `"note":"\ud83d"`.
        member: String,
    },
    /// Processed late, whether or not the client still waits.
    Late {
        /// After so many milliseconds.
        ms: u64,
        /// Whether to close the connection at once.
        #[serde(default)]
        close: bool,
    },
}

/// An ordered fault of the token endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenFault {
    /// What goes wrong.
    #[serde(flatten)]
    pub kind: TokenFaultKind,
    /// For how many requests; 1 by default.
    #[serde(default = "once")]
    pub times: u64,
    /// How many matching requests pass first.
    #[serde(default)]
    pub skip: u64,
    /// Only for requests with this `grant_type`; for all by default.
    #[serde(default)]
    pub grant_type: Option<String>,
    /// Only for requests that present a refresh token of this user.
    #[serde(default)]
    pub username: Option<String>,
}

impl TokenFault {
    /// A fault for the next request of any kind.
    pub fn once(kind: TokenFaultKind) -> Self {
        Self {
            kind,
            times: 1,
            skip: 0,
            grant_type: None,
            username: None,
        }
    }

    /// A fault for the next refresh.
    pub fn next_refresh(kind: TokenFaultKind) -> Self {
        Self {
            grant_type: Some("refresh_token".to_owned()),
            ..Self::once(kind)
        }
    }

    /// The same fault for so many requests.
    pub fn times(self, times: u64) -> Self {
        Self { times, ..self }
    }
}

impl TokenFaultKind {
    /// Its name in the log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Error { .. } => "error",
            Self::AnswerLost => "answer_lost",
            Self::RequestLost => "request_lost",
            Self::Hang { .. } => "hang",
            Self::Drip { .. } => "drip",
            Self::Truncated => "truncated",
            Self::Html503 => "html_503",
            Self::FailedAfterCommit { .. } => "5xx_after_commit",
            Self::Redirect { .. } => "redirect",
            Self::Garbage { .. } => "garbage_200",
            Self::Oversized { .. } => "oversized",
            Self::Extra { .. } => "extra",
            Self::Late { .. } => "late",
        }
    }

    /// Whether the request is processed despite the fault.
    pub fn is_processed(&self) -> bool {
        match self {
            Self::Error { .. } | Self::RequestLost | Self::Html503 | Self::Redirect { .. } => false,
            Self::Hang { processed } => *processed,
            _ => true,
        }
    }
}

/// The pending faults.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// For the token endpoint, in this order.
    pub token: Vec<TokenFault>,
    /// For the instance host, in this order.
    pub instance: Vec<InstanceFault>,
}

impl Faults {
    /// Takes the fault that is pending for a token request, if any.
    pub(crate) fn take_token(&mut self, grant_type: &str, username: Option<&str>) -> Option<TokenFaultKind> {
        take(&mut self.token, |fault| {
            fault
                .grant_type
                .as_deref()
                .is_none_or(|wanted| wanted == grant_type)
                && fault
                    .username
                    .as_deref()
                    .is_none_or(|wanted| username == Some(wanted))
        })
    }

    /// Takes the fault that is pending for a call of the instance host, if any.
    pub(crate) fn take_instance(&mut self, path: &str) -> Option<InstanceFaultKind> {
        take(&mut self.instance, |fault| {
            fault.path.as_deref().is_none_or(|wanted| path.contains(wanted))
        })
    }
}

impl Counted for TokenFault {
    type Kind = TokenFaultKind;
    fn parts(&mut self) -> (&Self::Kind, &mut u64, &mut u64) {
        (&self.kind, &mut self.skip, &mut self.times)
    }
}

fn one_mebibyte() -> usize {
    1 << 20
}
fn bad_request() -> u16 {
    400
}
fn internal_error() -> u16 {
    500
}
fn temporary_redirect() -> u16 {
    307
}
fn invalid_grant() -> String {
    "invalid_grant".to_owned()
}
fn garbage() -> String {
    "<html><body>Not a token answer</body></html>".to_owned()
}
fn html() -> String {
    "text/html;charset=UTF-8".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_taken_in_order_and_counted() {
        let mut faults = Faults::default();
        faults
            .token
            .push(TokenFault::next_refresh(TokenFaultKind::AnswerLost).times(2));
        faults.token.push(TokenFault {
            skip: 1,
            ..TokenFault::once(TokenFaultKind::Html503)
        });
        assert_eq!(faults.take_token("authorization_code", None), None);
        assert_eq!(
            faults.take_token("refresh_token", None),
            Some(TokenFaultKind::AnswerLost)
        );
        assert_eq!(
            faults.take_token("refresh_token", None),
            Some(TokenFaultKind::AnswerLost)
        );
        assert_eq!(
            faults.take_token("authorization_code", None),
            Some(TokenFaultKind::Html503)
        );
        assert_eq!(faults, Faults::default());
    }

    #[test]
    fn faults_are_written_with_few_words() {
        let fault: TokenFault = serde_json::from_str(r#"{"kind":"5xx_after_commit"}"#).unwrap();
        assert_eq!(
            fault,
            TokenFault::once(TokenFaultKind::FailedAfterCommit { status: 500 })
        );
        let fault: InstanceFault = serde_json::from_str(r#"{"kind":"unauthorized","times":3}"#).unwrap();
        assert_eq!(
            fault,
            InstanceFault::once(InstanceFaultKind::Unauthorized).times(3)
        );
    }
}
