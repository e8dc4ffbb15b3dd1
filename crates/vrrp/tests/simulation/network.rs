//! The wire between the hosts: it loses, delays, duplicates and cuts, in each direction by itself.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::Time;
use crate::random::Random;

pub(crate) const HOSTS: usize = 5;

/// A packet on its way.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Packet {
    pub(crate) at: Time,
    serial: u64,
    pub(crate) from: usize,
    pub(crate) to: usize,
    length: usize,
    bytes: [u8; Self::ROOM],
}

impl Packet {
    const ROOM: usize = 40;

    pub(crate) fn payload(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// How the wire behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    pub(crate) loss_percent: u64,
    pub(crate) duplicate_percent: u64,
    /// The shortest and the longest time on the wire. In order only when they are equal.
    pub(crate) delay: (Time, Time),
    /// `cut[from][to]`
    pub(crate) cut: [[bool; HOSTS]; HOSTS],
}

impl Weather {
    /// A working network: nothing lost, nothing twice, everything in order.
    pub(crate) fn quiet(delay: Time) -> Self {
        Self { loss_percent: 0, duplicate_percent: 0, delay: (delay, delay), cut: [[false; HOSTS]; HOSTS] }
    }
}

pub(crate) struct Network {
    pub(crate) weather: Weather,
    packets: BinaryHeap<Reverse<Packet>>,
    sent: u64,
}

impl Network {
    pub(crate) fn new(weather: Weather) -> Self {
        Self { weather, packets: BinaryHeap::with_capacity(256), sent: 0 }
    }

    /// Put bytes on the wire, towards every other host.
    pub(crate) fn multicast(&mut self, now: Time, from: usize, hosts: usize, payload: &[u8], random: &mut Random) {
        let Weather { loss_percent, duplicate_percent, delay: (shortest, longest), cut } = self.weather;
        let mut bytes = [0; Packet::ROOM];
        bytes[..payload.len()].copy_from_slice(payload);
        for to in (0..hosts).filter(|to| *to != from && !cut[from][*to]) {
            let copies = if duplicate_percent > 0 && random.percent(duplicate_percent) { 2 } else { 1 };
            for _ in 0..copies {
                if loss_percent > 0 && random.percent(loss_percent) {
                    continue;
                }
                let delay = if shortest == longest { shortest } else { random.between(shortest, longest) };
                self.sent += 1;
                let packet = Packet { at: now + delay, serial: self.sent, from, to, length: payload.len(), bytes };
                self.packets.push(Reverse(packet));
            }
        }
    }

    /// When the next packet arrives.
    pub(crate) fn next(&self) -> Time {
        self.packets.peek().map_or(Time::MAX, |Reverse(packet)| packet.at)
    }

    pub(crate) fn arrive(&mut self) -> Option<Packet> {
        self.packets.pop().map(|Reverse(packet)| packet)
    }
}
