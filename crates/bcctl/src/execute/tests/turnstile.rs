//! Decides who goes on when the steps of a group are at work, so that a test meets every order of them that it wants, and the
//! same one each time. A step stops before everything that others could notice: a command, a line of the journal.

use std::sync::{Condvar, Mutex};
use std::thread::ThreadId;

use super::model::Killed;

/// Which of those that could go on does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The first of the table, to its end; then the next.
    First,
    /// The last of the table, to its end; then the one before.
    Last,
    /// One after the other, each up to its next stop.
    InTurn,
    /// By lot, from this seed.
    ByLot(u64),
}

pub(super) const ORDERS: [Order; 5] =
    [Order::First, Order::Last, Order::InTurn, Order::ByLot(7), Order::ByLot(1_000_003)];

#[derive(Debug, Default)]
struct Inner {
    /// Number of the step and its thread, for each at work, in the order of the table.
    at_work: Vec<(usize, ThreadId)>,
    /// Whose turn it is; nobody's as long as some have not arrived.
    turn: Option<usize>,
    lots: u64,
    /// bcctl was killed: nobody does anything any more.
    dead: bool,
}

#[derive(Debug)]
pub(super) struct Turnstile {
    order: Order,
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl Turnstile {
    pub(super) fn new(order: Order) -> Self {
        let lots = if let Order::ByLot(seed) = order { seed } else { 0 };
        Self { order, inner: Mutex::new(Inner { lots, ..Inner::default() }), changed: Condvar::new() }
    }

    /// The thread of step `number`, one of a group of `size`, is here. Nobody goes on before all are.
    pub(super) fn arrive(&self, number: usize, size: usize) {
        if size < 2 {
            return;
        }
        let mut inner = self.inner.lock().expect("no thread panicked");
        inner.at_work.push((number, std::thread::current().id()));
        inner.at_work.sort_by_key(|(number, _)| *number);
        if inner.at_work.len() == size {
            self.choose(&mut inner, None);
        }
        drop(inner);
        self.wait();
    }

    /// Something that others could notice is about to be done.
    pub(super) fn pass(&self) {
        let mut inner = self.inner.lock().expect("no thread panicked");
        let me = std::thread::current().id();
        if let Some(number) = inner.at_work.iter().find(|(_, thread)| *thread == me).map(|(number, _)| *number) {
            self.choose(&mut inner, Some(number));
        }
        drop(inner);
        self.wait();
    }

    /// This thread's step is over.
    pub(super) fn leave(&self) {
        let mut inner = self.inner.lock().expect("no thread panicked");
        let me = std::thread::current().id();
        if let Some(at) = inner.at_work.iter().position(|(_, thread)| *thread == me) {
            let (number, _) = inner.at_work.remove(at);
            self.choose(&mut inner, Some(number));
        }
    }

    /// bcctl is killed, all of it, here and now.
    pub(super) fn kill(&self) -> ! {
        self.inner.lock().expect("no thread panicked").dead = true;
        self.changed.notify_all();
        std::panic::resume_unwind(Box::new(Killed))
    }

    /// A new bcctl.
    pub(super) fn start(&self) {
        let mut inner = self.inner.lock().expect("no thread panicked");
        let lots = inner.lots;
        *inner = Inner { lots, ..Inner::default() };
    }

    fn choose(&self, inner: &mut Inner, last: Option<usize>) {
        let numbers: Vec<usize> = inner.at_work.iter().map(|(number, _)| *number).collect();
        inner.turn = match self.order {
            Order::First => numbers.first().copied(),
            Order::Last => numbers.last().copied(),
            Order::InTurn => {
                let after = numbers.iter().find(|number| last.is_some_and(|last| **number > last));
                after.or(numbers.first()).copied()
            }
            Order::ByLot(_) => {
                // xorshift64
                inner.lots ^= inner.lots << 13;
                inner.lots ^= inner.lots >> 7;
                inner.lots ^= inner.lots << 17;
                let count = u64::try_from(numbers.len().max(1)).expect("few");
                numbers.get(usize::try_from(inner.lots % count).expect("few")).copied()
            }
        };
        self.changed.notify_all();
    }

    /// Until it is this thread's turn. One that is no step of a group only helps one, or is alone.
    fn wait(&self) {
        let me = std::thread::current().id();
        let inner = self.inner.lock().expect("no thread panicked");
        let inner = self
            .changed
            .wait_while(inner, |inner| {
                let mine = inner.at_work.iter().find(|(_, thread)| *thread == me).map(|(number, _)| *number);
                !inner.dead && mine.is_some() && inner.turn != mine
            })
            .expect("no thread panicked");
        if inner.dead {
            drop(inner);
            std::panic::resume_unwind(Box::new(Killed));
        }
    }
}
