//! One line as words: comments, braces, quotes and escapes, as keepalived's lib/parser.c has them.
//!
//! ```text
//!  line ─▶ without_comment ─▶ cut ──▶ split    the words of any keyword: `"` quotes, nothing is escaped
//!                            braces └▶ escaped  the words of a script: `"` and `'` quote, a backslash escapes
//! ```

use thiserror::Error;

/// Text without braces, or a brace that opens or closes a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Text(String),
    Open,
    Close,
}

/// A quote was opened and not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a quote ({0}) is opened and not closed")]
pub(super) struct UnclosedQuote(pub(super) char);

/// What a character of a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// One that may mean something.
    Bare(char),
    /// A `"`.
    Quote,
    /// One between quotes, or of an escape.
    Kept(char),
}

/// The characters of a line with their places, and whether each stands for itself.
fn parts(line: &str) -> impl Iterator<Item = (usize, Part)> {
    let (mut quoted, mut escaped) = (false, false);
    line.char_indices().map(move |(at, c)| {
        let part = match c {
            c if escaped => Part::Kept(c),
            '"' => Part::Quote,
            c if quoted || c == '\\' => Part::Kept(c),
            c => Part::Bare(c),
        };
        quoted ^= part == Part::Quote;
        escaped = !escaped && c == '\\';
        (at, part)
    })
}

/// The line without its comment: a `#` or `!` that is not quoted, to the end.
pub(super) fn without_comment(line: &str) -> &str {
    let comment = parts(line).find(|(_, part)| matches!(part, Part::Bare('#' | '!')));
    &line[..comment.map_or(line.len(), |(at, _)| at)]
}

/// The pieces of a line that has no comment: keepalived ends a line at every brace that is not quoted.
pub(super) fn cut(line: &str) -> Result<Vec<Token>, UnclosedQuote> {
    let mut tokens = Vec::new();
    let mut from = 0;
    let text = |text: &str| (!text.trim().is_empty()).then(|| Token::Text(text.trim().to_owned()));
    for (at, part) in parts(line) {
        let brace = match part {
            Part::Bare('{') => Token::Open,
            Part::Bare('}') => Token::Close,
            Part::Bare(_) | Part::Quote | Part::Kept(_) => continue,
        };
        tokens.extend(text(&line[from..at]));
        tokens.push(brace);
        from = at + 1;
    }
    tokens.extend(text(&line[from..]));
    match parts(line).filter(|(_, part)| *part == Part::Quote).count() % 2 {
        0 => Ok(tokens),
        _ => Err(UnclosedQuote('"')),
    }
}

