//! A file of a host, as it was seen and as it shall be.
//!
//! Of a file that is the site's own only the lines between our two marks are ours; a file that is all ours is written whole. The old
//! file is kept beside the new one, and nothing is written over a file that has changed since it was shown.

use crate::command::{Command, quote};
use crate::judge::Check;

/// The marks around lines that are ours.
const MARKS: (&str, &str) = ("# bcctl begin: written by `bcctl setup`, changes here are lost", "# bcctl end");

/// What is ours in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ours {
    /// These lines, before all others: the first one that fits counts (`pg_hba.conf`).
    Top(Vec<String>),
    /// These lines, after all others: the last one counts (`postgresql.conf`).
    Bottom(Vec<String>),
    /// All of it.
    Whole(String),
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    /// The host.
    pub(crate) host: String,
    /// The step that writes it.
    pub(crate) id: &'static str,
    /// Its path.
    pub(crate) path: String,
    /// What is ours in it.
    pub(crate) ours: Ours,
    /// Owner and mode of a file that is not there yet.
    pub(crate) owner: String,
    /// The same.
    pub(crate) mode: &'static str,
    /// What it holds now; nothing if it is not there.
    pub(crate) old: Option<String>,
}

impl Edit {
    /// What the file holds afterwards.
    pub(crate) fn new_text(&self) -> String {
        let old = self.old.as_deref().unwrap_or_default();
        match &self.ours {
            Ours::Whole(text) => text.clone(),
            Ours::Top(_) => format!("{}{}", self.block(), without_ours(old)),
            Ours::Bottom(_) => format!("{}{}", without_ours(old), self.block()),
        }
    }

    /// Our lines between their marks.
    fn block(&self) -> String {
        let lines = match &self.ours {
            Ours::Top(lines) | Ours::Bottom(lines) => lines.join("\n"),
            Ours::Whole(text) => return text.clone(),
        };
        format!("{}\n{lines}\n{}\n", MARKS.0, MARKS.1)
    }

    /// The command that prints the file as it is.
    pub(crate) fn look(host: &str, path: &str) -> Command {
        Command::on(host, format!("[ -e {0} ] || exit 44; cat {0}", quote(path)))
    }

    /// Whether the file says what it shall say.
    pub(crate) fn done(&self) -> Check {
        let path = quote(&self.path);
        let ours = quote(self.block().trim_end_matches('\n'));
        let seen = match self.ours {
            Ours::Whole(_) => format!("cat {path} 2>/dev/null"),
            Ours::Top(_) | Ours::Bottom(_) => format!("sed -n '/^# bcctl begin/,/^# bcctl end$/p' {path} 2>/dev/null"),
        };
        let executable = if self.mode == "0755" { format!(" && [ -x {path} ]") } else { String::new() };
        Check::succeeds(Command::on(&self.host, format!("[ \"$({seen})\" = {ours} ]{executable}")))
    }

    /// Writes it, in one rename, if it still is what was shown. The old one is kept as `PATH.before-OPERATION`.
    pub(crate) fn write(&self, operation: &str) -> Command {
        let path = quote(&self.path);
        let block = self.block();
        let ours = quote(block.trim_end_matches('\n'));
        let rest = "sed -e '/^# bcctl begin/,/^# bcctl end$/d' -e '$a\\' -- \"$file\"";
        let unchanged = match &self.old {
            None => "[ ! -e \"$file\" ]".to_owned(),
            // The bytes that were shown, by number and checksum as POSIX counts them.
            Some(old) => format!("[ \"$(cksum <\"$file\")\" = '{}' ]", cksum(old.as_bytes())),
        };
        let print = format!("printf '%s\\n' {ours}");
        let content = match (&self.ours, &self.old) {
            (Ours::Whole(_), _) | (_, None) => print,
            (Ours::Top(_), Some(_)) => format!("{print}; {rest}"),
            (Ours::Bottom(_), Some(_)) => format!("{rest}; {print}"),
        };
        let owner = if self.old.is_some() {
            "cp -p -- \"$file\" \"$file.before-$operation\" && chown --reference=\"$file\" \"$new\" && chmod --reference=\"$file\" \"$new\"".to_owned()
        } else {
            format!("chown {} \"$new\" && chmod {} \"$new\"", self.owner, self.mode)
        };
        // A file of ours that lost its mode gets it again.
        let mode = if self.mode == "0755" { " && chmod 0755 \"$new\"" } else { "" };
        Command::on(
            &self.host,
            format!(
                "operation={}; mkdir -p \"$(dirname {path})\" && file=$(readlink -f {path}) && new=$file.bcctl && \
                 {{ {unchanged} || {{ echo \"$file has changed since it was shown\" >&2; false; }}; }} && \
                 {{ {content}; }} >\"$new\" && {owner}{mode} && sync \"$new\" && mv -T \"$new\" \"$file\" && sync \"$(dirname \"$file\")\"",
                quote(operation)
            ),
        )
    }
}

