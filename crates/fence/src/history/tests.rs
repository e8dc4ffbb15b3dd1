use super::*;
use crate::disk::RealDisk;

fn intent(node: &str) -> HistoryLine {
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

fn add(file: &Path, node: &str) {
    append(&RealDisk, file, &intent(node), Timestamp::UNIX_EPOCH, Durable::Now).unwrap();
}

fn nodes(file: &Path) -> Vec<String> {
    let lines = read(file).unwrap().lines;
    lines.iter().filter_map(|(_, line)| line.node().map(str::to_owned)).collect()
}

#[test]
fn a_line_torn_anywhere_costs_only_itself() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state/history.jsonl");
    add(&file, "pg1");
    add(&file, "pg2");
    let whole = fs::read(&file).unwrap();
    let second = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for end in (second + 1..whole.len() - 1).step_by(7) {
        fs::write(&file, &whole[..end]).unwrap();
        assert_eq!((nodes(&file), read(&file).unwrap().unreadable), (vec!["pg1".to_owned()], vec![2]));
        add(&file, "go1");
        assert_eq!(
            (nodes(&file), read(&file).unwrap().unreadable),
            (vec!["pg1".to_owned(), "go1".to_owned()], vec![2])
        );
        assert_eq!(chain::verify(&fs::read(&file).unwrap(), None).flaws, []);
    }
}

#[test]
fn a_last_line_that_is_longer_than_the_part_read_first_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("history.jsonl");
    add(&file, "pg1");
    let long = HistoryLine::Intent(FenceIntent {
        reason: "x".repeat(300_000),
        ..match intent("pg2") {
            HistoryLine::Intent(intent) => intent,
            _ => unreachable!(),
        }
    });
    append(&RealDisk, &file, &long, Timestamp::UNIX_EPOCH, Durable::WithTheNext).unwrap();
    add(&file, "pg3");
    let done = chain::verify(&fs::read(&file).unwrap(), None);
    assert_eq!((done.lines, done.flaws.len()), (3, 0));
}

#[test]
fn bytes_that_are_no_text_are_tolerated() {
    let history = parse(b"\xff\xfe\n{}\n");
    assert_eq!((history.lines.len(), history.unreadable), (0, vec![1, 2]));
}
