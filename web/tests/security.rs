//! Who may ask: foreign hosts, foreign pages, ids that climb, and the token.

mod service;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use openwork_web::{Access, Setting, Token};
use service::{Answer, Running};

/// Sends `method path` with these headers.
async fn ask(service: &Running, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    service
        .call(
            request
                .body(Body::from(r#"{"data":"x","difficulty":1}"#))
                .expect("a request"),
        )
        .await
}

/// Breaks if DNS rebinding works: a page whose name points to 127.0.0.1 still sends its own name.
#[tokio::test]
async fn a_foreign_host_is_refused_everywhere() {
    let service = Running::with(|config| {
        config.allow_hosts = Setting::flag(vec!["watch.example".to_owned()])
    });
    for path in [
        "/",
        "/stats",
        "/metrics",
        "/healthz",
        "/api/v1/runtime",
        "/api/v1/events",
        "/api/docs/",
        "/nowhere",
    ] {
        for host in [
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "192.168.0.1:8080",
            "",
        ] {
            let answer = ask(&service, "GET", path, &[("host", host)]).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} as {host:?}");
            assert_eq!(
                answer.json()["code"],
                "host_not_allowed",
                "{path} as {host:?}"
            );
        }
        for host in ["localhost:1", "127.0.0.1:8080", "watch.example"] {
            let head = service
                .open(
                    Request::get(path)
                        .header("host", host)
                        .body(Body::empty())
                        .expect("a request"),
                )
                .await
                .0;
            assert_ne!(head.status, StatusCode::FORBIDDEN, "{path} as {host:?}");
        }
    }
}

/// Breaks if a page of another origin, another port of this machine included, can start work or make the service work.
#[tokio::test]
async fn pages_of_other_origins_are_refused() {
    let service = Running::start();
    let foreign: [&[(&str, &str)]; 5] = [
        &[
            ("sec-fetch-site", "cross-site"),
            ("origin", "https://evil.example"),
        ],
        &[
            ("sec-fetch-site", "same-site"),
            ("origin", "http://127.0.0.1:3000"),
        ],
        &[("origin", "http://127.0.0.1:3000")],
        &[("origin", "http://localhost:8080")],
        &[("origin", "null")],
    ];
    let ours: [&[(&str, &str)]; 3] = [
        &[],
        &[
            ("sec-fetch-site", "same-origin"),
            ("origin", "http://127.0.0.1:8080"),
        ],
        &[("origin", "http://127.0.0.1:8080")],
    ];
    for headers in foreign {
        for (method, path) in [
            ("POST", "/blocks"),
            ("DELETE", "/api/v1/runs/1"),
            ("GET", "/api/v1/workers"),
            ("GET", "/metrics"),
            ("GET", "/debug/pprof/profile?seconds=60"),
        ] {
            let answer = ask(&service, method, path, headers).await;
            assert_eq!(
                answer.status,
                StatusCode::FORBIDDEN,
                "{method} {path} with {headers:?}"
            );
        }
    }
    for headers in ours {
        let answer = ask(&service, "POST", "/blocks", headers).await;
        assert_eq!(answer.status, StatusCode::CREATED, "with {headers:?}");
        assert_eq!(
            ask(&service, "GET", "/api/v1/workers", headers)
                .await
                .status,
            StatusCode::OK,
            "with {headers:?}"
        );
    }
    // What an <img> on any page sends, and what typing the address sends.
    let image = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "no-cors"),
        ("sec-fetch-dest", "image"),
    ];
    assert_eq!(
        ask(&service, "GET", "/debug/pprof/profile?seconds=60", &image)
            .await
            .status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        ask(
            &service,
            "GET",
            "/api/v1/workers",
            &[("sec-fetch-site", "none")]
        )
        .await
        .status,
        StatusCode::OK
    );
}

/// Breaks if text of a client becomes part of a path, or fails in another way than by naming nothing.
#[tokio::test]
async fn ids_that_climb_name_nothing() {
    let service = Running::start();
    for id in [
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "%00",
        "a%00b",
        "..%5c..",
        "%ff",
        "%2F",
        "a%20b",
        "A",
        "-1",
        "1e3",
    ] {
        for path in [
            "/api/v1/runs/{}",
            "/api/v1/routines/{}",
            "/api/v1/profiles/{}",
            "/api/v1/profiles/{}/profile.pb.gz",
            "/api/v1/profiles/{}/dhat.json",
        ] {
            let path = path.replace("{}", id);
            let answer = service.get(&path).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
            assert_eq!(answer.json()["code"], "not_found", "{path}");
        }
    }
}

