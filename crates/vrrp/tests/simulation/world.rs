//! Discrete events: packets that arrive, timers that come due, and nothing in between.

use std::collections::VecDeque;
use std::time::Duration;

use vrrp::{
    Action, AdverInterval, AdvertPriority, Centis, Event, Family, Input, Preempt, Priority, Seconds, Settings, State,
    StateName,
};

use crate::clock::{Clock, Time, WORST_RATE};
use crate::flaw::Flaw;
use crate::host::{Freeze, Host};
use crate::judge::{Deadlines, Judge, Violation};
use crate::network::{HOSTS, Network, Weather};
use crate::random::Random;

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) hosts: Vec<Host>,
    pub(crate) network: Network,
    pub(crate) judge: Judge,
    pub(crate) now: Time,
    /// Intervals that a host may have in this world.
    pub(crate) intervals: Vec<AdverInterval>,
    /// On the quiet wire.
    pub(crate) delay: Time,
    pub(crate) longest_preempt_delay: Time,
    pub(crate) longest_startup_delay: Time,
    due: [Time; HOSTS],
    done: VecDeque<Action>,
    pub(crate) advertisements: u64,
    /// Who announced the addresses last, as the neighbours beside each host have heard it.
    pub(crate) believed: [Option<usize>; HOSTS],
    trace: Option<VecDeque<String>>,
}

impl World {
    pub(crate) fn from_seed(seed: u64, flaw: Option<Flaw>, traced: bool) -> Self {
        let mut random = Random::from_seed(seed);
        let (family, intervals) = any_intervals(&mut random);
        let longest = nanos(intervals.iter().map(|interval| interval.duration()).max().unwrap());
        let shortest = nanos(intervals.iter().map(|interval| interval.duration()).min().unwrap());
        let delay = shortest / random.pick(&[5, 20, 100, 1000]);
        let longest_preempt_delay = random.pick(&[1, 10]) * longest;
        let longest_startup_delay = if random.percent(20) { 5 * longest } else { 0 };
        let everybody = random.percent(50);
        let hosts = random.between(2, HOSTS as u64);
        let hosts = (0..usize::try_from(hosts).unwrap())
            .map(|index| {
                let rate = i64::try_from(random.between(0, 2 * WORST_RATE.unsigned_abs())).unwrap() - WORST_RATE;
                let clock = Clock::new(random.between(1 << 50, 1 << 51), if random.percent(30) { 0 } else { rate });
                let settings = Settings {
                    priority: any_priority(&mut random),
                    interval: random.pick(&intervals),
                    preempt: any_preempt(&mut random, longest_preempt_delay),
                    startup_delay: Duration::from_nanos(random.between(0, longest_startup_delay)),
                    primary: Host::address(family, index),
                    shared_mac: random.percent(25),
                    in_sync_group: false,
                };
                Host::new(settings, clock, flaw.filter(|_| everybody || index == 0))
            })
            .collect();
        Self {
            random,
            hosts,
            network: Network::new(Weather::quiet(delay)),
            judge: Judge::new(2 * delay + 1_000),
            now: 0,
            intervals,
            delay,
            longest_preempt_delay,
            longest_startup_delay,
            due: [Time::MAX; HOSTS],
            done: VecDeque::new(),
            advertisements: 0,
            believed: [None; HOSTS],
            trace: traced.then(VecDeque::new),
        }
    }

