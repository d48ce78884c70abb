//! The commands in the README and the guide, run as printed.
//!
//! A fenced block whose opening line ends in `walk` is a step: `sh` is given to bash, `python` to
//! Python, all Python blocks of a page to one interpreter. The port of the printed address is
//! replaced by that of a server of our own, and curl is told by its configuration file to fail where
//! an answer is not a success: the text of the commands stays as it is.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use support::Server;
use tempfile::TempDir;

const PRINTED: &str = "http://127.0.0.1:8080";

/// A fenced block to be run.
#[derive(Debug, PartialEq)]
struct Step<'a> {
    line: usize,
    language: &'a str,
    text: String,
}

fn steps(page: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    let mut open: Option<Step<'_>> = None;
    for (index, line) in page.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => {
                if let Some(language) = info.strip_suffix(" walk") {
                    open = Some(Step {
                        line: index + 1,
                        language,
                        text: String::new(),
                    });
                }
            }
            (Some(_), Some("")) => steps.extend(open.take()),
            (Some(step), _) => {
                step.text += line;
                step.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert_eq!(open, None, "a block is not closed");
    steps
}

fn read(page: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[track_caller]
fn must_succeed(page: &str, step: &Step<'_>, ended: &Output) {
    assert!(
        ended.status.success(),
        "{page}:{}: {}\n{}\n{}\n{}",
        step.line,
        ended.status,
        step.text,
        String::from_utf8_lossy(&ended.stdout),
        String::from_utf8_lossy(&ended.stderr),
    );
}

#[track_caller]
fn walk(page: &str) {
    let text = read(page);
    let steps = steps(&text);
    let scratch = TempDir::new().unwrap();
    fs::write(
        scratch.path().join(".curlrc"),
        "fail-with-body\nsilent\nshow-error\n",
    )
    .unwrap();
    let server = Server::start(&scratch.path().join("data"), &[]);
    let run = |program: &str, flag: &str, text: &str| {
        Command::new(program)
            .args([flag, &text.replace(PRINTED, &server.url)])
            .current_dir(scratch.path())
            .env("CURL_HOME", scratch.path())
            .output()
            .unwrap_or_else(|error| panic!("{program} is needed to run {page}: {error}"))
    };
    let mut python = String::new();
    for step in &steps {
        match step.language {
            "sh" => {
                must_succeed(page, step, &run("bash", "-ec", &step.text));
            }
            "python" => {
                // Later blocks use the names of earlier ones.
                python += &step.text;
                must_succeed(page, step, &run("python3", "-c", &python));
            }
            other => panic!("{page}:{}: no way to run {other}", step.line),
        }
    }
    assert!(!steps.is_empty(), "{page} has steps");
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
fn the_readme_works_as_printed() {
    walk("README.md");
}

#[test]
fn the_guide_works_as_printed() {
    walk("docs/GUIDE.md");
}

#[test]
fn marked_blocks_alone_are_steps() {
    let page = "```sh\nnot me\n```\n```sh walk\na\nb\n```\n```python walk\nc\n```\n";
    let found: Vec<_> = steps(page)
        .into_iter()
        .map(|step| (step.line, step.language, step.text))
        .collect();
    assert_eq!(
        found,
        [
            (4, "sh", "a\nb\n".to_owned()),
            (8, "python", "c\n".to_owned())
        ]
    );
}
