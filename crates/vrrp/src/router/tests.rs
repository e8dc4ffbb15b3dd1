//! RFC 9568 §6.4, one test per sentence, for the reference instance: priority 100, 10 cs, 198.18.0.10; its
//! Active_Down_Interval is 360.9375 ms, its Skew_Time 60.9375 ms. Each test compares the whole list of actions.

use super::*;
use crate::{Centis, Seconds};

mod properties;

const START: Instant = Instant::from_nanos(1_000_000_000);
const DOWN: Duration = Duration::from_nanos(360_937_500);
const SKEW: Duration = Duration::from_nanos(60_937_500);
const INTERVAL: Duration = Duration::from_millis(100);

const ACQUIRE: Action = Action::AcquireAddresses;
const RELEASE: Action = Action::ReleaseAddresses;
const ANNOUNCE: Action = Action::Announce;
const RESIGN: Action = Action::SendAdvertisement(AdvertPriority::Resigning);

fn address(last: u8) -> IpAddr {
    IpAddr::from([198, 18, 0, last])
}

fn holding(level: u8) -> AdvertPriority {
    AdvertPriority::Holding(Priority::new(level).unwrap())
}

fn advertise(level: u8) -> Action {
    Action::SendAdvertisement(holding(level))
}

fn transition(from: StateName, to: StateName, reason: Reason) -> Action {
    Action::Report(Event::Transition { from, to, reason })
}

fn centis(centis: u16) -> AdverInterval {
    AdverInterval::V3(Centis::new(centis).unwrap())
}

fn settings() -> Settings {
    Settings {
        priority: Priority::DEFAULT,
        interval: centis(10),
        preempt: Preempt::Immediately,
        startup_delay: Duration::ZERO,
        primary: address(10),
        shared_mac: false,
        in_sync_group: false,
    }
}

/// An advertisement of this priority from 198.18.0.`from`, at our own interval.
fn heard(level: u8, from: u8) -> Input {
    Input::Advertisement(Heard {
        source: address(from),
        priority: AdvertPriority::from_wire(level),
        interval: centis(10),
    })
}

fn contested(level: u8, by: u8) -> Action {
    Action::Report(Event::Contested { by: address(by), priority: AdvertPriority::from_wire(level) })
}

fn backup_of(settings: Settings) -> Router {
    let mut router = Router::new(settings);
    router.handle(START, Input::Startup);
    assert_eq!(router.state.name(), StateName::Backup);
    router
}

fn backup() -> Router {
    backup_of(settings())
}

/// A router that became Active at `START + DOWN`, and that moment.
fn active_of(settings: Settings) -> (Router, Instant) {
    let mut router = backup_of(settings);
    let now = router.deadline().unwrap();
    router.handle(now, Input::Timer);
    assert_eq!(router.state.name(), StateName::Active);
    (router, now)
}

fn active() -> (Router, Instant) {
    active_of(settings())
}

fn does(router: &mut Router, now: Instant, input: Input, actions: &[Action], sentence: &str) {
    assert_eq!(*router.handle(now, input), *actions, "{sentence}");
}

// ── §6.4.1 Initialize ──────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn the_address_owner_starts_as_active() {
    let mut router = Router::new(Settings { priority: Priority::OWNER, startup_delay: INTERVAL, ..settings() });
    let actions =
        [advertise(255), ACQUIRE, ANNOUNCE, transition(StateName::Initialize, StateName::Active, Reason::AddressOwner)];
    does(&mut router, START, Input::Startup, &actions, "send an ADVERTISEMENT, then announce each address");
    assert_eq!(router.deadline(), Some(START + INTERVAL), "set the Adver_Timer to Advertisement_Interval");
}

#[test]
fn any_other_router_starts_as_backup_and_is_silent() {
    let mut router = Router::new(settings());
    let actions = [transition(StateName::Initialize, StateName::Backup, Reason::Startup)];
    does(&mut router, START, Input::Startup, &actions, "transition to Backup without a word");
    assert_eq!(router.deadline(), Some(START + DOWN), "set the Active_Down_Timer to Active_Down_Interval");
    assert!(
        matches!(router.state, State::Backup(Backup { active_adver_interval, .. }) if active_adver_interval == centis(10))
    );
}

#[test]
fn the_startup_delay_is_added_to_the_first_active_down_interval_only() {
    let delay = Duration::from_secs(30);
    let mut router = backup_of(Settings { startup_delay: delay, ..settings() });
    assert_eq!(router.deadline(), Some(START + DOWN + delay));
    router.handle(START, heard(100, 1));
    assert_eq!(router.deadline(), Some(START + DOWN));
}

#[test]
fn whoever_preempts_says_whom() {
    let mut router = backup();
    router.handle(START, heard(99, 7));
    let now = router.deadline().unwrap();
    let active = transition(StateName::Backup, StateName::Active, Reason::Preempts { whom: address(7) });
    does(&mut router, now, Input::Timer, &[advertise(100), ACQUIRE, ANNOUNCE, active], "it was heard, and discarded");
}

