//! The table of findings as text: one row for `bcctl explain`, all of them as `docs/findings.md`.

use std::fmt::Write as _;

use super::kinds::ALL;
use super::{Cause, Kind, Level};

/// What is known about the finding with this number, written `BC101`, `bc101` or `101`.
pub(crate) fn explain(code: &str) -> Option<String> {
    let number: u16 = code.trim_start_matches(['B', 'b']).trim_start_matches(['C', 'c']).parse().ok()?;
    ALL.iter().find(|kind| kind.number == number).map(|kind| row(kind))
}

/// The whole table as Markdown.
pub(crate) fn page() -> String {
    let mut text = "\
# Findings

What `bcctl check` can find. A number never changes its meaning and is never used again. Errors refuse operations; a warning may become
an error when it is left alone; a note is worth knowing. The first finding that is shown explains the site: what merely follows from
another one comes after it and says so.

This page is written by `bcctl explain --all`; a test compares it with the program.

| number | severity | what | refuses |
|---|---|---|---|
"
    .to_owned();
    for kind in ALL {
        // Writing into a string cannot fail.
        let _ = writeln!(
            text,
            "| [{0}](#{1}) | {2} | {3} | {4} |",
            kind.code(),
            kind.code().to_lowercase(),
            level(kind),
            kind.title,
            refuses(kind)
        );
    }
    for kind in ALL {
        let _ = write!(text, "\n## {}\n\n{}", kind.code(), row(kind));
    }
    text
}

fn row(kind: &Kind) -> String {
    let mut text =
        format!("{} ({}): {}.\n\n{}\n\nTo mend it: {}\n", kind.code(), level(kind), kind.title, kind.why, kind.mend);
    if !kind.refuses.is_empty() {
        let _ = writeln!(text, "\nRefused because of it: {}.", refuses(kind));
    }
    if !kind.follows.is_empty() {
        let causes: Vec<String> = kind
            .follows
            .iter()
            .map(|cause| match cause {
                Cause::Same(number) => format!("BC{number} on the same host"),
                Cause::Any(number) => format!("BC{number}"),
            })
            .collect();
        let _ = writeln!(text, "\nMay follow from: {}.", causes.join(", "));
    }
    text
}

const fn level(kind: &Kind) -> &'static str {
    match kind.level {
        Level::Ok => "ok",
        Level::Note => "note",
        Level::Warning => "warning",
        Level::Error => "error",
    }
}

fn refuses(kind: &Kind) -> String {
    kind.refuses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_page_in_the_documentation_is_the_table() {
        let written = include_str!("../../../../docs/findings.md");
        assert!(written == page(), "docs/findings.md is old: `bcctl explain --all >docs/findings.md`");
    }

    #[test]
    fn numbers_are_in_order_and_causes_have_smaller_ones() {
        assert!(ALL.is_sorted_by(|a, b| a.number < b.number), "in order, each once");
        let numbers: BTreeSet<u16> = ALL.iter().map(|kind| kind.number).collect();
        for kind in ALL {
            assert!(kind.refuses.is_empty() || kind.level == Level::Error, "{}: only errors refuse", kind.code());
            for cause in kind.follows {
                let (Cause::Same(number) | Cause::Any(number)) = cause;
                assert!(numbers.contains(number) && *number < kind.number, "{} follows BC{number}", kind.code());
            }
        }
    }

    #[test]
    fn a_number_is_explained_however_it_is_written() {
        let one = explain("BC103").expect("it is known");
        assert!(one.starts_with("BC103 (error): "), "{one}");
        assert_eq!(explain("bc103").as_ref(), Some(&one));
        assert_eq!(explain("103").as_ref(), Some(&one));
        assert_eq!(explain("BC999"), None);
        assert_eq!(explain("fence"), None);
    }
}
