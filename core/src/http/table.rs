//! Every route, once. Routing, key checks, responses to wrong methods and the OpenAPI document come from this table.

use super::{
    activity, browser, connections, credentials,
    details::{self, calling, serving},
    document, integration_keys, integrations, operations, proxy,
    route::{
        Handler::{Admin, Api, Browser, Open},
        Route,
        Verb::{Any, Delete, Get, Patch, Post, Put},
    },
    shape::{
        ConnectionDetail, ConnectionList, CredentialsBody, HistoryBody, LinkBody, NewConnectLink, ProxyCall,
        UpdateConnection, UsageBody,
    },
    shape_admin::{
        CreateIntegration, CreateKey, CreatedIntegration, CreatedKey, IntegrationBody, IntegrationsBody,
        KeysBody, NewSecret, OfferingsBody, UpdateIntegration,
    },
    shape_health::{FreezeWish, HealthBody},
};
use crate::error::Code;

/// The longest JSON body of a proxied call. The pass-through route streams, and has no such limit.
const PROXY_LIMIT: usize = 6 * 1024 * 1024;

/// The table. If two templates match a path, the first one wins.
pub(super) static ROUTES: &[Route] = &[
    // Browsers.
    Route::new(
        Get,
        "/connect/{integrationId}",
        Browser(browser::connect),
        "Begin connecting an account",
    )
    .params(details::CONNECT_QUERY)
    .passes(
        303,
        "Redirects to the provider, with a cookie that binds the attempt to this browser.",
    )
    .fails(details::CONNECT),
    Route::new(
        Get,
        "/callback/{integrationId}",
        Browser(browser::callback),
        "Where the provider sends the browser back to",
    )
    .params(details::CALLBACK_QUERY)
    .passes(
        303,
        "Redirects to the redirect URI, with `connection_id`, or with `error` and `error_description`.",
    )
    .fails(details::CALLBACK)
    .streams(),
    // API keys.
    Route::new(
        Get,
        "/api/v1/connections",
        Api(connections::list),
        "List connections, newest first",
    )
    .params(details::LIST_FILTERS)
    .gives::<ConnectionList>(200, "A page.")
    .fails(&[
        Code::FilterInvalid,
        Code::LimitInvalid,
        Code::LimitTooLarge,
        Code::CursorInvalid,
        Code::CursorMismatch,
        Code::CursorExpired,
        Code::VaultUnavailable,
    ]),
    Route::new(
        Get,
        "/api/v1/connections/{id}",
        Api(connections::get),
        "Read a connection",
    )
    .gives::<ConnectionDetail>(200, "The connection.")
    .fails(&[Code::ConnectionNotFound, Code::ConnectionCorrupt]),
    Route::new(
        Patch,
        "/api/v1/connections/{id}",
        Api(connections::update),
        "Change a connection's owner or labels",
    )
    .takes::<UpdateConnection>()
    .gives::<ConnectionDetail>(200, "The updated connection.")
    .fails(&[
        Code::ConnectionNotFound,
        Code::ConnectionCorrupt,
        Code::MetadataTooLarge,
        Code::ConnectionConflict,
    ]),
    Route::new(
        Delete,
        "/api/v1/connections/{id}",
        Api(connections::delete),
        "Delete a connection, and revoke its grant",
    )
    .passes(
        204,
        "Deleted here; the provider is told as soon as it can be reached.",
    )
    .fails(&[
        Code::ConnectionNotFound,
        Code::ConnectionCorrupt,
        Code::ConnectionConflict,
    ]),
    Route::new(
        Get,
        "/api/v1/connections/{id}/credentials",
        Api(credentials::get),
        "Get a live access token",
    )
    .params(details::CREDENTIALS_WISHES)
    .gives::<CredentialsBody<'static>>(200, "Credentials. The `ETag` names the token set.")
    .fails(serving![ParameterInvalid])
    .late(Code::RefreshInProgress),
    Route::new(
        Post,
        "/api/v1/connections/{id}/reconnect",
        Api(connections::reconnect),
        "Make a one-use link that keeps the id",
    )
    .gives::<LinkBody>(201, "The link.")
    .fails(&[
        Code::ConnectionNotFound,
        Code::ConnectionCorrupt,
        Code::VaultUnavailable,
    ]),
    Route::new(
        Get,
        "/api/v1/connections/{id}/history",
        Api(activity::history),
        "Read a connection's history",
    )
    .gives::<HistoryBody>(200, "The last decisions, oldest first.")
    .fails(&[Code::ConnectionNotFound, Code::ConnectionCorrupt]),
    Route::new(
        Any,
        "/api/v1/connections/{id}/proxy/{path...}",
        Api(proxy::raw),
        "Pass a call through to the provider",
    )
    .passes(
        200,
        "The provider's response, streamed; its status, content type and body are unchanged.",
    )
    .fails(calling![BodyNotAllowed, BodyInvalid])
    .streams(),
    Route::new(
        Post,
        "/api/v1/connect-links",
        Api(connections::connect_link),
        "Make a one-use connect link with an owner inside",
    )
    .may_take::<NewConnectLink>()
    .gives::<LinkBody>(201, "The link.")
    .fails(&[
        Code::IntegrationNotFound,
        Code::RedirectUriNotAllowed,
        Code::RedirectUriTooLong,
        Code::MetadataTooLarge,
        Code::VaultUnavailable,
    ]),
    Route::new(
        Post,
        "/api/v1/proxy/{provider}",
        Api(proxy::json),
        "Call the provider's API",
    )
    .params(details::CONNECTION_HEADER)
    .takes::<ProxyCall>()
    .up_to(PROXY_LIMIT)
    .passes(
        200,
        "The provider's response; its status, content type and body are unchanged.",
    )
    .fails(calling![ConnectionIdMissing, ProviderMismatch])
    .late(Code::UpstreamTimeout),
    Route::new(
        Get,
        "/api/v1/usage",
        Api(activity::usage),
        "Read this month's calls",
    )
    .gives::<UsageBody>(200, "The calls of the calendar month (UTC).")
    .fails(&[Code::IntegrationNotFound]),
    // Admin keys.
    Route::new(
        Get,
        "/api/v1/offerings",
        Admin(integrations::offerings),
        "List what can be integrated",
    )
    .gives::<OfferingsBody>(200, "The offerings."),
    Route::new(
        Get,
        "/api/v1/integrations",
        Admin(integrations::list),
        "List integrations",
    )
    .gives::<IntegrationsBody>(200, "All of them."),
    Route::new(
        Post,
        "/api/v1/integrations",
        Admin(integrations::create),
        "Create an integration and verify it",
    )
    .takes::<CreateIntegration>()
    .gives::<CreatedIntegration<'static>>(201, "The integration, with keys that are shown only once.")
    .fails(details::DEFINING),
    Route::new(
        Get,
        "/api/v1/integrations/{integrationId}",
        Admin(integrations::get),
        "Read an integration",
    )
    .gives::<IntegrationBody>(200, "The integration.")
    .fails(&[Code::IntegrationNotFound]),
    Route::new(
        Patch,
        "/api/v1/integrations/{integrationId}",
        Admin(integrations::update),
        "Change an integration",
    )
    .takes::<UpdateIntegration>()
    .gives::<IntegrationBody>(200, "The integration's present state.")
    .fails(details::REDEFINING),
    Route::new(
        Delete,
        "/api/v1/integrations/{integrationId}",
        Admin(integrations::delete),
        "Delete an integration and its keys",
    )
    .passes(204, "Gone.")
    .fails(&[
        Code::IntegrationNotFound,
        Code::IntegrationInUse,
        Code::IntegrationConflict,
    ]),
    Route::new(
        Put,
        "/api/v1/integrations/{integrationId}/secret",
        Admin(integrations::secret),
        "Replace the client secret and verify it",
    )
    .takes::<NewSecret>()
    .gives::<IntegrationBody>(200, "The integration's present state.")
    .fails(details::CHANGING),
    Route::new(
        Post,
        "/api/v1/integrations/{integrationId}/verify",
        Admin(integrations::verify),
        "Verify the client with the provider",
    )
    .gives::<IntegrationBody>(200, "The integration's present state.")
    .fails(details::CHANGING),
    Route::new(
        Post,
        "/api/v1/integrations/{integrationId}/disable",
        Admin(integrations::disable),
        "Switch an integration off",
    )
    .gives::<IntegrationBody>(200, "The integration's present state.")
    .fails(details::CHANGING),
    Route::new(
        Post,
        "/api/v1/integrations/{integrationId}/enable",
        Admin(integrations::enable),
        "Switch an integration on again",
    )
    .gives::<IntegrationBody>(200, "The integration's present state.")
    .fails(details::ENABLING),
    Route::new(
        Post,
        "/api/v1/integrations/{integrationId}/freeze",
        Admin(operations::freeze),
        "Stop serving, and revoke every connection",
    )
    .takes::<FreezeWish>()
    .gives::<IntegrationBody>(200, "The integration, frozen; its connections are being revoked.")
    .fails(details::CHANGING),
    Route::new(
        Post,
        "/api/v1/freeze",
        Admin(operations::freeze_all),
        "Freeze every integration",
    )
    .takes::<FreezeWish>()
    .gives::<IntegrationsBody>(200, "All integrations, frozen.")
    .fails(&[Code::IntegrationConflict, Code::VaultUnavailable]),
    Route::new(
        Get,
        "/api/v1/health",
        Admin(operations::health),
        "Read what needs attention",
    )
    .gives::<HealthBody>(200, "The broker's health, even if its store cannot be reached."),
    Route::new(
        Get,
        "/api/v1/integrations/{integrationId}/keys",
        Admin(integration_keys::list),
        "List an integration's keys",
    )
    .gives::<KeysBody>(200, "The keys, without their secrets.")
    .fails(&[Code::IntegrationNotFound]),
    Route::new(
        Post,
        "/api/v1/integrations/{integrationId}/keys",
        Admin(integration_keys::create),
        "Make a key",
    )
    .may_take::<CreateKey>()
    .gives::<CreatedKey<'static>>(201, "The key, shown only once.")
    .fails(&[
        Code::IntegrationNotFound,
        Code::KeysTooMany,
        Code::VaultUnavailable,
    ]),
    Route::new(
        Delete,
        "/api/v1/integrations/{integrationId}/keys/{keyId}",
        Admin(integration_keys::revoke),
        "Revoke a key",
    )
    .passes(204, "Revoked; takes effect everywhere within a second.")
    .fails(&[Code::KeyNotFound]),
    // Anyone.
    Route::new(Get, "/openapi.json", Open(document::get), "Read this document")
        .passes(200, "An OpenAPI 3.1 document."),
];

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Caller {
    /// Anyone.
    Anyone,
    /// A browser, with a public key or a link in the URL, or on its way back.
    Browser,
    /// Holders of an API key; the route reaches only that key's integration.
    ApiKey,
    /// Holders of an admin key.
    AdminKey,
}

/// A route, for hosts and adapters that list them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteInfo {
    /// The methods that it takes; GET includes HEAD, except on browser routes.
    pub methods: &'static [::http::Method],
    /// Its path: `{name}` stands for one segment, `{name...}` for the rest.
    pub template: &'static str,
    /// Who may call it.
    pub caller: Caller,
    /// Its purpose.
    pub summary: &'static str,
}

/// All routes, in the order in which they are tried.
pub fn routes() -> impl ExactSizeIterator<Item = RouteInfo> {
    ROUTES.iter().map(|route| RouteInfo {
        methods: route.verb.methods(),
        template: route.template.0,
        caller: match route.handler {
            Open(_) => Caller::Anyone,
            Browser(_) => Caller::Browser,
            Api(_) => Caller::ApiKey,
            Admin(_) => Caller::AdminKey,
        },
        summary: route.summary,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_late_says_so_with_a_fitting_status() {
        for line in ROUTES {
            assert!(
                matches!(line.late.http_status(), 503 | 504),
                "{}",
                line.template.0
            );
        }
    }
}
