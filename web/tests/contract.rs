//! The description of the API is the API: `openapi.yaml` is generated, complete, and states the limits.
//!
//! `UPDATE_OPENAPI=1 cargo test -p openwork-web --test contract` writes the file.

mod service;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use openwork_web::limits::{Place, TABLE};
use serde::Serialize;
use serde_json::Value;
use service::Running;

/// Pages of the browser, which are no API and not described.
const PAGES: [&str; 8] = [
    "/",
    "/guide",
    "/docs",
    "/favicon.ico",
    "/favicon.svg",
    "/api/docs",
    "/api/docs/",
    "/api/docs/{*rest}",
];

fn is_page(path: &str) -> bool {
    PAGES.contains(&path) || path.starts_with("/assets/")
}

/// The description in the order in which a person reads it.
#[derive(Serialize)]
struct Document<'a> {
    openapi: &'a Value,
    info: &'a Value,
    tags: &'a Value,
    security: &'a Value,
    paths: &'a Value,
    components: &'a Value,
}

fn methods(path: &Value) -> impl Iterator<Item = &str> {
    path.as_object()
        .expect("operations")
        .keys()
        .map(String::as_str)
        .filter(|m| *m != "parameters")
}

/// Breaks if a route or a field changes and the description in the repository does not.
#[test]
fn openapi_yaml_is_what_the_routes_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi.yaml");
    let description = openwork_web::openapi();
    let [openapi, info, tags, security, paths, components] =
        ["openapi", "info", "tags", "security", "paths", "components"]
            .map(|name| &description[name]);
    assert_eq!(
        description.as_object().expect("an object").len(),
        6,
        "a member that the file would lack"
    );
    let document = Document {
        openapi,
        info,
        tags,
        security,
        paths,
        components,
    };
    let now = yaml_serde::to_string(&document).expect("YAML");
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        fs::write(&path, &now).expect("written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let differs = kept.lines().zip(now.lines()).position(|(a, b)| a != b);
    assert!(
        kept == now,
        "openapi.yaml differs from the routes, first in line {:?}; UPDATE_OPENAPI=1 cargo test -p openwork-web --test contract writes it",
        differs.map(|line| line + 1)
    );
}

/// Breaks if a route is added without a description. The router's own list is in its debug output alone.
#[test]
fn every_path_of_the_router_is_described_or_a_page() {
    let service = Running::start();
    let router = format!("{:?}", openwork_web::app(service.state.clone()));
    let in_router: BTreeSet<String> = router
        .split('"')
        .filter(|text| text.starts_with('/') && !text.contains("__private"))
        .map(str::to_owned)
        .collect();
    assert!(
        in_router.len() > 30,
        "the router's debug output lists its paths: {router}"
    );
    let description = openwork_web::openapi();
    let described: BTreeSet<String> = description["paths"]
        .as_object()
        .expect("paths")
        .keys()
        .cloned()
        .collect();
    let undescribed: Vec<_> = in_router
        .iter()
        .filter(|p| !described.contains(*p) && !is_page(p))
        .collect();
    assert!(undescribed.is_empty(), "{undescribed:?}");
    let gone: Vec<_> = described.difference(&in_router).collect();
    assert!(gone.is_empty(), "{gone:?}");
}

/// Breaks if a described method does not exist, or an operation lacks what a reader needs.
#[tokio::test]
async fn every_described_operation_exists_and_says_how_it_refuses() {
    let service = Running::start();
    let description = openwork_web::openapi();
    for (path, operations) in description["paths"].as_object().expect("paths") {
        for method in methods(operations) {
            let operation = &operations[method];
            let what = format!("{method} {path}");
            assert!(
                operation["summary"].is_string() || operation["description"].is_string(),
                "{what} has no words"
            );
            assert!(operation["tags"].is_array(), "{what} has no tag");
            assert!(
                operation["responses"]
                    .as_object()
                    .is_some_and(|r| !r.is_empty()),
                "{what} has no answers"
            );
            if method == "get" {
                // Others would start work; a GET with a wrong id is harmless.
                continue;
            }
            let real = path.replace("{id}", "0");
            let request = Request::builder()
                .method(method.to_uppercase().as_str())
                .uri(real)
                .header("content-type", "text/none");
            let status = service
                .call(request.body(Body::from("x")).expect("a request"))
                .await
                .status;
            assert_ne!(status, StatusCode::METHOD_NOT_ALLOWED, "{what}");
        }
    }
}

/// Breaks if a bound in the description is another one than the table's, or stands where the table has none.
#[tokio::test]
async fn the_limits_in_the_description_and_in_the_answer_are_the_tables() {
    let description = openwork_web::openapi();
    let resolve = |schema: &Value| match schema["$ref"].as_str() {
        Some(reference) => description
            .pointer(&reference[1..])
            .expect("a schema")
            .clone(),
        None => schema.clone(),
    };
    let mut compared = 0;
    for limit in TABLE
        .iter()
        .filter(|l| matches!(l.place, Place::Body | Place::Query))
    {
        let (method, path) = limit.route.split_once(' ').expect("method and path");
        let operation = &description["paths"][path][method.to_lowercase()];
        let schema = match limit.place {
            Place::Query => {
                let parameters = operation["parameters"].as_array().expect("parameters");
                parameters.iter().find(|p| p["name"] == limit.field).expect("the parameter")["schema"].clone()
            }
            _ => resolve(&operation["requestBody"]["content"]["application/json"]["schema"])["properties"][limit.field].clone(),
        };
        let (min, max) = if schema["maxLength"].is_null() {
            ("minimum", "maximum")
        } else {
            ("minLength", "maxLength")
        };
        assert_eq!(schema[min], limit.least(), "{limit:?}");
        assert_eq!(schema[max], limit.max, "{limit:?}");
        assert_eq!(schema["default"].as_u64(), limit.default, "{limit:?}");
        compared += 1;
    }
    assert!(compared > 20);
    let service = Running::start();
    let runtime = service.get("/api/v1/runtime").await.json();
    for limit in TABLE {
        let rows = runtime["limits"].as_array().expect("limits");
        let row = rows
            .iter()
            .find(|r| r["route"] == limit.route && r["field"] == limit.field)
            .expect("a row");
        assert_eq!(
            (row["min"].as_u64(), row["max"].as_u64()),
            (Some(limit.min), Some(limit.max)),
            "{limit:?}"
        );
    }
}

/// Breaks if the page to try the API needs the network, or its policy stops it.
#[tokio::test]
async fn the_page_to_try_the_api_is_served_from_here() {
    let service = Running::start();
    let page = service.get("/api/docs/").await;
    assert_eq!(page.status, StatusCode::OK);
    let html = String::from_utf8_lossy(&page.body).into_owned();
    assert!(
        !html.contains("http://") && !html.contains("https://"),
        "{html}"
    );
    // The policy allows scripts of this origin in files of their own, and no others.
    assert!(!html.contains("<script>"), "{html}");
    for file in html
        .split(['"', '\''])
        .filter_map(|text| text.strip_prefix("./"))
    {
        let answer = service.get(&format!("/api/docs/{file}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{file}");
    }
    let description = service.get("/openapi.json").await.json();
    assert!(
        description["openapi"]
            .as_str()
            .is_some_and(|v| v.starts_with("3.1")),
        "{}",
        description["openapi"]
    );
}
