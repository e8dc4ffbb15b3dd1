//! A `bcctl` that was killed half-way is resumed to the same end. The end itself is judged by all the other invariants.

use super::Verdict;
use crate::history::{Event, History};
use crate::scenario::operation;

pub(super) fn check(history: &History) -> Verdict {
    let Some(sheet) = history.sheet() else { return Verdict::Unknown("the run did not begin".to_owned()) };
    let Some(step) = &sheet.kill_bcctl_at else { return Verdict::Skipped("nobody was killed in this run".to_owned()) };
    let killed =
        history.iter().any(|entry| matches!(&entry.event, Event::Operation { killed_at: Some(at), .. } if at == step));
    if !killed {
        return Verdict::Unknown(format!("bcctl was to be killed when {step} began, and it was not"));
    }
    let resumed = history.find_map(|entry| match &entry.event {
        Event::Operation { name, exit, output, .. } if name == operation::RESUME => Some((*exit, output)),
        _ => None,
    });
    match resumed {
        None => Verdict::Unknown("it was not resumed".to_owned()),
        Some((Some(0), _)) => Verdict::Held(format!("killed with SIGKILL when {step} began, and resumed")),
        Some((exit, output)) => {
            Verdict::Broken(format!("killed when {step} began; bcctl resume ended with {exit:?}: {output}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn each_case() {
        let killed = operation(100, operation::FAILOVER, None, "");
        let begun = || began_with(|sheet| sheet.kill_bcctl_at = Some("promote".into()));
        let resume = |exit| operation(200, operation::RESUME, Some(exit), "words");
        assert!(matches!(check(&history([began()])), Verdict::Skipped(_)));
        assert!(matches!(check(&history([begun()])), Verdict::Unknown(_)));
        assert!(matches!(check(&history([begun(), killed.clone()])), Verdict::Unknown(_)));
        assert!(matches!(check(&history([begun(), killed.clone(), resume(0)])), Verdict::Held(_)));
        assert!(matches!(check(&history([begun(), killed, resume(4)])), Verdict::Broken(_)));
        let finished = operation(100, operation::FAILOVER, Some(0), "");
        assert!(matches!(check(&history([begun(), finished, resume(0)])), Verdict::Unknown(_)), "it was never killed");
    }
}
