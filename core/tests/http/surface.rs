//! What holds for every route: JSON under `/api`, methods, slashes, panics, the service trait, and the document.

use std::collections::BTreeSet;

use bytes::Bytes;
use grantry::{
    error::Code,
    http::{Caller, HttpConfigError, HttpService, routes},
    secret::Secret,
};
use http_body_util::{BodyExt as _, Empty, StreamBody};
use serde_json::{Value, json};
use tower_service::Service;

use crate::{
    fake::Plan,
    world::{ADMIN, Setup, World},
};

#[tokio::test]
async fn unknown_routes_and_methods_are_json_too() {
    let world = World::new().await;
    for target in [
        "/api",
        "/api/",
        "/api/v1",
        "/api/v2/connections",
        "/api/v1/Connections",
        "/api/v1/connections/a/b/c",
        "/",
        "/x",
        "/api//v1/connections",
        "/api/v1/connections//",
    ] {
        let status = world.api("GET", target).send().await;
        let expected = if target == "/api/v1/connections//" {
            "id_empty"
        } else {
            "route_unknown"
        };
        assert_eq!(status.code(), expected, "{target}");
        assert_eq!(status.header("content-type"), "application/json");
    }
    for (method, target, allow) in [
        ("DELETE", "/api/v1/connections", "GET"),
        ("PUT", "/api/v1/connections/", "GET"),
        ("POST", "/api/v1/connections/x", "GET, PATCH, DELETE"),
        ("GET", "/api/v1/proxy/salesforce", "POST"),
        ("HEAD", "/api/v1/proxy/salesforce", "POST"),
        ("OPTIONS", "/api/v1/usage", "GET"),
        ("TRACE", "/api/v1/usage", "GET"),
        ("PATCH", "/openapi.json", "GET"),
        ("PROPFIND", "/api/v1/integrations", "GET, POST"),
    ] {
        let got = world.bare(method, target).send().await;
        assert_eq!(
            (got.status.as_u16(), got.header("allow")),
            (405, allow),
            "{method} {target}"
        );
        assert_eq!(got.header("content-type"), "application/json");
        if method != "HEAD" {
            assert_eq!(got.code(), "method_not_allowed");
        }
    }
}

#[tokio::test]
async fn slashes_at_the_end_are_tolerated() {
    let world = World::new().await;
    for route in routes().filter(|route| route.caller == Caller::ApiKey && !route.template.contains("path")) {
        let target = route
            .template
            .replace("{id}", "con_x")
            .replace("{provider}", "fake");
        for method in route.methods {
            let plain = world.api(method.as_str(), &target).send().await;
            let slash = world.api(method.as_str(), &format!("{target}/")).send().await;
            assert_eq!(
                (plain.status, plain.code()),
                (slash.status, slash.code()),
                "{method} {target}"
            );
        }
    }
}

#[tokio::test]
async fn a_panic_is_an_answer() {
    let world = World::new().await;
    world.fake.plan("verify", Plan::Panics);
    let target = format!("/api/v1/integrations/{}/verify", world.integration);
    let got = world.admin("POST", &target).refused(500, "internal").await;
    assert!(!got.text().contains("canary"));
    world.fake.plan("verify", Plan::Well);
    world.admin("POST", &target).granted(200).await;
}

#[tokio::test]
async fn a_body_that_never_comes_is_not_waited_for() {
    let world = World::with(Setup {
        deadline: std::time::Duration::from_secs(1),
        ..Setup::default()
    })
    .await;
    let request = http::Request::post("/api/v1/connect-links")
        .header("authorization", format!("Bearer {}", world.api_key))
        .header("content-type", "application/json")
        .body(StreamBody::new(futures_util::stream::pending::<
            Result<http_body::Frame<Bytes>, std::io::Error>,
        >()))
        .unwrap();
    let response = world.service.handle(request).await;
    assert_eq!(response.status(), 408);
    assert_eq!(response.headers()["content-type"], "application/json");
}