#[test]
fn initialize_does_nothing_until_startup() {
    for input in [
        Input::Timer,
        heard(200, 1),
        heard(0, 1),
        Input::Shutdown(Shutdown::Stopped),
        Input::StepDown(StepDown::Handover),
        Input::TakeOver,
        Input::LateWakeup,
        Input::Reconfigured(settings()),
    ] {
        let mut router = Router::new(settings());
        does(&mut router, START, input, &[], "there is no timer, and nobody to listen");
        assert_eq!((router.state, router.deadline()), (State::Initialize, None));
    }
}

// ── §6.4.2 Backup ──────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn backup_leaves_silently_on_shutdown() {
    for why in [Shutdown::Stopped, Shutdown::Fault, Shutdown::InterfaceDown] {
        let mut router = backup();
        let actions = [transition(StateName::Backup, StateName::Initialize, Reason::Shutdown(why))];
        does(&mut router, START, Input::Shutdown(why), &actions, "cancel the timer, transition to Initialize");
        assert_eq!(router.deadline(), None);
    }
}

#[test]
fn backup_takes_over_when_the_active_down_timer_fires() {
    let mut router = backup();
    let now = START + DOWN;
    let actions = [
        advertise(100),
        ACQUIRE,
        ANNOUNCE,
        transition(StateName::Backup, StateName::Active, Reason::ActiveSilent { last: None }),
    ];
    does(&mut router, now, Input::Timer, &actions, "the ADVERTISEMENT first, then the announcements");
    assert_eq!(router.deadline(), Some(now + INTERVAL), "set the Adver_Timer to Advertisement_Interval");
}

#[test]
fn backup_does_not_take_over_a_nanosecond_early() {
    let mut router = backup();
    does(&mut router, START + DOWN - Duration::from_nanos(1), Input::Timer, &[], "the timer has not fired");
    assert_eq!(router.deadline(), Some(START + DOWN));
}

#[test]
fn backup_waits_one_skew_time_after_priority_0() {
    let mut router = backup();
    let now = START + INTERVAL;
    does(&mut router, now, heard(0, 1), &[], "set the Active_Down_Timer to Skew_Time");
    assert_eq!(router.deadline(), Some(now + SKEW));
    let actions = router.handle(now + SKEW, Input::Timer);
    let reason = Reason::ActiveResigned { by: address(1) };
    assert_eq!(actions[3], transition(StateName::Backup, StateName::Active, reason));
}

#[test]
fn the_skew_after_priority_0_is_that_of_the_learnt_interval() {
    let mut router = backup();
    let slow = Heard { source: address(1), priority: holding(200), interval: centis(100) };
    router.handle(START, Input::Advertisement(slow));
    router.handle(START, heard(0, 1));
    assert_eq!(router.deadline(), Some(START + Duration::from_nanos(609_375_000)));
}

#[test]
fn backup_learns_the_interval_from_an_equal_or_higher_priority() {
    for level in [100, 101, 255] {
        let mut router = backup();
        let advertisement = Heard { source: address(1), priority: holding(level), interval: centis(50) };
        let now = START + INTERVAL;
        does(
            &mut router,
            now,
            Input::Advertisement(advertisement),
            &[],
            "recompute Skew_Time and Active_Down_Interval",
        );
        assert_eq!(router.deadline(), Some(now + Duration::from_nanos(1_804_687_500)), "1.805 s of silence");
        let now = router.deadline().unwrap();
        router.handle(now, Input::Timer);
        assert_eq!(router.deadline(), Some(now + INTERVAL), "as Active it advertises at its own interval");
    }
}

#[test]
fn backup_discards_a_lower_priority_when_it_may_preempt() {
    let mut router = backup();
    let before = router.clone();
    for after in 1..=7 {
        does(&mut router, START + INTERVAL / 2 * after, heard(99, 1), &[], "discard the ADVERTISEMENT");
    }
    if let State::Backup(backup) = &mut router.state {
        assert!(backup.preempted.take().is_some(), "it remembers whom it preempts");
    }
    assert_eq!(router, before, "the timer is not restarted, nothing else is learnt");
}

#[test]
fn without_preempt_mode_a_lower_priority_holds_it_for_ever() {
    let mut router = backup_of(Settings { preempt: Preempt::Never, ..settings() });
    for after in 1..=100 {
        let now = START + INTERVAL * after;
        does(&mut router, now, Input::Timer, &[], "the timer is restarted each time");
        does(&mut router, now, heard(1, 1), &[], "Preempt_Mode is False");
        assert_eq!(router.deadline(), Some(now + DOWN));
    }
}

