//! Runs a child process that cannot outlive its deadline.
//!
//! The child leads a process group of its own. When it ends, or at the deadline, the whole group is killed with
//! SIGKILL: an agent that ignores SIGTERM or leaves children behind must not act after its answer was taken. The group
//! is killed while its leader is still unreaped, so its number cannot belong to somebody else.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::clock::instant;
use crate::stop::Stop;

/// What is kept of each output stream; the rest is read and dropped.
const KEPT_BYTES: usize = 64 * 1024;
/// How long output is awaited after the process has ended: somebody who left the group may hold the pipe open.
const DRAIN: Duration = Duration::from_millis(500);
/// How often a wish to stop is noticed.
const TICK: Duration = Duration::from_millis(50);

/// How a child came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It exited with this code.
    Exited(i32),
    /// It was killed by a signal that was not ours.
    Signaled(i32),
    /// It was killed at its deadline.
    DeadlineReached,
    /// It was killed because somebody wants us to stop.
    Interrupted,
}

/// A child's end, and the first 64 KiB of each of its streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finished {
    pub(crate) ended: Ended,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Whether more was printed than is kept.
    pub(crate) truncated: bool,
}

enum Event {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    Closed,
    Ended,
}

/// Kills the group and reaps its leader, however the function is left.
struct Group(Child);

impl Group {
    fn id(&self) -> Pid {
        // A process id always fits: the kernel's own type is a signed 32-bit integer.
        Pid::from_raw(i32::try_from(self.0.id()).unwrap_or(i32::MAX))
    }

    fn kill(&self) {
        // ESRCH means that nobody is left, which is what is wanted.
        let _ = killpg(self.id(), Signal::SIGKILL);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        // A child that a dead disk holds in the kernel cannot even be killed now: it is left to init.
        let _ = self.0.try_wait();
    }
}

