//! After failback the original roles, replication streaming.

use super::Verdict;
use crate::history::{Event, History, Phase};

/// Host, fact, and what it must be at home. Read from the hosts themselves, see [`crate::site`].
pub(crate) const AT_HOME: [(&str, &str, &str); 11] = [
    ("pg1", "in recovery", "f"),
    ("pg2", "in recovery", "t"),
    ("pg1", "standbys", "pg2 streaming"),
    ("pg2", "follows", "streaming"),
    ("go1", "go-server", "active"),
    ("go2", "go-server", "inactive"),
    ("go1", "holds the VIP", "yes"),
    ("go2", "holds the VIP", "no"),
    ("go2", "standbyd-pull.timer", "active"),
    ("go1", "maintenance mode", "off"),
    ("go2", "artifacts of lost runs", "0"),
];

pub(super) fn check(history: &History) -> Verdict {
    let mut missing = Vec::new();
    for (host, fact, expected) in AT_HOME {
        match role(history, host, fact) {
            Some(found) if found == expected => {}
            Some(found) => return Verdict::Broken(format!("{host}: {fact} is {found:?} and not {expected:?}")),
            None => missing.push(format!("{host}: {fact}")),
        }
    }
    if missing.is_empty() {
        Verdict::Held("pg1 is primary, pg2 streams from it, go1 serves at work and has the VIP, go2 pulls".to_owned())
    } else {
        Verdict::Unknown(format!("not read after failback: {}", missing.join(", ")))
    }
}

fn role<'h>(history: &'h History, host: &str, fact: &str) -> Option<&'h str> {
    history.find_map(|entry| match &entry.event {
        Event::Role { phase: Phase::Home, host: on, fact: of, value } if on == host && of == fact => {
            Some(value.as_str())
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn home(change: Option<(usize, &str)>) -> History {
        history(AT_HOME.iter().enumerate().map(|(index, (host, fact, expected))| {
            let value = change.filter(|(changed, _)| *changed == index).map_or(*expected, |(_, value)| value);
            let (host, fact, value) = ((*host).to_owned(), (*fact).to_owned(), value.to_owned());
            at(1, Event::Role { phase: Phase::Home, host, fact, value })
        }))
    }

    #[test]
    fn the_original_roles_are_right() {
        assert!(matches!(check(&home(None)), Verdict::Held(_)));
    }

    #[test]
    fn each_wrong_role_is_named() {
        for (index, (host, fact, expected)) in AT_HOME.iter().enumerate() {
            let expected = format!("{host}: {fact} is \"else\" and not {expected:?}");
            assert_eq!(check(&home(Some((index, "else")))), Verdict::Broken(expected));
        }
    }
}
