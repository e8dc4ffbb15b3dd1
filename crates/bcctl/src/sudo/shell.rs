//! Reads a shell script far enough to say which commands it has: quotes, expansions, compound commands, here-documents. It
//! runs nothing, and what it cannot read is an error, never a guess.

use std::collections::BTreeSet;
use std::mem::take;

/// A word of a command, without its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// What it says; of an expansion only `$`.
    pub(super) text: String,
    /// Whether it says the same every time: nothing in it is expanded.
    pub(super) literal: bool,
}

/// What a script has.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// Every simple command, those in `$(…)` as well: assignments, program and arguments, without redirections.
    pub(super) commands: Vec<Vec<Word>>,
    /// Files that are redirected from or to.
    pub(super) files: Vec<Word>,
    /// Functions that it defines.
    pub(super) functions: BTreeSet<String>,
}

/// Reads a script.
///
/// # Errors
/// What cannot be read.
pub(super) fn read(text: &str) -> Result<Script, String> {
    let mut reader = Reader { text: text.chars().collect(), at: 0, documents: Vec::new(), script: Script::default() };
    reader.list(None)?;
    Ok(reader.script)
}

struct Reader {
    text: Vec<char>,
    at: usize,
    /// Ends of the here-documents that begin with the next line.
    documents: Vec<String>,
    script: Script,
}

/// Ends a word that is not quoted.
const ENDS: &str = " \t\n;&|<>()";
/// Words that another command may follow.
const OPENING: [&str; 9] = ["if", "then", "else", "elif", "while", "until", "do", "!", "{"];
/// Words that end a compound command.
const CLOSING: [&str; 3] = ["fi", "done", "}"];

