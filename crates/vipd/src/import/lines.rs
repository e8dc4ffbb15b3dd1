//! A file as lines of words: comments gone, conditions decided, parameters replaced, includes read.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::ledger::{Ledger, Place};
use super::words::{self, Token, UnclosedQuote};
use super::{ImportError, Includes};

/// The words of a line.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) tokens: Vec<Token>,
    pub(super) place: Place,
    /// The last line that it goes on to.
    pub(super) last_line: usize,
}

/// How much text parameters may be replaced by, in bytes: in one line, and in all. A definition that contains itself has no
/// end, and each replacement moves the rest of its line: the limit of a line keeps that short.
const REPLACED_IN_LINE: usize = 1 << 14;
const REPLACED: usize = 1 << 20;
/// How deep and how many files may be included.
const INCLUDED_DEEP: usize = 16;
const INCLUDED: usize = 1000;

/// The lines of `text` and of what it includes.
pub(super) fn read(
    file: &str,
    text: &str,
    config_id: &str,
    includes: Includes<'_>,
    ledger: &mut Ledger,
) -> Result<Vec<Line>, ImportError> {
    let mut reader = Reader {
        config_id,
        includes,
        ledger,
        parameters: BTreeMap::new(),
        budget: REPLACED,
        files: Vec::new(),
        included: 0,
        lines: Vec::new(),
    };
    reader.file(file, text)?;
    Ok(reader.lines)
}

struct Reader<'r> {
    config_id: &'r str,
    includes: Includes<'r>,
    ledger: &'r mut Ledger,
    parameters: BTreeMap<String, String>,
    budget: usize,
    /// The files that are being read, the innermost last.
    files: Vec<String>,
    included: usize,
    lines: Vec<Line>,
}

impl Reader<'_> {
    fn file(&mut self, file: &str, text: &str) -> Result<(), ImportError> {
        let name: Rc<str> = Rc::from(file);
        self.files.push(file.to_owned());
        let mut lines = text.lines().enumerate();
        while let Some((index, line)) = lines.next() {
            let place = Place { file: Rc::clone(&name), line: index + 1 };
            let (mut text, mut goes_on) = without_backslash(line);
            let mut last_line = place.line;
            // A definition alone may have several lines: each but the last ends in a backslash.
            goes_on &= definition(condition(&text).map_or(&*text, |(_, rest)| rest)).is_some();
            while goes_on && let Some((index, line)) = lines.next() {
                let (next, more) = without_backslash(line);
                last_line = index + 1;
                // A comment in between does not end it, an empty line does.
                goes_on = more || (next.is_empty() && !line.is_empty());
                text = format!("{text}\n{next}");
            }
            self.line(&text, &place, last_line)?;
        }
        self.files.pop();
        Ok(())
    }

    /// One line, which may become several.
    fn line(&mut self, line: &str, place: &Place, last_line: usize) -> Result<(), ImportError> {
        let line = line.trim();
        if line.is_empty() {
            return Ok(());
        }
        if let Some((id, rest)) = condition(line) {
            return self.conditional(id, rest, line, place, last_line);
        }
        if let Some((name, value)) = definition(line) {
            self.parameters.insert(name.to_owned(), value.trim_start_matches([' ', '\t']).to_owned());
            self.ledger.carry_lines(place, last_line);
            return Ok(());
        }
        if line.starts_with("~SEQ") || line.starts_with("~LST") {
            // It is for its own line. What it opens there and does not close would be missing below.
            let error = |problem: String| ImportError { place: place.clone(), problem };
            let tokens = words::cut(line).map_err(|quote| error(quote.to_string()))?;
            let count = |wanted: fn(&Token) -> bool| tokens.iter().filter(|token| wanted(token)).count();
            if count(|token| matches!(token, Token::Open)) != count(|token| matches!(token, Token::Close)) {
                let problem = "a sequence or a list repeats one line, and the blocks of this one do not end in it";
                return Err(error(problem.to_owned()));
            }
            self.ledger.note(place, last_line, line, "sequence and list blocks are not expanded; write the lines out");
            return Ok(());
        }
        if line.contains("${_RANDOM") {
            self.ledger.note(place, last_line, line, "random values are not drawn; write the value out");
            return Ok(());
        }
        match self.replaced(line, place)? {
            Some(replaced) => replaced.lines().try_for_each(|line| self.line(line, place, last_line)),
            None => match included(line) {
                Some(pattern) => self.include(pattern, line, place),
                None => {
                    let error = |quote: UnclosedQuote| ImportError { place: place.clone(), problem: quote.to_string() };
                    self.lines.push(Line { tokens: words::cut(line).map_err(error)?, place: place.clone(), last_line });
                    Ok(())
                }
            },
        }
    }

    fn conditional(
        &mut self,
        id: &str,
        rest: &str,
        line: &str,
        place: &Place,
        last_line: usize,
    ) -> Result<(), ImportError> {
        let (id, wanted) = match id.strip_prefix('^') {
            Some(id) => (id, false),
            None => (id, true),
        };
        if (id == self.config_id) == wanted {
            self.ledger.carry_lines(place, last_line);
            return self.line(rest, place, last_line);
        }
        let reason = format!("it is not for this host, whose config-id is {:?} (--config-id)", self.config_id);
        self.ledger.note(place, last_line, line, &reason);
        Ok(())
    }

    fn include(&mut self, pattern: &str, line: &str, place: &Place) -> Result<(), ImportError> {
        let error = |problem: String| Err(ImportError { place: place.clone(), problem });
        let from = self.files.last().cloned().unwrap_or_default();
        let files = match (self.includes)(pattern, &from) {
            Ok(files) if files.is_empty() => {
                self.ledger.note(place, place.line, line, "no file matches");
                return Ok(());
            }
            Ok(files) => files,
            Err(reason) => {
                self.ledger.note(place, place.line, line, &reason.to_string());
                return Ok(());
            }
        };
        self.ledger.carry_lines(place, place.line);
        for (file, text) in files {
            self.included += 1;
            if self.files.contains(&file) {
                return error(format!("{file} includes itself"));
            }
            if self.files.len() >= INCLUDED_DEEP || self.included > INCLUDED {
                return error("too many files are included".to_owned());
            }
            self.file(&file, &text)?;
        }
        Ok(())
    }

    /// The line with its parameters replaced; `None` if there are none. What a value refers to is replaced in turn.
    fn replaced(&mut self, line: &str, place: &Place) -> Result<Option<String>, ImportError> {
        let mut text = line.to_owned();
        let (mut from, mut left) = (0, REPLACED_IN_LINE.min(self.budget));
        let mut changed = false;
        while let Some(dollar) = text[from..].find('$').map(|at| from + at) {
            let found = reference_to(&text[dollar..]).and_then(|(name, length)| Some((self.value(name)?, length)));
            let Some((value, length)) = found else {
                from = dollar + 1;
                continue;
            };
            let cost = value.len() + 1;
            if left < cost {
                let problem = "the parameters in this line are replaced without end".to_owned();
                return Err(ImportError { place: place.clone(), problem });
            }
            left -= cost;
            self.budget -= cost;
            text.replace_range(dollar..dollar + length, &value);
            // What the value refers to is replaced in turn.
            from = dollar;
            changed = true;
        }
        Ok(changed.then_some(text))
    }

    fn value(&self, name: &str) -> Option<String> {
        let file = || self.files.last().map(String::as_str).unwrap_or_default();
        match name {
            "_PWD" => Some(file().rsplit_once('/').map_or(".", |(directory, _)| directory).to_owned()),
            "_INSTANCE" => Some(self.config_id.to_owned()),
            "_HASH" => Some("#".to_owned()),
            "_BANG" => Some("!".to_owned()),
            name => self.parameters.get(name).cloned(),
        }
    }
}

