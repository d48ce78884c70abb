//! The `Host` header must name this service.
//!
//! A page that rebinds its own name to `127.0.0.1` is same-origin with us in the browser's eyes, but it still sends
//! its own name as `Host`. So a name that nobody gave us is refused, whatever the port says.

use std::net::{IpAddr, Ipv6Addr};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::error::{ApiError, Code};
use crate::state::AppState;

/// The hosts under which the service may be addressed.
#[derive(Clone, Debug)]
pub struct HostRule {
    listen: IpAddr,
    any_address: bool,
    names: Vec<String>,
}

impl HostRule {
    /// `localhost`, `names`, and the address itself; with a token any address, since a request that carries the token
    /// was not made by a rebinding page.
    pub fn new(listen: IpAddr, token: bool, names: &[String]) -> Self {
        let names = names
            .iter()
            .map(|n| n.to_ascii_lowercase())
            .chain(["localhost".to_owned()])
            .collect();
        HostRule {
            listen,
            any_address: token,
            names,
        }
    }

    fn allows(&self, host: &str) -> bool {
        let Some(name) = without_port(host) else {
            return false;
        };
        match address(name) {
            Some(address) => self.any_address || address == self.listen,
            None => self.names.iter().any(|n| n.eq_ignore_ascii_case(name)),
        }
    }
}

/// The host without its port; `None` if it is not a host at all.
fn without_port(host: &str) -> Option<&str> {
    let end = if host.starts_with('[') {
        host.find(']')? + 1
    } else {
        host.find(':').unwrap_or(host.len())
    };
    let (name, port) = host.split_at(end);
    let port_is_one = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()));
    (port_is_one && !name.is_empty()).then_some(name)
}

fn address(name: &str) -> Option<IpAddr> {
    match name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => name.parse().ok(),
    }
}

/// The host a request is addressed to. `None` when there is none or more than one.
fn effective<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let mut all = headers.get_all(header::HOST).iter();
    let host = all.next().and_then(|h| h.to_str().ok());
    if all.next().is_some() {
        return None;
    }
    uri.authority().map(|a| a.as_str()).or(host)
}

/// Refuses requests whose `Host` is not one of ours.
pub async fn check(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    match effective(request.uri(), request.headers()) {
        Some(host) if state.host_rule.allows(host) => Ok(next.run(request).await),
        Some(host) => {
            let detail =
                format!("this service is not {host:?}; start it with --allow-host to add a name");
            Err(ApiError::new(Code::HostNotAllowed, detail).field("Host"))
        }
        None => Err(
            ApiError::new(Code::HostNotAllowed, "exactly one Host header is needed").field("Host"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(token: bool, host: &str, allowed: bool) {
        let rule = HostRule::new(
            IpAddr::from([127, 0, 0, 1]),
            token,
            &["Watch.Example".to_owned()],
        );
        assert_eq!(rule.allows(host), allowed, "{host:?}, token {token}");
    }

    #[test]
    fn only_our_own_names_and_address_pass() {
        for host in [
            "localhost",
            "LOCALHOST:1",
            "127.0.0.1:8080",
            "watch.example",
            "watch.example:99",
        ] {
            check(false, host, true);
        }
        let foreign = [
            "",
            ":8080",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.2",
            "[::1]:8080",
            "localhost@evil:1",
            "[::1",
            "localhost:x",
            "0x7f000001",
            "127.1",
        ];
        for host in foreign {
            check(false, host, false);
        }
        check(true, "192.168.1.9:8080", true);
        check(true, "[fe80::1]:8080", true);
        check(true, "evil.example", false);
    }
}
