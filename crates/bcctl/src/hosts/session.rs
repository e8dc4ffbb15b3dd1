//! A shell that stays open on a machine: connected once, `sudo` once, then a round trip per piece of work.
//!
//! What is written into the shell are whole lines, each running one script in a shell of its own, so a script that does not
//! parse, or exits, harms nobody else. After each, a mark on both streams says that it is over:
//!
//! ```text
//! stdout  …what it said…<RS>TOKEN STATUS<LF>          stderr  …<RS>TOKEN<LF>
//! ```

use std::io::{Read, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::copies::LEAVE;
use super::{Ended, Output, Unreached, Until, Work, Worked};
use crate::clock::{Clock, SystemClock};
use crate::command::{outlives, quote};

/// How often it is looked whether the shell still lives while nothing comes back.
const TICK: Duration = Duration::from_millis(50);
/// Between two looks on the machine itself.
const PAUSE: &str = "0.02";
/// Ends what a script said; no program that we run writes it.
const MARK: char = '\u{1e}';
/// Stands before each look on the error stream: only what the last one said counts.
const AGAIN: char = '\u{1d}';

/// A part of what came back.
enum Part {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
}

/// An open shell.
pub(super) struct Session {
    child: Child,
    stdin: ChildStdin,
    parts: Receiver<Part>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    token: String,
}

/// Work that the shell did not live to the end of; the session is of no more use.
pub(super) struct Lost {
    /// What is known: what ended before, and last an output that says what became of the rest.
    pub(super) outputs: Vec<Output>,
}

impl Session {
    /// Starts `command`, which has to end up in a shell that reads its standard input. It gets a process group of its own,
    /// so that Ctrl-C at the terminal stops `bcctl` between two steps and not a step in the middle. `prelude` stands before
    /// every script: whole lines, or nothing.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub(super) fn open(mut command: Command, prelude: &str) -> Result<Self, Output> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let name = command.get_program().to_string_lossy().into_owned();
        let not_started = |error: String| Output {
            end: Ended::Unreached(Unreached::NotStarted),
            stdout: String::new(),
            stderr: format!("{name}: {error}"),
        };
        let mut child = command.spawn().map_err(|error| not_started(error.to_string()))?;
        let Some(stdin) = child.stdin.take() else { return Err(not_started("no standard input".to_owned())) };
        let (sender, parts) = channel();
        drain(child.stdout.take(), sender.clone(), Part::Stdout);
        drain(child.stderr.take(), sender, Part::Stderr);
        let token = format!("bcctl-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut session = Self { child, stdin, parts, stdout: Vec::new(), stderr: Vec::new(), token };
        // A shell that is gone already is found out by the first piece of work.
        let first = format!("cd /; export LC_ALL=C; nl='\n'; prelude={}\n", quote(prelude));
        let _ = session.stdin.write_all(first.as_bytes());
        Ok(session)
    }

    /// Has the shell do lines that say nothing, before everything else.
    pub(super) fn first(&mut self, lines: &str) {
        let _ = self.stdin.write_all(lines.as_bytes());
    }

    /// Whether the shell still runs, as far as this side knows.
    pub(super) fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Does a piece of work, at most `limit`.
    pub(super) fn work(&mut self, work: &Work, limit: Duration) -> Result<Worked, Lost> {
        let lines = lines(work, &self.token);
        let answers = work.deeds.len() + work.looks.len();
        let mut outputs = self.exchange(&lines, answers, limit)?;
        let mut looks = outputs.split_off(work.deeds.len());
        outputs.retain(|output| output.end != NOT_RUN);
        // All looks are over when the first mark is written, and only the complaint of the last one is kept.
        let complaint = looks.first_mut().map(|first| std::mem::take(&mut first.stderr));
        looks.retain(|output| output.end != NOT_RUN);
        if let (Some(last), Some(complaint)) = (looks.last_mut(), complaint) {
            last.stderr = complaint;
        }
        Ok(Worked { deeds: outputs, looks })
    }

    /// Runs a line in the shell itself, so that what it opens stays open as long as the shell lives.
    pub(super) fn keep(&mut self, line: &str, limit: Duration) -> Result<Output, Lost> {
        let token = &self.token;
        let lines = format!("{line}; s=$?; printf '\\036%s %s\\n' {token} \"$s\"; printf '\\036%s\\n' {token} >&2\n");
        let mut outputs = self.exchange(&lines, 1, limit)?;
        outputs.pop().ok_or(Lost { outputs: Vec::new() })
    }

    fn exchange(&mut self, lines: &str, answers: usize, limit: Duration) -> Result<Vec<Output>, Lost> {
        let clock = SystemClock::new();
        let mut outputs = Vec::new();
        // A pipe that is closed says less than what the other end has written before it died.
        let _ = self.stdin.write_all(lines.as_bytes()).and_then(|()| self.stdin.flush());
        while outputs.len() < answers {
            if let Some(output) = self.next() {
                outputs.push(output);
                continue;
            }
            match self.parts.recv_timeout(TICK) {
                Ok(part) => self.take(part),
                Err(RecvTimeoutError::Timeout) if !self.lives() => return Err(self.lost(outputs)),
                Err(RecvTimeoutError::Disconnected) => return Err(self.lost(outputs)),
                Err(RecvTimeoutError::Timeout) if clock.now() >= limit => {
                    outputs.push(self.rest(Ended::TimedOut));
                    return Err(Lost { outputs });
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        Ok(outputs)
    }

    fn take(&mut self, part: Part) {
        match part {
            Part::Stdout(bytes) => self.stdout.extend(bytes),
            Part::Stderr(bytes) => self.stderr.extend(bytes),
        }
    }

    /// The next whole answer, if it is there.
    fn next(&mut self) -> Option<Output> {
        let (said, status) = cut(&self.stdout, &format!("{MARK}{} ", self.token))?;
        let (complaint, _) = cut(&self.stderr, &format!("{MARK}{}", self.token))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let number = text(&self.stdout[status.clone()]).trim().parse();
        let output = Output {
            end: number.map_or(NOT_RUN, Ended::Exit),
            stdout: text(&self.stdout[..said]),
            stderr: text(&self.stderr[..complaint]).rsplit(AGAIN).next().unwrap_or_default().to_owned(),
        };
        self.stdout.drain(..status.end);
        let (_, end) = cut(&self.stderr, &format!("{MARK}{}", self.token))?;
        self.stderr.drain(..end.end);
        Some(output)
    }

    /// What is to be said when the shell has gone.
    fn lost(&mut self, mut outputs: Vec<Output>) -> Lost {
        // It may have said why.
        while let Ok(part) = self.parts.recv_timeout(TICK) {
            self.take(part);
        }
        while let Some(output) = self.next() {
            outputs.push(output);
        }
        let status = self.child.wait().ok();
        let status =
            status.map_or(255, |status| status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()));
        outputs.push(self.rest(Ended::Exit(status)));
        Lost { outputs }
    }

    fn rest(&mut self, end: Ended) -> Output {
        let text = |bytes: &mut Vec<u8>| String::from_utf8_lossy(&std::mem::take(bytes)).into_owned();
        let (stdout, stderr) = (text(&mut self.stdout), text(&mut self.stderr));
        Output { end, stdout, stderr: stderr.rsplit(AGAIN).next().unwrap_or_default().to_owned() }
    }
}

impl Drop for Session {
    /// Ends the group; what runs on the other machine is not ours to stop. The child is reaped.
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A script that was passed over, because one before it failed.
const NOT_RUN: Ended = Ended::Exit(-1);

/// Where the text before a mark ends, and where the words after the mark are, line end included.
fn cut(bytes: &[u8], mark: &str) -> Option<(usize, std::ops::Range<usize>)> {
    let at = bytes.windows(mark.len()).position(|window| window == mark.as_bytes())?;
    let words = at + mark.len();
    let end = words + bytes[words..].iter().position(|byte| *byte == b'\n')? + 1;
    Some((at, words..end))
}

/// The lines that do `work`: deeds one after the other until one fails, then looks until all hold or the time is over; or
/// both at the same time. What a deed starts does not keep the lock of the shell ([`super::copies::join`]).
fn lines(work: &Work, token: &str) -> String {
    let mark = format!("printf '\\036%s %s\\n' {token} \"$s\"; printf '\\036%s\\n' {token} >&2\n");
    let unset: String = (0..work.looks.len()).map(|index| format!("s{index}=x; o{index}=; ")).collect();
    let mut text = format!("ok=1; {unset}\n");
    match work.deeds.as_slice() {
        [deed] if work.meanwhile && !work.looks.is_empty() => {
            // What the looks complain about is not kept: if they do not hold in the end, it is looked again.
            text.push_str(&format!(
                "sh -c \"$prelude\"{} </dev/null >&2 & p=$!; t=; while :; do\n{}[ ! \"$all\" ] || {{ s=0; break; }}\n\
                 if [ ! \"$t\" ] && ! kill -0 $p 2>/dev/null; then wait $p; s=$?; [ $s = 0 ] || break; t=$(date +%s); fi\n\
                 [ ! \"$t\" ] || {}; sleep {PAUSE}; done\n{mark}",
                quote(deed),
                round(work, "2>/dev/null"),
                over(work.patience)
            ));
        }
        deeds => {
            for deed in deeds {
                text.push_str(&format!(
                    "s=x; if [ \"$ok\" ]; then {}sh -c \"$prelude\"{} </dev/null 8>&-; s=$?; [ \"$s\" = 0 ] || ok=; fi; {mark}",
                    if outlives(deed) { LEAVE } else { "" },
                    quote(deed)
                ));
            }
            if !work.looks.is_empty() {
                text.push_str(&format!(
                    "if [ \"$ok\" ]; then t=$(date +%s); while :; do\n{}[ ! \"$all\" ] || break; {}; sleep {PAUSE}; done; fi\n",
                    round(work, ""),
                    over(work.patience)
                ));
            }
        }
    }
    for index in 0..work.looks.len() {
        text.push_str(&format!("s=$s{index}; printf '%s' \"$o{index}\"; {mark}"));
    }
    text
}

/// One round of the looks, up to the first that does not hold; `all` is empty then.
fn round(work: &Work, redirection: &str) -> String {
    let mut text: String = (0..work.looks.len()).map(|index| format!("s{index}=x; ")).collect();
    text.push_str("all=1\n");
    for (index, look) in work.looks.iter().enumerate() {
        let holds = match look.until {
            Until::Success => "true".to_owned(),
            Until::True => format!("case $o{index} in t|t\"$nl\"*) true;; *) false;; esac"),
        };
        let again = if redirection.is_empty() { "printf '\\035' >&2; " } else { "" };
        text.push_str(&format!(
            "if [ \"$all\" ]; then {again}o{index}=$(sh -c \"$prelude\"{} </dev/null {redirection}); s{index}=$?; \
             [ \"$s{index}\" = 0 ] && {holds} || all=; fi\n",
            quote(&look.script)
        ));
    }
    text
}

/// Ends the loop when the patience, counted from `$t`, is over; a loop without patience goes round once.
fn over(patience: Duration) -> String {
    match patience.as_secs() {
        0 => "break".to_owned(),
        seconds => format!("[ \"$(date +%s)\" -lt \"$((t + {seconds}))\" ] || break"),
    }
}

fn drain(pipe: Option<impl Read + Send + 'static>, sender: Sender<Part>, part: fn(Vec<u8>) -> Part) {
    let Some(mut pipe) = pipe else { return };
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            if sender.send(part(buffer[..count].to_vec())).is_err() {
                break;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::Look;
    use super::*;
    use crate::command::At;

    fn session() -> Session {
        Session::open(Command::new("sh"), "").unwrap_or_else(|output| panic!("{output:?}"))
    }

    fn work(deeds: &[&str], looks: &[(&str, Until)]) -> Work {
        Work {
            at: At::Operator,
            deeds: deeds.iter().map(|deed| (*deed).to_owned()).collect(),
            looks: looks.iter().map(|(script, until)| Look { script: (*script).to_owned(), until: *until }).collect(),
            patience: LONG,
            meanwhile: false,
        }
    }

    fn done(session: &mut Session, of: &Work, limit: Duration) -> Worked {
        session.work(of, limit).unwrap_or_else(|lost| panic!("{:?}", lost.outputs))
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn both_streams_and_the_status_of_every_script_come_back_until_one_fails() {
        let mut session = session();
        let worked =
            done(&mut session, &work(&["echo data; echo words >&2", "printf x; exit 3", "echo never"], &[]), LONG);
        let seen: Vec<_> =
            worked.deeds.iter().map(|output| (output.end, output.stdout.as_str(), output.stderr.as_str())).collect();
        assert_eq!(seen, [(Ended::Exit(0), "data\n", "words\n"), (Ended::Exit(3), "x", "")]);
        // What does not parse harms nobody else.
        let worked = done(&mut session, &work(&["echo 'open"], &[]), LONG);
        assert!(!worked.deeds[0].succeeded(), "{worked:?}");
        assert!(done(&mut session, &work(&["true"], &[]), LONG).deeds[0].succeeded());
    }

    #[test]
    fn output_larger_than_a_pipe_does_not_block() {
        let worked = done(&mut session(), &work(&["head -c 300000 /dev/zero | tr '\\0' x"], &[]), LONG);
        assert_eq!(worked.deeds[0].stdout.len(), 300_000);
    }

    #[test]
    fn looks_are_repeated_on_the_machine_until_all_hold() {
        let directory = tempfile::tempdir().expect("a directory");
        let count = directory.path().join("count");
        let look = format!(
            "echo no >&2; echo >>{0}; [ $(wc -l <{0}) -lt 4 ] && echo f || {{ echo t; echo n=1; }}",
            count.display()
        );
        let of = work(&["echo deed"], &[("true", Until::Success), (&look, Until::True)]);
        let worked = done(&mut session(), &of, LONG);
        assert_eq!(worked.looks.len(), 2);
        assert_eq!((worked.looks[1].stdout.as_str(), worked.looks[1].stderr.as_str()), ("t\nn=1", "no\n"));
        let mut once = work(&[], &[("exit 4", Until::Success), ("true", Until::Success)]);
        once.patience = Duration::ZERO;
        let worked = done(&mut session(), &once, LONG);
        assert_eq!(worked.looks.iter().map(|output| output.end).collect::<Vec<_>>(), [Ended::Exit(4)]);
        let worked = done(&mut session(), &work(&["false"], &[("true", Until::Success)]), LONG);
        assert_eq!((worked.deeds.len(), worked.looks.len()), (1, 0), "nothing is looked at after a failure");
    }

    #[test]
    fn looks_beside_a_deed_end_it_sooner_and_its_failure_ends_them() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("done");
        let look = format!("[ -e {} ] && echo seen", file.display());
        let mut of = work(&[&format!("touch {}; sleep 600", file.display())], &[(&look, Until::Success)]);
        of.meanwhile = true;
        let worked = done(&mut session(), &of, LONG);
        assert_eq!((worked.deeds[0].end, worked.looks[0].stdout.as_str()), (Ended::Exit(0), "seen"));
        let mut of = work(&["echo sorry >&2; exit 7"], &[("false", Until::Success)]);
        of.meanwhile = true;
        let worked = done(&mut session(), &of, LONG);
        assert_eq!((worked.deeds[0].end, worked.deeds[0].stderr.as_str()), (Ended::Exit(7), "sorry\n"));
        let mut of = work(&["true"], &[("false", Until::Success)]);
        (of.meanwhile, of.patience) = (true, Duration::from_secs(1));
        let worked = done(&mut session(), &of, LONG);
        assert_eq!((worked.deeds[0].end, worked.looks[0].end), (Ended::Exit(0), Ended::Exit(1)));
    }

    #[test]
    fn a_script_that_does_not_end_is_given_up_with_what_it_said() {
        let mut session = session();
        let lost = session.work(&work(&["echo before; sleep 600"], &[]), Duration::from_secs(2));
        let Err(lost) = lost else { panic!("it ended") };
        assert_eq!((lost.outputs[0].end, lost.outputs[0].stdout.as_str()), (Ended::TimedOut, "before\n"));
    }

    #[test]
    fn a_shell_that_dies_says_what_it_said() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo denied >&2; exit 255"]);
        let mut session = Session::open(command, "").unwrap_or_else(|output| panic!("{output:?}"));
        let Err(lost) = session.work(&work(&["true"], &[]), LONG) else { panic!("it lives") };
        assert_eq!((lost.outputs[0].end, lost.outputs[0].stderr.as_str()), (Ended::Exit(255), "denied\n"));
    }

    #[test]
    fn a_background_process_that_keeps_the_pipe_does_not_delay_the_end() {
        let mut session = session();
        let worked = done(&mut session, &work(&["sleep 30 & echo done"], &[]), Duration::from_secs(20));
        assert_eq!(worked.deeds[0].stdout, "done\n");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let Err(output) = Session::open(Command::new("/no/such/program"), "") else { panic!("it started") };
        assert_eq!(output.end, Ended::Unreached(Unreached::NotStarted));
        assert!(output.stderr.starts_with("/no/such/program: "));
    }
}
