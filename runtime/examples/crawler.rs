//! A crawler, and the site that it crawls.
//!
//! The site is a small HTTP server on this machine, with a routine for each connection. The crawler fetches
//! a few pages at a time and follows their links; its routines do nothing but fetch, and what they find
//! goes to the one place that knows what has been seen. So no lock is needed, and the first page that
//! cannot be fetched at all ends the rest.
//!
//! ```text
//! cargo run -p openwork --example crawler
//! ```

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use openwork::net::{TcpListener, TcpStream};
use openwork::{Builder, CancelToken, Runtime, ScopeError, channel, select, spawn, try_scope};

/// Pages and their links. Two lead nowhere, and some lead back.
const SITE: &[(&str, &[&str])] = &[
    ("/", &["/guide", "/news", "/about"]),
    ("/guide", &["/guide/channels", "/guide/scopes", "/"]),
    ("/guide/channels", &["/guide/select", "/guide"]),
    ("/guide/select", &["/guide/channels", "/guide/timers"]),
    ("/guide/scopes", &["/guide"]),
    ("/news", &["/news/1", "/news/2", "/news/3"]),
    ("/news/1", &["/news", "/news/2"]),
    ("/news/2", &["/news", "/guide/scopes"]),
    ("/news/3", &["/news", "/gone"]),
    ("/about", &["/"]),
];

/// What was found at a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Page {
    path: String,
    status: u16,
    links: Vec<String>,
}

/// Answers requests until the token is cancelled, each on a routine of its own.
fn serve(listener: TcpListener, stop: &CancelToken) {
    let server = Builder::new().name("site").cancel_with(stop);
    let server = server.spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            // A visitor who goes away is nobody's error.
            spawn(move || answer(&stream)).detach();
        }
    });
    server.expect("called by a routine").detach();
}

fn answer(mut stream: &TcpStream) -> io::Result<()> {
    let mut request = String::new();
    BufReader::new(stream).read_line(&mut request)?;
    let path = request.split(' ').nth(1).unwrap_or("/");
    let (status, links) = match SITE.iter().find(|(known, _)| *known == path) {
        Some((_, links)) => ("200 OK", *links),
        None => ("404 Not Found", &[][..]),
    };
    let body: String = links
        .iter()
        .map(|link| format!("<a href=\"{link}\">{link}</a>\n"))
        .collect();
    write!(
        stream,
        "HTTP/1.0 {status}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Fetches one page.
fn fetch(site: SocketAddr, path: &str) -> io::Result<Page> {
    let mut stream = TcpStream::connect_timeout(&site, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let broken = || io::Error::new(io::ErrorKind::InvalidData, format!("no HTTP at {path}"));
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(broken)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let links = body
        .split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next());
    Ok(Page {
        path: path.to_owned(),
        status: status.ok_or_else(broken)?,
        links: links.map(str::to_owned).collect(),
    })
}

/// Fetches every page that can be reached from `/`, so many at once.
fn crawl(site: SocketAddr, at_once: usize) -> Result<Vec<Page>, ScopeError<io::Error>> {
    try_scope(|s| {
        s.limit(at_once);
        let failed = s.token();
        let (found, pages) = channel::unbounded();
        let fetch = |path: String| {
            let found = found.clone();
            let routine = Builder::new().name(&path);
            let routine = s.spawn_as(routine, move || {
                let page = fetch(site, &path)?;
                let _ = found.send(page); // unless the crawl is over
                Ok(())
            });
            drop(routine.expect("nothing special is asked for"));
        };
        let mut seen = BTreeSet::from(["/".to_owned()]);
        fetch("/".to_owned());
        let mut crawled = Vec::new();
        while crawled.len() < seen.len() {
            let page = select! {
                page = pages.recv() => page.expect("we have a sender"),
                _ = failed.cancelled() => break,
            };
            for link in &page.links {
                if seen.insert(link.clone()) {
                    fetch(link.clone());
                }
            }
            crawled.push(page);
        }
        Ok(crawled)
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rt = Runtime::builder().build()?;
    let pages = rt.block_on(|| -> Result<_, ScopeError<io::Error>> {
        let stop = CancelToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let site = listener.local_addr().expect("it is bound");
        serve(listener, &stop);
        let pages = crawl(site, 4);
        stop.cancel();
        pages
    })?;
    for page in &pages {
        println!("{} {} ({} links)", page.status, page.path, page.links.len());
    }
    println!("{} pages", pages.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use openwork::FailureKind;

    fn with_site<R: Send>(f: impl FnOnce(SocketAddr) -> R + Send) -> R {
        let rt = Runtime::builder().workers(2).build().unwrap();
        rt.block_on(|| {
            let stop = CancelToken::new();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let site = listener.local_addr().unwrap();
            serve(listener, &stop);
            let result = f(site);
            stop.cancel();
            result
        })
    }

    #[test]
    fn every_page_is_found_once() {
        for at_once in [1, 2, 8] {
            let mut pages = with_site(|site| crawl(site, at_once)).unwrap();
            pages.sort();
            let mut expected: Vec<Page> = SITE
                .iter()
                .map(|(path, links)| Page {
                    path: (*path).to_owned(),
                    status: 200,
                    links: links.iter().map(|link| (*link).to_owned()).collect(),
                })
                .collect();
            for path in ["/gone", "/guide/timers"] {
                let path = path.to_owned();
                expected.push(Page {
                    path,
                    status: 404,
                    links: Vec::new(),
                });
            }
            expected.sort();
            assert_eq!(pages, expected);
        }
    }

    /// The site goes away in the midst: the crawl says at which page, and ends.
    #[test]
    fn a_site_that_is_down_ends_the_crawl() {
        let result = with_site(|_| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let site = listener.local_addr().unwrap();
            // It answers once, with something else.
            let rude = spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(b"220 this is a mail server\r\n").unwrap();
            });
            let result = crawl(site, 4);
            rude.join().unwrap();
            result
        });
        let Err(ScopeError::Failed(failures)) = result else {
            panic!("{result:?}")
        };
        let first = failures.into_first();
        assert_eq!(first.name(), Some("/"));
        assert!(matches!(first.into_kind(), FailureKind::Error(_)));
    }
}
