//! Which artifacts are of runs that the database does not know: folders `PIPELINE/COUNTER` beyond the counter that the pipeline has
//! reached there.

use std::collections::BTreeMap;

use super::{Evidence, Verdict};

/// More than these are not moved by a program: the database is more likely the wrong one.
const LIMIT: usize = 2000;
/// Longer than this, in bytes, the list fits into no command: an argument has at most 128 KiB, a line of the journal is one, and it
/// has the list once more as a word of the next step's.
const LENGTH: usize = 40_000;
/// So many names are said; the list is kept beside the words.
const NAMES: usize = 20;

/// `folders` is `store PATH` and then lines `TYPE PATH` of `find`; `counters` is lines `NAME COUNTER`, names in lower case.
pub(super) fn judge(folders: &str, counters: &str) -> Verdict {
    let known: BTreeMap<&str, u64> = counters
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, counter)| Some((name, counter.parse().ok()?)))
        .collect();
    let mut lines = folders.lines();
    let store = lines.next().and_then(|line| line.strip_prefix("store ")).unwrap_or("the artifact store");
    let (mut excess, mut runs) = (Vec::new(), 0);
    for (kind, path) in lines.filter_map(|line| line.split_once(' ')) {
        let (name, counter) = path.split_once('/').map_or((path, None), |(name, counter)| (name, Some(counter)));
        if !is_name(name) || counter.is_some_and(|counter| number(counter).is_none()) {
            continue;
        }
        match (kind, counter.and_then(number)) {
            ("l", _) => return Verdict::False(format!("{store}/pipelines/{path} is a link: {ODD}")),
            ("d", Some(counter)) => {
                runs += 1;
                if known.get(name.to_lowercase().as_str()).is_none_or(|reached| counter > *reached) {
                    excess.push(path);
                }
            }
            _ => {}
        }
    }
    if known.is_empty() && !excess.is_empty() {
        return Verdict::False(format!(
            "the database knows no run of any pipeline, and {store} has {runs}: is `gocd.database` the right one? {ODD}"
        ));
    }
    if excess.len() > LIMIT {
        return Verdict::False(format!("{} of {runs} runs in {store} are not in the database: {ODD}", excess.len()));
    }
    excess.sort_unstable();
    let list = format!(":{}", excess.join(":"));
    if list.len() > LENGTH {
        return Verdict::False(format!(
            "the names of {} of {runs} runs in {store} that are not in the database are too long for a command: {ODD}",
            excess.len()
        ));
    }
    let words = match excess.len() {
        0 => format!("none of {runs} runs in {store} is beyond the database"),
        count => format!(
            "{count} of {runs} runs in {store} are beyond the database: {}{}",
            excess[..count.min(NAMES)].join(" "),
            if count > NAMES { " …" } else { "" }
        ),
    };
    let facts = BTreeMap::from([("excess".to_owned(), list)]);
    Verdict::True(Evidence { words, facts })
}

/// What a person can do about what is not as it is in GoCD.
const ODD: &str = "look at it; `policy.quarantine-artifacts = false` goes on without";

/// A name that GoCD would give a pipeline.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// A counter as GoCD writes it.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| *number > 0 && number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excess(folders: &str, counters: &str) -> Result<String, String> {
        match judge(&format!("store /s\n{folders}"), counters) {
            Verdict::True(evidence) => Ok(evidence.facts["excess"].clone()),
            Verdict::False(words) | Verdict::Unknown(words) => Err(words),
        }
    }

    #[test]
    fn what_is_beyond_the_counter_of_its_pipeline_and_nothing_else() {
        for (folders, counters, expected) in [
            ("", "", ":"),
            ("d a\nd a/1\nd a/2\nd a/3\n", "a 2\n", ":a/3"),
            ("d a\nd a/2\n", "a 2\n", ":"),
            ("d Up.42\nd Up.42/7\nd Up.42/8\n", "up.42 7\n", ":Up.42/8"),
            ("d a\nd a/1\nd new\nd new/1\n", "a 1\n", ":new/1"),
            ("d a\nd a/10\nd a/9\nd a/latest\nd a/03\nd a/0\nf a/11\nd ..\nd b c\nd b c/9\n", "a 9\n", ":a/10"),
            ("d a\nl a/latest\nd a/1\n", "a 1\n", ":"),
        ] {
            assert_eq!(excess(folders, counters).as_deref(), Ok(expected), "{folders:?} {counters:?}");
        }
    }

    #[test]
    fn what_is_odd_is_refused() {
        for (folders, counters, expected) in [
            ("l a\n", "a 1\n", "/s/pipelines/a is a link"),
            ("d a\nl a/1\n", "a 1\n", "/s/pipelines/a/1 is a link"),
            ("d a\nd a/1\n", "", "the database knows no run"),
        ] {
            let words = excess(folders, counters).expect_err("refused");
            assert!(words.starts_with(expected), "{words}");
        }
        let many: String = (1..=2001).map(|counter| format!("d a/{counter}\n")).collect();
        assert!(excess(&many, "b 1\n").expect_err("refused").starts_with("2001 of 2001 runs"));
    }

    #[test]
    fn a_list_that_fits_into_no_command_is_refused_and_a_long_one_is_not_said_twice() {
        let name = "n".repeat(200);
        let folders = |count: usize| (1..=count).map(|run| format!("d {name}/{run}\n")).collect::<String>();
        let words = excess(&folders(200), "b 1\n").expect_err("200 names of 204 bytes");
        assert!(words.starts_with("the names of 200 of 200 runs"), "{words}");
        assert!(words.ends_with(ODD), "{words}");
        let Verdict::True(Evidence { words, facts }) = judge(&format!("store /s\n{}", folders(100)), "b 1\n") else {
            panic!("100 of them fit")
        };
        assert_eq!(facts["excess"].matches(':').count(), 100);
        assert_eq!(words.matches(&name).count(), 20, "{words}");
        assert!(words.starts_with("100 of 100 runs") && words.ends_with('…'), "{words}");
    }
}
