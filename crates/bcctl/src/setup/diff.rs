//! The difference of two texts, line by line, with a little around it.

/// Lines that are shown before and after a change.
const AROUND: usize = 2;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Line<'a> {
    Same(&'a str),
    Old(&'a str),
    New(&'a str),
}

/// The lines that `new` adds (`+`) to `old` and takes from it (`-`); empty if they are the same.
pub(crate) fn diff(old: &str, new: &str) -> String {
    let lines = lines(&old.lines().collect::<Vec<_>>(), &new.lines().collect::<Vec<_>>());
    let near = |index: usize| {
        let from = index.saturating_sub(AROUND);
        lines[from..(index + AROUND + 1).min(lines.len())].iter().any(|line| !matches!(line, Line::Same(_)))
    };
    let mut text = String::new();
    let mut skipped = false;
    for (index, line) in lines.iter().enumerate() {
        let (mark, words) = match line {
            Line::Same(_) if !near(index) => {
                skipped = true;
                continue;
            }
            Line::Same(words) => (' ', words),
            Line::Old(words) => ('-', words),
            Line::New(words) => ('+', words),
        };
        if std::mem::take(&mut skipped) {
            text.push_str("  …\n");
        }
        text.push(mark);
        text.push(' ');
        text.push_str(words);
        text.push('\n');
    }
    text
}

/// What is the same at both ends is the same; between, the old lines go and the new ones come. Our edits are one block, so this is
/// as small as it gets.
fn lines<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let rest = old.len().min(new.len()) - head;
    let tail = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let same = |part: &[&'a str]| part.iter().copied().map(Line::Same).collect::<Vec<_>>();
    let mut lines = same(&old[..head]);
    lines.extend(old[head..old.len() - tail].iter().copied().map(Line::Old));
    lines.extend(new[head..new.len() - tail].iter().copied().map(Line::New));
    lines.extend(same(&old[old.len() - tail..]));
    lines
}

#[cfg(test)]
mod tests {
    use super::diff;

    #[test]
    fn only_what_changes_is_shown_and_a_little_around_it() {
        assert_eq!(diff("a\nb\nc\nd\ne\n", "a\nb\nc\nd\ne\nx\n"), "  …\n  d\n  e\n+ x\n");
        assert_eq!(diff("a\nb\nc\n", "a\nB\nc\n"), "  a\n- b\n+ B\n  c\n");
        assert_eq!(diff("", "a\n"), "+ a\n");
        assert_eq!(diff("a\n", "a\n"), "");
        assert_eq!(diff("a\na\n", "a\na\na\n"), "  a\n  a\n+ a\n");
    }
}