/// Runs `command` with `input` on its standard input, at most for `limit`; `waiting` is told the time every second.
///
/// # Errors
/// When the process or one of the threads that serve its pipes cannot be started; nothing is left running.
pub(crate) fn run(
    command: &mut Command,
    input: Vec<u8>,
    limit: Duration,
    waiting: &dyn Fn(Duration),
    stop: &Stop,
) -> io::Result<Finished> {
    let begun = instant();
    let child = command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut group = Group(child);
    let (events, received) = mpsc::channel();
    if let Some(mut stdin) = group.0.stdin.take() {
        // A child that does not read its request gets no help: the write fails when the group is killed.
        thread::Builder::new().spawn(move || drop(stdin.write_all(&input)))?;
    }
    if let Some(stdout) = group.0.stdout.take() {
        pump(stdout, Event::Stdout, events.clone())?;
    }
    if let Some(stderr) = group.0.stderr.take() {
        pump(stderr, Event::Stderr, events.clone())?;
    }
    let leader = group.id();
    thread::Builder::new().spawn(move || {
        // WNOWAIT leaves the leader unreaped, and with it the group's number reserved, until Group is dropped.
        let _ = waitid(Id::Pid(leader), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        let _ = events.send(Event::Ended);
    })?;

    let mut output = Output::default();
    let mut told = 0;
    let cut_short = loop {
        let elapsed = begun.elapsed();
        if stop.requested() {
            break Some(Ended::Interrupted);
        }
        let Some(left) = limit.checked_sub(elapsed).filter(|left| !left.is_zero()) else {
            break Some(Ended::DeadlineReached);
        };
        if elapsed.as_secs() > told {
            told = elapsed.as_secs();
            waiting(elapsed);
        }
        match received.recv_timeout(left.min(TICK)) {
            Ok(Event::Ended) => break None,
            Ok(event) => output.take(event),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break None,
        }
    };

    group.kill();
    let mut is_over = cut_short.is_none();
    let drained_by = instant() + DRAIN;
    while output.open > 0 || !is_over {
        match received.recv_timeout(drained_by.saturating_duration_since(instant())) {
            Ok(Event::Ended) => is_over = true,
            Ok(event) => output.take(event),
            Err(_) => break,
        }
    }
    if !is_over {
        // Killed, and still there: the kernel holds it, for as long as a disk or a file server does not answer.
        return Ok(output.finish(cut_short.unwrap_or(Ended::DeadlineReached)));
    }
    let status = group.0.wait()?;
    let ended = cut_short.unwrap_or_else(|| match status.code() {
        Some(code) => Ended::Exited(code),
        None => Ended::Signaled(std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or_default()),
    });
    Ok(output.finish(ended))
}

/// What the two streams have said so far.
struct Output {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    truncated: bool,
    open: u8,
}

impl Default for Output {
    fn default() -> Self {
        Self { stdout: Vec::new(), stderr: Vec::new(), truncated: false, open: 2 }
    }
}

impl Output {
    fn take(&mut self, event: Event) {
        let (kept, bytes) = match event {
            Event::Stdout(bytes) => (&mut self.stdout, bytes),
            Event::Stderr(bytes) => (&mut self.stderr, bytes),
            Event::Closed => {
                self.open = self.open.saturating_sub(1);
                return;
            }
            Event::Ended => return,
        };
        let room = KEPT_BYTES - kept.len();
        self.truncated |= bytes.len() > room;
        kept.extend(bytes.into_iter().take(room));
    }

    fn finish(self, ended: Ended) -> Finished {
        Finished {
            ended,
            stdout: String::from_utf8_lossy(&self.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&self.stderr).into_owned(),
            truncated: self.truncated,
        }
    }
}

/// Reads a stream to its end in a thread of its own, so that a child never blocks on a full pipe.
fn pump(mut from: impl Read + Send + 'static, event: fn(Vec<u8>) -> Event, to: Sender<Event>) -> io::Result<()> {
    thread::Builder::new().spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    if to.send(event(buffer[..length].to_vec())).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let _ = to.send(Event::Closed);
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Finished {
        run(Command::new("/bin/sh").args(["-c", script]), b"action=status\n".to_vec(), limit, &|_| {}, &Stop::default())
            .unwrap()
    }

    const LONG: Duration = Duration::from_secs(20);
    /// For what never ends by itself: long enough for a shell to start and to speak.
    const SHORT: Duration = Duration::from_secs(2);

    #[test]
    fn input_output_and_exit_code_are_carried() {
        let done = shell("cat; echo oops >&2; exit 2", LONG);
        assert_eq!(done.ended, Ended::Exited(2));
        assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("action=status\n", "oops\n"));
    }

    #[test]
    fn a_child_that_ignores_sigterm_dies_at_the_deadline_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let pid_file = directory.path().join("pid");
        let script = format!(
            "trap '' TERM HUP; (trap '' TERM; echo $$ >/dev/null; exec sleep 600) & echo $! > {0}; wait; sleep 600",
            pid_file.display()
        );
        let begun = instant();
        let done = shell(&script, SHORT);
        assert_eq!(done.ended, Ended::DeadlineReached);
        assert!(begun.elapsed() < Duration::from_secs(5), "took {:?}", begun.elapsed());
        let grandchild: i32 = std::fs::read_to_string(pid_file).unwrap().trim().parse().unwrap();
        assert_gone(grandchild);
    }

    #[test]
    fn children_left_behind_by_a_child_that_exits_are_killed_too() {
        let done = shell("sleep 600 >/dev/null 2>&1 & echo $!; exit 0", LONG);
        assert_eq!(done.ended, Ended::Exited(0));
        assert_gone(done.stdout.trim().parse().unwrap());
    }

    #[test]
    fn somebody_who_left_the_group_and_holds_the_pipe_does_not_hold_us() {
        let begun = instant();
        let done = shell("setsid sleep 10 & echo said; exit 0", LONG);
        assert_eq!((done.ended, done.stdout.as_str()), (Ended::Exited(0), "said\n"));
        assert!(begun.elapsed() < Duration::from_secs(10), "took {:?}", begun.elapsed());
    }

    #[test]
    fn endless_output_is_cut_and_said_to_be() {
        let done = shell("yes fence", SHORT);
        assert_eq!(done.ended, Ended::DeadlineReached);
        assert_eq!((done.stdout.len(), done.truncated), (KEPT_BYTES, true));
    }

    #[test]
    fn a_large_request_to_a_child_that_does_not_read_does_not_block() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exit 7"]);
        let done = run(&mut command, vec![b'x'; 1 << 20], LONG, &|_| {}, &Stop::default()).unwrap();
        assert_eq!(done.ended, Ended::Exited(7));
    }

    #[test]
    fn a_wish_to_stop_kills_the_child() {
        let stop = Stop::default();
        stop.request();
        let done = run(Command::new("/bin/sleep").arg("600"), vec![], LONG, &|_| {}, &stop).unwrap();
        assert_eq!(done.ended, Ended::Interrupted);
    }

    fn assert_gone(pid: i32) {
        let deadline = instant() + Duration::from_secs(5);
        loop {
            // An orphan is a zombie until init reaps it; a zombie does nothing any more.
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
            if matches!(state, None | Some('Z' | 'X')) {
                return;
            }
            assert!(instant() < deadline, "process {pid} still runs: {stat}");
            thread::yield_now();
        }
    }
}
