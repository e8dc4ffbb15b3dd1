//! A world's life: storm, quiet, a planned or a sudden change, quiet, and again.

use vrrp::{Input, Shutdown, State, StepDown};

use crate::clock::Time;
use crate::flaw::Flaw;
use crate::host::Freeze;
use crate::judge::{Deadlines, Violation};
use crate::network::{HOSTS, Weather};
use crate::world::{World, any_preempt, any_priority, nanos, stretched};

/// What a world without a violation amounted to.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Summary {
    pub(crate) longest_interval: Time,
    pub(crate) virtual_time: Time,
    pub(crate) advertisements: u64,
    pub(crate) discarded: u64,
}

/// Live through a world of this seed; the trace is empty unless it was asked for.
pub(crate) fn live(seed: u64, flaw: Option<Flaw>, traced: bool) -> Result<Summary, (Violation, String)> {
    let mut world = World::from_seed(seed, flaw, traced);
    let cycles = (|| {
        for host in 0..world.hosts.len() {
            world.start(host)?;
        }
        for _ in 0..4 {
            world.storm()?;
            world.quiet()?;
            world.change()?;
        }
        Ok(())
    })();
    match cycles {
        Ok(()) => Ok(Summary {
            longest_interval: world.longest_interval(),
            virtual_time: world.now,
            advertisements: world.advertisements,
            discarded: world.hosts.iter().map(|host| host.counters.discarded_in_all()).sum(),
        }),
        Err(violation) => Err((violation, world.trace())),
    }
}

/// Live through a world in which nothing happens but that the network is cut in two and heals, again and again, and no
/// settings differ but priorities and preemption. How often two routers were Active then.
pub(crate) fn split(seed: u64, flaw: Option<Flaw>, traced: bool) -> Result<u32, (Violation, String)> {
    let mut world = World::from_seed(seed, flaw, traced);
    let mut splits = 0;
    let cycles = (|| {
        let interval = world.intervals[0];
        for host in 0..world.hosts.len() {
            let settings = world.hosts[host].settings;
            let priority = if settings.priority.is_owner() { vrrp::Priority::DEFAULT } else { settings.priority };
            let settings = vrrp::Settings { priority, interval, shared_mac: false, ..settings };
            world.reconfigure(host, settings)?;
            world.start(host)?;
        }
        world.expect_and_wait(world.quiet_from(world.now))?;
        for _ in 0..4 {
            splits += u32::from(world.cut_and_heal()?);
        }
        Ok(())
    })();
    cycles.map(|()| splits).map_err(|violation| (violation, world.trace()))
}

impl World {
    /// The neighbours believe whoever is Active in the end, unless a router that gave way could not know that it was one of
    /// two. Whether there were two.
    fn cut_and_heal(&mut self) -> Result<bool, Violation> {
        self.judge.expect(self.now, Deadlines::STORM)?;
        let count = self.hosts.len();
        let here = self.random.between(1, (1 << count) - 2);
        let island = |host: usize| here >> host & 1;
        for from in 0..HOSTS {
            for to in 0..HOSTS {
                self.network.weather.cut[from][to] = island(from) != island(to);
            }
        }
        self.note(|| format!("the network is cut: {here:05b}"));
        let long = self.longest_preempt_delay + 20 * self.longest_interval();
        let healed = self.now + self.random.between(1, long);
        self.run_until(healed)?;

        self.note(|| "the network heals".into());
        self.network.weather = Weather::quiet(self.delay);
        let aware = |host: usize| match self.hosts[host].subject.router().state() {
            State::Active(active) => active.unresigned,
            State::Initialize | State::Backup(_) => true,
        };
        let aware: Vec<_> = (0..count).map(aware).collect();
        let split = self.judge.active().count() > 1;
        self.expect_and_wait(self.quiet_from(self.now + self.delay))?;
        let winner = self.judge.active().next();
        for believed in self.believed[..count].iter().flatten() {
            if Some(*believed) != winner && aware[*believed] {
                self.broken("after a split brain the neighbours believe the winner")?;
            }
        }
        // A refresh, or time, puts the rest right.
        self.believed = [winner; HOSTS];
        Ok(split)
    }

    /// Everything at once, for a while.
    fn storm(&mut self) -> Result<(), Violation> {
        self.judge.expect(self.now, Deadlines::STORM)?;
        let interval = self.longest_interval();
        for _ in 0..self.random.between(1, 25) {
            self.disturb()?;
            let pause = self.random.pick(&[interval / 10, interval, 4 * interval, 10 * interval]);
            let until = self.now + self.random.between(1, pause);
            self.run_until(until)?;
        }
        Ok(())
    }

