//! One line as words: comments, quotes and escapes, as keepalived.conf(5) has them under "Quoted strings".

/// A word, or a brace that opens or closes a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    Open,
    Close,
}

/// A quote was opened and not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnclosedQuote(pub(super) char);

/// The line without its comment: `#` or `!` to its end, unless quoted or escaped.
pub(super) fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut chars = line.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (_, '\\') => drop(chars.next()),
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '#' | '!') => return &line[..at],
            (None, _) => {}
        }
    }
    line
}

/// The words of a line that has no comment.
pub(super) fn split(line: &str) -> Result<Vec<Token>, UnclosedQuote> {
    let mut tokens = Vec::new();
    let mut chars = line.chars().peekable();
    while chars.next_if(|c| c.is_whitespace()).is_some() {}
    while chars.peek().is_some() {
        let mut word = String::new();
        let mut quoted = false;
        let mut quote = None;
        while let Some(c) = chars.next_if(|c| quote.is_some() || !c.is_whitespace()) {
            match (quote, c) {
                (_, '\\') => escaped(&mut chars, &mut word),
                (Some(open), c) if c == open => quote = None,
                (None, '"' | '\'') => (quote, quoted) = (Some(c), true),
                (_, c) => word.push(c),
            }
        }
        if let Some(open) = quote {
            return Err(UnclosedQuote(open));
        }
        if quoted {
            tokens.push(Token::Word(word))
        } else {
            tokens.extend(with_braces(word))
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
    }
    Ok(tokens)
}

/// `{`, `}`, and words that end in one: `VI_1{`.
fn with_braces(word: String) -> Vec<Token> {
    match word.as_str() {
        "{" => vec![Token::Open],
        "}" => vec![Token::Close],
        _ => match word.strip_suffix('{') {
            Some(rest) if !rest.contains(['{', '}']) && !rest.ends_with('$') => {
                vec![Token::Word(rest.to_owned()), Token::Open]
            }
            _ => match word.strip_suffix('}') {
                Some(rest) if !rest.contains(['{', '}']) => vec![Token::Word(rest.to_owned()), Token::Close],
                _ => vec![Token::Word(word)],
            },
        },
    }
}

/// What follows a backslash: `\n`, `\033`, `\x1b`, `\cC`, or any other character for itself.
fn escaped(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, word: &mut String) {
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

/// A script's words: spaces separate them unless they stand in single quotes ("SCRIPTS" of the manual).
pub(super) fn of_script(line: &str) -> Result<Vec<String>, UnclosedQuote> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    if quoted {
        return Err(UnclosedQuote('\''));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        let shown = |token| match token {
            Token::Word(word) => word,
            Token::Open => "<open>".to_owned(),
            Token::Close => "<close>".to_owned(),
        };
        split(without_comment(line)).unwrap().into_iter().map(shown).collect()
    }

    /// The examples of keepalived.conf(5).
    #[test]
    fn quotes_join_what_they_touch() {
        assert_eq!(words(r#"abcd" efg h jkl "mnop"#), ["abcd efg h jkl mnop"]);
        assert_eq!(words(r#"abcd "efg h jkl" mnop"#), ["abcd", "efg h jkl", "mnop"]);
        assert_eq!(
            words(r#"script "bash -c '</dev/tcp/127.0.0.1/80'""#),
            ["script", "bash -c '</dev/tcp/127.0.0.1/80'"]
        );
    }

    #[test]
    fn a_comment_starts_anywhere_but_in_quotes() {
        assert_eq!(words("priority 100 # high"), ["priority", "100"]);
        assert_eq!(words("priority 100! high"), ["priority", "100"]);
        assert_eq!(words("! all of it"), Vec::<String>::new());
        assert_eq!(words(r#"notify "a # b ! c" # d"#), ["notify", "a # b ! c"]);
    }

    #[test]
    fn escapes_are_those_of_the_manual() {
        assert_eq!(words(r#"\"a\" "b\\c" \101\x42 "\tx""#), ["\"a\"", "b\\c", "AB", "\tx"]);
        assert_eq!(words(r"\cA"), ["\u{1}"]);
        assert_eq!(words("end\\"), ["end\\"]);
    }

    #[test]
    fn braces_open_and_close_blocks_wherever_they_stand() {
        assert_eq!(words("vrrp_instance VI_1{"), ["vrrp_instance", "VI_1", "<open>"]);
        assert_eq!(words("group { VI_1 VI_2 }"), ["group", "<open>", "VI_1", "VI_2", "<close>"]);
        assert_eq!(words("${X} \"{\" a}"), ["${X}", "{", "a", "<close>"]);
    }

    #[test]
    fn an_open_quote_is_an_error() {
        assert_eq!(split("interface \"lo"), Err(UnclosedQuote('"')));
        assert_eq!(of_script("bash -c 'x"), Err(UnclosedQuote('\'')));
    }

    #[test]
    fn single_quotes_keep_a_parameter_of_a_script_together() {
        assert_eq!(of_script("/bin/sh -c 'a b' ''").unwrap(), ["/bin/sh", "-c", "a b", ""]);
    }
}
