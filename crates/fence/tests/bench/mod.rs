//! A bench for the `fence` program: a directory of its own, a configuration, agents made of shell script, and the history.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]
#![expect(dead_code, reason = "each test file uses its own part of the bench")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bc_model::fencing::{Evidence, FenceReport, HistoryLine};
use tempfile::TempDir;

/// What a run of `fence` said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// The report that `--json` printed.
    pub(crate) fn report(&self) -> FenceReport {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }
}

/// `device action=state` of each call.
pub(crate) fn calls(evidence: &[Evidence]) -> Vec<String> {
    evidence.iter().map(|e| format!("{} {}={}", e.device, e.action, e.state)).collect()
}

pub(crate) struct Bench {
    directory: TempDir,
    config: String,
}

impl Default for Bench {
    fn default() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = format!("history = \"{}\"\n", directory.path().join("history.jsonl").display());
        Self { directory, config }
    }
}

impl Bench {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Adds lines to the configuration.
    pub(crate) fn config(mut self, lines: &str) -> Self {
        self.config.push_str(lines);
        self.config.push('\n');
        self
    }

    /// Adds a node.
    pub(crate) fn node(self, name: &str, levels: &str) -> Self {
        self.config(&format!("[nodes.{name}]\nlevels = {levels}"))
    }

    /// Adds a device whose agent is this shell script; `$action` holds the request's action, `$here` this directory.
    ///
    /// Every request is kept in `NAME.requests`.
    pub(crate) fn agent(self, name: &str, timeout: &str, script: &str) -> Self {
        let path = self.path(name);
        let here = self.directory.path().display();
        install(
            &path,
            &format!(
                "#!/bin/sh\n# A stand-in for a fence agent, for tests.\nhere={here}\nwhile IFS= read -r line; do\n  \
                 printf '%s\\n' \"$line\" >>\"$0.requests\"\n  case $line in action=*) action=${{line#action=}} ;; esac\ndone\n\
                 echo $# >>\"$0.arguments\"\n{script}\n"
            ),
        );
        let command = path.display().to_string();
        self.config(&format!(
            "[devices.{name}]\nagent = \"exec\"\ncommand = \"{command}\"\ntimeout = \"{timeout}\"\ngrade = \"A\""
        ))
    }

    /// The agent that was added last proves no more than this.
    pub(crate) fn proving(mut self, grade: &str) -> Self {
        let last = self.config.rfind("grade = \"A\"").unwrap();
        self.config.replace_range(last.., &format!("grade = \"{grade}\"\n"));
        self
    }

    /// The requests that the agent `name` has had.
    pub(crate) fn requests(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.requests"))).unwrap_or_default()
    }

    /// Writes `fence.toml`, and says where.
    pub(crate) fn write_config(&self) -> PathBuf {
        let file = self.path("fence.toml");
        // A request that runs at the same time must not find the file half written.
        if fs::read_to_string(&file).ok().as_ref() != Some(&self.config) {
            fs::write(&file, &self.config).unwrap();
        }
        file
    }

    /// Links the program to this name in the bench's directory.
    pub(crate) fn link_agent(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        match std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_fence"), &path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => panic!("{}: {error}", path.display()),
            _ => path,
        }
    }

    /// The program by its agent's name.
    pub(crate) fn agent_command(&self) -> Command {
        let mut command = Command::new(self.link_agent("fence_bc"));
        command.env("FENCE_CONFIG", self.write_config()).env_remove("SUDO_USER").env_remove("PCMK_service");
        command
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let file = self.write_config();
        let mut command = Command::new(env!("CARGO_BIN_EXE_fence"));
        command.arg("--config").arg(file).args(arguments).env_remove("FENCE_CONFIG").env_remove("SUDO_USER");
        command
    }

    pub(crate) fn fence(&self, arguments: &[&str]) -> Said {
        finish(self.start(arguments))
    }

    /// Starts `fence` and does not wait for it.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The beginnings and ends in the history: `intent NODE`, `verdict NODE CONFIRMED`, with `merged` behind it if it was.
    pub(crate) fn history(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("history.jsonl")).unwrap_or_default();
        let line = |line: &str| match serde_json::from_str(line) {
            Ok(HistoryLine::Intent(intent)) => Some(format!("intent {}", intent.node)),
            Ok(HistoryLine::Verdict(report)) => {
                let merged = if report.merged { " merged" } else { "" };
                Some(format!("verdict {} {}{merged}", report.node, report.confirmed))
            }
            Ok(_) => None,
            Err(error) => Some(format!("unreadable: {error}")),
        };
        text.lines().filter_map(line).collect()
    }
}

pub(crate) fn finish(child: Child) -> Said {
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Runs a shell script as root of a mount, network and process namespace of its own, and nothing of it is left behind.
pub(crate) fn in_own_namespace(script: &str, limit: Duration) -> Option<Said> {
    if !nix::unistd::geteuid().is_root() {
        skip("only root can make a namespace with mounts of its own");
        return None;
    }
    let seconds = limit.as_secs().to_string();
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", &seconds, "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]);
    command.args(["--mount-proc", "bash", "-c", script]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    Some(finish(child))
}

/// An agent whose plug is the file `plug`, on unless it says off.
pub(crate) const HONEST: &str = r#"
case $action in
  off|on) echo $action >$here/plug; echo "Success: Powered $action" ;;
  status|monitor) grep -qs off $here/plug && { echo Status: OFF; exit 2; }; echo Status: ON ;;
  *) exit 1 ;;
esac"#;

/// Writes an executable file.
///
/// By a process of its own: a file that this process still has open for writing, in whatever child another test is just
/// starting, cannot be executed ("text file busy").
pub(crate) fn install(path: &Path, content: &str) {
    let mut child =
        Command::new("install").args(["-m", "755", "/dev/stdin"]).arg(path).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(content.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "install {}", path.display());
}

/// Whether `program` is there; its absence skips a test aloud, and fails it where CI=true.
pub(crate) fn have(program: &str, package: &str) -> bool {
    let found =
        ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|directory| Path::new(directory).join(program).exists());
    if !found {
        skip(&format!("{program} is missing: apt-get install {package}"));
    }
    found
}

/// Says why a test is skipped; where CI=true nothing may be.
#[expect(clippy::print_stderr, reason = "the test harness shows it with the test's name")]
pub(crate) fn skip(reason: &str) {
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{reason}");
    eprintln!("SKIPPED: {reason}");
}