/// A text without our block, and with a newline at its end.
fn without_ours(text: &str) -> String {
    let mut ours = false;
    let mut rest = String::new();
    for line in text.lines() {
        ours |= line.starts_with("# bcctl begin");
        if !ours {
            rest.push_str(line);
            rest.push('\n');
        }
        ours &= line != MARKS.1;
    }
    rest
}

/// What `cksum` prints: the CRC of POSIX, and the number of bytes.
fn cksum(bytes: &[u8]) -> String {
    let step = |crc: u32, byte: u8| {
        (0..8).fold(crc ^ (u32::from(byte) << 24), |crc, _| {
            if crc & 0x8000_0000 == 0 { crc << 1 } else { (crc << 1) ^ 0x04C1_1DB7 }
        })
    };
    let mut crc = bytes.iter().fold(0, |crc, byte| step(crc, *byte));
    let mut length = bytes.len();
    while length > 0 {
        crc = step(crc, (length & 0xFF).to_le_bytes()[0]);
        length >>= 8;
    }
    format!("{} {}", !crc, bytes.len())
}

#[cfg(test)]
mod tests {
    use std::process::Command as Process;

    use super::*;

    fn run(command: &Command) -> bool {
        Process::new("sh")
            .args(["-c", &command.script])
            .stderr(std::process::Stdio::null())
            .status()
            .expect("sh")
            .success()
    }

    fn edit(path: &std::path::Path, ours: Ours) -> Edit {
        Edit {
            host: "pg1".to_owned(),
            id: "setup-settings",
            path: path.display().to_string(),
            ours,
            owner: "root:".to_owned(),
            mode: "0644",
            old: std::fs::read_to_string(path).ok(),
        }
    }

    #[test]
    fn what_is_shown_is_what_is_written_and_the_old_file_is_kept() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("it's a file.conf");
        let lines = || vec!["a = 'x'".to_owned(), "b = 2".to_owned()];
        for (number, old) in ["", "one\ntwo\n", "no newline at the end"].into_iter().enumerate() {
            for ours in [Ours::Top(lines()), Ours::Bottom(lines()), Ours::Whole("all $of `it`\n".to_owned())] {
                std::fs::write(&path, old).expect("a file");
                let edit = edit(&path, ours);
                assert!(!run(&edit.done().commands[0]), "not yet");
                assert!(run(&edit.write(&format!("op{number}"))), "{}", edit.write("op").script);
                assert_eq!(std::fs::read_to_string(&path).expect("a file"), edit.new_text());
                assert!(run(&edit.done().commands[0]), "done");
                let kept = format!("{}.before-op{number}", path.display());
                assert_eq!(std::fs::read_to_string(kept).expect("kept"), old);
            }
        }
    }

    #[test]
    fn our_lines_are_replaced_and_nobody_elses_are_touched() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("f");
        std::fs::write(&path, "one\n").expect("a file");
        let first = edit(&path, Ours::Bottom(vec!["a = 1".to_owned()])).new_text();
        std::fs::write(&path, format!("{first}after\n")).expect("a file");
        let second = edit(&path, Ours::Bottom(vec!["a = 2".to_owned()])).new_text();
        assert_eq!(second, format!("one\nafter\n{}\na = 2\n{}\n", MARKS.0, MARKS.1));
    }

    #[test]
    fn a_file_that_has_changed_since_it_was_shown_is_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("f");
        std::fs::write(&path, "shown\n").expect("a file");
        let edit = edit(&path, Ours::Bottom(vec!["a = 1".to_owned()]));
        std::fs::write(&path, "changed\n").expect("a file");
        assert!(!run(&edit.write("op")));
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), "changed\n");
    }

    #[test]
    fn a_checksum_is_what_cksum_prints() {
        for text in ["", "a", "hello\n", &"x".repeat(70_000)] {
            let mut child = Process::new("cksum")
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .expect("cksum");
            std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), text.as_bytes()).expect("written");
            let output = child.wait_with_output().expect("cksum");
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), cksum(text.as_bytes()));
        }
    }
}
