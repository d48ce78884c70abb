//! Log lines on standard error, one line an event whatever the event holds.

use std::io::{self, Write};

use openwork_web::LogFormat;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Installs the process's subscriber.
///
/// # Errors
/// A sentence when `filter` is not one, or when a subscriber is installed already.
pub(crate) fn install(filter: &str, format: LogFormat) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("--log {filter}: {error}"))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(Stderr);
    match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    }
    .map_err(|error| error.to_string())
}

/// Makes a writer per event: the subscriber hands over each event as one whole line.
struct Stderr;

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Escaped<io::StderrLock<'static>>;

    fn make_writer(&'a self) -> Self::Writer {
        Escaped(io::stderr().lock())
    }
}

/// Passes lines on with every control and direction-changing character but the last newline written
/// as `\u0000`, so that foreign text can neither forge a line nor steer a terminal. The form is the
/// one of JSON and is used for text too.
struct Escaped<W>(W);

impl<W: Write> Write for Escaped<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let (body, end) = match text.strip_suffix('\n') {
            Some(body) => (body, "\n"),
            None => (&*text, ""),
        };
        let mut safe = String::with_capacity(text.len());
        for c in body.chars() {
            if misleads(c) {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    safe.push_str(&format!("\\u{unit:04x}"));
                }
            } else {
                safe.push(c);
            }
        }
        safe.push_str(end);
        self.0.write_all(safe.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Control characters, line separators, and the marks that turn the direction of text.
fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}'
                | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &str, expected: &str) {
        let mut out = Escaped(Vec::new());
        out.write_all(input.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(out.0).unwrap(), expected);
    }

    #[test]
    fn an_event_stays_one_line() {
        check("plain text\n", "plain text\n");
        check("two\nlines\n", "two\\u000alines\n");
        check(
            "bell \x07 escape \x1b[31m\n",
            "bell \\u0007 escape \\u001b[31m\n",
        );
        check("c1 \u{9b}31m\n", "c1 \\u009b31m\n");
        check("turned \u{202e}txt.exe\n", "turned \\u202etxt.exe\n");
        check("Ünïcode ✓\n", "Ünïcode ✓\n");
    }
}
