//! Parameters and errors of the routes, for the table and for the document made from it.

use super::param::Param;
use crate::error::Code;

pub(super) const LIST_FILTERS: &[Param] = &[
    Param::query(
        "environment",
        "Only those in this environment: one that an offering has, such as `production` or `sandbox`.",
    ),
    Param::query(
        "status",
        "Only those with this status. Deleted ones are listed only when asked for.",
    )
    .one_of(&["connected", "expired", "revoked", "deleted"]),
    Param::query(
        "search",
        "Only those whose e-mail address has this substring, in any case.",
    ),
    Param::query("owner", "Only those of this owner."),
    Param::query(
        "metadata.{key}",
        "Only those with this label. May be given for several keys.",
    ),
    Param::query("limit", "How many: 1 to 100, 20 by default.").integer(),
    Param::query(
        "cursor",
        "`nextCursor` of the page before; the filters must be the same.",
    ),
];

pub(super) const CREDENTIALS_WISHES: &[Param] = &[
    Param::query(
        "minValidSeconds",
        "How long the token must stay valid, in seconds: up to 86400, 300 by default.",
    )
    .integer(),
    Param::query(
        "refused",
        "The `ETag` of credentials that the provider refused: gets newer ones.",
    ),
];

pub(super) const CONNECTION_HEADER: &[Param] =
    &[Param::header("X-Connection-Id", "The connection to call with.").required()];

pub(super) const CONNECT_QUERY: &[Param] = &[
    Param::query("public_key", "The integration's public key."),
    Param::query(
        "redirect_uri",
        "Where to redirect afterwards: one of the integration's redirect URIs, character for character.",
    ),
    Param::query(
        "link",
        "A connect or reconnect link's content, in place of the other two.",
    ),
];

pub(super) const CALLBACK_QUERY: &[Param] = &[
    Param::query("state", "As it was given to the provider.").required(),
    Param::query("code", "The authorization code."),
    Param::query("error", "Why there is no code."),
    Param::query("iss", "The issuer (RFC 9207)."),
];

/// Why a connection serves no credentials.
macro_rules! serving {
    ($($more:ident),* $(,)?) => {
        &[
            Code::ConnectionNotFound, Code::ConnectionExpired, Code::ConnectionRevoked, Code::ConnectionCorrupt,
            Code::IntegrationDisabled, Code::IntegrationFrozen, Code::ClientInvalid, Code::RefreshCooling,
            Code::RefreshOutcomeUnknown, Code::RefreshInProgress, Code::RefreshNotSent, Code::ShuttingDown,
            Code::VaultUnavailable, $(Code::$more),*
        ]
    };
}

/// Why a call does not reach the provider, or its response does not reach the caller.
macro_rules! calling {
    ($($more:ident),* $(,)?) => {
        serving![
            PathEmpty, PathNotAbsolute, PathHasAuthority, PathBackslash, PathControlByte, PathEncodedControl,
            PathDotSegment, PathEncodedSeparator, PathBadPercent, PathFragment, PathNotAscii, PathTooLong,
            PathEmptySegment, PathOutsideApi, QueryReserved, QueryTooLarge, QueryInvalid, HeadersTooLarge, PlanLimitExceeded,
            UpstreamUnreachable, UpstreamTls, UpstreamProtocol, UpstreamLost, UpstreamTimeout, TargetForbidden,
            $($more),*
        ]
    };
}

pub(super) const CONNECT: &[Code] = &[
    Code::PublicKeyMissing,
    Code::ParameterInvalid,
    Code::ParameterDuplicate,
    Code::KeyMalformed,
    Code::KeyUnknown,
    Code::KeyRevoked,
    Code::KeyExpired,
    Code::KeyInUrl,
    Code::IntegrationMismatch,
    Code::IntegrationNotFound,
    Code::IntegrationNotConfigured,
    Code::IntegrationDisabled,
    Code::IntegrationFrozen,
    Code::RedirectUriNotAllowed,
    Code::RedirectUriTooLong,
    Code::LinkInvalid,
    Code::LinkExpired,
    Code::LinkUsed,
    Code::ConnectionNotFound,
    Code::OwnerMismatch,
    Code::NavigationRequired,
    Code::StoreUnavailable,
    Code::StoreCorrupt,
    Code::Tampered,
    Code::VaultKeyUnknown,
    Code::VaultUnavailable,
];

pub(super) const CALLBACK: &[Code] = &[
    Code::CallbackMissingState,
    Code::CallbackMissingCode,
    Code::CallbackDuplicateParameter,
    Code::CallbackConflicting,
    Code::CallbackTooManyParameters,
    Code::StateMalformed,
    Code::StateUnknown,
    Code::BrowserMismatch,
    Code::CodeMalformed,
    Code::IssuerMismatch,
    Code::CallbackIntegrationMismatch,
    Code::ImplicitNotSupported,
    Code::AccessDenied,
    Code::AccountMismatch,
    Code::OwnerMismatch,
    Code::ProviderRejected,
    Code::TokenResponseIncomplete,
    Code::TokenResponseInvalid,
    Code::SignatureInvalid,
    Code::InstanceUrlRejected,
    Code::IdentityUrlRejected,
    Code::ClientInvalid,
    Code::IntegrationNotFound,
    Code::IntegrationDisabled,
    Code::IntegrationFrozen,
    Code::NavigationRequired,
    Code::StoreUnavailable,
    Code::StoreCorrupt,
    Code::Tampered,
    Code::VaultKeyUnknown,
    Code::VaultUnavailable,
];

pub(super) const DEFINING: &[Code] = &[
    Code::SlugTaken,
    Code::OfferingUnknown,
    Code::ScopeInvalid,
    Code::RedirectUriInvalid,
    Code::RedirectUriTooLong,
    Code::OptionInvalid,
    Code::IntegrationConflict,
    Code::VaultUnavailable,
];

pub(super) const REDEFINING: &[Code] = &[
    Code::IntegrationNotFound,
    Code::ScopeInvalid,
    Code::RedirectUriInvalid,
    Code::RedirectUriTooLong,
    Code::OptionInvalid,
    Code::IntegrationConflict,
    Code::VaultUnavailable,
];

pub(super) const ENABLING: &[Code] = &[
    Code::IntegrationNotFound,
    Code::IntegrationFreezing,
    Code::IntegrationConflict,
    Code::VaultUnavailable,
];

pub(super) const CHANGING: &[Code] = &[
    Code::IntegrationNotFound,
    Code::IntegrationConflict,
    Code::VaultUnavailable,
];

pub(super) use calling;
pub(super) use serving;