/// Breaks if the token can be left out, guessed by its beginning, or found in an answer.
#[tokio::test]
async fn with_a_token_only_the_probes_are_open() {
    const SECRET: &str = "correct-horse-battery";
    let token = Token::new(SECRET.to_owned()).expect("long enough");
    let service =
        Running::with(|config| config.access = Setting::environment(Access::Token(token)));
    let basic = |password: &str| {
        use base64::Engine as _;
        format!(
            "Basic {}",
            base64::prelude::BASE64_STANDARD.encode(format!("anyone:{password}"))
        )
    };
    for path in ["/healthz", "/readyz"] {
        assert_eq!(service.get(path).await.status, StatusCode::OK, "{path}");
    }
    for path in [
        "/",
        "/stats",
        "/metrics",
        "/api/v1/runtime",
        "/api/v1/events",
        "/debug/pprof/",
        "/openapi.json",
        "/nowhere",
    ] {
        for wrong in [
            "",
            "Bearer ",
            "Bearer correct-horse-batter",
            "Bearer correct-horse-batteryy",
            "Basic ???",
            "Digest x",
            &basic("x"),
        ] {
            let answer = ask(&service, "GET", path, &[("authorization", wrong)]).await;
            assert_eq!(
                answer.status,
                StatusCode::UNAUTHORIZED,
                "{path} with {wrong:?}"
            );
            assert!(
                answer.headers[header::WWW_AUTHENTICATE]
                    .to_str()
                    .expect("text")
                    .starts_with("Basic "),
                "{path}"
            );
        }
    }
    // A URL is no place for a secret.
    assert_eq!(
        service.get(&format!("/stats?token={SECRET}")).await.status,
        StatusCode::UNAUTHORIZED
    );
    for right in [format!("Bearer {SECRET}"), basic(SECRET)] {
        let answer = ask(
            &service,
            "GET",
            "/api/v1/runtime",
            &[("authorization", &right)],
        )
        .await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(!String::from_utf8_lossy(&answer.body).contains(SECRET));
        // Any address will do as a host: a rebinding page does not have the token.
        let answer = ask(
            &service,
            "GET",
            "/stats",
            &[("authorization", &right), ("host", "10.1.2.3:99")],
        )
        .await;
        assert_eq!(answer.status, StatusCode::OK);
    }
}

/// Breaks if a header is lost on any kind of answer, or a CORS header appears.
#[tokio::test]
async fn every_answer_says_what_a_browser_may_do_with_it() {
    let service = Running::start();
    for path in [
        "/",
        "/stats",
        "/nowhere",
        "/debug/pprof/",
        "/api/docs/",
        "/api/v1/runtime",
        "/metrics",
    ] {
        let answer = ask(&service, "GET", path, &[]).await;
        let header = |name: &str| {
            answer
                .headers
                .get(name)
                .map(|v| v.to_str().expect("text").to_owned())
        };
        let csp = header("content-security-policy").expect("a policy");
        assert!(
            csp.starts_with("default-src 'self';") && csp.ends_with("frame-ancestors 'none'"),
            "{path}: {csp}"
        );
        assert!(
            !csp.contains("script-src") && !csp.contains("unsafe-eval"),
            "{path}: {csp}"
        );
        assert_eq!(
            header("x-content-type-options").as_deref(),
            Some("nosniff"),
            "{path}"
        );
        assert_eq!(
            header("referrer-policy").as_deref(),
            Some("no-referrer"),
            "{path}"
        );
        assert_eq!(
            header("cross-origin-resource-policy").as_deref(),
            Some("same-origin"),
            "{path}"
        );
        assert!(header("server-timing").is_some(), "{path}");
        let api = path.starts_with("/api");
        assert_eq!(
            header("cache-control").as_deref() == Some("no-store"),
            api,
            "{path}"
        );
    }
    let preflight = [
        ("origin", "https://evil.example"),
        ("access-control-request-method", "POST"),
    ];
    let answer = ask(&service, "OPTIONS", "/blocks", &preflight).await;
    assert!(
        answer
            .headers
            .keys()
            .all(|name| !name.as_str().starts_with("access-control")),
        "{:?}",
        answer.headers
    );
}
