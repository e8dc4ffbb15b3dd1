//! Every step of the drill came to its end.
//!
//! A world that does not come up is no failure of what is drilled; a site that does not come back is.

use super::Verdict;
use crate::history::{Event, History, StepState};
use crate::scenario::Step;

pub(super) fn check(history: &History) -> Verdict {
    let mut done = 0;
    for entry in history.iter() {
        let Event::Step { name, state, detail } = &entry.event else { continue };
        match state {
            StepState::Done => done += 1,
            StepState::Failed if Step::is_preparation(name) => return Verdict::Unknown(format!("{name}: {detail}")),
            StepState::Failed => return Verdict::Broken(format!("{name}: {detail}")),
            StepState::Skipped => return Verdict::Unknown(format!("{name} was left out: {detail}")),
        }
    }
    match history.sheet() {
        None => Verdict::Unknown("the run did not begin".to_owned()),
        Some(sheet) => match sheet.steps.get(done) {
            Some(next) => Verdict::Unknown(format!("{next} was never reached")),
            None if done == 0 => Verdict::Unknown("there were no steps".to_owned()),
            None => Verdict::Held(format!("{done} steps")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::history::Entry;

    fn step(ms: u64, step: &Step, state: StepState) -> Entry {
        at(ms, Event::Step { name: step.name(), state, detail: "why".into() })
    }

    fn planned() -> Entry {
        began_with(|sheet| sheet.steps = vec![Step::BringUp.name(), Step::Detect.name()])
    }

    #[test]
    fn steps_that_are_done_are_right() {
        let verdict = check(&history([
            planned(),
            step(1, &Step::BringUp, StepState::Done),
            step(2, &Step::Detect, StepState::Done),
        ]));
        assert_eq!(verdict, Verdict::Held("2 steps".into()));
    }

    #[test]
    fn steps_that_were_never_reached_prove_nothing() {
        let verdict = check(&history([planned(), step(1, &Step::BringUp, StepState::Done)]));
        assert_eq!(verdict, Verdict::Unknown("notice that the site is down was never reached".into()));
        assert!(matches!(check(&history([began()])), Verdict::Unknown(_)));
    }

    #[test]
    fn a_site_that_does_not_come_back_is_broken_and_a_world_that_does_not_come_up_is_unknown() {
        let verdict =
            check(&history([step(1, &Step::Detect, StepState::Failed), step(2, &Step::PowerOn, StepState::Skipped)]));
        assert_eq!(verdict, Verdict::Broken("notice that the site is down: why".into()));
        let verdict = check(&history([step(1, &Step::BringUp, StepState::Failed)]));
        assert!(matches!(verdict, Verdict::Unknown(_)));
    }
}
