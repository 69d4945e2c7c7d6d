//! The REST API of the instance host.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::Lab;

struct Api {
    lab: Lab,
    access: String,
}

impl Api {
    async fn start() -> Self {
        let lab = Lab::start().await;
        let access = lab.grant().access;
        Self { lab, access }
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        let request = self
            .lab
            .http
            .request(method, self.lab.instance(path))
            .bearer_auth(&self.access);
        body.iter()
            .fold(request, reqwest::RequestBuilder::json)
            .send()
            .await
            .unwrap()
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let response = self.send(method, path, body).await;
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (
            status,
            if text.is_empty() {
                Value::Null
            } else {
                serde_json::from_str(&text).unwrap()
            },
        )
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, None).await
    }

    async fn query(&self, soql: &str) -> (u16, Value) {
        let url = self.lab.instance("/services/data/v66.0/query");
        let request = self
            .lab
            .http
            .get(url)
            .query(&[("q", soql)])
            .bearer_auth(&self.access);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }
}

fn error(code: &str, message: &str) -> Value {
    json!([{ "errorCode": code, "message": message }])
}

#[tokio::test]
async fn versions_need_no_token_and_calls_do() {
    let api = Api::start().await;
    let http = &api.lab.http;
    let versions = http
        .get(api.lab.instance("/services/data/"))
        .send()
        .await
        .unwrap();
    assert!(versions.headers().get("sforce-limit-info").is_none());
    let versions: Value = versions.json().await.unwrap();
    assert!(
        versions
            .as_array()
            .unwrap()
            .iter()
            .any(|version| version["label"] == "Spring '26")
    );

    let limits = api.send(Method::GET, "/services/data/v66.0/limits/", None).await;
    assert_eq!(limits.headers()["sforce-limit-info"], "api-usage=1/5000000");
    assert_eq!(limits.headers()["content-type"], "application/json;charset=UTF-8");
    let limits: Value = limits.json().await.unwrap();
    assert_eq!(
        limits["DailyApiRequests"],
        json!({ "Max": 5_000_000, "Remaining": 4_999_999 })
    );
    assert!(api.get("/services/data/v66.0").await.1["sobjects"].is_string());

    let missing = http
        .get(api.lab.instance("/services/data/v66.0/limits"))
        .send()
        .await
        .unwrap();
    assert_eq!(missing.status(), 401);
    let missing: Value = missing.json().await.unwrap();
    assert_eq!(missing, error("INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE"));
    assert_eq!(api.get("//services/data/v66.0/limits").await.1, missing);
    assert_eq!(api.get("/services/data/v66.0/nothing").await.0, 404);
    assert_eq!(
        api.get("/services/data/v12.0/limits").await.1,
        error("NOT_FOUND", "The requested resource does not exist")
    );
    assert_eq!(
        api.call(Method::POST, "/services/data/v66.0/limits", Some(json!({})))
            .await
            .0,
        405
    );
}

#[tokio::test]
async fn tokens_need_a_scope_for_the_api() {
    let api = Api::start().await;
    let granted = api
        .lab
        .simulator
        .grant("tom@acme.com", None, Some("id refresh_token"))
        .unwrap();
    let request = api.lab.http.get(api.lab.instance("/services/data/v66.0/limits"));
    let response = request
        .bearer_auth(granted["access_token"].as_str().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 401);
    let body: Value = response.json().await.unwrap();
    assert_eq!(
        body,
        error(
            "INVALID_SESSION_ID",
            "This session is not valid for use with the REST API"
        )
    );
}

#[tokio::test]
async fn each_org_has_its_own_row_and_records() {
    let lab = Lab::start().await;
    let mut rows = Vec::new();
    for username in ["sarah@acme.com", "greta@globex.com", "sarah@acme.com.uat"] {
        let access = lab.grant_to(username).access;
        let url = lab.instance("/services/data/v66.0/query");
        let soql = "SELECT Name, InstanceName, IsSandbox FROM Organization";
        let request = lab.http.get(url).query(&[("q", soql)]).bearer_auth(access);
        let body: Value = request.send().await.unwrap().json().await.unwrap();
        let row = &body["records"][0];
        rows.push(json!([row["Name"], row["InstanceName"], row["IsSandbox"]]));
    }
    assert_eq!(
        json!(rows),
        json!([
            ["Acme Corp", "USA123", false],
            ["Globex GmbH", "DEU12", false],
            ["Acme Corp", "USA45S", true]
        ])
    );
}