#[test]
fn the_address_owner_preempts_whatever_preempt_mode_says() {
    for preempt in [Preempt::Never, Preempt::After(Duration::from_secs(9))] {
        let (mut owner, now) = (Router::new(Settings { priority: Priority::OWNER, preempt, ..settings() }), START);
        owner.handle(now, Input::Startup);
        owner.handle(now, heard(255, 200));
        let deadline = owner.deadline();
        assert_eq!(owner.state.name(), StateName::Backup, "it lost against another owner");
        owner.handle(now + INTERVAL, heard(254, 1));
        assert_eq!(owner.deadline(), deadline, "§6.1: it always preempts");
    }
}

#[test]
fn backup_ignores_a_second_startup() {
    let mut router = backup();
    let before = router.clone();
    does(&mut router, START + INTERVAL, Input::Startup, &[], "it has started");
    assert_eq!(router, before);
}

// ── §6.4.3 Active ──────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn active_resigns_on_shutdown_after_it_has_let_go() {
    for why in [Shutdown::Stopped, Shutdown::Fault] {
        let (mut router, now) = active();
        let actions = [RELEASE, RESIGN, transition(StateName::Active, StateName::Initialize, Reason::Shutdown(why))];
        does(&mut router, now, Input::Shutdown(why), &actions, "exactly one ADVERTISEMENT with Priority = 0");
        assert_eq!(router.deadline(), None, "cancel the Adver_Timer");
        does(&mut router, now + DOWN, Input::Timer, &[], "and nothing after it");
    }
}

#[test]
fn active_sends_nothing_when_its_interface_goes_down() {
    let (mut router, now) = active();
    let why = Shutdown::InterfaceDown;
    let actions = [RELEASE, transition(StateName::Active, StateName::Initialize, Reason::Shutdown(why))];
    does(&mut router, now, Input::Shutdown(why), &actions, "a resignation left in a queue would come out too late");
}

#[test]
fn active_advertises_when_the_adver_timer_fires() {
    let (mut router, mut now) = active();
    for _ in 0..100 {
        does(&mut router, now + INTERVAL - Duration::from_nanos(1), Input::Timer, &[], "not before");
        now = now + INTERVAL;
        does(&mut router, now, Input::Timer, &[advertise(100)], "send an ADVERTISEMENT");
        assert_eq!(router.deadline(), Some(now + INTERVAL), "reset the Adver_Timer to Advertisement_Interval");
    }
}

#[test]
fn active_answers_priority_0_at_once() {
    let (mut router, now) = active();
    let now = now + INTERVAL / 2;
    let actions = [advertise(100), ANNOUNCE, contested(0, 1)];
    does(&mut router, now, heard(0, 1), &actions, "send an ADVERTISEMENT");
    assert_eq!(router.deadline(), Some(now + INTERVAL), "reset the Adver_Timer to Advertisement_Interval");
}

#[test]
fn active_yields_to_a_higher_priority() {
    let (mut router, now) = active();
    let by = Heard { source: address(1), priority: holding(101), interval: centis(50) };
    let reason = Reason::Outranked { by: address(1), priority: Priority::new(101).unwrap() };
    let actions = [RELEASE, transition(StateName::Active, StateName::Backup, reason)];
    does(&mut router, now, Input::Advertisement(by), &actions, "transition to Backup, without an ADVERTISEMENT");
    assert_eq!(router.deadline(), Some(now + Duration::from_nanos(1_804_687_500)), "with the learnt interval");
}

#[test]
fn active_yields_to_an_equal_priority_from_a_higher_address() {
    for (ours, theirs, yields) in [
        ([198, 18, 0, 10], [198, 18, 0, 11], true),
        ([198, 18, 0, 10], [198, 18, 0, 9], false),
        ([9, 255, 255, 255], [10, 0, 0, 0], true),
        ([127, 0, 0, 1], [128, 0, 0, 1], true),
        ([200, 0, 0, 1], [100, 0, 0, 1], false),
    ] {
        let (mut router, now) = active_of(Settings { primary: ours.into(), ..settings() });
        let by = Heard { source: theirs.into(), priority: holding(100), interval: centis(10) };
        router.handle(now, Input::Advertisement(by));
        let state = if yields { StateName::Backup } else { StateName::Active };
        assert_eq!(router.state.name(), state, "unsigned, in network byte order: {ours:?} hears {theirs:?}");
    }
    let (mut router, now) = active_of(Settings { primary: "fe80::7fff".parse().unwrap(), ..settings() });
    let by = Heard { source: "fe80::8000".parse().unwrap(), priority: holding(100), interval: centis(10) };
    router.handle(now, Input::Advertisement(by));
    assert_eq!(router.state.name(), StateName::Backup);
}

#[test]
fn active_asserts_itself_against_a_lower_priority_at_once() {
    let (mut router, now) = active();
    let deadline = router.deadline();
    let actions = [advertise(100), ANNOUNCE, contested(99, 200)];
    does(&mut router, now, heard(99, 200), &actions, "discard it, and send an ADVERTISEMENT immediately");
    assert_eq!(router.deadline(), deadline, "the Adver_Timer runs on");
}

