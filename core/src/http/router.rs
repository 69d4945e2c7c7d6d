//! Finds the route of a request.

use http::Method;

use super::{route::Route, table::ROUTES};

/// Why no route was found.
#[derive(Debug)]
pub(super) enum Miss {
    Path,
    /// The methods that the path takes.
    Method(String),
}

/// The route of a request. The path is matched first, so that a wrong method is reported as such.
pub(super) fn find(method: &Method, path: &str) -> Result<&'static Route, Miss> {
    let first = ROUTES
        .iter()
        .find(|route| route.template.matches(path))
        .ok_or(Miss::Path)?;
    let mut same = ROUTES.iter().filter(|route| route.template == first.template);
    if let Some(route) = same.clone().find(|route| route.takes_method(method)) {
        return Ok(route);
    }
    let mut allow = String::new();
    for name in same
        .by_ref()
        .flat_map(|route| route.verb.methods())
        .map(Method::as_str)
    {
        if !allow.is_empty() {
            allow.push_str(", ");
        }
        allow.push_str(name);
    }
    Err(Miss::Method(allow))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_can_be_reached() {
        for line in ROUTES {
            // An id that equals no fixed segment of the table.
            let path = line.template.0.replace("...", "").replace(['{', '}'], "x");
            for method in line.verb.methods() {
                let Ok(found) = find(method, &path) else {
                    panic!("{method} {path} is not found");
                };
                assert!(
                    std::ptr::eq(found, line),
                    "{method} {path} is taken by {}",
                    found.template.0
                );
            }
        }
    }
}