/// The way that frameworks call it, and what they ask of its types.
#[tokio::test]
async fn it_is_a_tower_service() {
    fn check<S>(_: &S)
    where
        S: Service<http::Request<Empty<Bytes>>, Error = std::convert::Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
    {
    }
    fn check_body<B: http_body::Body<Data = Bytes> + Send + 'static>(_: &B)
    where
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
    }
    let world = World::new().await;
    let mut service = world.service.clone();
    check(&service);
    let request = http::Request::get("/openapi.json")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let response = service.call(request).await.unwrap();
    check_body(response.body());
    assert_eq!(response.status(), 200);
    assert!(format!("{service:?} {:?}", response.body()).len() < 100);
}

#[tokio::test]
async fn settings_are_checked() {
    let world = World::new().await;
    let build = || HttpService::builder(world.broker.clone());
    for weak in [
        "",
        "short",
        &"x".repeat(31),
        &" ".repeat(40),
        &format!("{ADMIN}\n"),
        &"é".repeat(32),
    ] {
        assert_eq!(
            build().admin_key(Secret::new(weak)).unwrap_err(),
            HttpConfigError::AdminKey
        );
    }
    for seconds in [0, 601] {
        let deadline = std::time::Duration::from_secs(seconds);
        assert_eq!(build().deadline(deadline).unwrap_err(), HttpConfigError::Deadline);
    }
    // Two admin keys overlap.
    let second = "another-admin-key-of-32-characters-or-more";
    let service = build()
        .admin_key(Secret::new(ADMIN))
        .unwrap()
        .admin_key(Secret::new(second))
        .unwrap()
        .build();
    for key in [ADMIN, second] {
        crate::ask::Ask::new(&service, "GET", "/api/v1/offerings")
            .key(key)
            .granted(200)
            .await;
    }
    let none = build().build();
    crate::ask::Ask::new(&none, "GET", "/api/v1/offerings")
        .key(ADMIN)
        .refused(401, "key_unknown")
        .await;
}

fn document_of(body: &Bytes) -> Value {
    serde_json::from_slice(body).unwrap()
}

/// Every `$ref` in `value`.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(target) = map.get("$ref").and_then(Value::as_str) {
                found.insert(target.to_owned());
            }
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_lists_every_route() {
    let world = World::new().await;
    let got = world.bare("GET", "/openapi.json").send().await;
    assert_eq!(
        (got.status.as_u16(), got.header("content-type")),
        (200, "application/json")
    );
    let document = document_of(&got.body);
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["servers"][0]["url"], "https://app.example/integrations");
    let mut operations = 0;
    let mut ids = BTreeSet::new();
    for route in routes() {
        let path = route.template.replace("...}", "}");
        for method in route.methods {
            let operation = &document["paths"][&path][method.as_str().to_ascii_lowercase()];
            let name = format!("{method} {path}");
            operations += 1;
            assert!(operation.is_object(), "{name}");
            assert_eq!(operation["summary"], route.summary, "{name}");
            assert!(
                ids.insert(operation["operationId"].as_str().unwrap().to_owned()),
                "{name}"
            );
            let scheme = match route.caller {
                Caller::ApiKey => json!([{ "apiKey": [] }]),
                Caller::AdminKey => json!([{ "adminKey": [] }]),
                _ => json!([]),
            };
            assert_eq!(operation["security"], scheme, "{name}");
            // Every parameter of the path is described.
            let described: BTreeSet<&str> = operation["parameters"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            let standing: BTreeSet<&str> = path
                .split('/')
                .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
                .collect();
            assert_eq!(described, standing, "{name}");
            let responses = operation["responses"].as_object().unwrap();
            let checked = matches!(route.caller, Caller::ApiKey | Caller::AdminKey);
            for status in ["401", "403", "500", "503"] {
                assert!(!checked || responses.contains_key(status), "{name}: {status}");
            }
            for (status, response) in responses {
                assert!(
                    !response["description"].as_str().unwrap().is_empty(),
                    "{name} {status}"
                );
                let status: u16 = status.parse().unwrap();
                if status >= 400 && checked {
                    let schema = &response["content"]["application/json"]["schema"]["$ref"];
                    assert_eq!(schema, "#/components/schemas/ErrorBody", "{name} {status}");
                }
            }
        }
    }
    let listed: usize = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .map(|path| path.as_object().unwrap().len())
        .sum();
    assert_eq!(operations, listed);
    let mut targets = BTreeSet::new();
    references(&document, &mut targets);
    for target in &targets {
        let name = target.strip_prefix("#/components/schemas/").unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{target}");
    }
    assert!(targets.len() > 15, "{targets:?}");
}