#[test]
fn active_asserts_itself_against_an_equal_priority_from_a_lower_address() {
    let (mut router, now) = active();
    does(&mut router, now, heard(100, 9), &[advertise(100), ANNOUNCE, contested(100, 9)], "it wins the tie");
}

#[test]
fn a_flood_of_losing_advertisements_is_no_flood_of_announcements() {
    let (mut router, now) = active();
    does(&mut router, now, heard(99, 1), &[advertise(100), ANNOUNCE, contested(99, 1)], "announced again");
    for _ in 0..100 {
        does(&mut router, now, heard(99, 1), &[advertise(100)], "asserted each time, announced once per interval");
    }
    let now = now + INTERVAL;
    does(&mut router, now, heard(99, 1), &[advertise(100), ANNOUNCE, contested(99, 1)], "and once in the next");
}

#[test]
fn at_a_short_interval_a_contest_is_announced_ten_times_a_second() {
    let fast = Settings { interval: centis(1), ..settings() };
    let (mut router, mut now) = active_of(fast);
    let mut announced = 0;
    for _ in 0..100 {
        now = now + fast.interval.duration();
        let actions = [router.handle(now, Input::Timer), router.handle(now, heard(99, 1))];
        announced += actions.into_iter().flatten().filter(|action| *action == ANNOUNCE).count();
    }
    assert_eq!(announced, 10);
}

#[test]
fn whoever_contests_too_soon_after_another_is_answered_with_a_later_advertisement() {
    let (mut router, now) = active();
    let soon = now + INTERVAL / 2;
    does(&mut router, soon, heard(99, 1), &[advertise(100), ANNOUNCE, contested(99, 1)], "the first");
    does(&mut router, soon, heard(99, 2), &[advertise(100)], "the second announced them after us");
    does(&mut router, now + INTERVAL, Input::Timer, &[advertise(100)], "not yet");
    does(&mut router, now + INTERVAL * 2, Input::Timer, &[advertise(100), ANNOUNCE], "after an interval");
    does(&mut router, now + INTERVAL * 3, Input::Timer, &[advertise(100)], "once");
}

#[test]
fn active_does_not_answer_its_own_echo() {
    let (mut router, now) = active();
    let before = router.clone();
    does(&mut router, now, heard(100, 10), &[], "an answer would echo as well");
    assert_eq!(router, before);
}

#[test]
fn of_two_owners_the_one_with_the_higher_address_stays() {
    let owner = |last| {
        let mut router = Router::new(Settings { priority: Priority::OWNER, primary: address(last), ..settings() });
        router.handle(START, Input::Startup);
        router
    };
    let (mut low, mut high) = (owner(1), owner(2));
    does(&mut high, START, heard(255, 1), &[advertise(255), ANNOUNCE, contested(255, 1)], "and it is reported");
    let reason = Reason::Outranked { by: address(2), priority: Priority::OWNER };
    let actions = [RELEASE, transition(StateName::Active, StateName::Backup, reason)];
    does(&mut low, START, heard(255, 2), &actions, "erratum 8298: the owner listens");
}

#[test]
fn active_ignores_startup_and_take_over() {
    for input in [Input::Startup, Input::TakeOver] {
        let (mut router, now) = active();
        let before = router.clone();
        does(&mut router, now, input, &[], "it is Active already");
        assert_eq!(router, before);
    }
}

// ── version 2 ──────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn version_2_runs_the_same_machine_with_its_own_skew() {
    let second = AdverInterval::V2(Seconds::new(1).unwrap());
    let mut router = backup_of(Settings { interval: second, ..settings() });
    assert_eq!(router.deadline(), Some(START + Duration::from_nanos(3_609_375_000)));
    router.handle(START, heard(0, 1));
    assert_eq!(router.deadline(), Some(START + Duration::from_nanos(609_375_000)));
}

// ── extensions ─────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn whoever_took_over_in_silence_has_a_last_word_when_it_is_outranked() {
    let hundred = |input| (input, centis(10));
    let shared = Settings { shared_mac: true, ..settings() };
    for (settings, before, (winner, interval), last_word, why) in [
        (settings(), Some(heard(200, 1)), hundred(200), true, "the winner may have been Active all the time"),
        (settings(), Some(heard(200, 2)), hundred(200), true, "whoever wins: its island had somebody Active"),
        (settings(), Some(heard(200, 1)), (200, centis(5)), true, "a winner that advertises more often"),
        (settings(), Some(heard(200, 1)), (200, centis(11)), false, "who learns our interval would not wait for it"),
        (settings(), Some(heard(0, 1)), hundred(200), false, "it had resigned, so it announces when it is back"),
        (settings(), None, hundred(200), false, "nobody was there: it preempts us"),
        (shared, Some(heard(200, 1)), hundred(200), false, "all neighbours know the same MAC address"),
    ] {
        let mut router = backup_of(settings);
        if let Some(before) = before {
            router.handle(START, before);
        }
        let now = router.deadline().unwrap();
        router.handle(now, Input::Timer);
        assert_eq!(router.state.name(), StateName::Active);

        let source = address(1);
        let reason = Reason::Outranked { by: source, priority: Priority::new(winner).unwrap() };
        let backup = transition(StateName::Active, StateName::Backup, reason);
        let actions = if last_word { vec![RELEASE, advertise(100), backup] } else { vec![RELEASE, backup] };
        let by = Heard { source, priority: holding(winner), interval };
        does(&mut router, now, Input::Advertisement(by), &actions, why);
        let again = router.deadline().unwrap();
        assert_eq!(
            router.handle(again - INTERVAL, Input::Advertisement(by)).len(),
            0,
            "once, and as Active only: {why}"
        );
    }
}

