//! The one ordered stream of events: numbered here, then read by everybody.

use std::collections::VecDeque;

use tokio::sync::broadcast;

use super::event::{Event, What};
use crate::clock;

/// How many events are kept for whoever asks later, and for whoever reads slowly.
const KEPT: usize = 1024;

/// The stream.
pub struct Stream {
    last: u64,
    recent: VecDeque<Event>,
    readers: broadcast::Sender<Event>,
}

impl Default for Stream {
    fn default() -> Self {
        Self { last: 0, recent: VecDeque::new(), readers: broadcast::Sender::new(KEPT) }
    }
}

impl Stream {
    /// Gives `what` its number, and tells it to every reader and to the log.
    pub fn report(&mut self, instance: Option<String>, what: What) -> Event {
        self.last += 1;
        let about = instance.as_deref().unwrap_or("-");
        if what.is_warning() {
            tracing::warn!(instance = about, seq = self.last, "{what}");
        } else {
            tracing::info!(instance = about, seq = self.last, "{what}");
        }
        let event = Event { seq: self.last, at: clock::timestamp(), instance, what };
        if self.recent.len() == KEPT {
            self.recent.pop_front();
        }
        self.recent.push_back(event.clone());
        // Nobody listening is no error.
        let _ = self.readers.send(event.clone());
        event
    }

    /// What happened lately, and what happens from now on, without a gap between them.
    pub fn subscribe(&self, recent: bool) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let past = if recent { self.recent.iter().cloned().collect() } else { Vec::new() };
        (past, self.readers.subscribe())
    }
}