    /// The last lines of what happened.
    pub(crate) fn trace(&self) -> String {
        self.trace.iter().flatten().fold(String::new(), |text, line| text + line + "\n")
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            if trace.len() == 60 {
                trace.pop_front();
            }
            let (seconds, nanos) = (self.now / 1_000_000_000, self.now % 1_000_000_000);
            trace.push_back(format!("{seconds:>7}.{nanos:09}  {}", line()));
        }
    }

    /// Let it run.
    pub(crate) fn run_until(&mut self, until: Time) -> Result<(), Violation> {
        loop {
            let (host, due) =
                (0..self.hosts.len()).map(|host| (host, self.due[host])).min_by_key(|(_, due)| *due).unwrap();
            let arrival = self.network.next();
            let next = due.min(arrival);
            if next > until {
                self.now = until;
                return self.judge.check(until);
            }
            self.now = self.now.max(next);
            // Packets before timers, as the contract says.
            if arrival <= due {
                if let Some(packet) = self.network.arrive()
                    && let Some(heard) = self.hosts[packet.to].receive(&packet)
                {
                    self.input(packet.to, Input::Advertisement(heard))?;
                }
            } else {
                self.input(host, Input::Timer)?;
                if self.due[host] <= self.now {
                    return self.broken("a due deadline is consumed");
                }
            }
        }
    }

    /// Something happens to a host that runs.
    pub(crate) fn input(&mut self, host: usize, input: Input) -> Result<(), Violation> {
        let mut done = std::mem::take(&mut self.done);
        self.hosts[host].handle(self.now, input, &mut done);
        if !done.is_empty() {
            self.note(|| format!("{host} {input:?} → {done:?}"));
        }
        for action in done.drain(..) {
            self.carry_out(host, action)?;
        }
        self.done = done;
        self.refresh(host)
    }

    fn carry_out(&mut self, host: usize, action: Action) -> Result<(), Violation> {
        let holds = self.hosts[host].holds;
        match action {
            Action::SendAdvertisement(priority) => self.send(host, priority),
            Action::AcquireAddresses if holds => return self.broken("a router acquires only what it does not hold"),
            Action::ReleaseAddresses if !holds => return self.broken("a router releases only what it holds"),
            Action::AcquireAddresses => self.hosts[host].holds = true,
            Action::ReleaseAddresses => self.hosts[host].holds = false,
            Action::Announce if !holds => return self.broken("a router announces only what it holds"),
            Action::Announce => {
                for (beside, believed) in self.believed.iter_mut().enumerate() {
                    if !self.network.weather.cut[host][beside] {
                        *believed = Some(host);
                    }
                }
            }
            Action::Report(Event::Transition { .. } | Event::Contested { .. } | Event::ListenAgain { .. }) => {}
        }
        Ok(())
    }

    fn send(&mut self, host: usize, priority: AdvertPriority) {
        let mut buffer = [0; 40];
        let length = self.hosts[host].emit(priority, &mut buffer);
        self.advertisements += 1;
        self.network.multicast(self.now, host, self.hosts.len(), &buffer[..length], &mut self.random);
    }

    /// What the world sees of a host: when it is due, and whether it is Active.
    pub(crate) fn refresh(&mut self, index: usize) -> Result<(), Violation> {
        let host = &self.hosts[index];
        self.due[index] = host.due();
        let active = host.runs() && host.subject.is_active();
        if host.runs() && host.holds != (host.subject.router().state().name() == StateName::Active) {
            return self.broken("a router holds the addresses in Active, and only there");
        }
        self.judge.note(self.now, index, active)
    }

    pub(crate) fn broken(&self, rule: &'static str) -> Result<(), Violation> {
        Err(Violation { at: self.now, rule })
    }

    // ── what can be done to a host ──

    pub(crate) fn start(&mut self, host: usize) -> Result<(), Violation> {
        if self.hosts[host].dead {
            self.hosts[host].restart();
        }
        self.input(host, Input::Startup)
    }

    pub(crate) fn kill(&mut self, host: usize) -> Result<(), Violation> {
        self.note(|| format!("{host} is killed"));
        self.hosts[host].dead = true;
        self.refresh(host)
    }

    pub(crate) fn freeze(&mut self, host: usize, how: Freeze) -> Result<(), Violation> {
        self.note(|| format!("{host} is frozen: {how:?}"));
        self.hosts[host].frozen = Some((how, self.now));
        self.refresh(host)
    }

    /// The host runs again: it reads its socket, then it looks at its timer.
    pub(crate) fn thaw(&mut self, host: usize) -> Result<(), Violation> {
        let Some((how, since)) = self.hosts[host].frozen.take() else { return Ok(()) };
        self.note(|| format!("{host} thaws"));
        if how == Freeze::MachineAndClock {
            self.hosts[host].clock.stood_still(since, self.now);
            // Sometimes the daemon has other means to know, and sometimes not.
            if self.random.percent(50) {
                self.input(host, Input::LateWakeup)?;
            }
            return self.refresh(host);
        }
        let slept = self.hosts[host].clock.reads(self.now).since(self.hosts[host].clock.reads(since));
        let stale = self.hosts[host].subject.is_active() && slept >= self.hosts[host].advertised.duration() * 3;
        let sent = self.advertisements;
        for heard in self.hosts[host].read_socket() {
            self.input(host, Input::Advertisement(heard))?;
        }
        self.input(host, Input::Timer)?;
        if stale && self.advertisements > sent {
            return self.broken("a router that slept through its peers' patience listens before it speaks");
        }
        Ok(())
    }

    pub(crate) fn reconfigure(&mut self, host: usize, settings: Settings) -> Result<(), Violation> {
        self.hosts[host].settings = settings;
        self.input(host, Input::Reconfigured(settings))
    }

    // ── what the rules are counted in ──

    pub(crate) fn longest_interval(&self) -> Time {
        nanos(self.intervals.iter().map(|interval| interval.duration()).max().unwrap())
    }

    /// The rules for a network that is quiet from then on.
    pub(crate) fn quiet_from(&self, then: Time) -> Deadlines {
        let interval = self.longest_interval();
        let at_most_one = then + stretched(interval) + 3 * self.delay;
        let at_least_one = then + stretched(4 * interval + self.longest_startup_delay) + self.delay;
        Deadlines { at_most_one, at_least_one, settled: self.settled_after(at_least_one) }
    }

    pub(crate) fn settled_after(&self, then: Time) -> Time {
        then + stretched(self.longest_preempt_delay + 12 * self.longest_interval())
    }

    /// Of all that may preempt none has a higher priority than the one that is Active.
    pub(crate) fn check_election(&self) -> Result<(), Violation> {
        let Some(winner) = self.judge.active().next() else {
            return self.broken("in a quiet network one router is Active");
        };
        let priority = self.hosts[winner].settings.priority;
        let cheated = self.hosts.iter().filter(|host| host.runs()).any(|host| match host.subject.router().state() {
            State::Backup(backup) => {
                let may_preempt = host.settings.preempt != Preempt::Never || host.settings.priority.is_owner();
                host.settings.priority > priority && may_preempt && !backup.yielding
            }
            State::Initialize | State::Active(_) => false,
        });
        if cheated { self.broken("the highest priority that may preempt is Active in the end") } else { Ok(()) }
    }
}

