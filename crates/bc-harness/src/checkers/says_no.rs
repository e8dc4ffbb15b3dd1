//! What makes no sense is refused, a dry run shows every host, and a failover that was done is not done twice.

use super::Verdict;
use crate::history::{Event, History};
use crate::scenario::operation;

pub(super) fn check(history: &History) -> Verdict {
    let rules: [(&str, i64, &[&str]); 4] = [
        (operation::EARLY_FAILBACK, 3, &[]),
        (operation::EARLY_FAILOVER, 3, &[]),
        (operation::DRY_FAILOVER, 0, &["pg1", "pg2", "go1", "go2"]),
        (operation::SECOND_FAILOVER, 0, &["nothing to do"]),
    ];
    let mut missing = Vec::new();
    for (name, expected, words) in rules {
        let Some((exit, output)) = outcome(history, name) else {
            missing.push(name);
            continue;
        };
        if exit != Some(expected) {
            let exit = exit.map_or_else(|| "a signal".to_owned(), |exit| exit.to_string());
            return Verdict::Broken(format!("{name} ended with {exit} and not {expected}: {}", last_line(output)));
        }
        if let Some(word) = words.iter().find(|word| !output.to_lowercase().contains(**word)) {
            return Verdict::Broken(format!("{name} does not say {word:?}: {}", last_line(output)));
        }
    }
    if missing.is_empty() {
        Verdict::Held(
            "failback and failover of a healthy site are refused, a dry run names every host, a second failover has nothing to do".into(),
        )
    } else {
        Verdict::Unknown(format!("not tried: {}", missing.join(", ")))
    }
}

fn outcome<'h>(history: &'h History, wanted: &str) -> Option<(Option<i64>, &'h str)> {
    history.find_map(|entry| match &entry.event {
        Event::Operation { name, exit, output, .. } if name == wanted => Some((*exit, output.as_str())),
        _ => None,
    })
}

fn last_line(output: &str) -> &str {
    output.trim_end().lines().next_back().unwrap_or("(it printed nothing)")
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn drill(early: i64, dry: &str, second: (i64, &str)) -> History {
        history([
            operation(100, operation::EARLY_FAILBACK, Some(early), "nothing has failed over"),
            operation(150, operation::EARLY_FAILOVER, Some(3), "everything is well"),
            operation(200, operation::DRY_FAILOVER, Some(0), dry),
            operation(300, operation::SECOND_FAILOVER, Some(second.0), second.1),
        ])
    }

    #[test]
    fn refusing_showing_and_doing_nothing_are_right() {
        let verdict = check(&drill(3, "pg1 pg2 go1 go2", (0, "There is Nothing to do.")));
        assert!(matches!(verdict, Verdict::Held(_)), "{verdict:?}");
    }

    #[test]
    fn violations_are_named() {
        for (history, why) in [
            (drill(0, "pg1 pg2 go1 go2", (0, "nothing to do")), "ended with 0 and not 3: nothing has failed over"),
            (drill(3, "pg1 pg2 go1", (0, "nothing to do")), "does not say \"go2\""),
            (drill(3, "pg1 pg2 go1 go2", (0, "done")), "does not say \"nothing to do\""),
            (drill(3, "pg1 pg2 go1 go2", (4, "x")), "ended with 4 and not 0"),
        ] {
            assert!(matches!(check(&history), Verdict::Broken(found) if found.contains(why)), "{why}");
        }
    }

    #[test]
    fn what_was_not_tried_proves_nothing() {
        assert!(matches!(check(&history([])), Verdict::Unknown(_)));
    }
}