/// The line without its comment, and whether it ends in a backslash, which is gone as well.
fn without_backslash(line: &str) -> (String, bool) {
    let goes_on = line.trim_end().bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1;
    let text = words::without_comment(line).trim();
    (text.strip_suffix('\\').filter(|_| goes_on).unwrap_or(text).trim_end().to_owned(), goes_on)
}

/// `@id …` and `@^id …`.
fn condition(line: &str) -> Option<(&str, &str)> {
    let condition = line.strip_prefix('@')?;
    Some(condition.split_once(char::is_whitespace).unwrap_or((condition, "")))
}

/// `$NAME=VALUE`.
fn definition(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix('$')?.split_once('=')?;
    is_name(name).then_some((name, value))
}

fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(allowed) && name.starts_with(|c: char| !c.is_ascii_digit())
}

/// `$NAME` before a space, a comma, a closing parenthesis or the end, or `${NAME}`: the name and the length of the reference.
fn reference_to(text: &str) -> Option<(&str, usize)> {
    let after = text.strip_prefix('$')?;
    if let Some(braced) = after.strip_prefix('{') {
        let name = &braced[..braced.find('}')?];
        return is_name(name).then_some((name, name.len() + 3));
    }
    let end = after.find([' ', '\t', '\n', ',', ')']).unwrap_or(after.len());
    let name = &after[..end];
    is_name(name).then_some((name, end + 1))
}

/// The pattern of `include` and its variants, which differ in what they complain about.
fn included(line: &str) -> Option<&str> {
    let (keyword, rest) = line.split_once(char::is_whitespace)?;
    let is_include = matches!(keyword, "include" | "includer" | "includem" | "includew" | "includeb" | "includea");
    is_include.then(|| rest.trim().trim_matches(['"', '\'']))
}