/// As long as the slowest clock may take.
pub(crate) fn stretched(span: Time) -> Time {
    span * 1024 / (1024 - WORST_RATE.unsigned_abs()) + 1_000
}

pub(crate) fn nanos(span: Duration) -> Time {
    u64::try_from(span.as_nanos()).unwrap()
}

fn any_intervals(random: &mut Random) -> (Family, Vec<AdverInterval>) {
    if random.percent(15) {
        let seconds = Seconds::new(random.pick(&[1, 1, 3, 255])).unwrap();
        return (Family::V4, vec![AdverInterval::V2(seconds)]);
    }
    let centis = random.pick(&[1_u16, 10, 100, 100, 100, 100, 300, 1000, 4095]);
    let several = random.percent(30);
    let centis = if several { vec![centis, centis, (centis / 5).max(1), (centis * 4).min(4095)] } else { vec![centis] };
    let family = if random.percent(40) { Family::V6 } else { Family::V4 };
    (family, centis.into_iter().map(|centis| AdverInterval::V3(Centis::new(centis).unwrap())).collect())
}

pub(crate) fn any_priority(random: &mut Random) -> Priority {
    let any = u8::try_from(random.between(1, 254)).unwrap();
    Priority::new(random.pick(&[1, 99, 100, 100, 101, 200, 254, 255, any, any])).unwrap()
}

pub(crate) fn any_preempt(random: &mut Random, longest: Time) -> Preempt {
    let delay = Duration::from_nanos(random.between(1, longest));
    random.pick(&[Preempt::Immediately, Preempt::Immediately, Preempt::After(delay), Preempt::Never])
}
