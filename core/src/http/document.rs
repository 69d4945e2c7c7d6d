//! The OpenAPI document, without a key.

use http::{HeaderValue, StatusCode, header};

use super::{
    answer,
    call::{Call, Reply},
};

/// `GET /openapi.json`.
pub(super) fn get(call: Call) -> Reply {
    Box::pin(async move {
        let mut response = answer::bare(StatusCode::OK, answer::JSON, call.shared.document.clone());
        response.headers_mut().insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=300"),
        );
        Ok(response)
    })
}