#[tokio::test]
async fn long_queries_come_in_pages() {
    let api = Api::start().await;
    let (status, first) = api.query("SELECT Id FROM Contact").await;
    assert_eq!(status, 200);
    assert_eq!(
        (&first["totalSize"], &first["done"]),
        (&json!(2500), &json!(false))
    );
    assert_eq!(first["records"].as_array().unwrap().len(), 2000);
    let next = first["nextRecordsUrl"].as_str().unwrap();
    assert!(next.starts_with("/services/data/v66.0/query/01g") && next.ends_with("-2000"));
    let (_, second) = api.get(next).await;
    assert_eq!(
        (&second["totalSize"], &second["done"]),
        (&json!(2500), &json!(true))
    );
    assert_eq!(second["records"].as_array().unwrap().len(), 500);
    assert!(second.get("nextRecordsUrl").is_none());
    let mut ids: Vec<&str> = first["records"]
        .as_array()
        .unwrap()
        .iter()
        .chain(second["records"].as_array().unwrap())
        .map(|record| record["Id"].as_str().unwrap())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 2500);
    let (status, body) = api.get("/services/data/v66.0/query/01gnothing-2000").await;
    assert_eq!(
        (status, &body[0]["errorCode"]),
        (400, &json!("INVALID_QUERY_LOCATOR"))
    );

    let url = api.lab.instance("/services/data/v66.0/queryAll");
    let request = api
        .lab
        .http
        .get(url)
        .query(&[("q", "SELECT Id FROM Contact LIMIT 450")]);
    let request = request
        .bearer_auth(&api.access)
        .header("Sforce-Query-Options", "batchSize=200");
    let page: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(page["records"].as_array().unwrap().len(), 200);
    assert!(page["nextRecordsUrl"].as_str().unwrap().contains("/query/01g"));
}

