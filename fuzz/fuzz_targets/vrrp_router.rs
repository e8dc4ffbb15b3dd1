//! The state machine under any sequence of inputs: it acquires and releases in turn, and consumes each deadline.
#![no_main]

use std::net::IpAddr;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use vrrp::{
    Action, AdverInterval, AdvertPriority, Heard, Input, Instant, Preempt, Priority, Router, Settings, Shutdown, State,
    StepDown, Version,
};

#[derive(Arbitrary, Debug)]
struct Life {
    version_2: bool,
    settings: Chosen,
    steps: Vec<(Option<u32>, Step)>,
}

#[derive(Arbitrary, Debug)]
struct Chosen {
    priority: u8,
    interval: u16,
    preempt: Option<Option<u16>>,
    startup_delay: u16,
    shared_mac: bool,
    in_sync_group: bool,
    last: u8,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Startup,
    Shutdown(bool),
    Timer,
    Heard { last: u8, priority: u8, interval: u16 },
    StepDown,
    TakeOver,
    LateWakeup,
    Reconfigured(Chosen),
}

fn interval(version: Version, raw: u16) -> Option<AdverInterval> {
    let millis = match version {
        Version::V2 => u64::from(raw & 0xff) * 1000,
        Version::V3 => u64::from(raw & 0x0fff) * 10,
    };
    AdverInterval::from_millis(version, millis).ok()
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([198, 18, 0, last & 3])
}

impl Chosen {
    fn settings(&self, version: Version) -> Option<Settings> {
        let preempt = match self.preempt {
            None => Preempt::Never,
            Some(None) => Preempt::Immediately,
            Some(Some(millis)) => Preempt::After(Duration::from_millis(millis.into())),
        };
        Some(Settings {
            priority: Priority::new(self.priority)?,
            interval: interval(version, self.interval)?,
            preempt,
            startup_delay: Duration::from_millis(self.startup_delay.into()),
            primary: address(self.last),
            shared_mac: self.shared_mac,
            in_sync_group: self.in_sync_group,
        })
    }
}

fn input(version: Version, step: &Step) -> Option<Input> {
    Some(match step {
        Step::Startup => Input::Startup,
        Step::Shutdown(true) => Input::Shutdown(Shutdown::Stopped),
        Step::Shutdown(false) => Input::Shutdown(Shutdown::InterfaceDown),
        Step::Timer => Input::Timer,
        Step::Heard { last, priority, interval: raw } => Input::Advertisement(Heard {
            source: address(*last),
            priority: AdvertPriority::from_wire(*priority),
            interval: interval(version, *raw)?,
        }),
        Step::StepDown => Input::StepDown(StepDown::Handover),
        Step::TakeOver => Input::TakeOver,
        Step::LateWakeup => Input::LateWakeup,
        Step::Reconfigured(chosen) => Input::Reconfigured(chosen.settings(version)?),
    })
}

fuzz_target!(|life: Life| {
    let version = if life.version_2 { Version::V2 } else { Version::V3 };
    let Some(settings) = life.settings.settings(version) else { return };
    let mut router = Router::new(settings);
    let mut now = Instant::ORIGIN;
    let mut holds = false;
    for (wait, step) in &life.steps {
        let Some(input) = input(version, step) else { continue };
        now = match wait {
            Some(micros) => now + Duration::from_micros((*micros).into()),
            None => router.deadline().unwrap_or(now).max(now),
        };
        let held = holds;
        let actions = router.handle(now, input);
        let is_active = matches!(router.state(), State::Active(_));
        for action in actions {
            match action {
                Action::AcquireAddresses => assert!(!std::mem::replace(&mut holds, true)),
                Action::ReleaseAddresses => assert!(std::mem::replace(&mut holds, false)),
                Action::Announce => assert!(holds),
                Action::SendAdvertisement(AdvertPriority::Holding(_)) => assert!(held || is_active),
                Action::SendAdvertisement(AdvertPriority::Resigning) => assert!(held && !is_active),
                Action::Report(_) => {}
            }
        }
        assert_eq!(holds, is_active);
        if matches!(input, Input::Timer) {
            assert!(router.deadline().is_none_or(|deadline| deadline > now));
        }
    }
});