impl Reader {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.text.get(self.at + ahead).copied()
    }

    fn sees(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(ahead, c)| self.peek(ahead) == Some(c))
    }

    fn trouble<T>(&self, words: &str) -> Result<T, String> {
        let from = self.at.saturating_sub(40);
        let near: String = self.text[from..self.text.len().min(self.at + 20)].iter().collect();
        Err(format!("{words} near {near:?}"))
    }

    /// Commands up to the end, or to `close`.
    fn list(&mut self, close: Option<char>) -> Result<(), String> {
        let mut words = Vec::new();
        let mut cases = 0;
        loop {
            self.blanks();
            let Some(next) = self.peek(0) else {
                self.end(&mut words);
                return if close.is_some() || cases > 0 { self.trouble("it ends too early") } else { Ok(()) };
            };
            match next {
                '\n' => {
                    self.end(&mut words);
                    self.at += 1;
                    self.skip_documents()?;
                }
                ';' if self.sees(";;") => {
                    self.end(&mut words);
                    self.at += 2;
                    cases -= usize::from(self.patterns()?);
                }
                ';' | '&' | '|' => {
                    self.end(&mut words);
                    self.at += 1;
                }
                '(' if words.len() == 1 && self.sees("()") => {
                    let name: Vec<Word> = take(&mut words);
                    self.script.functions.insert(name[0].text.clone());
                    self.at += 2;
                }
                '(' if words.is_empty() => {
                    self.at += 1;
                    self.list(Some(')'))?;
                }
                ')' if close == Some(')') => {
                    self.end(&mut words);
                    self.at += 1;
                    return Ok(());
                }
                '(' | ')' => return self.trouble("an unexpected parenthesis"),
                '<' | '>' => self.redirection()?,
                _ => {
                    let bare = !"'\"\\$`".contains(next);
                    let word = self.word()?;
                    let file_descriptor = bare && word.text.chars().all(|c| c.is_ascii_digit());
                    if file_descriptor && matches!(self.peek(0), Some('<' | '>')) {
                        continue;
                    }
                    match word.text.as_str() {
                        text if words.is_empty() && bare && (OPENING.contains(&text) || CLOSING.contains(&text)) => {}
                        "esac" if words.is_empty() && cases > 0 => cases -= 1,
                        "case" if words.is_empty() && bare => {
                            self.blanks();
                            self.word()?;
                            self.blanks();
                            if self.word()?.text != "in" {
                                return self.trouble("a case without in");
                            }
                            cases += 1;
                            cases -= usize::from(self.patterns()?);
                        }
                        "for" if words.is_empty() && bare => self.names()?,
                        _ => words.push(word),
                    }
                }
            }
        }
    }

    /// A simple command is over.
    fn end(&mut self, words: &mut Vec<Word>) {
        if !words.is_empty() {
            self.script.commands.push(take(words));
        }
    }

    /// Blanks, joined lines and comments.
    fn blanks(&mut self) {
        loop {
            match self.peek(0) {
                Some(' ' | '\t') => self.at += 1,
                Some('\\') if self.peek(1) == Some('\n') => self.at += 2,
                Some('#') => {
                    while self.peek(0).is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    /// `NAME in WORD…` of a `for`, up to where its commands begin.
    fn names(&mut self) -> Result<(), String> {
        loop {
            self.blanks();
            if matches!(self.peek(0), None | Some(';' | '\n')) {
                return Ok(());
            }
            self.word()?;
        }
    }

    /// The patterns before the next branch of a `case`; whether there is none and it is over.
    fn patterns(&mut self) -> Result<bool, String> {
        loop {
            self.blanks();
            match self.peek(0) {
                Some('\n' | '|' | '(') => self.at += 1,
                Some(')') => {
                    self.at += 1;
                    return Ok(false);
                }
                None => return self.trouble("a case that does not end"),
                Some(_) => {
                    let before = self.at;
                    if self.word()?.text == "esac" {
                        return Ok(true);
                    }
                    if self.at == before {
                        return self.trouble("a pattern that cannot be read");
                    }
                }
            }
        }
    }

    fn redirection(&mut self) -> Result<(), String> {
        let document = self.sees("<<");
        while self.peek(0).is_some_and(|c| "<>&|".contains(c)) {
            self.at += 1;
        }
        self.blanks();
        let word = self.word()?;
        if document {
            self.documents.push(word.text)
        } else {
            self.script.files.push(word)
        }
        Ok(())
    }

    fn skip_documents(&mut self) -> Result<(), String> {
        for end in take(&mut self.documents) {
            loop {
                if self.at >= self.text.len() {
                    return self.trouble("a here-document that does not end");
                }
                let line: String = self.text[self.at..].iter().take_while(|c| **c != '\n').collect();
                self.at += line.chars().count() + 1;
                if line == end {
                    break;
                }
            }
        }
        Ok(())
    }

    fn word(&mut self) -> Result<Word, String> {
        let mut word = Word { text: String::new(), literal: true };
        while let Some(next) = self.peek(0).filter(|c| !ENDS.contains(*c)) {
            match next {
                '\'' => {
                    self.at += 1;
                    while self.peek(0) != Some('\'') {
                        match self.peek(0) {
                            Some(c) => word.text.push(c),
                            None => return self.trouble("a quote that does not end"),
                        }
                        self.at += 1;
                    }
                    self.at += 1;
                }
                '"' => {
                    self.at += 1;
                    self.double_quoted(&mut word)?;
                }
                '\\' => {
                    word.text.extend(self.peek(1));
                    self.at += 2;
                }
                '$' | '`' => self.expansion(&mut word)?,
                _ => {
                    word.literal &= !matches!(next, '*' | '?');
                    word.text.push(next);
                    self.at += 1;
                }
            }
        }
        Ok(word)
    }

    fn double_quoted(&mut self, word: &mut Word) -> Result<(), String> {
        loop {
            match self.peek(0) {
                None => return self.trouble("a quote that does not end"),
                Some('"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some('\\') if self.peek(1).is_some_and(|c| "$`\"\\\n".contains(c)) => {
                    word.text.extend(self.peek(1).filter(|c| *c != '\n'));
                    self.at += 2;
                }
                Some('$' | '`') => self.expansion(word)?,
                Some(c) => {
                    word.text.push(c);
                    self.at += 1;
                }
            }
        }
    }

    /// What begins with `$`, or stands between backticks.
    fn expansion(&mut self, word: &mut Word) -> Result<(), String> {
        if self.sees("`") {
            return self.trouble("backticks: write $(…)");
        }
        let next = self.peek(1);
        if self.sees("$((") {
            let rest: String = self.text[self.at..].iter().collect();
            let Some(end) = rest.find("))") else { return self.trouble("arithmetic that does not end") };
            self.at += rest[..end].chars().count() + 2;
        } else if next == Some('(') {
            self.at += 2;
            self.list(Some(')'))?;
        } else if next == Some('{') {
            self.at += 2;
            while self.peek(0) != Some('}') {
                match self.peek(0) {
                    Some('$') => self.expansion(&mut Word { text: String::new(), literal: true })?,
                    Some(_) => self.at += 1,
                    None => return self.trouble("an expansion that does not end"),
                }
            }
            self.at += 1;
        } else if next.is_some_and(|c| c.is_ascii_alphabetic() || c == '_') {
            self.at += 1;
            while self.peek(0).is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
                self.at += 1;
            }
        } else if next.is_some_and(|c| c.is_ascii_digit() || "?$!@*#-".contains(c)) {
            self.at += 2;
        } else {
            // It stands for itself.
            word.text.push('$');
            self.at += 1;
            return Ok(());
        }
        word.text.push('$');
        word.literal = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(text: &str) -> Vec<String> {
        let script = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let show = |word: &Word| if word.literal { word.text.clone() } else { format!("~{}", word.text) };
        script.commands.iter().map(|words| words.iter().map(show).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn every_command_is_found_wherever_it_stands() {
        for (text, wanted) in [
            ("a b 'c d' \"e\" f\\ g", vec!["a b c d e f g"]),
            ("! { a; } && b || (c; d) | e & f", vec!["a", "b", "c", "d", "e", "f"]),
            ("if a; then b; elif c; then d; else e; fi; g", vec!["a", "b", "c", "d", "e", "g"]),
            ("case $(a x) in b|'c d') e;; *) f; esac; g", vec!["a x", "e", "f", "g"]),
            ("case x in\na) b ;;\n*) c ;;\nesac\nd", vec!["b", "c", "d"]),
            ("for f in $(a) *; do b \"$f\"; done >x 2>&1", vec!["a", "b ~$"]),
            ("a \"$(b 'c)' \"d\")\" e", vec!["b c) d", "a ~$ e"]),
            ("a <<'EOF' | b\n$(c)\nEOF\nd", vec!["a", "b", "d"]),
            ("a() { b \"$1\"; }; a 2>/dev/null 3 # c", vec!["b ~$", "a 3"]),
            ("X=1 a ${y:+-c} $((1 + 2)) $? '$z'", vec!["X=1 a ~$ ~$ ~$ $z"]),
            ("until a; do b; done", vec!["a", "b"]),
        ] {
            assert_eq!(commands(text), wanted, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_no_guess() {
        for text in ["a 'b", "a $(b", "a \"b", "case a in b) c", "a `b`", "a <<X\nb", "a )"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