#[test]
fn whoever_overslept_meanwhile_still_knows_that_nobody_resigned() {
    let late = |router: &mut Router| router.handle(router.deadline().unwrap() + INTERVAL, Input::Timer);
    let told = |router: &mut Router| router.handle(router.deadline().unwrap(), Input::LateWakeup);
    let stalled = |router: &mut Router| {
        let now = router.deadline().unwrap();
        router.handle(now, Input::Timer);
        router.handle(now + INTERVAL * 3, Input::Timer)
    };
    type Sleep = fn(&mut Router) -> Actions;
    let ways: [(Sleep, _); 3] =
        [(late, "its timer was late"), (told, "the machine was paused"), (stalled, "it was Active by then")];
    for (oversleep, way) in ways {
        for (before, last_word, why) in [
            (Some(heard(200, 1)), true, "the winner may have been Active all the time"),
            (Some(heard(0, 1)), false, "it had resigned"),
            (None, false, "nobody was there"),
        ] {
            let mut router = backup_of(settings());
            if let Some(before) = before {
                router.handle(START, before);
            }
            oversleep(&mut router);
            assert_eq!(router.state.name(), StateName::Backup, "{way}");
            let now = router.deadline().unwrap();
            router.handle(now, Input::Timer);
            assert_eq!(router.state.name(), StateName::Active, "{way}");
            let reason = Reason::Outranked { by: address(1), priority: Priority::new(200).unwrap() };
            let backup = transition(StateName::Active, StateName::Backup, reason);
            let actions = if last_word { vec![RELEASE, advertise(100), backup] } else { vec![RELEASE, backup] };
            does(&mut router, now, heard(200, 1), &actions, &format!("{way}, {why}"));
        }
    }
}

#[test]
fn whoever_preempted_leaves_without_a_last_word() {
    let patient = Settings { preempt: Preempt::After(Duration::from_millis(50)), ..settings() };
    for (input, wait, why) in [(Input::Timer, 50, "its preempt delay was over"), (Input::TakeOver, 0, "it was told to")]
    {
        let mut router = backup_of(patient);
        router.handle(START, heard(90, 1));
        let now = START + Duration::from_millis(wait);
        router.handle(now, input);
        assert_eq!(router.state.name(), StateName::Active, "{why}");
        let reason = Reason::Outranked { by: address(2), priority: Priority::new(200).unwrap() };
        let backup = transition(StateName::Active, StateName::Backup, reason);
        does(&mut router, now, heard(200, 2), &[RELEASE, backup], why);
    }
}

#[test]
fn a_last_word_makes_the_winner_announce_again() {
    let (mut winner, now) = active();
    does(&mut winner, now, heard(99, 200), &[advertise(100), ANNOUNCE, contested(99, 200)], "it asserts itself");
}

#[test]
fn handover_resigns_after_letting_go_and_yields_to_whoever_takes_over() {
    let (mut router, now) = active();
    let reason = Reason::StepDown(StepDown::Handover);
    let actions = [RELEASE, RESIGN, transition(StateName::Active, StateName::Backup, reason)];
    does(&mut router, now, Input::StepDown(StepDown::Handover), &actions, "as in a shutdown, but it goes on");
    assert_eq!(router.deadline(), Some(now + DOWN), "longer than any peer's Skew_Time");
    for after in 1..=50 {
        let now = now + INTERVAL * after;
        does(&mut router, now, heard(1, 1), &[], "it does not preempt what it gave away");
        assert_eq!(router.deadline(), Some(now + DOWN));
    }
    let now = router.deadline().unwrap();
    let reason = Reason::ActiveSilent { last: Some(address(1)) };
    let actions = [advertise(100), ACQUIRE, ANNOUNCE, transition(StateName::Backup, StateName::Active, reason)];
    does(&mut router, now, Input::Timer, &actions, "until nobody has it");
    router.handle(now, heard(200, 1));
    let deadline = router.deadline();
    router.handle(now + INTERVAL, heard(99, 1));
    assert_eq!(router.deadline(), deadline, "from then on it preempts as before");
}

#[test]
fn a_handover_that_nobody_accepts_ends_after_one_active_down_interval() {
    let (mut router, now) = active();
    router.handle(now, Input::StepDown(StepDown::AddressLost));
    assert_eq!(router.handle(now + DOWN, Input::Timer)[1], ACQUIRE);
}

