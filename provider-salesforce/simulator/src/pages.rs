//! The pages that users see, as HTML.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use crate::http::{HTML, answer, no_store};

#[derive(Template)]
#[template(path = "login.html")]
pub(crate) struct LoginPage<'a> {
    pub(crate) flow: &'a str,
    pub(crate) username: &'a str,
    pub(crate) message: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "select.html")]
pub(crate) struct SelectPage<'a> {
    pub(crate) flow: &'a str,
    pub(crate) username: &'a str,
}

#[derive(Template)]
#[template(path = "consent.html")]
pub(crate) struct ConsentPage<'a> {
    pub(crate) flow: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) username: &'a str,
    pub(crate) org: &'a str,
    pub(crate) scopes: &'a [String],
}

#[derive(Template)]
#[template(path = "notice.html")]
struct NoticePage<'a> {
    title: &'a str,
    text: &'a str,
}

/// Shows a page.
pub(crate) fn show(page: &impl Template) -> Response {
    render(StatusCode::OK, page)
}

fn render(status: StatusCode, page: &impl Template) -> Response {
    no_store(answer(status, HTML, page.render().unwrap_or_default()))
}

/// The page of a login that has ended or never began.
pub(crate) fn gone() -> Response {
    let text = "This login is over. Go back to the application and start again.";
    render(
        StatusCode::BAD_REQUEST,
        &NoticePage {
            title: "Login not found",
            text,
        },
    )
}

/// `GET /`
pub(crate) async fn home() -> Response {
    let text =
        "This host stands in for login.salesforce.com. Its control API is at /__control, its log at /__log.";
    show(&NoticePage {
        title: "Salesforce simulator",
        text,
    })
}
