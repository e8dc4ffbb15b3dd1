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
    pub(crate) old: Option<Shown>,
}

/// A file as it was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// What `cksum` said of it: POSIX's checksum, and the number of bytes. What is compared; the text may not be UTF-8.
    pub(crate) checksum: String,
    /// What it held.
    pub(crate) text: String,
}

impl Shown {
    /// From what [`Edit::look`] printed.
    pub(crate) fn parse(printed: &str) -> Self {
        let (checksum, text) = printed.split_once('\n').unwrap_or_default();
        Self { checksum: checksum.to_owned(), text: text.to_owned() }
    }

    /// Whether our first mark stands there without the second: then it cannot be said what is ours.
    pub(crate) fn torn(&self) -> bool {
        self.text.lines().fold(false, |open, line| line.starts_with("# bcctl begin") || (open && line != MARKS.1))
    }
}

impl Edit {
    /// What the file holds now.
    pub(crate) fn old_text(&self) -> &str {
        self.old.as_ref().map_or("", |old| &old.text)
    }

    /// What the file holds afterwards.
    pub(crate) fn new_text(&self) -> String {
        let old = self.old_text();
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

    /// The command that prints the file as it is, after its checksum.
    pub(crate) fn look(host: &str, path: &str) -> Command {
        Command::on(host, format!("[ -e {0} ] || exit 44; cksum <{0} && cat {0}", quote(path)))
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

    /// Writes it, in one rename, if it still is what was shown: looked at before it is read and again before the rename. The old
    /// one is kept as `PATH.before-OPERATION`, and is on disk before the new one takes its name.
    pub(crate) fn write(&self, operation: &str) -> Command {
        let path = quote(&self.path);
        let block = self.block();
        let ours = quote(block.trim_end_matches('\n'));
        let rest = "sed -e '/^# bcctl begin/,/^# bcctl end$/d' -e '$a\\' -- \"$file\"";
        let as_shown = match &self.old {
            None => "[ ! -e \"$file\" ]".to_owned(),
            Some(old) => format!("[ \"$(cksum <\"$file\")\" = {} ]", quote(&old.checksum)),
        };
        let print = format!("printf '%s\\n' {ours}");
        let content = match (&self.ours, &self.old) {
            (Ours::Whole(_), _) | (_, None) => print,
            (Ours::Top(_), Some(_)) => format!("{print}; {rest}"),
            (Ours::Bottom(_), Some(_)) => format!("{rest}; {print}"),
        };
        let owner = if self.old.is_some() {
            "kept=$file.before-$operation && { [ -e \"$kept\" ] || cp -p -- \"$file\" \"$kept\"; } && sync \"$kept\" && \
             chown -h --reference=\"$file\" \"$new\" && chmod --reference=\"$file\" \"$new\""
                .to_owned()
        } else {
            format!("chown -h {} \"$new\" && chmod {} \"$new\"", self.owner, self.mode)
        };
        // `set -C` and `chown -h`: root follows no link that the owner of the directory puts there in the middle.
        // A file of ours that lost its mode gets it again.
        let mode = if self.mode == "0755" { " && chmod 0755 \"$new\"" } else { "" };
        Command::on(
            &self.host,
            format!(
                "set -C; operation={}; as_shown() {{ {as_shown} || {{ echo \"$file has changed since it was shown; nothing was written\" >&2; false; }}; }}\n\
                 mkdir -p \"$(dirname {path})\" && file=$(readlink -f {path}) && new=$file.bcctl && rm -f \"$new\" && as_shown && \
                 {{ {content}; }} >\"$new\" && {owner}{mode} && sync \"$new\" && \
                 if as_shown; then mv -T \"$new\" \"$file\"; else rm -f \"$new\"; false; fi && sync \"$(dirname \"$file\")\"",
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
            old: shown(path),
        }
    }

    /// The file, as `look` prints it.
    fn shown(path: &std::path::Path) -> Option<Shown> {
        let look = Edit::look("pg1", &path.display().to_string());
        let output = Process::new("sh").args(["-c", &look.script]).output().expect("sh");
        output.status.success().then(|| Shown::parse(&String::from_utf8_lossy(&output.stdout)))
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
        assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 1, "and nothing else is left");
    }

    #[test]
    fn a_file_that_changes_while_the_new_one_is_made_is_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("f");
        std::fs::write(&path, "shown\n").expect("a file");
        let write = edit(&path, Ours::Bottom(vec!["a = 1".to_owned()])).write("op");
        // Somebody saves the file in the moment after it was read.
        let saved = format!("chmod() {{ command chmod \"$@\"; echo changed >|{}; }}; ", path.display());
        assert!(!run(&Command::on("pg1", saved + &write.script)));
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), "changed\n");
        assert!(!directory.path().join("f.bcctl").exists());
    }

    #[test]
    fn a_file_that_somebody_made_meanwhile_is_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("f");
        let edit = edit(&path, Ours::Whole("ours\n".to_owned()));
        std::fs::write(&path, "theirs\n").expect("a file");
        assert!(!run(&edit.write("op")));
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), "theirs\n");
    }

    #[test]
    fn what_was_kept_first_stays_and_bytes_that_are_no_text_are_kept_too() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("f");
        let original = b"# f\xfcr alle\none = 1\n".to_vec();
        std::fs::write(&path, &original).expect("a file");
        let write = |value: &str| edit(&path, Ours::Bottom(vec![format!("a = {value}")])).write("op");
        assert!(run(&write("1")) && run(&write("2")));
        assert_eq!(std::fs::read(directory.path().join("f.before-op")).expect("kept"), original);
        let now = std::fs::read(&path).expect("a file");
        assert!(now.starts_with(&original) && now.ends_with(format!("a = 2\n{}\n", MARKS.1).as_bytes()), "{now:?}");
    }

    #[test]
    fn a_first_mark_without_the_second_is_noticed() {
        let torn = |text: &str| Shown { checksum: String::new(), text: text.to_owned() }.torn();
        let (begin, end) = MARKS;
        for (text, is) in [
            (String::new(), false),
            (format!("a\n{begin}\nb\n{end}\nc\n"), false),
            (format!("a\n{begin}\nb\n"), true),
            (format!("{begin}\n{end}\n{begin}\nb\n"), true),
            (format!("{begin}\nb\n{end} \nc\n"), true),
        ] {
            assert_eq!(torn(&text), is, "{text}");
        }
    }
}