#[test]
fn take_over_does_not_wait_for_silence() {
    let mut router = backup();
    router.handle(START, heard(200, 1));
    let actions =
        [advertise(100), ACQUIRE, ANNOUNCE, transition(StateName::Backup, StateName::Active, Reason::TakeOver)];
    does(&mut router, START, Input::TakeOver, &actions, "as if the Active_Down_Timer fired");
}

fn is_ready(router: &Router) -> bool {
    matches!(router.state, State::Backup(Backup { ready: true, .. }))
}

#[test]
fn in_a_sync_group_a_silent_backup_is_ready_and_takes_over_when_it_is_told_to() {
    let mut router = backup_of(Settings { in_sync_group: true, ..settings() });
    router.handle(START, heard(120, 12));
    let ready = START + DOWN;
    does(&mut router, ready, Input::Timer, &[], "the others may hear an Active router");
    assert!(is_ready(&router));
    assert_eq!(router.deadline(), None, "nothing more comes of time alone");
    let later = ready + INTERVAL * 50;
    does(&mut router, later, Input::Timer, &[], "it is not late: it waits");
    let reason = Reason::ActiveSilent { last: Some(address(12)) };
    let active = transition(StateName::Backup, StateName::Active, reason);
    does(&mut router, later, Input::TakeOver, &[advertise(100), ACQUIRE, ANNOUNCE, active], "all of them are ready");
}

#[test]
fn in_a_sync_group_whoever_hears_an_active_router_that_it_bears_with_is_ready_no_longer() {
    for (preempt, level, stays) in [
        (Preempt::Immediately, 120, false),
        (Preempt::Immediately, 80, true),
        (Preempt::Never, 80, false),
        (Preempt::After(INTERVAL), 80, false),
        (Preempt::Immediately, 0, false),
    ] {
        let mut router = backup_of(Settings { preempt, in_sync_group: true, ..settings() });
        router.handle(START + DOWN, Input::Timer);
        assert!(is_ready(&router));
        router.handle(START + DOWN + INTERVAL, heard(level, 12));
        assert_eq!(is_ready(&router), stays, "{preempt:?}, {level}");
        assert_eq!(router.deadline().is_none(), stays, "else it waits anew");
    }
}

#[test]
fn in_a_sync_group_a_preempt_delay_that_is_over_stays_over() {
    let preempt = Preempt::After(INTERVAL * 2);
    let mut router = backup_of(Settings { preempt, in_sync_group: true, ..settings() });
    router.handle(START, heard(80, 12));
    router.handle(START + INTERVAL, heard(80, 12));
    router.handle(START + INTERVAL * 2, Input::Timer);
    assert!(is_ready(&router));
    router.handle(START + INTERVAL * 3, heard(80, 12));
    assert!(is_ready(&router), "it has borne with it for long enough");
    let active = transition(StateName::Backup, StateName::Active, Reason::PreemptDelayOver);
    let now = START + INTERVAL * 3;
    does(&mut router, now, Input::TakeOver, &[advertise(100), ACQUIRE, ANNOUNCE, active], "and says why");
}

#[test]
fn in_a_sync_group_the_address_owner_waits_for_nobody() {
    let mut router = Router::new(Settings { priority: Priority::OWNER, in_sync_group: true, ..settings() });
    router.handle(START, Input::Startup);
    assert_eq!(router.state.name(), StateName::Active);
}

#[test]
fn whoever_leaves_its_sync_group_takes_over_by_itself() {
    let mut router = backup_of(Settings { in_sync_group: true, ..settings() });
    router.handle(START + DOWN, Input::Timer);
    router.handle(START + DOWN, Input::Reconfigured(settings()));
    router.handle(START + DOWN, Input::Timer);
    assert_eq!(router.state.name(), StateName::Active);
}

#[test]
fn preempt_delay_bears_with_a_lower_priority_for_its_time() {
    let delay = Duration::from_secs(5);
    let mut router = backup_of(Settings { preempt: Preempt::After(delay), ..settings() });
    let mut now = START;
    while now < START + delay {
        does(&mut router, now, heard(99, 1), &[], "the timer is restarted, the delay is not");
        does(&mut router, now, Input::Timer, &[], "nothing is due");
        now = now + INTERVAL;
    }
    assert_eq!(router.deadline(), Some(START + delay));
    let actions =
        [advertise(100), ACQUIRE, ANNOUNCE, transition(StateName::Backup, StateName::Active, Reason::PreemptDelayOver)];
    does(&mut router, START + delay, Input::Timer, &actions, "then it takes over at once");
}

