use super::*;
use bc_model::fencing::{FenceAction, FenceIntent};

fn line(node: &str) -> HistoryLine {
    HistoryLine::Intent(FenceIntent {
        schema: 2,
        at: Timestamp::UNIX_EPOCH,
        node: node.into(),
        action: FenceAction::Off,
        reason: "two\nlines".into(),
        by: "root@operator".into(),
        token: None,
        require: None,
        continues: None,
    })
}

fn append(to: &mut Vec<u8>, node: &str) {
    let tip = tip(to, true).unwrap();
    let bytes = forge(&tip, to.is_empty() || to.ends_with(b"\n"), &line(node), Timestamp::UNIX_EPOCH).unwrap();
    to.extend(bytes);
}

fn history(nodes: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    nodes.iter().for_each(|node| append(&mut bytes, node));
    bytes
}

fn flaws(bytes: &[u8]) -> Vec<usize> {
    verify(bytes, None).flaws.into_iter().map(|flaw| flaw.line).collect()
}

#[test]
fn a_whole_chain_has_no_flaw_and_a_head() {
    let bytes = history(&["a", "b", "c"]);
    let done = verify(&bytes, None);
    assert_eq!((done.lines, done.before, done.torn, done.unfinished, done.flaws.len()), (3, 0, 0, 0, 0));
    let last = bytes.split(|byte| *byte == b'\n').nth(2).unwrap();
    assert_eq!(done.head, link(last).map(|link| link.hash));
    let before = verify(&history(&["a", "b"]), None).head;
    assert_eq!(verify(&bytes, before.as_deref()).found, Some(2), "a head that was seen earlier is still in it");
    assert_eq!(verify(b"", None), Verified::default());
}

#[test]
fn every_changed_byte_is_found_in_its_line() {
    let bytes = history(&["a", "b", "c"]);
    for at in 0..bytes.len() - 1 {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        let found = verify(&changed, verify(&bytes, None).head.as_deref());
        let first = found.flaws.first().map(|flaw| flaw.line);
        // In the last line the change can look like a torn write, and in the first like the old format; then the head is missing.
        let missed = first.is_none() && found.found.is_none();
        assert!(first.is_some_and(|first| first.abs_diff(line) <= 1) || missed, "byte {at} of line {line}: {found:?}");
    }
}

#[test]
fn lines_removed_put_in_or_moved_are_found() {
    let bytes = history(&["a", "b", "c", "d"]);
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(flaws(&[lines[0], lines[2], lines[3]].concat()), [2]);
    assert_eq!(flaws(&[lines[1], lines[2], lines[3]].concat()), [1]);
    assert_eq!(flaws(&[lines[0], lines[2], lines[1], lines[3]].concat()), [2, 3, 4]);
    assert_eq!(flaws(&[lines[0], lines[1], b"{\"kind\":\"intent\"}\n", lines[2], lines[3]].concat()), [3]);
    assert_eq!(flaws(&[lines[0], lines[1], lines[1], lines[2], lines[3]].concat()), [3, 4][..1]);
    let head = verify(&bytes, None).head;
    assert_eq!(verify(&bytes[..bytes.len() - lines[3].len()], head.as_deref()).found, None, "the end was cut off");
}

#[test]
fn a_line_torn_anywhere_is_accounted_for_by_the_next() {
    let whole = history(&["a", "b"]);
    let second = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for end in second + 1..whole.len() {
        let mut torn = whole[..end].to_vec();
        let before = verify(&torn, None);
        assert_eq!(before.flaws, [], "{end}");
        append(&mut torn, "c");
        let after = verify(&torn, None);
        assert_eq!((after.flaws.len(), after.unfinished), (0, 0), "{end}: {after:?}");
        // All but its newline is there: a whole line.
        let expected = if end == whole.len() - 1 { (3, 0) } else { (3, 1) };
        assert_eq!((after.lines, after.torn), expected, "{end}");
    }
}

#[test]
fn a_repair_that_is_torn_too_is_accounted_for_by_the_one_after_it() {
    let whole = history(&["a", "b"]);
    let torn = &whole[..whole.len() - 20];
    let mut repaired = torn.to_vec();
    append(&mut repaired, "c");
    for end in torn.len()..repaired.len() {
        let mut again = repaired[..end].to_vec();
        append(&mut again, "d");
        let done = verify(&again, None);
        assert_eq!((done.flaws.len(), done.unfinished), (0, 0), "{end}: {done:?}");
    }
}

#[test]
fn a_history_of_the_first_format_is_covered_by_the_chain_that_follows() {
    for old in ["{\"kind\":\"intent\"}\n{\"kind\":\"outcome\"}\n", "{\"kind\":\"intent\"}\n{\"ki"] {
        let mut bytes = old.as_bytes().to_vec();
        assert_eq!((verify(&bytes, None).before, verify(&bytes, None).flaws.len()), (2, 0));
        append(&mut bytes, "a");
        append(&mut bytes, "b");
        let done = verify(&bytes, None);
        assert_eq!((done.before, done.lines, done.flaws.len()), (2, 2, 0), "{done:?}");
        bytes[3] ^= 1;
        assert_eq!(flaws(&bytes), [3]);
    }
}

#[test]
fn the_end_is_found_from_the_last_part_alone() {
    let bytes = history(&["a", "b", "c"]);
    let whole = tip(&bytes, true);
    let last = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
    for from in 0..last + 2 {
        assert_eq!(tip(&bytes[from..], from == 0), whole, "{from}");
    }
    assert_eq!(tip(&bytes[last + 2..], false), None);
}