/// The words of a keyword and its arguments: between spaces, or between quotes.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for (_, part) in parts(text) {
        match part {
            Part::Quote => {
                words.extend(word.take());
                quoted = !quoted;
                word = quoted.then(String::new);
            }
            Part::Bare(c) if c.is_whitespace() => words.extend(word.take()),
            Part::Bare(c) | Part::Kept(c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The words of a script ("Quoted strings" of the manual): quotes join what they touch, a backslash escapes.
pub(super) fn escaped(text: &str) -> Result<Vec<String>, UnclosedQuote> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (_, '\\') => escape(&mut chars, word.get_or_insert_default()),
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match quote {
        None => Ok(words),
        Some(open) => Err(UnclosedQuote(open)),
    }
}

/// What follows a backslash: `\n`, `\033`, `\x1b`, `\cC`, or any other character for itself.
fn escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, word: &mut String) {
    let digits = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>, radix, most| {
        let mut value = 0;
        for _ in 0..most {
            let Some(digit) = chars.next_if(|c| c.is_digit(radix)).and_then(|c| c.to_digit(radix)) else { break };
            value = (value * radix + digit) & 0xff;
        }
        char::from_u32(value).unwrap_or('\u{fffd}')
    };
    if chars.peek().is_some_and(|c| c.is_digit(8)) {
        let character = digits(chars, 8, 3);
        return word.push(character);
    }
    match chars.next() {
        None => word.push('\\'),
        Some('a') => word.push('\u{7}'),
        Some('b') => word.push('\u{8}'),
        Some('E') => word.push('\u{1b}'),
        Some('f') => word.push('\u{c}'),
        Some('n') => word.push('\n'),
        Some('r') => word.push('\r'),
        Some('t') => word.push('\t'),
        Some('v') => word.push('\u{b}'),
        Some('x') if chars.peek().is_some_and(|c| c.is_ascii_hexdigit()) => {
            let character = digits(chars, 16, usize::MAX);
            word.push(character);
        }
        Some('c') => match chars.next() {
            Some(c) if c.is_ascii() => word.push(char::from(c.to_ascii_uppercase() as u8 ^ 0x40)),
            Some(c) => word.push(c),
            None => word.push('c'),
        },
        Some(c) => word.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        let shown = |token| match token {
            Token::Text(text) => split(&text),
            Token::Open => vec!["<open>".to_owned()],
            Token::Close => vec!["<close>".to_owned()],
        };
        cut(without_comment(line)).unwrap().into_iter().flat_map(shown).collect()
    }

    /// The examples of keepalived.conf(5), which are about scripts.
    #[test]
    fn quotes_of_a_script_join_what_they_touch() {
        assert_eq!(escaped(r#"abcd" efg h jkl "mnop"#).unwrap(), ["abcd efg h jkl mnop"]);
        assert_eq!(escaped(r#"abcd "efg h jkl" mnop"#).unwrap(), ["abcd", "efg h jkl", "mnop"]);
        assert_eq!(
            escaped(r#"script "bash -c '</dev/tcp/127.0.0.1/80'""#).unwrap(),
            ["script", "bash -c '</dev/tcp/127.0.0.1/80'"]
        );
        assert_eq!(escaped("/bin/sh -c 'a b' ''").unwrap(), ["/bin/sh", "-c", "a b", ""]);
    }

    #[test]
    fn escapes_of_a_script_are_those_of_the_manual() {
        assert_eq!(escaped(r#"\"a\" "b\\c" \101\x42 "\tx""#).unwrap(), ["\"a\"", "b\\c", "AB", "\tx"]);
        assert_eq!(escaped(r"\cA").unwrap(), ["\u{1}"]);
        assert_eq!(escaped("end\\").unwrap(), ["end\\"]);
    }

    #[test]
    fn any_other_line_knows_double_quotes_only() {
        assert_eq!(words(r#"abcd" efg "mnop """#), ["abcd", " efg ", "mnop", ""]);
        assert_eq!(words(r"auth_pass it's\n"), ["auth_pass", r"it's\n"]);
        assert_eq!(words(r#"notify "a \" { b""#), ["notify", r#"a \" { b"#]);
    }

    #[test]
    fn a_comment_starts_anywhere_but_in_quotes() {
        assert_eq!(words("priority 100 # high"), ["priority", "100"]);
        assert_eq!(words("priority 100! high"), ["priority", "100"]);
        assert_eq!(words("! all of it"), Vec::<String>::new());
        assert_eq!(words(r#"notify "a # b ! c" # d"#), ["notify", "a # b ! c"]);
        assert_eq!(words(r"auth_pass a\#b # c"), ["auth_pass", r"a\#b"]);
        assert_eq!(words("auth_pass it's # the one"), ["auth_pass", "it's"]);
    }

    #[test]
    fn braces_open_and_close_blocks_wherever_they_stand() {
        assert_eq!(words("vrrp_instance VI_1{"), ["vrrp_instance", "VI_1", "<open>"]);
        assert_eq!(words("group {VI_1 VI_2}"), ["group", "<open>", "VI_1", "VI_2", "<close>"]);
        assert_eq!(words("a{b}c"), ["a", "<open>", "b", "<close>", "c"]);
        assert_eq!(words("\"{\" a}"), ["{", "a", "<close>"]);
    }

    #[test]
    fn an_open_quote_is_an_error() {
        assert_eq!(cut("interface \"lo"), Err(UnclosedQuote('"')));
        assert_eq!(escaped("bash -c 'x"), Err(UnclosedQuote('\'')));
    }
}