#[test]
fn preempt_delay_starts_anew_after_an_equal_priority_and_ends_with_the_active_router() {
    let delay = Duration::from_secs(5);
    let mut router = backup_of(Settings { preempt: Preempt::After(delay), ..settings() });
    router.handle(START, heard(99, 1));
    router.handle(START + INTERVAL, heard(100, 1));
    assert_eq!(router.deadline(), Some(START + INTERVAL + DOWN), "no delay runs");
    router.handle(START + INTERVAL, heard(99, 1));
    let deadline = router.deadline().unwrap();
    assert_eq!(deadline, START + INTERVAL + DOWN, "silence is sooner than the delay");
    let reason = Reason::ActiveSilent { last: Some(address(1)) };
    assert_eq!(router.handle(deadline, Input::Timer)[3], transition(StateName::Backup, StateName::Active, reason));
}

#[test]
fn an_active_router_that_slept_through_its_peers_patience_listens_before_it_speaks() {
    for input in [Input::Timer, heard(99, 1), Input::Startup, Input::StepDown(StepDown::Handover)] {
        let (mut router, now) = active();
        let now = now + INTERVAL * 3;
        let actions = [RELEASE, transition(StateName::Active, StateName::Backup, Reason::LateWakeup)];
        does(&mut router, now, input, &actions, "whatever wakes it up, not a word on the wire");
        assert_eq!(router.deadline(), Some(now + DOWN));
    }
}

#[test]
fn an_active_router_that_is_merely_late_goes_on() {
    let (mut router, now) = active();
    let now = now + INTERVAL * 3 - Duration::from_nanos(1);
    does(&mut router, now, Input::Timer, &[advertise(100)], "no peer can have given it up");
}

#[test]
fn asserting_itself_renews_its_peers_belief() {
    let (mut router, now) = active();
    let asserted = now + INTERVAL * 2;
    router.handle(asserted, heard(99, 1));
    let now = asserted + INTERVAL * 3 - Duration::from_nanos(1);
    does(&mut router, now, Input::Timer, &[advertise(100)], "they heard it later than its timer says");
}

#[test]
fn waking_up_late_to_a_shutdown_leaves_without_a_resignation() {
    let (mut router, now) = active();
    let actions = [
        RELEASE,
        transition(StateName::Active, StateName::Backup, Reason::LateWakeup),
        transition(StateName::Backup, StateName::Initialize, Reason::Shutdown(Shutdown::Stopped)),
    ];
    let now = now + INTERVAL * 3;
    does(&mut router, now, Input::Shutdown(Shutdown::Stopped), &actions, "the addresses may be another's by now");
}

#[test]
fn waking_up_late_to_a_take_over_obeys_it() {
    let (mut router, now) = active();
    let actions = [
        RELEASE,
        transition(StateName::Active, StateName::Backup, Reason::LateWakeup),
        advertise(100),
        ACQUIRE,
        ANNOUNCE,
        transition(StateName::Backup, StateName::Active, Reason::TakeOver),
    ];
    assert_eq!(actions.len(), Actions::CAPACITY, "the longest list there is");
    does(&mut router, now + INTERVAL * 3, Input::TakeOver, &actions, "somebody knows better");
}

#[test]
fn a_daemon_that_knows_of_a_pause_says_so() {
    let (mut router, now) = active();
    let actions = [RELEASE, transition(StateName::Active, StateName::Backup, Reason::LateWakeup)];
    does(&mut router, now, Input::LateWakeup, &actions, "the clock stood still with the machine");
    let mut router = backup();
    does(&mut router, START + INTERVAL * 3, Input::LateWakeup, &[], "what was heard is stale");
    assert_eq!(router.deadline(), Some(START + INTERVAL * 3 + DOWN));
}

#[test]
fn a_backup_whose_timer_is_late_by_an_interval_listens_once_more_and_once_only() {
    let mut router = backup();
    let late = START + DOWN + INTERVAL;
    let actions = [Action::Report(Event::ListenAgain { late: INTERVAL })];
    does(&mut router, late, Input::Timer, &actions, "an Active router may have gone unheard");
    assert_eq!(router.deadline(), Some(late + DOWN));
    assert_eq!(
        router.handle(late + DOWN + INTERVAL, Input::Timer)[1],
        ACQUIRE,
        "late again, but it cannot wait for ever"
    );

    let mut router = backup();
    router.handle(START + DOWN + INTERVAL - Duration::from_nanos(1), Input::Timer);
    assert_eq!(router.state.name(), StateName::Active, "less than an interval is no reason to doubt");
}

#[test]
fn a_new_priority_moves_a_running_timer_by_the_difference_in_skew() {
    let mut router = backup();
    let raised = Settings { priority: Priority::backup(200).unwrap(), ..settings() };
    does(&mut router, START + INTERVAL, Input::Reconfigured(raised), &[], "nothing to do now");
    assert_eq!(router.deadline(), Some(START + centis(10).active_down_interval(raised.priority)));
    router.handle(START + INTERVAL, Input::Reconfigured(settings()));
    assert_eq!(router.deadline(), Some(START + DOWN), "and back");
    router.handle(START + INTERVAL, heard(0, 1));
    router.handle(START + INTERVAL, Input::Reconfigured(raised));
    assert_eq!(
        router.deadline(),
        Some(START + INTERVAL + centis(10).skew_time(raised.priority)),
        "a resignation's too"
    );
}

