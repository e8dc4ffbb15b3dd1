//! Holds bcctl at one command of one step, so that it can be killed exactly there.
//!
//! Everything that bcctl does on a host goes through a `sh -c` there (and what it does at the operator's machine through one here). A
//! stand-in for `sh` asks bcctl's own journal which step is at work, and stops before the command that the test has named:
//!
//! ```text
//! bcctl ─ssh─▶ shell ─▶ sh -c DEED ──▶ held: test kills bcctl ──▶ cut: its shells end with it, the command never ran
//!                                                             └─▶ run: its shells live on, and do what they were told
//! ```

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::site::Site;

/// `$1` is `-c`, `$2` the script. Words of a call: steps at work, host, what it is, sum of the script without numbers, its beginning.
const SHELL: &str = r#"#!/bin/sh
[ "$1" = -c ] && [ -e "$SITE/gate/on" ] && [ -z "$BC_INSIDE" ] || exec /bin/sh "$@"
export BC_INSIDE=1
journal=$(ls "$BC_STATE"/test/*.jsonl 2>/dev/null | tail -n 1)
[ -n "$journal" ] || exec /bin/sh "$@"
steps=$(awk -F'"' '$8 == "resumed" { split("", open) } $8 == "begin" { open[$12] = 1 }
    $8 == "done" || $8 == "skipped" || $8 == "failed" { delete open[$12] }
    END { for (step in open) text = text step " "; print text }' "$journal")
case $2 in *"jsonl && sync"*) kind=copy;; *" status "*--json|*" manifest --json") kind=look;; *)
    # What most looks say is caught by the shell, and what a deed says goes to bcctl.
    out=$(readlink /proc/$$/fd/1)
    if [ -z "$BC_HOST" ] || [ "$out" = "$BC_OUT" ] || [ "$out" = "$BC_ERR" ]; then kind=deed; else kind=look; fi;;
esac
words=$(printf %s "$2" | tr '\n\t' '  ' | sed -E "s#$SITE#SITE#g; s#[0-9A-F]+/[0-9A-F]+#LSN#g; s/[0-9]+/N/g")
sum=$(printf %s "$words" | cksum)
[ $kind != copy ] || sum=copy
call="${BC_HOST:-operator} $kind $sum"
printf '%s\t%s\t%s\t%.150s\n' "$steps" "${BC_HOST:-operator}" "$call" "$words" >>"$SITE/gate/calls"
if [ -e "$SITE/gate/at" ] && read -r step wanted <"$SITE/gate/at" && [ "$wanted" = "$call" ]; then
    # A deed is one step's; a copy and a look may be another's as well.
    case " $steps - $kind" in *" $step "*|*deed) if mkdir "$SITE/gate/held" 2>/dev/null; then
        read -r verdict <"$SITE/gate/verdict"
        [ "$verdict" = run ] || exit 255
    fi;; esac
fi
exec /bin/sh "$@"
"#;

/// What a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// It writes lines of the journal to a host.
    Copy,
    /// It changes something.
    Deed,
    /// It only looks.
    Look,
}

/// A command, as the gate has seen it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// The steps that were at work.
    pub(crate) steps: Vec<String>,
    pub(crate) host: String,
    pub(crate) kind: Kind,
    /// Tells it from others.
    key: String,
    /// Its beginning, for people.
    pub(crate) words: String,
}

/// What becomes of the command at which bcctl is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It never ran: the connections of bcctl, and the shells on the hosts, have ended with it.
    Cut,
    /// The shells live on, and do what they were told, before anybody looks again.
    Finished,
    /// The shells live on, and do what they were told when the next bcctl is at work already.
    Late,
}

/// A bcctl that is held at a command.
pub(crate) struct Held<'a> {
    site: &'a Site,
    /// Tells its shells from those of another.
    state: String,
    pub(crate) bcctl: Child,
}

/// Puts the gate in; open.
pub(crate) fn install(site: &Site) {
    let path = site.path("bin/sh");
    fs::write(&path, SHELL).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
    fs::create_dir_all(site.path("gate")).expect("a directory");
    nix::unistd::mkfifo(&site.path("gate/verdict"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
}

/// Lets `work` run with every call written down, and returns them in their order.
pub(crate) fn record(site: &Site, work: impl FnOnce()) -> Vec<Call> {
    let _ = fs::remove_file(site.path("gate/calls"));
    fs::write(site.path("gate/on"), "").expect("a file");
    work();
    fs::remove_file(site.path("gate/on")).expect("a file");
    let text = fs::read_to_string(site.path("gate/calls")).expect("calls");
    text.lines().map(call).collect()
}

fn call(line: &str) -> Call {
    let mut parts = line.split('\t');
    let mut next = || parts.next().unwrap_or_else(|| panic!("no call: {line}")).to_owned();
    let (steps, host, key, words) = (next(), next(), next(), next());
    let steps = steps.split_whitespace().map(str::to_owned).collect();
    let kind = match key.split(' ').nth(1) {
        Some("copy") => Kind::Copy,
        Some("deed") => Kind::Deed,
        _ => Kind::Look,
    };
    Call { steps, host, kind, key, words }
}

impl Call {
    /// The writing of lines of the journal to `host`.
    pub(crate) fn copy_to(host: &str) -> Self {
        let (host, key) = (host.to_owned(), format!("{host} copy copy"));
        Self { steps: Vec::new(), host, kind: Kind::Copy, key, words: "a copy of the journal".to_owned() }
    }

    /// Whether two calls cannot be told apart.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

/// Starts bcctl, and returns when it is held at `call` of `step` (`-`: any time); `Err` if it ended before.
#[expect(clippy::disallowed_methods, reason = "a test waits with a deadline")]
pub(crate) fn hold<'a>(site: &'a Site, step: &str, call: &Call, arguments: &[&str]) -> Result<Held<'a>, String> {
    let _ = fs::remove_dir(site.path("gate/held"));
    fs::write(site.path("gate/at"), format!("{step} {}\n", call.key)).expect("a file");
    fs::write(site.path("gate/on"), "").expect("a file");
    let said = fs::File::create(site.path("gate/said")).expect("a file");
    let mut bcctl = site.bcctl(arguments).stdout(Stdio::null()).stderr(said).spawn().expect("bcctl starts");
    let said = || fs::read_to_string(site.path("gate/said")).unwrap_or_default();
    let held = (0..24_000).find_map(|_| {
        if site.path("gate/held").exists() {
            return Some(Ok(()));
        }
        if let Some(ended) = bcctl.try_wait().expect("a child") {
            return Some(Err(format!("ended with {ended} and was never held: {}", said())));
        }
        std::thread::sleep(Duration::from_millis(5));
        None
    });
    let _ = fs::remove_file(site.path("gate/on"));
    let _ = fs::remove_file(site.path("gate/at"));
    match held {
        Some(Ok(())) => Ok(Held { site, state: format!("BC_STATE={}", site.state().display()), bcctl }),
        Some(Err(words)) => Err(words),
        None => {
            let _ = bcctl.kill();
            let _ = bcctl.wait();
            Err(format!("not held within 120 s: {}", said()))
        }
    }
}

impl Held<'_> {
    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.bcctl.kill().expect("killed");
        self.bcctl.wait().expect("reaped");
    }

    /// The shells of bcctl on the hosts end at once.
    pub(crate) fn cut(&self) {
        for shell in self.shells() {
            let _ = nix::sys::signal::kill(shell, nix::sys::signal::Signal::SIGKILL);
        }
        self.release("cut");
        self.wait();
    }

    /// The command is carried out.
    pub(crate) fn run(&self) {
        self.release("run");
    }

    fn release(&self, verdict: &str) {
        let mut pipe = fs::OpenOptions::new().write(true).open(self.site.path("gate/verdict")).expect("somebody waits");
        writeln!(pipe, "{verdict}").expect("written");
    }

    /// Waits until no shell of bcctl is left on any host.
    #[expect(clippy::disallowed_methods, reason = "a test waits with a deadline")]
    pub(crate) fn wait(&self) {
        for _ in 0..12_000 {
            if self.shells().is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("shells of a dead bcctl are still there after 60 s: {:?}", self.shells());
    }

    /// What is left of the shells that this bcctl has opened.
    fn shells(&self) -> Vec<nix::unistd::Pid> {
        let text: String = ["pg1", "pg2", "go1", "go2"]
            .iter()
            .map(|host| fs::read_to_string(self.site.path(&format!("power/{host}.shells"))).unwrap_or_default())
            .collect();
        // A number may be somebody else's by now; a process that has ended has no environment.
        text.lines()
            .filter_map(|pid| pid.parse().ok())
            .filter(|pid: &i32| {
                let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environment.split(|byte| *byte == 0).any(|word| word == self.state.as_bytes())
            })
            .map(nix::unistd::Pid::from_raw)
            .collect()
    }
}
