//! Lines of words as blocks.

use super::ImportError;
use super::ledger::Place;
use super::lines::Line;
use super::words::{self, Token};

/// A keyword with its arguments, and the block that it may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    /// The keyword and its arguments; never empty.
    pub(super) words: Vec<String>,
    /// The same as it was written: a script has words of its own kind.
    pub(super) text: String,
    pub(super) place: Place,
    /// The last line of its block, or its own.
    pub(super) last_line: usize,
    pub(super) block: Option<Vec<Statement>>,
}

impl Statement {
    pub(super) fn keyword(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The word after the keyword.
    pub(super) fn argument(&self) -> Option<&str> {
        self.words.get(1).map(String::as_str)
    }
}

/// Deeper than any real file, and shallow enough for any stack.
const DEEPEST: usize = 32;

/// The blocks of a file.
pub(super) fn build(lines: Vec<Line>) -> Result<Vec<Statement>, ImportError> {
    let mut open: Vec<(Vec<Statement>, Statement)> = Vec::new();
    let mut current: Vec<Statement> = Vec::new();
    for Line { tokens, place, last_line } in lines {
        let error = |problem: &str| Err(ImportError { place: place.clone(), problem: problem.to_owned() });
        for token in tokens {
            match token {
                Token::Text(text) => {
                    let (words, place) = (words::split(&text), place.clone());
                    current.push(Statement { words, text, place, last_line, block: None });
                }
                Token::Open => {
                    // Alone on its line it belongs to the line before.
                    let Some(owner) = current.pop_if(|last| last.block.is_none()) else {
                        return error("`{` without a keyword before it");
                    };
                    if open.len() >= DEEPEST {
                        return error("blocks nest too deeply");
                    }
                    open.push((std::mem::take(&mut current), owner));
                }
                Token::Close => {
                    let Some((outer, mut owner)) = open.pop() else {
                        return error("`}` without a block to close");
                    };
                    owner.block = Some(std::mem::replace(&mut current, outer));
                    owner.last_line = if owner.place.file == place.file { place.line } else { owner.last_line };
                    current.push(owner);
                }
            }
        }
    }
    match open.pop() {
        None => Ok(current),
        Some((_, owner)) => {
            let problem = format!("the block of `{}` is never closed: `}}` is missing", owner.keyword());
            Err(ImportError { place: owner.place, problem })
        }
    }
}
