//! Whatever happens, in whatever order: the promises that the daemon builds on.

use proptest::prelude::*;

use super::*;

fn any_interval() -> impl Strategy<Value = AdverInterval> {
    prop_oneof![Just(10_u16), 1_u16..=4095].prop_map(centis)
}

fn any_preempt() -> impl Strategy<Value = Preempt> {
    prop_oneof![
        Just(Preempt::Immediately),
        Just(Preempt::Never),
        (0_u64..2_000).prop_map(|millis| Preempt::After(Duration::from_millis(millis))),
    ]
}

prop_compose! {
    fn any_settings()(
        level in 1_u8..=255, interval in any_interval(), preempt in any_preempt(), delay in 0_u64..1_000, last in 1_u8..5,
        shared_mac: bool, in_sync_group: bool,
    ) -> Settings {
        Settings {
            priority: Priority::new(level).unwrap(),
            interval,
            preempt,
            startup_delay: Duration::from_millis(delay),
            primary: address(last),
            shared_mac,
            in_sync_group,
        }
    }
}

prop_compose! {
    fn any_heard()(last in 1_u8..5, level: u8, interval in any_interval()) -> Input {
        Input::Advertisement(Heard { source: address(last), priority: AdvertPriority::from_wire(level), interval })
    }
}

fn any_input() -> impl Strategy<Value = Input> {
    let why = prop::sample::select(vec![Shutdown::Stopped, Shutdown::Fault, Shutdown::InterfaceDown]);
    let step = prop::sample::select(vec![StepDown::Handover, StepDown::AddressLost, StepDown::SyncGroup]);
    prop_oneof![
        3 => Just(Input::Startup),
        1 => why.prop_map(Input::Shutdown),
        8 => Just(Input::Timer),
        8 => any_heard(),
        1 => step.prop_map(Input::StepDown),
        1 => Just(Input::TakeOver),
        1 => Just(Input::LateWakeup),
        2 => any_settings().prop_map(Input::Reconfigured),
    ]
}

/// How far time goes before an input: to the deadline, or by so many milliseconds.
#[derive(Debug, Clone, Copy)]
enum Wait {
    UntilDeadline,
    Millis(u64),
}

fn any_wait() -> impl Strategy<Value = Wait> {
    prop_oneof![Just(Wait::UntilDeadline), (0_u64..500).prop_map(Wait::Millis), (0_u64..200_000).prop_map(Wait::Millis)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_promises_hold_for_any_sequence_of_inputs(
        settings in any_settings(),
        steps in prop::collection::vec((any_wait(), any_input()), 0..80),
    ) {
        let mut router = Router::new(settings);
        let mut now = START;
        let mut holds = false;
        for (wait, input) in steps {
            now = match wait {
                Wait::UntilDeadline => router.deadline().unwrap_or(now).max(now),
                Wait::Millis(millis) => now + Duration::from_millis(millis),
            };
            let before = router.state.name();
            let actions = router.handle(now, input);
            let after = router.state.name();
            let mut told = before;
            for action in actions {
                match action {
                    Action::AcquireAddresses => {
                        prop_assert!(!holds, "acquired twice without a release");
                        holds = true;
                    }
                    Action::ReleaseAddresses => {
                        prop_assert!(holds, "released what it did not hold");
                        holds = false;
                    }
                    Action::SendAdvertisement(AdvertPriority::Holding(priority)) => {
                        prop_assert_eq!(priority, router.settings.priority);
                        let outranked = before == StateName::Active && matches!(input, Input::Advertisement(_));
                        let last_word = outranked && !holds && !router.settings.shared_mac;
                        prop_assert!(
                            after == StateName::Active || last_word,
                            "only an Active router says that it is one, or one that was and has let go"
                        );
                    }
                    Action::SendAdvertisement(AdvertPriority::Resigning) => {
                        prop_assert!(!holds, "it resigns when it has let go, not before");
                    }
                    Action::Announce => prop_assert!(holds, "it announces what it holds"),
                    Action::Report(Event::Transition { from, to, .. }) => {
                        prop_assert_eq!(from, told, "each transition starts where the last one ended");
                        told = to;
                    }
                    Action::Report(Event::Contested { .. } | Event::ListenAgain { .. }) => {}
                }
            }
            prop_assert_eq!(told, after, "every transition is told");
            prop_assert_eq!(holds, after == StateName::Active, "it holds the addresses in Active, and only there");
            let ready = matches!(router.state, State::Backup(Backup { ready: true, .. }));
            prop_assert!(!ready || router.settings.in_sync_group, "nobody else waits to be told");
            prop_assert_eq!(router.deadline().is_none(), after == StateName::Initialize || ready);
            if matches!(input, Input::Timer) {
                prop_assert!(router.deadline().is_none_or(|deadline| deadline > now), "a due deadline is consumed");
            }
        }
    }

    #[test]
    fn a_lone_router_is_active_after_one_active_down_interval_and_stays_so(settings in any_settings()) {
        let mut router = Router::new(settings);
        router.handle(START, Input::Startup);
        let first = START + settings.interval.active_down_interval(settings.priority) + settings.startup_delay;
        if !settings.priority.is_owner() {
            prop_assert_eq!(router.deadline(), Some(first));
        }
        for _ in 0..20 {
            let now = router.deadline().unwrap();
            router.handle(now, Input::Timer);
            if router.deadline().is_none() {
                // As the sync group does when all of it are ready.
                router.handle(now, Input::TakeOver);
            }
            prop_assert_eq!(router.state.name(), StateName::Active);
        }
    }
}
