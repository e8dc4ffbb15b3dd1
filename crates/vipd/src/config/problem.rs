//! What is wrong with a file, shown where it is wrong.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use serde::Serialize;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Line, counted from 1.
    pub line: usize,
    /// Column, counted from 1 in characters.
    pub column: usize,
    /// The key, such as `instance "gocd": priority`; empty if the text is not TOML at all.
    pub key: String,
    /// What was found and what was expected.
    pub message: String,
    /// The line of what it clashes with, if it is right by itself.
    pub earlier: Option<usize>,
    /// What to do about it, when we know.
    pub hint: Option<String>,
    #[serde(skip)]
    excerpt: String,
    #[serde(skip)]
    caret: Range<usize>,
}

/// Everything that is wrong with one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, as it was named.
    pub file: String,
    /// The problems, by line.
    pub problems: Vec<Problem>,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<_> = self.problems.iter().map(|problem| problem.in_file(&self.file).to_string()).collect();
        f.write_str(&shown.join("\n"))
    }
}

impl Problem {
    /// The problem with its place in `file`, the line and a mark under what is wrong.
    pub fn in_file<'p>(&'p self, file: &'p str) -> impl fmt::Display + 'p {
        fmt::from_fn(move |f| self.show(file, f))
    }

    /// The problem with its place in `file`, in one line.
    pub(super) fn in_a_line(&self, file: &str) -> String {
        let Self { line, column, key, message, .. } = self;
        let colon = if key.is_empty() { "" } else { ": " };
        format!("{file}:{line}:{column}: {key}{colon}{message}")
    }

    fn show(&self, file: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, earlier, hint, excerpt, caret, .. } = self;
        let gutter = " ".repeat(line.to_string().len());
        let earlier = earlier.map_or_else(String::new, |line| format!(" (line {line})"));
        writeln!(f, "{}{earlier}", self.in_a_line(file))?;
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{line} | {excerpt}")?;
        let (before, marked) = (" ".repeat(caret.start), "^".repeat(caret.len().max(1)));
        write!(f, "{gutter} | {before}{marked}")?;
        match hint {
            Some(hint) => write!(f, "\n{gutter} = hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// What may be said besides what is wrong.
#[derive(Debug, Default)]
pub(super) struct More {
    /// Where that is with which it clashes.
    pub(super) earlier: Option<Range<usize>>,
    pub(super) hint: Option<String>,
}

/// The problems of one text while it is being read.
#[derive(Debug)]
pub(super) struct Problems<'t> {
    text: &'t str,
    found: RefCell<Vec<(usize, Problem)>>,
    /// What is right, and probably not meant.
    warnings: RefCell<Vec<(usize, Problem)>>,
}

impl<'t> Problems<'t> {
    pub(super) const fn of(text: &'t str) -> Self {
        Self { text, found: RefCell::new(Vec::new()), warnings: RefCell::new(Vec::new()) }
    }

    pub(super) fn report(&self, span: Range<usize>, key: String, message: String, more: More) {
        self.found.borrow_mut().push(self.problem(span, key, message, more));
    }

    pub(super) fn warn(&self, span: Range<usize>, key: String, message: String) {
        self.warnings.borrow_mut().push(self.problem(span, key, message, More::default()));
    }

    /// Reports what the TOML parser says. Of a key that is there twice it knows the second place only.
    pub(super) fn report_syntax(&self, span: Range<usize>, message: &str) {
        let name = self.text.get(span.clone()).unwrap_or_default();
        if message != "duplicate key" || name.is_empty() {
            self.report(span, String::new(), message.to_owned(), More::default());
            return;
        }
        let names = |line: &str| {
            let line = line.trim_start();
            let key = line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('='));
            let header = line.trim_start_matches('[').split(']').next().filter(|_| line.starts_with('['));
            key || header.is_some_and(|path| path == name || path.ends_with(&format!(".{name}")))
        };
        let before = &self.text[..floor(self.text, span.start)];
        let (mut next, mut earlier) = (0, None);
        for line in before[..before.rfind('\n').map_or(0, |newline| newline + 1)].split_inclusive('\n') {
            if names(line) {
                earlier = Some(next..next);
            }
            next += line.len();
        }
        let message = "found it again, expected it once".to_owned();
        self.report(span, name.to_owned(), message, More { earlier, hint: None });
    }

    fn problem(&self, span: Range<usize>, key: String, message: String, more: More) -> (usize, Problem) {
        let More { earlier, hint } = more;
        let start = floor(self.text, span.start);
        let before = &self.text[..start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |newline| start + newline);
        let end = floor(self.text, span.end).clamp(start, line_end);
        let column = self.text[line_start..start].chars().count();
        let width = self.text[start..end].trim_end().chars().count();
        let (excerpt, caret) = excerpt(&self.text[line_start..line_end], column..column + width);
        let problem = Problem {
            line: self.line_at(start),
            column: column + 1,
            key,
            message: message.lines().collect::<Vec<_>>().join(" "),
            earlier: earlier.map(|span| self.line_at(span.start)),
            hint,
            excerpt,
            caret,
        };
        (start, problem)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// The line of a byte, counted from 1.
    pub(super) fn line_at(&self, at: usize) -> usize {
        self.text[..floor(self.text, at)].matches('\n').count() + 1
    }

    pub(super) fn into_list(self) -> Vec<Problem> {
        self.into_lists().0
    }

    /// The problems and the warnings, in the order of the text.
    pub(super) fn into_lists(self) -> (Vec<Problem>, Vec<Problem>) {
        let in_order = |list: RefCell<Vec<(usize, Problem)>>| {
            let mut list = list.into_inner();
            list.sort_by_key(|(start, _)| *start);
            list.into_iter().map(|(_, problem)| problem).collect()
        };
        (in_order(self.found), in_order(self.warnings))
    }
}

/// The part of a line that is worth showing, and where the mark is in it. A long line is cut, and no character of the
/// file reaches a terminal that could do something there.
fn excerpt(line: &str, mark: Range<usize>) -> (String, Range<usize>) {
    const WIDTH: usize = 100;
    let skipped = if mark.start > WIDTH - 20 { mark.start - 20 } else { 0 };
    let harmless = |c: char| if c == '\t' { ' ' } else { Some(c).filter(|c| !c.is_control()).unwrap_or('\u{fffd}') };
    let shown: String = line.trim_end().chars().skip(skipped).take(WIDTH).map(harmless).collect();
    let room = shown.chars().count();
    let start = mark.start - skipped;
    let end = (mark.end - skipped).min(room.max(start + 1));
    (shown, start..end)
}

/// The nearest character boundary at or below `at`.
fn floor(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at)
}
