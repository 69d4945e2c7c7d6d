//! Every stable error code, in one table: what HTTP status it has, what the caller should do, and the sentence that
//! says so. The HTTP surface, the documents and the tests read this table.

use super::kind::Kind;

macro_rules! codes {
    ($($variant:ident, $text:literal, $status:literal, $kind:ident, $message:literal;)*) => {
        /// A stable error code. Codes are only ever added.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = concat!("`", $text, "` (", $status, "): ", $message)] $variant,)*
        }

        impl Code {
            /// All codes, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The code as callers see it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// The HTTP status with which the HTTP surface answers.
            pub fn http_status(self) -> u16 {
                match self { $(Self::$variant => $status),* }
            }

            /// What kind of failure it is.
            pub fn kind(self) -> Kind {
                match self { $(Self::$variant => Kind::$kind),* }
            }

            /// One sentence that says what happened and what to do.
            pub fn message(self) -> &'static str {
                match self { $(Self::$variant => $message),* }
            }
        }
    };
}

codes! {
    // Identifiers and requests.
    IdEmpty, "id_empty", 400, Request, "The id is empty; give the id that the broker returned.";
    IdTooLong, "id_too_long", 400, Request, "The id has more than 128 characters; give the id that the broker returned.";
    IdInvalid, "id_invalid_character", 400, Request, "The id has characters outside letters, digits, '_' and '-'.";
    BodyInvalid, "body_invalid", 400, Request, "The request body is not the JSON object that this route takes.";
    BodyTooLarge, "body_too_large", 413, Request, "The request body is larger than this route takes.";
    BodyNotAllowed, "body_not_allowed", 400, Request, "A GET or HEAD request takes no body.";
    ContentTypeUnsupported, "content_type_unsupported", 415, Request, "Send the body with Content-Type: application/json.";
    FieldMissing, "field_missing", 400, Request, "A required field is missing.";
    FieldInvalid, "field_invalid", 400, Request, "A field has a value that is not allowed.";
    FieldUnknown, "field_unknown", 400, Request, "The body has a field that this route does not know.";
    ConnectionIdMissing, "connection_id_missing", 400, Request, "Name the connection in the X-Connection-Id header.";
    MetadataTooLarge, "metadata_too_large", 413, Request, "Metadata takes at most 32 entries, keys of 64 and values of 512 characters.";
    RouteUnknown, "route_unknown", 404, Request, "There is no such route.";
    MethodNotAllowed, "method_not_allowed", 405, Request, "This method is not allowed here.";
    HeadersTooLarge, "headers_too_large", 431, Request, "Too many or too large headers.";
    HeaderNameInvalid, "header_name_invalid", 400, Request, "A header name is not valid.";
    HeaderValueInvalid, "header_value_invalid", 400, Request, "A header value has control characters.";
    HeaderDuplicate, "header_duplicate", 400, Request, "A header that must be unique was sent twice.";
    ParameterInvalid, "parameter_invalid", 400, Request, "A query parameter has a value that it cannot have.";
    ParameterDuplicate, "parameter_duplicate", 400, Request, "A query parameter was given twice.";
    RequestTimeout, "request_timeout", 408, Request, "The request body did not arrive in time; nothing was done.";

    // API keys.
    KeyMissing, "key_missing", 401, Key, "Send the key as 'Authorization: Bearer KEY'.";
    KeyMalformed, "key_malformed", 401, Key, "The key is not a Grantry key, or was cut or mistyped; copy it again, without quotes or spaces.";
    KeyUnknown, "key_unknown", 401, Key, "The key is not known here; create one with the admin key.";
    KeyRevoked, "key_revoked", 401, Key, "The key was revoked; use a newer one.";
    KeyExpired, "key_expired", 401, Key, "The key has expired; create a new one.";
    KeyInsufficient, "key_insufficient", 403, Key, "This kind of key may not use this route.";
    KeyInUrl, "key_in_url", 400, Key, "Keys must never travel in a URL; revoke this key and send the new one in the Authorization header.";
    KeysTooMany, "keys_too_many", 409, Request, "Two keys of a kind may be live at a time; revoke one first.";
    KeyNotFound, "key_not_found", 404, Request, "There is no such key.";

    // Lists.
    LimitInvalid, "limit_invalid", 400, Request, "The limit is a whole number from 1 to 100.";
    LimitTooLarge, "limit_too_large", 400, Request, "The limit is a whole number from 1 to 100.";
    CursorInvalid, "cursor_invalid", 400, Request, "The cursor is not one that this integration was given; start at the first page.";
    CursorMismatch, "cursor_mismatch", 400, Request, "The cursor belongs to other filters; repeat the filters of the first page.";
    CursorExpired, "cursor_expired", 400, Request, "The cursor is older than a day; start at the first page.";
    FilterUnknown, "filter_unknown", 400, Request, "There is no such filter.";
    FilterInvalid, "filter_invalid", 400, Request, "A filter has a value that it cannot have.";
    FilterDuplicate, "filter_duplicate", 400, Request, "A filter was given twice.";

    // Integrations.
    IntegrationNotFound, "integration_not_found", 404, Request, "There is no such integration.";
    IntegrationMismatch, "integration_mismatch", 403, Request, "The connection or the key belongs to another integration.";
    IntegrationNotConfigured, "integration_not_configured", 409, Configuration, "The integration is a draft: its client id and secret are not verified yet; see its stateReason.";
    IntegrationDisabled, "integration_disabled", 403, Configuration, "The integration is disabled; enable it to use its connections.";
    IntegrationFrozen, "integration_frozen", 403, Configuration, "The integration is frozen and its connections are being revoked; enable it afterwards and let its users connect again.";
    IntegrationFreezing, "integration_freezing", 409, Retry, "The connections of the frozen integration are still being revoked; enable it when that is done.";
    IntegrationInUse, "integration_in_use", 409, Request, "The integration still has connections; delete them first.";
    IntegrationConflict, "integration_conflict", 409, Retry, "The integration was changed meanwhile; read it again and repeat.";
    SlugTaken, "slug_taken", 409, Request, "Another integration has this slug; choose another one, or use that integration.";
    OfferingMismatch, "offering_mismatch", 409, Configuration, "The integration with this slug is of another offering, and keeps it; declare that one, or choose another slug.";
    OfferingUnknown, "offering_unknown", 400, Request, "There is no such offering; list the offerings.";
    ScopeInvalid, "scope_invalid", 400, Request, "A scope is not valid, or a required scope is missing.";
    OptionInvalid, "option_invalid", 400, Request, "A provider option is unknown or has a value that is not allowed.";
    ClientInvalid, "client_invalid", 502, Configuration, "The provider refuses the integration's client id or secret; set the right one.";

    // Connecting.
    RedirectUriInvalid, "redirect_uri_invalid", 400, Request, "A redirect URI is an https URL without user, fragment or dot segments; http only on a loopback IP literal.";
    RedirectUriNotAllowed, "return_to_not_allowed", 400, Request, "The redirect URI is not one of those registered with the integration, character for character.";
    RedirectUriTooLong, "return_to_too_long", 400, Request, "The redirect URI has more than 2,000 characters.";
    CallbackMissingState, "callback_missing_state", 400, Connect, "The provider's answer has no state; begin again.";
    CallbackMissingCode, "callback_missing_code", 400, Connect, "The provider's answer has no code; begin again.";
    CallbackDuplicateParameter, "callback_duplicate_parameter", 400, Connect, "The provider's answer has a parameter twice; begin again.";
    CallbackConflicting, "callback_conflicting", 400, Connect, "The provider's answer has both a code and an error; begin again.";
    CallbackTooManyParameters, "callback_too_many_parameters", 400, Connect, "The provider's answer has too many parameters; begin again.";
    StateMalformed, "state_malformed", 400, Connect, "The state is not one of ours; begin again.";
    StateUnknown, "state_unknown", 400, Connect, "This connect attempt is not known: it was used already or is older than 10 minutes; begin again.";
    BrowserMismatch, "browser_mismatch", 403, Connect, "This connect attempt was begun by another browser or user; begin again in this one.";
    CodeMalformed, "code_malformed", 400, Connect, "The code is not valid; begin again.";
    IssuerMismatch, "issuer_mismatch", 400, Connect, "The answer names another issuer than the one that was asked; begin again.";
    CallbackIntegrationMismatch, "callback_integration_mismatch", 400, Connect, "The answer came back for another integration; begin again.";
    ImplicitNotSupported, "implicit_not_supported", 400, Connect, "The implicit grant is not supported; begin again.";
    LinkInvalid, "link_invalid", 400, Connect, "The link is not valid; ask for a new one.";
    LinkExpired, "link_expired", 400, Connect, "The link has expired; ask for a new one.";
    LinkUsed, "link_used", 400, Connect, "The link was used already; ask for a new one.";
    PublicKeyMissing, "public_key_missing", 400, Connect, "Give the integration's public_key.";
    NavigationRequired, "navigation_required", 403, Connect, "Open this address in a window of its own, by a link or a redirect.";
    AccessDenied, "access_denied", 403, Connect, "The user did not allow the access.";
    AccountMismatch, "account_mismatch", 409, Connect, "Another account was used than the one that this connection belongs to; log in with the same account, or connect it as a new one.";
    OwnerMismatch, "owner_mismatch", 409, Connect, "This connection belongs to another owner; begin as its owner, or change the owner first by a call of its own.";
    ProviderRejected, "provider_rejected", 502, Connect, "The provider refused to finish the connection; see the reason.";
    TokenResponseIncomplete, "token_response_incomplete", 502, Connect, "The provider's token answer lacks a required field.";
    TokenResponseInvalid, "token_response_invalid", 502, Connect, "The provider's token answer is not valid.";
    SignatureInvalid, "token_response_signature_invalid", 502, Connect, "The signature of the provider's token answer is wrong.";
    InstanceUrlRejected, "instance_url_rejected", 502, Connect, "The provider named an instance URL to which no token may be sent.";
    IdentityUrlRejected, "identity_url_rejected", 502, Connect, "The provider named an identity URL to which no token may be sent.";

    // Connections.
    ConnectionNotFound, "connection_not_found", 404, Request, "There is no such connection, or it was deleted.";
    ConnectionExpired, "connection_expired", 401, Reconnect, "The provider no longer accepts this connection; the user needs to reconnect.";
    ConnectionRevoked, "connection_revoked", 401, Reconnect, "This connection was revoked; the user needs to reconnect.";
    ConnectionCorrupt, "connection_corrupt", 500, Internal, "The stored connection cannot be read. With the reason payload_version a newer release wrote it: run that one. Else it is damaged.";
    ConnectionConflict, "connection_conflict", 409, Retry, "The connection was changed meanwhile; read it again and repeat.";

    // Refresh.
    RefreshCooling, "refresh_cooling", 503, Retry, "The provider refused for now; it is asked again later.";
    RefreshOutcomeUnknown, "refresh_outcome_unknown", 503, Retry, "A refresh was sent and its outcome is not known; nothing is sent until it is safe.";
    RefreshInProgress, "refresh_in_progress", 503, Retry, "Another process is refreshing this connection.";
    RefreshNotSent, "refresh_not_sent", 503, Retry, "The provider could not be reached; nothing was sent.";
    ShuttingDown, "shutting_down", 503, Retry, "The broker is shutting down.";
    StoreUnavailable, "store_unavailable", 503, Retry, "The store cannot be reached; nothing was changed as far as is known.";
    StoreMoved, "store_moved", 503, Configuration, "This service runs on a store that was copied to another one; start it on that one.";
    StoreArriving, "store_arriving", 503, Configuration, "This service runs on a store into which another one is being copied; run the copy until it is done.";
    StoreCorrupt, "store_corrupt", 500, Internal, "The store holds data that cannot be read.";
    VaultUnavailable, "vault_unavailable", 503, Retry, "The vault cannot be reached.";
    VaultKeyUnknown, "unknown_key", 500, Internal, "The data was sealed with a key that this process was not given.";
    Tampered, "tampered", 500, Internal, "Sealed data does not open: it was changed or moved.";

    // Proxy.
    PathEmpty, "path_empty", 400, Request, "The path is empty.";
    PathNotAbsolute, "path_not_absolute", 400, Request, "The path must begin with '/' and must not name a host.";
    PathHasAuthority, "path_has_authority", 400, Request, "The path must not begin with '//'.";
    PathBackslash, "path_backslash", 400, Request, "The path must not have a backslash.";
    PathControlByte, "path_control_byte", 400, Request, "The path must not have control characters or spaces.";
    PathEncodedControl, "path_encoded_control", 400, Request, "The path must not have encoded control characters.";
    PathDotSegment, "path_dot_segment", 400, Request, "The path must not have '.' or '..' segments, encoded or not.";
    PathEncodedSeparator, "path_encoded_separator", 400, Request, "The path must not have an encoded '/' or '\\'.";
    PathBadPercent, "path_bad_percent", 400, Request, "A '%' in the path must be followed by two hexadecimal digits, and must not encode '%'.";
    PathFragment, "path_fragment", 400, Request, "The path must not have a fragment.";
    PathNotAscii, "path_not_ascii", 400, Request, "The path must be ASCII; percent-encode the rest.";
    PathTooLong, "path_too_long", 414, Request, "The path has more than 8,192 characters.";
    PathEmptySegment, "path_empty_segment", 400, Request, "The path must not have an empty segment.";
    PathOutsideApi, "path_outside_api", 400, Request, "The path is not one of the provider's API.";
    QueryReserved, "query_reserved", 400, Request, "A token must not travel in the query.";
    QueryTooLarge, "query_too_large", 400, Request, "The query has more than 200 pairs or 16,384 characters.";
    QueryInvalid, "query_invalid", 400, Request, "The query is not valid.";
    ProviderMismatch, "provider_mismatch", 400, Request, "The connection belongs to another provider than the one in the path.";
    PlanLimitExceeded, "plan_limit_exceeded", 429, Limit, "The integration's monthly limit of calls is reached.";
    UpstreamUnreachable, "upstream_unreachable", 502, Retry, "The provider could not be reached; the call was not sent.";
    UpstreamTls, "upstream_tls", 502, Retry, "No trusted connection to the provider could be made; the call was not sent.";
    UpstreamProtocol, "upstream_protocol", 502, Outcome, "The provider's answer is not valid HTTP; whether the call ran is not known.";
    UpstreamLost, "upstream_lost", 502, Outcome, "The provider's answer was lost; whether the call ran is not known.";
    UpstreamTruncated, "upstream_truncated", 502, Outcome, "The provider's answer ended too early.";
    UpstreamTimeout, "upstream_timeout", 504, Outcome, "The provider took too long to answer; whether the call ran is not known.";
    AnswerTooLarge, "answer_too_large", 502, Outcome, "The provider's answer is longer than was asked for; read it as a stream.";
    AnswerInvalid, "answer_invalid", 502, Outcome, "The provider's answer is not of the form that was asked for.";
    TargetForbidden, "target_address_forbidden", 502, Configuration, "The provider's host resolves to an address to which no call is sent.";

    Internal, "internal", 500, Internal, "Something went wrong inside the broker; see its log.";
}
