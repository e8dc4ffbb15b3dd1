//! What a terminal shows, by an emulator that reads what is written to it.

use std::num::NonZeroU16;

use super::*;
use crate::execute::Progress as Told;
use crate::observe::tests::inventory;
use crate::place::Place;
use crate::plan::Decision;
use crate::steps::{Step, table};
use bc_model::journal::Intent;

const SECOND: Duration = Duration::from_secs(1);

/// stop-postgresql, arm and asynchronous together, replay, promote, settle.
fn steps() -> Vec<Step> {
    let decision = Decision {
        operation: "OP".to_owned(),
        intent: Intent::PromoteOnly,
        to: Place::Away,
        timeline: 1,
        system_identifier: None,
        fence: vec![],
        fence_together: false,
        power_on: vec![],
        reseed: None,
        salvage_first: false,
        publish: false,
        quarantine: true,
    };
    table(&inventory(), &decision)
}

/// A terminal of this size, after a line that was there before, and after what was drawn.
fn screen(size: (usize, usize), frames: &[String]) -> Vec<String> {
    let (columns, lines) = size;
    let number = |number: usize| NonZeroU16::try_from(u16::try_from(number).expect("small")).expect("not 0");
    let mut parser = vt100::Parser::new(number(lines), number(columns), 0);
    parser.process(b"before\r\n");
    for frame in frames {
        parser.process(frame.as_bytes());
    }
    let text: Vec<String> = parser.screen().rows(0, u16::try_from(columns).expect("small")).collect();
    text.into_iter().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
}

fn began(rows: &mut Rows, steps: &[Step], number: usize, now: Duration) {
    rows.take(&Told::Began { number, of: steps.len(), step: &steps[number - 1] }, now);
}

fn done(rows: &mut Rows, steps: &[Step], number: usize, evidence: &str) {
    let (of, step) = (steps.len(), &steps[number - 1]);
    rows.take(&Told::Done { number, of, step, elapsed: SECOND, evidence }, 2 * SECOND);
}

#[test]
fn the_list_is_drawn_over_the_one_before() {
    let (steps, size) = (steps(), (100, 30));
    let (mut rows, mut terminal, mut frames) = (Rows::new(&steps), Terminal::default(), Vec::new());
    frames.push(terminal.frame(&rows, Duration::ZERO, None, size, true));
    began(&mut rows, &steps, 2, Duration::ZERO);
    began(&mut rows, &steps, 3, Duration::ZERO);
    frames.push(terminal.frame(&rows, SECOND, None, size, true));
    rows.take(&Told::Waiting { step: &steps[2], last_seen: "a\x1b[2Jword\nand more" }, SECOND);
    done(&mut rows, &steps, 2, &"long ".repeat(50));
    frames.push(terminal.frame(&rows, 3 * SECOND, Some("stopping"), size, true));
    let seen = screen(size, &frames);
    assert_eq!(seen.len(), 1 + steps.len() + 1, "{seen:#?}");
    assert_eq!(seen[0], "before");
    assert!(seen[2].starts_with("  2/6  arm                pg1           1.0 s  done  long long"), "{seen:#?}");
    assert_eq!(seen[3], "  3/6 +asynchronous       pg2           3.0 s  …  a [2Jword and more");
    assert!(seen[4].starts_with("  4/6  replay             pg2"), "{seen:#?}");
    assert_eq!(seen[7], "stopping");
    frames.push(terminal.cleared(100));
    assert_eq!(screen(size, &frames), ["before"], "nothing of it is left");
}

#[test]
fn a_small_terminal_shows_what_is_at_work() {
    let (steps, size) = (steps(), (40, 4));
    let (mut rows, mut terminal, mut frames) = (Rows::new(&steps), Terminal::default(), Vec::new());
    for number in 1..=5 {
        began(&mut rows, &steps, number, SECOND);
        if number < 5 {
            done(&mut rows, &steps, number, "it is so");
        }
        frames.push(terminal.frame(&rows, 2 * SECOND, None, size, true));
    }
    let seen = screen(size, &frames);
    assert_eq!(seen.len(), 3, "one line is the cursor's: {seen:#?}");
    assert!(seen.iter().any(|line| line.starts_with("  5 promote             1.0 s …")), "{seen:#?}");
    assert!(seen.iter().all(|line| line.chars().count() < 40), "{seen:#?}");
}

#[test]
fn without_colours_only_the_cursor_is_moved() {
    let steps = steps();
    let (mut rows, mut terminal) = (Rows::new(&steps), Terminal::default());
    began(&mut rows, &steps, 1, SECOND);
    done(&mut rows, &steps, 1, "");
    let coloured = terminal.frame(&rows, SECOND, None, (80, 30), true);
    let plain = terminal.frame(&rows, SECOND, None, (80, 30), false);
    assert!(coloured.contains("\x1b[32mdone\x1b[0m"), "{coloured:?}");
    assert!(!plain.contains("\x1b[32m") && !plain.contains("\x1b[0m") && plain.contains("\x1b[6A"), "{plain:?}");
}

#[test]
fn what_was_wide_is_several_lines_on_a_terminal_that_is_narrow_now() {
    let terminal = Terminal { drawn: vec![99, 10, 0, 100] };
    assert_eq!(terminal.up(50), "\r\x1b[6A");
    assert_eq!(terminal.up(200), "\r\x1b[4A");
    assert_eq!(Terminal::default().up(0), "\r");
}

#[test]
fn steps_of_an_earlier_call_are_not_said_to_wait() {
    let steps = steps();
    let mut rows = Rows::new(&steps);
    began(&mut rows, &steps, 4, SECOND);
    assert_eq!(rows.all()[0].state, State::Earlier);
    assert_eq!(rows.all()[4].state, State::Waits);
    assert_eq!(rows.told().count(), 1);
}

#[test]
fn a_sign_of_life_comes_soon_and_then_now_and_then() {
    let steps = steps();
    let mut rows = Rows::new(&steps);
    began(&mut rows, &steps, 1, Duration::ZERO);
    began(&mut rows, &steps, 2, Duration::ZERO);
    let times = (SECOND, 5 * SECOND);
    let counts: Vec<usize> = (0..13).map(|now| rows.quiet(now * SECOND, times).len()).collect();
    assert_eq!(counts, [0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0]);
}
