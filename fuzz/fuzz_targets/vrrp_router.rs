//! The state machine under any sequence of inputs: it acquires and releases in turn, and consumes each deadline.
#![no_main]

use std::net::IpAddr;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use vrrp::{
    Action, AdverInterval, AdvertPriority, Centis, Heard, Input, Instant, Preempt, Priority, Router, Settings,
    Shutdown, State, StepDown,
};

#[derive(Arbitrary, Debug)]
struct Life {
    settings: Chosen,
    steps: Vec<(Option<u32>, Step)>,
}

#[derive(Arbitrary, Debug)]
struct Chosen {
    priority: u8,
    centis: u16,
    preempt: Option<Option<u16>>,
    startup_delay: u16,
    shared_mac: bool,
    last: u8,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Startup,
    Shutdown(bool),
    Timer,
    Heard { last: u8, priority: u8, centis: u16 },
    StepDown,
    TakeOver,
    LateWakeup,
    Reconfigured(Chosen),
}

fn interval(centis: u16) -> Option<AdverInterval> {
    Centis::new(centis & 0x0fff).map(AdverInterval::V3)
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([198, 18, 0, last & 3])
}

impl Chosen {
    fn settings(&self) -> Option<Settings> {
        let preempt = match self.preempt {
            None => Preempt::Never,
            Some(None) => Preempt::Immediately,
            Some(Some(millis)) => Preempt::After(Duration::from_millis(millis.into())),
        };
        Some(Settings {
            priority: Priority::new(self.priority)?,
            interval: interval(self.centis)?,
            preempt,
            startup_delay: Duration::from_millis(self.startup_delay.into()),
            primary: address(self.last),
            shared_mac: self.shared_mac,
        })
    }
}

fn input(step: &Step) -> Option<Input> {
    Some(match step {
        Step::Startup => Input::Startup,
        Step::Shutdown(true) => Input::Shutdown(Shutdown::Stopped),
        Step::Shutdown(false) => Input::Shutdown(Shutdown::InterfaceDown),
        Step::Timer => Input::Timer,
        Step::Heard { last, priority, centis } => Input::Advertisement(Heard {
            source: address(*last),
            priority: AdvertPriority::from_wire(*priority),
            interval: interval(*centis)?,
        }),
        Step::StepDown => Input::StepDown(StepDown::Handover),
        Step::TakeOver => Input::TakeOver,
        Step::LateWakeup => Input::LateWakeup,
        Step::Reconfigured(chosen) => Input::Reconfigured(chosen.settings()?),
    })
}

fuzz_target!(|life: Life| {
    let Some(settings) = life.settings.settings() else { return };
    let mut router = Router::new(settings);
    let mut now = Instant::ORIGIN;
    let mut holds = false;
    for (wait, step) in &life.steps {
        let Some(input) = input(step) else { continue };
        now = match wait {
            Some(micros) => now + Duration::from_micros((*micros).into()),
            None => router.deadline().unwrap_or(now).max(now),
        };
        for action in router.handle(now, input) {
            match action {
                Action::AcquireAddresses => assert!(!std::mem::replace(&mut holds, true)),
                Action::ReleaseAddresses => assert!(std::mem::replace(&mut holds, false)),
                Action::Announce => assert!(holds),
                Action::SendAdvertisement(_) | Action::Report(_) => {}
            }
        }
        assert_eq!(holds, matches!(router.state(), State::Active(_)));
        if matches!(input, Input::Timer) {
            assert!(router.deadline().is_none_or(|deadline| deadline > now));
        }
    }
});
