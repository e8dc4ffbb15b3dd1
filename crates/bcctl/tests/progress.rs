//! What an operator sees while steps are at work: on a real terminal (a pseudo-terminal of `script`, read by an emulator), and
//! without one.
#![expect(clippy::expect_used, reason = "a test says where it stops")]
#![expect(clippy::disallowed_methods, reason = "a test waits with a deadline")]

mod site;

use std::fs;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use site::{Site, site};

/// bcctl on a terminal.
struct Terminal {
    script: Child,
    parts: Receiver<Vec<u8>>,
    parser: vt100::Parser,
    transcript: String,
}

impl Terminal {
    /// Starts it on a terminal of `columns` by `lines`.
    fn start(site: &Site, (columns, lines): (u16, u16), arguments: &[&str]) -> Self {
        let bcctl = site.bcctl(arguments);
        let command = format!(
            "stty cols {columns} rows {lines}; exec {} {}",
            bcctl.get_program().to_string_lossy(),
            arguments.join(" ")
        );
        let mut script = Command::new("script");
        script.args(["-qefc", &command, "/dev/null"]).env("TERM", "xterm").env("SHELL", "/bin/sh");
        script.envs(bcctl.get_envs().filter_map(|(name, value)| Some((name, value?))));
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut script = script.spawn().expect("script starts");
        let mut stdout = script.stdout.take().expect("a pipe");
        let (sender, parts) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let number = |number| NonZeroU16::new(number).expect("not 0");
        let parser = vt100::Parser::new(number(lines), number(columns), 0);
        Self { script, parts, parser, transcript: String::new() }
    }

    fn screen(&self) -> String {
        self.parser.screen().contents()
    }

    /// Waits until the screen is as wanted.
    fn wait(&mut self, what: &str, wanted: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !wanted(&self.screen()) {
            assert!(Instant::now() < deadline, "{what} is not seen; last:\n{}", self.screen());
            match self.parts.recv_timeout(Duration::from_millis(100)) {
                Ok(part) => {
                    self.parser.process(&part);
                    self.transcript.push_str(&String::from_utf8_lossy(&part));
                }
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
                    assert!(wanted(&self.screen()), "it ended without {what}; last:\n{}", self.screen());
                }
            }
        }
    }

    fn press_ctrl_c(&mut self) {
        self.script.stdin.as_mut().expect("a pipe").write_all(b"\x03").expect("written");
    }

    /// Waits for its end; its exit status, and what the screen shows then.
    fn end(mut self) -> (Option<i32>, String, String) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let status = loop {
            if let Some(status) = self.script.try_wait().expect("a child") {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end; last:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(20));
        };
        while let Ok(part) = self.parts.recv_timeout(Duration::from_secs(5)) {
            self.parser.process(&part);
            self.transcript.push_str(&String::from_utf8_lossy(&part));
        }
        let screen = self.screen();
        (status.code(), screen, self.transcript)
    }
}

/// The line of a step in the list; the plan, which may still be above it, has one as well.
fn row<'a>(screen: &'a str, id: &str) -> &'a str {
    let names = |line: &&str| line.split_whitespace().any(|word| word.trim_start_matches('+') == id);
    screen.lines().rev().find(names).unwrap_or("")
}

/// `vipd assign`, `vipd unassign` and `standbyd pull` wait as long as the file `hold` is there.
fn hold(site: &Site) {
    for program in ["vipd", "standbyd"] {
        let path = site.path("bin").join(program);
        let text = fs::read_to_string(&path).expect("a script");
        let wait = "case $1 in assign|unassign|pull) while [ -e \"$SITE/hold\" ]; do sleep 0.05; done;; esac";
        fs::write(&path, text.replacen("#!/bin/sh\n", &format!("#!/bin/sh\n{wait}\n"), 1)).expect("a script");
    }
    // Longer than `vipd` may take here otherwise.
    let inventory = fs::read_to_string(site.path("bc.toml")).expect("a file");
    fs::write(site.path("bc.toml"), inventory.replace("vip = \"10s\"", "vip = \"120s\"")).expect("a file");
    fs::write(site.path("hold"), "").expect("a file");
}

