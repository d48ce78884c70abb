//! The page and its files: complete without a network, within the content policy, filled in before any script runs.

mod service;

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use openwork_web::limits;
use service::{Answer, Running};

async fn page(service: &Running) -> (Answer, String) {
    let answer = service.get("/").await;
    assert_eq!(answer.status, StatusCode::OK);
    let html = String::from_utf8(answer.body.to_vec()).expect("UTF-8");
    (answer, html)
}

/// The values of every attribute `name` in `html`.
fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    html.split(&start)
        .skip(1)
        .map(|rest| rest.split('"').next().expect("a closing quote"))
        .collect()
}

/// Breaks if the page gains a style attribute, an inline script or anything from another origin: the policy it is sent
/// with would then leave a part of it dead.
#[tokio::test]
async fn the_page_keeps_within_its_own_policy() {
    let service = Running::start();
    let (answer, html) = page(&service).await;
    assert_eq!(
        answer.headers[header::CONTENT_SECURITY_POLICY],
        "default-src 'self'; frame-ancestors 'none'"
    );
    assert!(attributes(&html, "style").is_empty());
    assert!(!html.contains("<style") && !html.contains("javascript:"));
    for (at, _) in html.match_indices("<script") {
        assert!(html[at..].contains("src=\"/assets/"), "an inline script");
        let end = html[at..].find("</script>").expect("it ends");
        assert!(html[at..at + end].ends_with('>'), "an inline script");
    }
    for attribute in html.split_whitespace() {
        let handler = attribute.starts_with("on") && attribute.contains("=\"");
        assert!(!handler, "a listener in the markup: {attribute}");
    }
    for link in [attributes(&html, "href"), attributes(&html, "src")].concat() {
        let own = link.starts_with('#') || (link.starts_with('/') && !link.starts_with("//"));
        assert!(own, "{link} is elsewhere");
    }
}

/// Breaks if the page names a file or a page that the service does not have.
#[tokio::test]
async fn everything_the_page_links_to_is_served() {
    let service = Running::start();
    let (_, html) = page(&service).await;
    let links: BTreeSet<&str> = [attributes(&html, "href"), attributes(&html, "src")]
        .concat()
        .into_iter()
        .filter(|link| link.starts_with('/'))
        .collect();
    assert!(links.len() > 40, "{links:?}");
    for link in links {
        let status = service.get(link).await.status;
        assert!(
            status.is_success() || status.is_redirection(),
            "{link}: {status}"
        );
    }
    let anchors = attributes(&html, "href").into_iter();
    let ids: BTreeSet<&str> = attributes(&html, "id").into_iter().collect();
    for anchor in anchors.filter_map(|link| link.strip_prefix('#')) {
        assert!(ids.contains(anchor), "#{anchor} leads nowhere");
    }
}

/// Breaks if an id stands twice, or a label, a description or a control points at none.
#[tokio::test]
async fn ids_are_unique_and_every_reference_finds_its_own() {
    let service = Running::start();
    let (_, html) = page(&service).await;
    let ids = attributes(&html, "id");
    let unique: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), unique.len(), "an id stands twice");
    for name in [
        "for",
        "aria-controls",
        "aria-labelledby",
        "aria-describedby",
    ] {
        for target in attributes(&html, name) {
            assert!(unique.contains(target), "{name}={target} finds nothing");
        }
    }
}

/// Breaks if a form offers what a request is then refused for.
#[tokio::test]
async fn the_forms_have_the_bounds_of_the_table() {
    let service = Running::start();
    let (_, html) = page(&service).await;
    for (id, limit) in [
        ("mine-goroutines", &limits::MINE_ROUTINES),
        ("mine-difficulty", &limits::MINE_DIFFICULTY),
        ("race-yield_every", &limits::MINE_YIELD_EVERY),
        ("stress-allocations", &limits::STRESS_ALLOCATIONS),
        ("stress-block_kb", &limits::STRESS_BLOCK_KB),
        ("stress-hold_ms", &limits::STRESS_HOLD_MS),
        ("crowd-routines", &limits::CROWD_ROUTINES),
        ("crowd-sleep_ms", &limits::CROWD_SLEEP_MS),
        ("stress-yield_every", &limits::STRESS_YIELD_EVERY),
        ("lab-routines", &limits::LAB_ROUTINES),
        ("lab-ms", &limits::LAB_MS),
        ("bench-rounds", &limits::BENCH_ROUNDS),
    ] {
        let input = html
            .split("<input ")
            .find(|input| input.starts_with(&format!("id=\"{id}\"")))
            .unwrap_or_else(|| panic!("no input {id}"));
        assert_eq!(
            attributes(input, "min")[0],
            limit.least().to_string(),
            "{id}"
        );
        assert_eq!(attributes(input, "max")[0], limit.max.to_string(), "{id}");
        let value: u64 = attributes(input, "value")[0].parse().expect("a number");
        assert!((limit.min..=limit.max).contains(&value), "{id}");
    }
}

/// Breaks if the tables beside the pictures are empty until a script fills them.
#[tokio::test]
async fn the_tables_hold_the_newest_sample_from_the_start() {
    let service = Running::start();
    let (_, html) = page(&service).await;
    let table = html
        .split("id=\"lanes-twin\"")
        .nth(1)
        .and_then(|rest| rest.split("</table>").next())
        .expect("the table of the workers");
    let rows = table.matches("<th scope=\"row\"").count();
    assert_eq!(rows, 2, "a row for each worker");
    let columns = table.matches("<th scope=\"col\"").count();
    assert_eq!(table.matches("<td").count(), rows * (columns - 1));
    assert!(html.contains(" of 2 workers busy. "));
    assert!(html.contains("64 KiB"), "the stacks up to the slot's size");
}

/// Breaks if a browser with the newest files is sent them again, or one with old files keeps them.
#[tokio::test]
async fn files_are_asked_about_and_sent_once() {
    let service = Running::start();
    for (path, kind) in [
        ("/assets/style.css", "text/css; charset=utf-8"),
        ("/assets/js/main.js", "text/javascript; charset=utf-8"),
    ] {
        let first = service.get(path).await;
        assert_eq!(first.status, StatusCode::OK);
        assert_eq!(first.headers[header::CONTENT_TYPE], kind);
        assert_eq!(first.headers[header::CACHE_CONTROL], "no-cache");
        let tag = first.headers[header::ETAG].clone();
        let again = Request::get(path)
            .header(header::IF_NONE_MATCH, tag)
            .body(Body::empty())
            .expect("a request");
        let again = service.call(again).await;
        assert_eq!(again.status, StatusCode::NOT_MODIFIED);
        assert!(again.body.is_empty());
    }
    for path in ["/assets/", "/assets/js/no.js", "/assets/js/..%2fstyle.css"] {
        assert_eq!(
            service.get(path).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
}
