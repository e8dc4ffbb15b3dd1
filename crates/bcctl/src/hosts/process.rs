//! One child process with a deadline.

use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::{Ended, Output, Unreached};
use crate::clock::{Clock, SystemClock};

/// How often a running child is looked at, at first and at most.
const POLL: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));
/// How long output may still come after the child has ended: a background `ssh` master may keep the pipe open.
const GRACE: Duration = Duration::from_millis(500);

/// Runs `command` in a process group of its own, so that Ctrl-C at the terminal stops `bcctl` between two steps and not
/// a step in the middle. At `limit` the whole group is killed.
pub(super) fn run(mut command: Command, limit: Duration) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let end = Ended::Unreached(Unreached::NotStarted);
            return Output { end, stdout: String::new(), stderr: format!("{name}: {error}") };
        }
    };
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let clock = SystemClock::new();
    let mut pause = POLL.0;
    let end = loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                use std::os::unix::process::ExitStatusExt as _;
                break Ended::Exit(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()));
            }
            Ok(None) if clock.now() < limit => {
                clock.pause(pause);
                pause = (pause * 2).min(POLL.1);
            }
            Ok(None) | Err(_) => {
                kill(&mut child);
                break Ended::TimedOut;
            }
        }
    };
    let read = |receiver: Receiver<Vec<u8>>| {
        let mut bytes = Vec::new();
        while let Ok(part) = receiver.recv_timeout(GRACE) {
            bytes.extend(part);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Output { end, stdout: read(stdout), stderr: read(stderr) }
}

/// Kills the group; the child is reaped so that it leaves no zombie.
fn kill(child: &mut Child) {
    if let Ok(pid) = i32::try_from(child.id()) {
        let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    if let Some(mut pipe) = pipe {
        std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
    }
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> Output {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(command, limit)
    }

    #[test]
    fn both_streams_and_the_status_come_back() {
        let output = sh("echo data; echo words >&2; exit 3", Duration::from_secs(10));
        assert_eq!((output.end, output.stdout.as_str(), output.stderr.as_str()), (Ended::Exit(3), "data\n", "words\n"));
    }

    #[test]
    fn output_larger_than_a_pipe_does_not_block() {
        let output = sh("head -c 300000 /dev/zero | tr '\\0' x", Duration::from_secs(10));
        assert_eq!((output.end, output.stdout.len()), (Ended::Exit(0), 300_000));
    }

    #[test]
    fn a_child_that_does_not_end_is_killed_with_its_children() {
        let output = sh("echo before; sleep 600 & sleep 600", Duration::from_secs(2));
        assert_eq!((output.end, output.stdout.as_str()), (Ended::TimedOut, "before\n"));
    }

    #[test]
    fn a_background_process_that_keeps_the_pipe_does_not_delay_the_end() {
        let output = sh("sleep 3 & echo done", Duration::from_secs(10));
        assert_eq!((output.end, output.stdout.as_str()), (Ended::Exit(0), "done\n"));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let output = run(Command::new("/no/such/program"), Duration::from_secs(1));
        assert_eq!(output.end, Ended::Unreached(Unreached::NotStarted));
        assert!(output.stderr.starts_with("/no/such/program: "));
    }
}