/// The shapes in the document are the shapes of the answers.
#[tokio::test]
async fn the_document_tells_the_truth_about_fields() {
    let world = World::new().await;
    let got = world.bare("GET", "/openapi.json").send().await;
    let document = document_of(&got.body);
    let fields = |name: &str| {
        let schema = &document["components"]["schemas"][name];
        let properties: BTreeSet<String> = schema["properties"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        let required: BTreeSet<String> = schema["required"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap().to_owned())
            .collect();
        (properties, required)
    };
    let (item, required) = fields("ConnectionItem");
    assert_eq!((item.len(), &item), (9, &required));
    let (credentials, required) = fields("CredentialsBody");
    assert_eq!((credentials.len(), &credentials), (6, &required));
    let id = world.connect("ann@acme.example").await;
    let answer = world.get(&format!("/api/v1/connections/{id}/credentials")).await;
    assert_eq!(
        answer
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<BTreeSet<_>>(),
        credentials
    );
    let (detail, _) = fields("ConnectionDetail");
    let answer = world.get(&format!("/api/v1/connections/{id}")).await;
    assert_eq!(
        answer
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<BTreeSet<_>>(),
        detail
    );
    // Left out, a limit stays: null is not what stands for that.
    let limit = &document["components"]["schemas"]["UpdateIntegration"]["properties"]["monthlyLimit"];
    assert!(limit.get("default").is_none(), "{limit}");
    let call = &document["components"]["schemas"]["ProxyCall"];
    assert_eq!(call["additionalProperties"], false);
    assert_eq!(call["required"], json!(["method", "path"]));
}

/// Every code that a route documents is one of the table, and every 4xx and 5xx body is made of the table's words.
#[tokio::test]
async fn documented_codes_are_codes() {
    let world = World::new().await;
    let document = document_of(&world.bare("GET", "/openapi.json").send().await.body);
    let known: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    for path in document["paths"].as_object().unwrap().values() {
        for operation in path.as_object().unwrap().values() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let status: u16 = status.parse().unwrap();
                if status < 400 {
                    continue;
                }
                let lines = response["description"].as_str().unwrap().lines();
                for line in lines {
                    let code = line.strip_prefix("- `").unwrap().split('`').next().unwrap();
                    assert!(known.contains(code), "{line}");
                    let code = Code::ALL.iter().find(|known| known.as_str() == code).unwrap();
                    assert_eq!(code.http_status(), status, "{line}");
                }
            }
        }
    }
}

#[tokio::test]
async fn answers_of_ours_are_never_kept_or_guessed() {
    let world = World::new().await;
    let id = world.connect("ann@acme.example").await;
    let targets = [
        "/api/v1/connections".to_owned(),
        format!("/api/v1/connections/{id}"),
        "/api/v1/usage".to_owned(),
        "/api/v1/nothing".to_owned(),
    ];
    for target in targets {
        let response = world.api("GET", &target).send().await;
        assert_eq!(response.header("cache-control"), "no-store", "{target}");
        assert_eq!(response.header("x-content-type-options"), "nosniff", "{target}");
    }
    let request = http::Request::get("/api/v1/usage")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let text = world
        .service
        .handle(request)
        .await
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    assert!(
        text.starts_with(b"{\"error\":\"key_missing\",\"message\":"),
        "{text:?}"
    );
}
