//! How a child is started.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process as std_process;
use std::time::Duration;

use super::{Child, ExitStatus, Output, Stdio};
use crate::blocking;
use crate::scheduler::timers::NEVER;
use crate::time;

/// How a child is started; as [`std::process::Command`].
///
/// What is not here is reached by [`as_std_mut`](Self::as_std_mut).
///
/// ```
/// use openwork::process::Command;
///
/// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
/// let output = rt.block_on(|| Command::new("echo").arg("from a child").output());
/// assert_eq!(output.unwrap().stdout, b"from a child\n");
/// ```
#[derive(Debug)]
pub struct Command {
    command: std_process::Command,
    /// Whether std's default for `output` holds: what was set by name does not follow it.
    set: [bool; 3],
}

impl Command {
    /// A command that runs `program`, which is looked for on the path.
    ///
    /// ```
    /// use openwork::process::Command;
    /// assert!(Command::new("true").status().unwrap().success());
    /// ```
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        Command {
            command: std_process::Command::new(program),
            set: [false; 3],
        }
    }

    /// Adds an argument.
    ///
    /// ```
    /// use openwork::process::Command;
    /// let output = Command::new("echo").arg("one").arg("two").output().unwrap();
    /// assert_eq!(output.stdout, b"one two\n");
    /// ```
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Command {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    ///
    /// ```
    /// use openwork::process::Command;
    /// let output = Command::new("echo").args(["one", "two"]).output().unwrap();
    /// assert_eq!(output.stdout, b"one two\n");
    /// ```
    pub fn args<I, S>(&mut self, args: I) -> &mut Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.command.args(args);
        self
    }

    /// Sets a variable of the environment.
    ///
    /// ```
    /// use openwork::process::Command;
    /// let output = Command::new("sh").args(["-c", "echo $NAME"]).env("NAME", "value").output().unwrap();
    /// assert_eq!(output.stdout, b"value\n");
    /// ```
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Command {
        self.command.env(key, value);
        self
    }

    /// Sets variables of the environment.
    ///
    /// ```
    /// use openwork::process::Command;
    /// let output = Command::new("sh").args(["-c", "echo $A$B"]).envs([("A", "1"), ("B", "2")]).output().unwrap();
    /// assert_eq!(output.stdout, b"12\n");
    /// ```
    pub fn envs<I, K, V>(&mut self, vars: I) -> &mut Command
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.command.envs(vars);
        self
    }

    /// Does not pass on a variable of the environment.
    ///
    /// ```
    /// use openwork::process::Command;
    /// let output = Command::new("sh").args(["-c", "echo ${NAME-none}"]).env("NAME", "x").env_remove("NAME").output().unwrap();
    /// assert_eq!(output.stdout, b"none\n");
    /// ```
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Command {
        self.command.env_remove(key);
        self
    }

    /// Passes nothing on of the environment.
    ///
    /// ```
    /// use openwork::process::Command;
    /// let output = Command::new("sh").args(["-c", "echo ${HOME-none}"]).env_clear().output().unwrap();
    /// assert_eq!(output.stdout, b"none\n");
    /// ```
    pub fn env_clear(&mut self) -> &mut Command {
        self.command.env_clear();
        self
    }

    /// Where the child runs.
    ///
    /// ```
    /// use openwork::process::Command;
    /// let output = Command::new("sh").args(["-c", "pwd"]).current_dir("/").output().unwrap();
    /// assert_eq!(output.stdout, b"/\n");
    /// ```
    pub fn current_dir(&mut self, dir: impl AsRef<Path>) -> &mut Command {
        self.command.current_dir(dir);
        self
    }

    /// The child's standard input. Otherwise it is ours; for [`output`](Self::output) there is none.
    ///
    /// ```
    /// use openwork::process::Command;
    /// use openwork::process::Stdio;
    /// use std::io::Write;
    ///
    /// let rt = openwork::Runtime::builder().workers(1).build().unwrap();
    /// rt.block_on(|| {
    ///     let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    ///     child.stdin.take().unwrap().write_all(b"text").unwrap();
    ///     assert_eq!(child.wait_with_output().unwrap().stdout, b"text");
    /// });
    /// ```
    pub fn stdin(&mut self, stdin: impl Into<Stdio>) -> &mut Command {
        self.command.stdin(stdin);
        self.set[0] = true;
        self
    }

    /// The child's standard output. Otherwise it is ours; for [`output`](Self::output) a pipe.
    ///
    /// ```
    /// use openwork::process::Command;
    /// use openwork::process::Stdio;
    /// let output = Command::new("echo").arg("unseen").stdout(Stdio::null()).output().unwrap();
    /// assert!(output.stdout.is_empty());
    /// ```
    pub fn stdout(&mut self, stdout: impl Into<Stdio>) -> &mut Command {
        self.command.stdout(stdout);
        self.set[1] = true;
        self
    }

    /// The child's standard error. Otherwise it is ours; for [`output`](Self::output) a pipe.
    ///
    /// ```
    /// use openwork::process::Command;
    /// use openwork::process::Stdio;
    /// let output = Command::new("ls").arg("/none").stderr(Stdio::null()).output().unwrap();
    /// assert!(output.stderr.is_empty() && !output.status.success());
    /// ```
    pub fn stderr(&mut self, stderr: impl Into<Stdio>) -> &mut Command {
        self.command.stderr(stderr);
        self.set[2] = true;
        self
    }

    /// Std's command, for what is not here. Streams that are set through it are not known to
    /// [`output`](Self::output), which sets its own.
    ///
    /// ```
    /// use openwork::process::Command;
    /// use std::os::unix::process::CommandExt;
    /// let mut command = Command::new("true");
    /// command.as_std_mut().process_group(0);
    /// assert!(command.status().unwrap().success());
    /// ```
    pub fn as_std_mut(&mut self) -> &mut std_process::Command {
        &mut self.command
    }

    /// Starts the child.
    ///
    /// ```
    /// use openwork::process::Command;
    /// let mut child = Command::new("true").spawn().unwrap();
    /// assert!(child.wait().unwrap().success());
    /// ```
    ///
    /// # Errors
    /// As [`std::process::Command::spawn`]; or as [sockets](crate::net) say that the routine was asked to end.
    pub fn spawn(&mut self) -> io::Result<Child> {
        blocking::io(|| self.command.spawn()).and_then(Child::from_std)
    }

    /// Runs the child to its end. If the wait is ended, by a cancel say, the child is killed.
    ///
    /// ```
    /// let status = openwork::process::Command::new("true").status().unwrap();
    /// assert!(status.success());
    /// ```
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn) and [`Child::wait`].
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        let mut orphan = Orphan::new(self.spawn()?);
        let status = orphan.child().wait()?;
        orphan.has_ended();
        Ok(status)
    }

    /// Runs the child to its end, and reads what it writes. If the wait is ended, by a cancel say, the child
    /// is killed.
    ///
    /// ```
    /// use openwork::process::Command;
    /// assert_eq!(Command::new("echo").arg("text").output().unwrap().stdout, b"text\n");
    /// ```
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn) and [`Child::wait`].
    pub fn output(&mut self) -> io::Result<Output> {
        self.output_until(NEVER)
    }

    /// As [`output`](Self::output), but the child is killed when it has not ended, or its output has not,
    /// after `timeout`.
    ///
    /// ```
    /// use openwork::process::Command;
    /// let limit = std::time::Duration::from_millis(5);
    /// let late = Command::new("sleep").arg("1000").output_timeout(limit).unwrap_err();
    /// assert_eq!(late.kind(), std::io::ErrorKind::TimedOut);
    /// ```
    ///
    /// # Errors
    /// As [`output`](Self::output); of kind [`TimedOut`](io::ErrorKind::TimedOut) when the time is over.
    pub fn output_timeout(&mut self, timeout: Duration) -> io::Result<Output> {
        self.output_until(time::deadline(timeout).min(NEVER - 1))
    }

    fn output_until(&mut self, deadline: u64) -> io::Result<Output> {
        let [stdin, stdout, stderr] = self.set;
        if !stdin {
            self.command.stdin(Stdio::null());
        }
        if !stdout {
            self.command.stdout(Stdio::piped());
        }
        if !stderr {
            self.command.stderr(Stdio::piped());
        }
        let started = self.spawn();
        // As it was: the command may be used again.
        if !stdin {
            self.command.stdin(Stdio::inherit());
        }
        if !stdout {
            self.command.stdout(Stdio::inherit());
        }
        if !stderr {
            self.command.stderr(Stdio::inherit());
        }
        let mut orphan = Orphan::new(started?);
        drop(orphan.child().stdin.take());
        let output = orphan.child().read_and_wait(deadline)?;
        orphan.has_ended();
        Ok(output)
    }
}

impl From<std_process::Command> for Command {
    fn from(command: std_process::Command) -> Command {
        Command {
            command,
            set: [false; 3],
        }
    }
}

/// A child that is killed if this is dropped before it has ended.
struct Orphan(Option<Child>);

impl Orphan {
    fn new(child: Child) -> Orphan {
        Orphan(Some(child))
    }

    fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("taken at the end alone")
    }

    fn has_ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        if let Some(child) = self.0.take() {
            child.reap();
        }
    }
}
