//! How far a step is that takes long: asked beside it, at a distance, and told. Nothing depends on the answer.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use bc_model::inventory::Bytes;

use super::look::only_look;
use super::{Execution, Progress};
use crate::steps::Step;

/// Between two questions; also how long one may take, for the end of the step waits for it.
const PAUSE: Duration = Duration::from_secs(2);

impl Execution<'_> {
    /// Does `work`, and tells every few seconds how far it is.
    pub(super) fn metered<T>(&self, step: &Step, work: impl FnOnce() -> T) -> T {
        if step.meter.is_empty() {
            return work();
        }
        std::thread::scope(|scope| {
            let (over, is_over) = channel::<()>();
            scope.spawn(move || {
                while is_over.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                    let outputs = step.meter.iter().map(|command| only_look(self.hosts, command, PAUSE));
                    let said: String =
                        outputs.filter(|output| output.succeeded()).map(|output| output.stdout + "\n").collect();
                    if let Some(words) = amount(&said) {
                        (self.tell)(Progress::Waiting { step, last_seen: &words });
                    }
                }
            });
            let done = work();
            drop(over);
            done
        })
    }
}

/// What a meter says, for people: lines `phase=`, `done=` and `total=` (bytes), each of which may be missing.
fn amount(said: &str) -> Option<String> {
    let value = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.filter(|value| !value.is_empty())
    };
    let bytes = |name| value(name).and_then(|value| value.parse::<u64>().ok());
    let amount = match (bytes("done"), bytes("total")) {
        // What is written meanwhile may be more than was expected.
        (Some(done), Some(total)) if total > 0 => {
            let percent = done.saturating_mul(100) / total;
            Some(format!("{} of {} ({} %)", Bytes(done), Bytes(total), percent.min(100)))
        }
        (Some(done), _) => Some(Bytes(done).to_string()),
        (None, _) => None,
    };
    match (value("phase"), amount) {
        (None, None) => None,
        (phase, amount) => {
            Some([phase.map(str::to_owned), amount].into_iter().flatten().collect::<Vec<_>>().join(": "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_said_as_far_as_it_is_known() {
        for (said, words) in [
            ("", None),
            ("\n\n", None),
            ("done=x", None),
            ("phase=waiting for checkpoint to finish\ndone=0\n", Some("waiting for checkpoint to finish: 0 B")),
            (
                "phase=streaming database files\ndone=1048576000\ntotal=2097152000\n",
                Some("streaming database files: 1000 MB of 2000 MB (50 %)"),
            ),
            ("done=20971520\ntotal=10485760\n", Some("20 MB of 10 MB (100 %)")),
            ("done=5\ntotal=0", Some("5 B")),
        ] {
            assert_eq!(amount(said).as_deref(), words, "{said:?}");
        }
    }
}
