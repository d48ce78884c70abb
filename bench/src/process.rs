//! A measurement in a process of its own: nothing is left of the one before, memory can be read, and a
//! peer that aborts takes nobody with it.

use std::io::{BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::catalogue::{Bench, Id};
use crate::echo;
use crate::go::GoProgram;
use crate::measure::Figure;
use crate::peer::{Peer, Setup};
use crate::rounds::{Measured, Neighbours};

/// Longest time of one measurement.
const TIME_MAX: Duration = Duration::from_secs(120);
/// How much of a failing process's last words is kept, in bytes.
const LAST_WORDS_MAX: usize = 300;

/// Starts the processes that measure.
#[derive(Debug)]
pub(crate) struct Processes {
    program: PathBuf,
    arguments: Vec<String>,
    go: Option<GoProgram>,
}

impl Processes {
    /// `program` with `arguments` is to call [`answer`](crate::answer) with the arguments that follow these.
    pub(crate) fn new(program: PathBuf, arguments: &[&str], go: Option<GoProgram>) -> Processes {
        Processes {
            program,
            arguments: arguments
                .iter()
                .map(|&argument| argument.to_owned())
                .collect(),
            go,
        }
    }

    /// Whether measurements of this peer can be made.
    pub(crate) fn has(&self, peer: Peer) -> bool {
        peer != Peer::Go || self.go.is_some()
    }

    /// Which Go.
    pub(crate) fn go_version(&self) -> Option<&str> {
        self.go.as_ref().map(GoProgram::version)
    }

    /// Makes one measurement.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub(crate) fn measure(
        &self,
        peer: Peer,
        bench: &Bench,
        setup: &Setup,
    ) -> Result<Measured, String> {
        let neighbours = Neighbours::watch();
        let child = self.start(peer, bench, setup)?;
        let figures = match bench.id {
            Id::Echo50 | Id::Echo1000 => echoed(child, setup.size)?,
            _ => ended(child)?,
        };
        Ok(Measured {
            figures,
            others: neighbours.busy(),
        })
    }

    fn start(&self, peer: Peer, bench: &Bench, setup: &Setup) -> Result<Child, String> {
        let mut command = match (peer, &self.go) {
            (Peer::Go, Some(go)) => {
                let mut command = Command::new(go.path());
                command.arg(bench.name);
                command
            }
            (Peer::Go, None) => return Err("there is no go".to_owned()),
            _ => {
                let mut command = Command::new(&self.program);
                command
                    .args(&self.arguments)
                    .args([peer.name(), bench.name]);
                command
            }
        };
        command.args([setup.workers.to_string(), setup.size.to_string()]);
        if peer == Peer::Openwork && setup.recorder {
            command.arg("recorder");
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", command.get_program().display()))
    }
}

/// Loads the server that the process is, and ends it.
fn echoed(mut child: Child, connections: u64) -> Result<Vec<Figure>, String> {
    let mut stdout = child.stdout.take().map(BufReader::new);
    let port = stdout.as_mut().map(echo::port);
    let counted = match port {
        Some(Ok(port)) => echo::load(port, connections).map_err(|error| error.to_string()),
        Some(Err(why)) => Err(why),
        None => Err("the server has no output".to_owned()),
    };
    // That tells it to end.
    drop(child.stdin.take());
    let server = read_to_end(child, stdout);
    Ok(counted?.figures(&server?))
}

/// Waits for the end, and reads the figures.
fn ended(mut child: Child) -> Result<Vec<Figure>, String> {
    let stdout = child.stdout.take();
    read_to_end(child, stdout)
}

fn read_to_end(
    mut child: Child,
    mut stdout: Option<impl Read + Send + 'static>,
) -> Result<Vec<Figure>, String> {
    let (tell, told) = mpsc::channel();
    let mut stderr = child.stderr.take();
    thread::spawn(move || {
        let mut said = String::new();
        let read = stdout.as_mut().map(|from| from.read_to_string(&mut said));
        // Nobody listens after the time is over.
        let _heard = tell.send(read.transpose().map(|_| said));
    });
    let last_words = thread::spawn(move || {
        let mut said = Vec::new();
        let _incomplete = stderr.as_mut().map(|from| from.read_to_end(&mut said));
        let text = String::from_utf8_lossy(&said);
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    });
    let said = told.recv_timeout(TIME_MAX);
    if said.is_err() {
        child.kill().map_err(|error| error.to_string())?;
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    let said = match said {
        Ok(read) => read.map_err(|error| error.to_string())?,
        Err(_) => return Err(format!("no end within {} s", TIME_MAX.as_secs())),
    };
    if !status.success() {
        let words = last_words.join().unwrap_or_default();
        return Err(failure(status, &words));
    }
    said.lines()
        .filter(|line| line.starts_with("figure "))
        .map(|line| line.parse().map_err(|error| format!("{error}")))
        .collect()
}

fn failure(status: ExitStatus, words: &str) -> String {
    let from = words.ceil_char_boundary(words.len().saturating_sub(LAST_WORDS_MAX));
    format!("{status}: {}", &words[from..])
}