#[test]
fn the_list_shows_all_steps_at_work_and_ctrl_c_stops_between_two() {
    let Some(site) = site() else { return };
    hold(&site);
    fs::write(site.path("files/go1"), "second\n").expect("a file");
    let mut terminal = Terminal::start(&site, (100, 30), &["switchover", "--yes"]);
    terminal.wait("a group at work", |screen| {
        let at_work = |id| row(screen, id).contains(" s  …");
        at_work("unassign-vip") && at_work("sync-config") && row(screen, "arm").contains(" s  done")
    });
    let screen = terminal.screen();
    let of = row(&screen, "checkpoint").split([' ', '/']).find(|word| word.parse().is_ok_and(|count: usize| count > 1));
    let of = of.expect("a number of steps").to_owned();
    assert!(
        row(&screen, "checkpoint").contains(" pg1 ") && row(&screen, "checkpoint").contains(" s  done"),
        "{screen}"
    );
    assert!(!row(&screen, "stop-postgresql").contains(" s  "), "it waits: {screen}");
    terminal.wait("that time goes by", |screen| {
        let words: Vec<&str> = row(screen, "sync-config").split_whitespace().collect();
        words.get(3).and_then(|seconds| seconds.parse::<f64>().ok()).is_some_and(|seconds| seconds >= 1.0)
    });
    terminal.press_ctrl_c();
    terminal.wait("that it stops", |screen| screen.contains("stopping after what is running now; again: at once"));
    assert!(row(&terminal.screen(), "sync-config").contains(" s  …"), "the step goes on: {}", terminal.screen());
    fs::remove_file(site.path("hold")).expect("it is there");
    let (status, screen, transcript) = terminal.end();
    assert_eq!(status, Some(4), "{screen}");
    assert!(screen.contains("stopped before stop-postgresql: `bcctl resume` continues"), "{screen}");
    let lines = screen.lines().filter(|line| line.contains(&format!("/{of} ")) && line.contains("sync-config")).count();
    assert_eq!(lines, 1, "the list has gone, its lines stay: {screen}");
    assert!(!screen.contains("stopping after"), "{screen}");
    assert!(
        transcript.contains(&format!("\x1b[{of}A")) && !transcript.contains("\x1b[3"),
        "NO_COLOR takes the colours only"
    );

    // The rest on a small terminal, where the second Ctrl-C ends it in the middle of a step.
    fs::write(site.path("hold"), "").expect("a file");
    let mut terminal = Terminal::start(&site, (44, 8), &["resume", "--yes"]);
    terminal.wait("the address on its way", |screen| row(screen, "assign-vip").contains(" s"));
    terminal.press_ctrl_c();
    terminal.wait("that it stops", |screen| screen.contains("stopping after"));
    assert!(terminal.screen().lines().count() <= 8, "{}", terminal.screen());
    terminal.press_ctrl_c();
    let (status, screen, _) = terminal.end();
    assert_eq!(status, Some(4), "{screen}");
    assert!(site.serving().0.is_empty(), "nobody has the address yet");
    fs::remove_file(site.path("hold")).expect("it is there");
    let said = site.expect(0, &["resume", "--yes"]);
    assert!(!said.contains('\x1b'), "no terminal, no sequences: {said}");
    assert_eq!(site.serving(), (vec!["go2".to_owned()], vec!["go2".to_owned()]));
    let report = site.expect(0, &["report"]);
    assert!(report.contains("Planned to begin together: `checkpoint`, `asynchronous`; `unassign-vip`,"), "{report}");
}

#[test]
fn a_base_backup_says_how_far_it_is() {
    let Some(site) = site() else { return };
    // A slow wire.
    site.wrap("pg_basebackup", "exec \"$real\" --max-rate=2M \"$@\"");

    site.kill_server("pg1");
    site.unplug("pg1");
    site.expect(0, &["promote-only", "--yes"]);
    site.plug_in("pg1");
    let said = site.expect(0, &["rejoin", "pg1", "--yes"]);
    let signs: Vec<&str> =
        said.lines().filter(|line| line.contains(" rejoin-copy ") && line.contains(" s  …")).collect();
    assert!(signs.iter().any(|line| line.contains(" of ") && line.contains(" %)")), "{said}");
    let seconds = |line: &str| {
        let word = line.split_whitespace().nth(3);
        word.and_then(|word| word.parse::<f64>().ok()).unwrap_or_else(|| panic!("no time: {line}"))
    };
    assert!(signs.windows(2).all(|pair| seconds(pair[1]) - seconds(pair[0]) >= 4.9), "not too many: {said}");
}
