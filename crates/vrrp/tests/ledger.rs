//! `docs/rfc9568.md` names tests; each must exist, and no requirement may be left without a word.
#![expect(clippy::unwrap_used, reason = "a page that cannot be read is a failure")]

use std::collections::BTreeSet;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The names of all functions under a directory.
fn functions(directory: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            names.extend(text.split("fn ").skip(1).filter_map(|rest| rest.split('(').next()).map(String::from));
        }
    }
}

/// What stands between backticks and looks like the name of a test.
fn tests_named_in(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split('`').skip(1).step_by(2);
    words.filter(|word| {
        word.contains('_') && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    })
}

#[test]
fn every_test_that_the_ledger_names_exists() {
    let page = std::fs::read_to_string(root().join("docs/rfc9568.md")).unwrap();
    let mut names = BTreeSet::new();
    functions(&root().join("crates"), &mut names);
    functions(&root().join("tests"), &mut names);
    let missing: BTreeSet<&str> = tests_named_in(&page).filter(|test| !names.contains(*test)).collect();
    assert!(missing.is_empty(), "docs/rfc9568.md names tests that do not exist: {missing:#?}");
    assert!(tests_named_in(&page).count() > 80, "the page has been read");
}

#[test]
fn every_requirement_says_what_shows_it() {
    let page = std::fs::read_to_string(root().join("docs/rfc9568.md")).unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| ["| MUST", "| SHOULD", "| MAY"].iter().any(|level| line.contains(level)))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    assert!(rows.len() > 80, "{} rows", rows.len());
    for row in rows {
        assert_eq!(row.len(), 5, "{row:?}");
        assert!(row.iter().all(|cell| !cell.is_empty()), "{row:?}");
    }
}
