//! The list on a terminal, drawn over the one before: up, each line cleared to its end, and what is left below it cleared.

use std::time::Duration;

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};

use super::rows::{Row, Rows, State};

/// A terminal with fewer columns than this has no room for everything.
const NARROW: usize = 60;

/// What is on the terminal.
#[derive(Debug, Default)]
pub(super) struct Terminal {
    /// Widths of the lines that were drawn last; the cursor is below them.
    drawn: Vec<usize>,
}

impl Terminal {
    /// What has to be written to show `rows`, and `notice` below them.
    pub(super) fn draw(&mut self, rows: &Rows, now: Duration, notice: Option<&str>) -> String {
        // NO_COLOR takes the colours away, and leaves the cursor.
        let colours = AutoStream::choice(&std::io::stderr()) != ColorChoice::Never;
        self.frame(rows, now, notice, size(), colours)
    }

    fn frame(
        &mut self,
        rows: &Rows,
        now: Duration,
        notice: Option<&str>,
        (columns, lines): (usize, usize),
        colours: bool,
    ) -> String {
        // The cursor stands on a line of its own below, and the last column stays free: some terminals wrap there.
        let room = lines.saturating_sub(1 + usize::from(notice.is_some())).max(1);
        let texts = window(rows, room, |row| if columns < NARROW { row.short(now) } else { row.line(now) })
            .into_iter()
            .chain(notice.map(str::to_owned));
        let mut text = self.up(columns);
        self.drawn.clear();
        for line in texts {
            let line = cut(&line, columns.saturating_sub(1).max(1));
            let bare = strip_str(&line).to_string();
            self.drawn.push(bare.chars().count());
            text.push_str(if colours { &line } else { &bare });
            text.push_str("\x1b[K\r\n");
        }
        text + "\x1b[J"
    }

    /// What has to be written to remove what was drawn.
    pub(super) fn clear(&mut self) -> String {
        self.cleared(size().0)
    }

    fn cleared(&mut self, columns: usize) -> String {
        let text = self.up(columns) + "\x1b[J";
        self.drawn.clear();
        text
    }

    /// Up to the first line that was drawn. One that is wider than the terminal is now was broken into several.
    fn up(&self, columns: usize) -> String {
        let lines: usize = self.drawn.iter().map(|width| width.div_ceil(columns.max(1)).max(1)).sum();
        if lines == 0 { "\r".to_owned() } else { format!("\r\x1b[{lines}A") }
    }
}

/// Columns and lines of the terminal.
fn size() -> (usize, usize) {
    let size = terminal_size::terminal_size_of(std::io::stderr());
    size.map_or((80, 24), |(columns, lines)| (columns.0.into(), lines.0.into()))
}

/// As many lines as there is room for, around the steps that are at work.
fn window(rows: &Rows, room: usize, line: impl Fn(&Row) -> String) -> Vec<String> {
    let rows = rows.all();
    if rows.len() <= room {
        return rows.iter().map(line).collect();
    }
    let at_work = rows.iter().position(|row| matches!(row.state, State::Runs { .. }));
    let latest = || rows.iter().rposition(|row| !matches!(row.state, State::Waits));
    let first = at_work.or_else(latest).unwrap_or_default();
    let begin = first.saturating_sub(room / 3).min(rows.len() - room);
    rows[begin..begin + room].iter().map(line).collect()
}

/// The first `width` characters that are seen, with all sequences of colour.
fn cut(line: &str, width: usize) -> String {
    let mut text = String::new();
    let (mut seen, mut sequence) = (0, false);
    for character in line.chars() {
        match (sequence, character) {
            (false, '\x1b') => sequence = true,
            (true, 'm') => {
                sequence = false;
                text.push(character);
                continue;
            }
            _ => {}
        }
        if !sequence {
            seen += 1;
        }
        if sequence || seen <= width {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests;
