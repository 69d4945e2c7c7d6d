//! What an error in a callback means (RFC 6749 section 4.1.2.1, OpenID Connect Core section 3.1.2.6).

macro_rules! errors {
    ($($variant:ident = $first:literal $(| $other:literal)*: $doc:literal;)*) => {
        /// Why a provider refused to give a code. A closed list: what a callback says is written by whoever made its
        /// URL, so its text goes nowhere.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum AuthorizeError {
            $(#[doc = $doc] $variant,)*
            /// Anything else.
            Other,
        }

        impl AuthorizeError {
            /// The reason in snake_case.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $first,)*
                    Self::Other => "other",
                }
            }

            fn known(text: &str) -> Option<Self> {
                match text {
                    $($first $(| $other)* => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

errors! {
    AccessDenied = "access_denied": "The user did not allow the access.";
    InvalidRequest = "invalid_request": "The provider calls the request malformed.";
    UnauthorizedClient = "unauthorized_client": "The app may not use this flow.";
    UnsupportedResponseType = "unsupported_response_type": "The app may not ask for a code.";
    InvalidScope = "invalid_scope": "A scope is unknown or not allowed for the app.";
    ServerError = "server_error": "The provider failed.";
    TemporarilyUnavailable = "temporarily_unavailable": "The provider is overloaded.";
    LoginRequired = "login_required" | "interaction_required" | "consent_required" | "account_selection_required": "The provider needs to show the user something first.";
    InvalidClient = "invalid_client": "The provider does not know the client id.";
    RedirectUriMismatch = "redirect_uri_mismatch": "The callback URL is not registered with the provider.";
    AppBlocked = "app_blocked": "An administrator of the account blocked the app.";
    AppNotInstalled = "app_not_found": "The app is not installed in the account.";
    ApprovalFailed = "approval_error": "The account's policy or the user's rights do not allow the app.";
}

impl AuthorizeError {
    /// The error that `text` names, by the provider's own codes where the standards do not know it. Ignores case, and
    /// whether words are joined by `-` or `_`.
    pub(crate) fn parse(text: &str, own: &[(String, Self)]) -> Self {
        let text = text.to_ascii_lowercase().replace('-', "_");
        let own = || {
            own.iter()
                .find(|(code, _)| *code == text)
                .map(|(_, error)| *error)
        };
        Self::known(&text).or_else(own).unwrap_or(Self::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C14–C16.
    #[test]
    fn errors_come_from_a_closed_list() {
        let own = [
            ("acme_blocked".to_owned(), AuthorizeError::AppBlocked),
            ("access_denied".to_owned(), AuthorizeError::ServerError),
        ];
        for (text, expected) in [
            ("access_denied", AuthorizeError::AccessDenied),
            ("access-denied", AuthorizeError::AccessDenied),
            ("ACCESS_DENIED", AuthorizeError::AccessDenied),
            ("consent_required", AuthorizeError::LoginRequired),
            ("ACME-Blocked", AuthorizeError::AppBlocked),
            ("acme_blocked_", AuthorizeError::Other),
            ("<script>", AuthorizeError::Other),
            (" ", AuthorizeError::Other),
        ] {
            assert_eq!(AuthorizeError::parse(text, &own), expected, "{text}");
        }
        assert_eq!(AuthorizeError::parse("acme_blocked", &[]), AuthorizeError::Other);
    }
}