    fn disturb(&mut self) -> Result<(), Violation> {
        let host = self.random.index(self.hosts.len());
        let what = self.random.between(0, 99);
        if what < 25 {
            self.network.weather = self.any_weather();
            let weather = self.network.weather;
            self.note(|| format!("the weather changes: {weather:?}"));
            return Ok(());
        }
        if self.hosts[host].dead {
            return if what < 60 { self.start(host) } else { Ok(()) };
        }
        if self.hosts[host].frozen.is_some() {
            return if what < 60 { self.thaw(host) } else { Ok(()) };
        }
        match what {
            25..45 => {
                let how = self.random.pick(&[Freeze::Process, Freeze::Machine, Freeze::MachineAndClock]);
                self.freeze(host, how)
            }
            45..55 => self.kill(host),
            55..62 => {
                let why = self.random.pick(&[Shutdown::Stopped, Shutdown::Fault, Shutdown::InterfaceDown]);
                self.input(host, Input::Shutdown(why))
            }
            62..75 => self.start(host),
            75..80 => self.input(host, Input::StepDown(StepDown::Handover)),
            80..83 => self.input(host, Input::TakeOver),
            83..86 => self.input(host, Input::LateWakeup),
            _ => {
                let settings = vrrp::Settings {
                    priority: any_priority(&mut self.random),
                    interval: self.random.pick(&self.intervals),
                    preempt: any_preempt(&mut self.random, self.longest_preempt_delay),
                    ..self.hosts[host].settings
                };
                self.reconfigure(host, settings)
            }
        }
    }

    fn any_weather(&mut self) -> Weather {
        let longest = self.random.between(self.delay, self.longest_interval() / 2 + self.delay);
        let mut cut = [[false; HOSTS]; HOSTS];
        match self.random.between(0, 3) {
            0 => {}
            1 => {
                // Two islands.
                let islands = [(); HOSTS].map(|()| self.random.percent(50));
                cut = islands.map(|here| islands.map(|there| here != there));
            }
            2 => cut = cut.map(|row| row.map(|_| self.random.percent(40))), // some directions only
            _ => cut = [[true; HOSTS]; HOSTS],
        }
        Weather {
            loss_percent: self.random.pick(&[0, 0, 10, 50, 90]),
            duplicate_percent: self.random.pick(&[0, 30]),
            delay: (self.random.between(1, longest), longest),
            cut,
        }
    }

    /// Everything is repaired, and the rules hold one after the other.
    fn quiet(&mut self) -> Result<(), Violation> {
        self.note(|| "the network heals".into());
        self.network.weather = Weather::quiet(self.delay);
        let sure = self.random.index(self.hosts.len());
        for host in 0..self.hosts.len() {
            self.thaw(host)?;
            let started = !self.hosts[host].dead && *self.hosts[host].subject.router().state() != State::Initialize;
            if !started && (host == sure || self.random.percent(70)) {
                self.start(host)?;
            }
        }
        // What was sent in the storm is under way for at most this long.
        let flushed = self.now + self.longest_interval() / 2 + self.delay;
        self.expect_and_wait(self.quiet_from(flushed))
    }

    fn expect_and_wait(&mut self, deadlines: Deadlines) -> Result<(), Violation> {
        self.judge.expect(self.now, deadlines)?;
        self.run_until(deadlines.settled + 20 * self.longest_interval())?;
        self.check_election()
    }

    /// In a quiet network the Active router leaves in one way or another, and the next one is there in time.
    fn change(&mut self) -> Result<(), Violation> {
        let Some(active) = self.judge.active().next() else { return Ok(()) };
        let others = (0..self.hosts.len()).filter(|host| {
            *host != active
                && self.hosts[*host].runs()
                && matches!(self.hosts[*host].subject.router().state(), State::Backup(_))
        });
        if others.count() == 0 {
            return Ok(());
        }
        let interval = self.hosts[active].interval();
        let lowest = vrrp::Priority::new(1).unwrap();
        let after_resignation = stretched(nanos(interval.skew_time(lowest))) + self.delay;
        let after_silence = stretched(nanos(interval.active_down_interval(lowest))) + self.delay;
        let what = self.random.between(0, 4);
        let bound = if what < 2 { after_resignation } else { after_silence };
        let at_least_one = self.now + bound;
        let settled = self.settled_after(at_least_one);
        let deadlines = Deadlines { at_most_one: self.now, at_least_one, settled };
        self.judge.expect(self.now, deadlines)?;
        match what {
            0 => self.input(active, Input::Shutdown(Shutdown::Stopped))?,
            1 => self.input(active, Input::StepDown(StepDown::Handover))?,
            2 => self.kill(active)?,
            _ => self.freeze(active, if what == 3 { Freeze::Process } else { Freeze::Machine })?,
        }
        self.expect_and_wait(deadlines)?;
        if self.hosts[active].frozen.is_some() {
            // It comes back to a network in which another one is Active, and disturbs nobody.
            let settled = self.settled_after(self.now);
            let deadlines = Deadlines { at_most_one: self.now, at_least_one: self.now, settled };
            self.judge.expect(self.now, deadlines)?;
            self.thaw(active)?;
            self.expect_and_wait(deadlines)?;
        }
        Ok(())
    }
}