#[tokio::test]
async fn queries_filter_order_and_limit() {
    let api = Api::start().await;
    let total = async |soql: &str| api.query(soql).await.1["totalSize"].as_u64().unwrap();
    assert_eq!(total("SELECT COUNT() FROM Account").await, 25);
    assert_eq!(total("SELECT Id FROM Account WHERE Industry = 'hotels'").await, 5);
    assert_eq!(
        total("SELECT Id FROM Account WHERE Industry IN ('Hotels','Textiles') AND Name LIKE 'U%'").await,
        2
    );
    assert_eq!(
        total("SELECT Id FROM Account WHERE NumberOfEmployees > 100 AND NumberOfEmployees <= 200").await,
        10
    );
    assert_eq!(
        total("SELECT Id FROM Contact WHERE Account.Industry != 'Hotels' OR Email = null").await,
        2000
    );
    assert_eq!(
        total("SELECT Id FROM Contact WHERE CreatedDate > 2020-01-01T00:00:00Z").await,
        2500
    );
    let (_, body) = api
        .query("SELECT Name, AnnualRevenue FROM Account ORDER BY AnnualRevenue DESC LIMIT 2 OFFSET 1")
        .await;
    let revenue: Vec<&Value> = body["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| &record["AnnualRevenue"])
        .collect();
    assert_eq!(revenue, [&json!(6_750_000), &json!(6_500_000)]);
    let (_, body) = api.query("select id, account.name from contact limit 1").await;
    let record = &body["records"][0];
    assert_eq!(record["attributes"]["type"], "Contact");
    assert_eq!(record["Account"]["attributes"]["type"], "Account");
    assert!(record["Account"]["Name"].is_string());
    let id = record["Id"].as_str().unwrap();
    assert_eq!(
        total(&format!("SELECT Id FROM Contact WHERE Id = '{id}'")).await,
        1
    );

    for (soql, code) in [
        ("SELECT Id FORM Account", "MALFORMED_QUERY"),
        ("SELECT Nope FROM Account", "INVALID_FIELD"),
        ("SELECT Id FROM Nope", "INVALID_TYPE"),
    ] {
        let (status, body) = api.query(soql).await;
        assert_eq!((status, &body[0]["errorCode"]), (400, &json!(code)));
        assert!(
            body[0]["message"]
                .as_str()
                .unwrap()
                .contains("ERROR at Row:1:Column:")
        );
    }
    assert_eq!(
        api.get("/services/data/v66.0/query").await.1[0]["errorCode"],
        "MALFORMED_QUERY"
    );
}

#[tokio::test]
async fn records_are_made_read_changed_and_deleted() {
    let api = Api::start().await;
    let path = "/services/data/v66.0/sobjects/Account";
    let response = api
        .send(
            Method::POST,
            path,
            Some(json!({ "Name": "Initech", "Phone": "1" })),
        )
        .await;
    assert_eq!(response.status(), 201);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let body: Value = response.json().await.unwrap();
    let id = body["id"].as_str().unwrap();
    assert_eq!(body, json!({ "id": id, "success": true, "errors": [] }));
    assert_eq!(location, format!("{path}/{id}"));
    assert_eq!(id.len(), 18);

    let (_, record) = api.get(&format!("{location}?fields=Name,Phone,OwnerId")).await;
    assert_eq!(
        (&record["Name"], &record["OwnerId"]),
        (&json!("Initech"), &json!("0055g00000D4e5FAAR"))
    );
    let patched = api
        .send(Method::PATCH, &location, Some(json!({ "Name": "Initrode" })))
        .await;
    assert_eq!(patched.status(), 204);
    assert_eq!(patched.text().await.unwrap(), "");
    let overridden = format!("{location}?_HttpMethod=PATCH");
    assert_eq!(
        api.call(Method::POST, &overridden, Some(json!({ "Phone": "2" })))
            .await
            .0,
        204
    );
    let (_, record) = api.get(&format!("{path}/{}/", &id[..15])).await;
    assert_eq!(
        (&record["Name"], &record["Phone"]),
        (&json!("Initrode"), &json!("2"))
    );
    assert_eq!(
        api.call(Method::DELETE, &location, None).await,
        (204, Value::Null)
    );
    assert_eq!(
        api.get(&location).await,
        (404, error("ENTITY_IS_DELETED", "entity is deleted"))
    );
    assert_eq!(
        api.query("SELECT COUNT() FROM Account WHERE Name = 'Initrode'")
            .await
            .1["totalSize"],
        0
    );
    let all = "/services/data/v66.0/queryAll?q=SELECT+COUNT()+FROM+Account+WHERE+Name='Initrode'";
    assert_eq!(api.get(all).await.1["totalSize"], 1);
}

#[tokio::test]
async fn wrong_records_are_refused() {
    let api = Api::start().await;
    for (object, body, code, fields) in [
        ("Account", json!({}), "REQUIRED_FIELD_MISSING", json!(["Name"])),
        (
            "Contact",
            json!({ "FirstName": "A" }),
            "REQUIRED_FIELD_MISSING",
            json!(["LastName"]),
        ),
        (
            "Opportunity",
            json!({ "Name": "A" }),
            "REQUIRED_FIELD_MISSING",
            json!(["StageName", "CloseDate"]),
        ),
        (
            "Account",
            json!({ "Name": "A", "Nope": 1 }),
            "INVALID_FIELD",
            Value::Null,
        ),
        ("Account", json!({ "Id": "x" }), "INVALID_FIELD", Value::Null),
        (
            "Account",
            json!({ "Name": "x".repeat(256) }),
            "STRING_TOO_LONG",
            json!(["Name"]),
        ),
        (
            "Account",
            json!({ "Name": "A", "CreatedDate": "x" }),
            "INVALID_FIELD_FOR_INSERT_UPDATE",
            json!(["CreatedDate"]),
        ),
        ("Account", json!({ "Name": 5 }), "JSON_PARSER_ERROR", Value::Null),
        ("Account", json!([]), "JSON_PARSER_ERROR", Value::Null),
        (
            "User",
            json!({}),
            "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
            Value::Null,
        ),
    ] {
        let path = format!("/services/data/v66.0/sobjects/{object}/");
        let (status, answer) = api.call(Method::POST, &path, Some(body)).await;
        assert_eq!(
            (status, answer[0]["errorCode"].as_str()),
            (400, Some(code)),
            "{answer}"
        );
        assert_eq!(answer[0].get("fields").cloned().unwrap_or_default(), fields);
    }
    let deal = json!({ "Name": "Deal", "StageName": "Prospecting", "CloseDate": "2026-12-31" });
    let path = "/services/data/v66.0/sobjects/Opportunity";
    let (status, deal) = api.call(Method::POST, path, Some(deal)).await;
    assert_eq!(status, 201);
    let one = format!("{path}/{}", deal["id"].as_str().unwrap());
    for (stage, closed, won) in [
        ("Prospecting", false, false),
        ("Closed Lost", true, false),
        ("Closed Won", true, true),
    ] {
        let change = json!({ "StageName": stage });
        assert_eq!(api.call(Method::PATCH, &one, Some(change)).await.0, 204);
        let (_, read) = api.get(&one).await;
        assert_eq!(
            (&read["IsClosed"], &read["IsWon"]),
            (&json!(closed), &json!(won)),
            "{stage}"
        );
    }

    assert_eq!(api.get("/services/data/v66.0/sobjects/Nope").await.0, 404);
    assert_eq!(
        api.get("/services/data/v66.0/sobjects/Account/0015g00000000zzAAA")
            .await
            .0,
        404
    );
    let (status, body) = api.get("/services/data/v66.0/sobjects/Account/003").await;
    assert_eq!((status, &body[0]["errorCode"]), (400, &json!("MALFORMED_ID")));
    let (status, body) = api
        .call(
            Method::PUT,
            "/services/data/v66.0/sobjects/Account",
            Some(json!({})),
        )
        .await;
    assert_eq!(
        (status, &body),
        (
            405,
            &error(
                "METHOD_NOT_ALLOWED",
                "HTTP Method 'PUT' not allowed. Allowed are GET,POST"
            )
        )
    );
    let text = api
        .lab
        .http
        .post(api.lab.instance(path))
        .bearer_auth(&api.access)
        .body("x")
        .send()
        .await
        .unwrap();
    assert_eq!(text.status(), 415);
}

#[tokio::test]
async fn objects_are_described() {
    let api = Api::start().await;
    let (_, all) = api.get("/services/data/v66.0/sobjects/").await;
    assert!(
        all["sobjects"]
            .as_array()
            .unwrap()
            .iter()
            .any(|object| object["name"] == "Opportunity")
    );
    let (_, account) = api.get("/services/data/v66.0/sobjects/Account/describe").await;
    let name = account["fields"]
        .as_array()
        .unwrap()
        .iter()
        .find(|field| field["name"] == "Name")
        .unwrap();
    assert_eq!((&name["nillable"], &name["length"]), (&json!(false), &json!(255)));
    assert_eq!(
        api.get("/services/data/v66.0/sobjects/Account").await.1["objectDescribe"]["keyPrefix"],
        "001"
    );
}

#[tokio::test]
async fn the_daily_limit_is_kept_for_each_org() {
    let api = Api::start().await;
    api.lab.simulator.update(|settings| settings.api_daily_limit = 2);
    let path = "/services/data/v66.0/limits";
    assert_eq!(api.get(path).await.0, 200);
    assert_eq!(
        api.send(Method::GET, path, None).await.headers()["sforce-limit-info"],
        "api-usage=2/2"
    );
    assert_eq!(
        api.get(path).await,
        (
            403,
            error("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        )
    );
    let other = api.lab.grant_to("greta@globex.com").access;
    assert_eq!(api.lab.rest_status(&other).await, 200);
    api.lab
        .simulator
        .advance(std::time::Duration::from_secs(24 * 3600));
    assert_eq!(api.get(path).await.0, 401, "the session is over too");
}

#[tokio::test]
async fn proxies_find_an_echo_and_streams() {
    let api = Api::start().await;
    let (status, echo) = api
        .call(
            Method::POST,
            "/services/apexrest/echo?a=1",
            Some(json!({ "x": 1 })),
        )
        .await;
    assert_eq!(status, 200);
    assert_eq!(
        (&echo["method"], &echo["query"], &echo["body"]),
        (&json!("POST"), &json!("a=1"), &json!(r#"{"x":1}"#))
    );
    assert_eq!(echo["headers"]["authorization"], format!("Bearer {}", api.access));
    let streamed = api
        .send(Method::GET, "/services/apexrest/bytes?n=1000003", None)
        .await;
    assert!(streamed.headers().get("content-length").is_none());
    assert_eq!(streamed.bytes().await.unwrap().len(), 1_000_003);
    let request = api
        .lab
        .http
        .put(api.lab.instance("/services/apexrest/sink"))
        .bearer_auth(&api.access);
    let sunk: Value = request
        .body(vec![b'x'; 3_000_000])
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(sunk["bytes"], 3_000_000);
    assert_eq!(
        api.call(
            Method::POST,
            "/services/apexrest/status?code=418",
            Some(json!({}))
        )
        .await,
        (418, json!({}))
    );
    assert_eq!(api.lab.simulator.counters()["apexrest"], 4);
}