#[test]
fn a_new_priority_is_advertised_and_compared_from_then_on() {
    let (mut router, now) = active();
    let lowered = Settings { priority: Priority::backup(50).unwrap(), ..settings() };
    does(&mut router, now, Input::Reconfigured(lowered), &[], "the next advertisement says it");
    does(&mut router, now + INTERVAL, Input::Timer, &[advertise(50)], "with the new priority");
    router.handle(now + INTERVAL, heard(51, 1));
    assert_eq!(router.state.name(), StateName::Backup);
}

#[test]
fn a_shorter_interval_takes_effect_at_once_and_a_longer_one_with_the_next_advertisement() {
    let (mut router, now) = active();
    router.handle(now, Input::Reconfigured(Settings { interval: centis(100), ..settings() }));
    assert_eq!(router.deadline(), Some(now + INTERVAL), "the peers still count on the shorter one");
    router.handle(now + INTERVAL, Input::Timer);
    assert_eq!(router.deadline(), Some(now + INTERVAL + Duration::from_secs(1)));
    router.handle(now + INTERVAL, Input::Reconfigured(Settings { interval: centis(2), ..settings() }));
    assert_eq!(router.deadline(), Some(now + INTERVAL + Duration::from_millis(20)));
}

#[test]
fn a_backup_keeps_the_learnt_interval_in_version_3_and_takes_the_new_one_in_version_2() {
    let mut router = backup();
    router.handle(START, heard(200, 1));
    router.handle(START, Input::Reconfigured(Settings { interval: centis(100), ..settings() }));
    assert_eq!(router.deadline(), Some(START + DOWN));
    let seconds = |n| Settings { interval: AdverInterval::V2(Seconds::new(n).unwrap()), ..settings() };
    let mut router = backup_of(seconds(1));
    router.handle(START + INTERVAL, Input::Reconfigured(seconds(3)));
    let deadline = START + INTERVAL + Duration::from_nanos(9_609_375_000);
    assert_eq!(router.deadline(), Some(deadline), "and waits for it anew");
    let raised = Settings { priority: Priority::backup(200).unwrap(), ..seconds(3) };
    router.handle(START + INTERVAL, Input::Reconfigured(raised));
    assert_eq!(router.deadline(), Some(deadline - Duration::from_nanos(390_625_000)), "100/256 s less skew");
}

#[test]
fn until_somebody_is_heard_the_interval_is_our_own_also_a_new_one() {
    let slower = Settings { interval: centis(100), ..settings() };
    let mut router = backup();
    router.handle(START + INTERVAL, Input::Reconfigured(slower));
    assert_eq!(router.deadline(), Some(START + centis(100).active_down_interval(slower.priority)));
    router.handle(START + INTERVAL, Input::Reconfigured(settings()));
    assert_eq!(router.deadline(), Some(START + DOWN), "and back");
    router.handle(START + INTERVAL, Input::LateWakeup);
    router.handle(START + INTERVAL, Input::Reconfigured(slower));
    assert_eq!(router.deadline(), Some(START + INTERVAL + DOWN), "after a stall it is what was learnt before");
}

#[test]
fn a_preempt_delay_ends_when_our_priority_is_no_longer_the_higher_one() {
    let over = START + INTERVAL / 2;
    let after = |priority| Settings {
        priority: Priority::backup(priority).unwrap(),
        preempt: Preempt::After(INTERVAL / 2),
        ..settings()
    };
    for (changed, state, why) in
        [(90, StateName::Backup, "lower"), (99, StateName::Backup, "equal"), (100, StateName::Active, "still higher")]
    {
        let mut router = backup_of(after(150));
        router.handle(START, heard(99, 1));
        router.handle(START, Input::Reconfigured(after(changed)));
        router.handle(over, Input::Timer);
        assert_eq!(router.state.name(), state, "{why}");
    }
}

#[test]
fn preempt_mode_can_change_while_a_delay_runs() {
    let after = |seconds| Settings { preempt: Preempt::After(Duration::from_secs(seconds)), ..settings() };
    let mut router = backup_of(after(5));
    let keep_alive = |router: &mut Router, until: u32| {
        for step in 0..until {
            router.handle(START + INTERVAL * step, heard(99, 1));
        }
    };
    keep_alive(&mut router, 10);
    router.handle(START + INTERVAL * 10, Input::Reconfigured(after(0)));
    assert_eq!(router.deadline(), Some(START + INTERVAL * 10), "a shorter delay ends sooner");
    router.handle(START + INTERVAL * 10, Input::Reconfigured(Settings { preempt: Preempt::Never, ..settings() }));
    assert_eq!(router.deadline(), Some(START + INTERVAL * 9 + DOWN), "none runs any more");
}
