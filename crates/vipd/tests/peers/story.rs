//! What two routers live through together. Each story is told once, for routers of any make.

use std::time::Duration;

use super::bed::asker::{self, Asker};
use super::bed::frame::{Advert, Frame};
use super::bed::observer::{Observer, now, sleep_until};
use super::bed::router::{Make, Router, Setting, bare};
use super::bed::site::Site;
use super::bed::tell::tell;
use super::bed::world::{PATIENCE, until};
use super::protocol::{Protocol, VIP, VRID};

/// What a busy machine may add to a timer.
const LATE: Duration = Duration::from_millis(400);
/// What a timer may fire early: FRR computes in whole centiseconds, and rounds down.
const EARLY: Duration = Duration::from_millis(12);

const LOW: usize = 1;
const HIGH: usize = 0;

/// Election, preemption, priority 0, preemption again, and a sudden death. The router with the lower priority is on the
/// host with the higher address, so that no address decides what a priority should.
pub fn life(lower: Make, higher: Make, protocol: Protocol) {
    tell(|| live(lower, higher, protocol));
}

fn live(lower: Make, higher: Make, protocol: Protocol) {
    let Some(site) = site(&[lower, higher]) else { return };
    let (low, high) = (protocol.setting(100), protocol.setting(200));
    let mut backup = site.start_active(lower, LOW, &low);

    let mut active = preempt(&site, (lower, &low), (higher, &high));

    let stopped = now();
    active.daemon().terminate();
    let from_high = |advert: &Advert| advert.source == site.source(HIGH, &high);
    let resigns = |advert: &Advert| from_high(advert) && advert.priority == 0;
    let resigned = site.observer.wait_for("priority 0", stopped, PATIENCE, resigns).at;
    let late = lateness(lower, &low);
    let took_over = site.observer.wait_for("the Backup", resigned, PATIENCE, site.is_active(LOW, &low)).at;
    within("a Backup takes over Skew_Time after priority 0", took_over - resigned, low.skew(), late);
    active.daemon().wait(PATIENCE);
    holds(&site, LOW, lower, &low);
    let after = site.observer.adverts(VRID, resigned + Duration::from_nanos(1));
    assert!(!after.iter().any(from_high), "nothing comes after priority 0; {}", site.observer.story(stopped));
    drop(active);

    let mut active = preempt(&site, (lower, &low), (higher, &high));

    active.kill();
    let killed = now();
    let took_over = site.observer.wait_for("the Backup", killed, PATIENCE, site.is_active(LOW, &low)).at;
    let heard = site.observer.adverts(VRID, Duration::ZERO);
    let last = heard.iter().rfind(|advert| from_high(advert)).unwrap().at;
    within("a Backup takes over after Active_Down_Interval", took_over - last, low.active_down_interval(), late);
    holds(&site, LOW, lower, &low);
    backup.daemon().assert_running();
    well_formed(&site, &low);
}

/// Starts the router with the higher priority: it becomes Active and the other gives way.
fn preempt(site: &Site, lower: (Make, &Setting), higher: (Make, &Setting)) -> Router {
    let from = now();
    let active = site.start_active(higher.0, HIGH, higher.1);
    let is_high = site.is_active(HIGH, higher.1);
    let preempted = site.observer.wait_for("a preemption", from, PATIENCE, is_high).at;
    site.settled(HIGH, higher.1);
    let settled = now();
    holds(site, HIGH, higher.0, higher.1);
    gave_way(site, LOW, lower.0, lower.1);
    let late = site.observer.adverts(VRID, preempted + LATE);
    let is_low = site.is_active(LOW, lower.1);
    assert!(
        !late.iter().any(|advert| advert.at < settled && is_low(advert)),
        "the lower priority gives way at once; {}",
        site.observer.story(from)
    );
    active
}

/// Two routers of one priority that did not hear each other: when they do, the higher address stays Active
/// (RFC 9568 §6.4.3).
pub fn tie(on_lower_address: Make, on_higher_address: Make, protocol: Protocol) {
    tell(|| draw(on_lower_address, on_higher_address, protocol));
}

fn draw(on_lower_address: Make, on_higher_address: Make, protocol: Protocol) {
    let Some(site) = site(&[on_lower_address, on_higher_address]) else { return };
    let setting = protocol.setting(150);
    let mut second = site.start_active(on_higher_address, LOW, &setting);
    // The first one starts alone on its side of the wire. Its own host is the only one that hears it.
    site.isolate(HIGH, true);
    let mut first = on_lower_address.start(&site.world.hosts[HIGH], &setting);
    let side = Observer::new(&site.world.hosts[HIGH].namespace);
    let patience = PATIENCE + setting.active_down_interval();
    side.wait_for("the router behind the cut", Duration::ZERO, patience, site.is_active(HIGH, &setting));

    let healed = now();
    site.isolate(HIGH, false);
    site.settled(LOW, &setting);
    holds(&site, LOW, on_higher_address, &setting);
    gave_way(&site, HIGH, on_lower_address, &setting);
    first.daemon().assert_running();
    second.daemon().assert_running();
    let both = site.observer.adverts(VRID, healed);
    let lost = both.iter().rfind(|advert| advert.source == site.source(HIGH, &setting));
    if let Some(lost) = lost {
        assert!(lost.at < healed + setting.interval * 2 + LATE, "two were Active; {}", site.observer.story(healed));
    }
}

/// The network is cut, both are Active, and it heals: the neighbours have heard the loser last, so the winner announces the
/// addresses again. The cut ends just after an advertisement of the loser's, so that the winner's is the first to be heard.
pub fn split_brain(loser: Make, winner: Make, protocol: Protocol) {
    tell(|| part(loser, winner, protocol));
}

fn part(loser: Make, winner: Make, protocol: Protocol) {
    let Some(site) = site(&[loser, winner]) else { return };
    let (low, high) = (protocol.setting(100), protocol.setting(200));
    let _routers = site.start_pair((loser, &low), (winner, &high));
    site.isolate(LOW, true);
    let cut = now();
    let side = Observer::new(&site.world.hosts[LOW].namespace);
    let patience = PATIENCE + low.active_down_interval();
    let is_low = site.is_active(LOW, &low);
    let alone = side.wait_for("the router behind the cut", cut, patience, &is_low).at;
    // The announcements that follow a take-over are over by then: keepalived's second burst comes after 5 s.
    sleep_until(alone + Duration::from_secs(6));
    side.wait_for("its next advertisement", now(), patience, &is_low);

    let healed = now();
    site.isolate(LOW, false);
    site.settled(HIGH, &high);
    holds(&site, HIGH, winner, &high);
    gave_way(&site, LOW, loser, &low);
    let vip = bare(&high.instances[0].addresses[0]);
    let again = |frames: &[Frame]| {
        let last_word = frames.iter().rposition(|frame| frame.advert().is_some_and(|advert| is_low(&advert)));
        let after = &frames[last_word.unwrap_or(frames.len())..];
        after.iter().any(|frame| frame.announces() == Some(vip) && site.is_of(HIGH, frame))
    };
    until("the winner has announced the address after the loser's last word", || site.observer.look(healed, again));
}

/// With Preempt_Mode false a lower priority stays Active for as long as it advertises (RFC 9568 §6.4.2).
pub fn patience(lower: Make, higher: Make, protocol: Protocol) {
    tell(|| bear(lower, higher, protocol));
}

fn bear(lower: Make, higher: Make, protocol: Protocol) {
    let Some(site) = site(&[lower, higher]) else { return };
    // A lower router that a busy machine holds up is not to be silent for as long as the higher one waits.
    let unhurried = |priority| {
        let setting = protocol.setting(priority);
        Setting { interval: setting.interval.max(Duration::from_millis(500)), ..setting }
    };
    let (low, high) = (unhurried(100), Setting { preempt: false, ..unhurried(200) });
    let mut active = site.start_active(lower, LOW, &low);
    let started = now();
    let mut backup = higher.start(&site.world.hosts[HIGH], &high);
    // Three times what it would take to preempt, and what a daemon takes to start.
    let end = started + high.active_down_interval() * 3 + Duration::from_secs(2);
    while now() < end {
        std::thread::sleep(high.interval);
        let heard = site.observer.adverts(VRID, started);
        let spoke = heard.iter().any(|advert| advert.source == site.source(HIGH, &high));
        assert!(!spoke, "it was told not to preempt; {}", site.observer.story(started));
    }
    holds(&site, LOW, lower, &low);
    backup.daemon().assert_running();

    // It was not deaf: it takes over when the other resigns.
    let stopped = now();
    active.daemon().terminate();
    let resigns = |advert: &Advert| advert.priority == 0;
    let resigned = site.observer.wait_for("priority 0", stopped, PATIENCE, resigns).at;
    let late = lateness(higher, &high);
    let took_over = site.observer.wait_for("the Backup", resigned, PATIENCE, site.is_active(HIGH, &high)).at;
    within("a Backup takes over Skew_Time after priority 0", took_over - resigned, high.skew(), late);
}

/// A vipd that is Active and dies, or hangs, is silent before another takes over: at no time do two hosts answer.
pub fn silence(backup: Make, strike: fn(&mut Router)) {
    tell(|| fall_silent(backup, strike));
}

fn fall_silent(backup: Make, strike: fn(&mut Router)) {
    let Some(site) = site(&[backup]) else { return };
    let (low, high) = (Protocol::V3.setting(100), Protocol::V3.setting(200));
    let [_backup, mut active] = site.start_pair((backup, &low), (Make::Vipd, &high));
    let asker = Asker::new(&site.world, VIP);
    let answers =
        |host: usize, from| site.observer.look(from, |frames| asker::answers(frames, site.world.hosts[host].mac, VIP));
    until("the Active answers", || !answers(HIGH, Duration::ZERO).is_empty());

    strike(&mut active);
    let struck = now();
    site.observer.wait_for("the Backup", struck, PATIENCE, site.is_active(LOW, &low));
    until("the new Active answers", || !answers(LOW, struck).is_empty());
    let first_of_new = answers(LOW, struck)[0];
    // A lease that was renewed behind our back would show within a second.
    sleep_until(first_of_new + Duration::from_secs(1));
    drop(asker);
    let last_of_old = answers(HIGH, Duration::ZERO).last().copied().unwrap();
    println!("the old Active fell silent {:?} before the new one spoke", first_of_new.saturating_sub(last_of_old));
    assert!(last_of_old < first_of_new, "both answered for {:?}", last_of_old - first_of_new);
}

fn site(makes: &[Make]) -> Option<Site> {
    if !makes.iter().all(|make| make.is_installed()) {
        return None;
    }
    Site::new()
}

/// What a busy machine may add to the time until that Backup is Active.
fn lateness(make: Make, setting: &Setting) -> Duration {
    if make == Make::Vipd { setting.listening_again() + LATE } else { LATE }
}

#[track_caller]
fn within(what: &str, measured: Duration, formula: Duration, late: Duration) {
    println!("{what}: {measured:?} measured, {formula:?} by the formula");
    let fits = formula.saturating_sub(EARLY)..=formula + late;
    assert!(fits.contains(&measured), "{what}: {measured:?} measured, {formula:?} by the formula");
}

/// The router on that host has the addresses, and has told the neighbours.
#[track_caller]
fn holds(site: &Site, host: usize, make: Make, setting: &Setting) {
    for address in &setting.instances[0].addresses {
        let address = bare(address);
        let announced = || {
            let is_it = |frame: &Frame| frame.announces() == Some(address) && site.is_of(host, frame);
            site.observer.look(Duration::ZERO, |frames| frames.iter().any(is_it))
        };
        until(&format!("{make:?} on host {host} announces {address}"), announced);
        if make != Make::Frr {
            until(&format!("{make:?} on host {host} has {address}"), || {
                site.world.hosts[host].has(&address.to_string())
            });
        }
    }
}

/// The router on that host has let go of the addresses. FRR's stay on a macvlan that is down.
#[track_caller]
fn gave_way(site: &Site, host: usize, make: Make, setting: &Setting) {
    if make == Make::Frr {
        return;
    }
    for address in &setting.instances[0].addresses {
        let address = bare(address).to_string();
        until(&format!("{make:?} on host {host} has let go of {address}"), || !site.world.hosts[host].has(&address));
    }
}

/// What every ADVERTISEMENT on the wire must look like, whoever sent it.
fn well_formed(site: &Site, setting: &Setting) {
    let count = u8::try_from(setting.instances[0].addresses.len()).unwrap();
    for advert in site.observer.adverts(VRID, Duration::ZERO) {
        let form = (advert.version, advert.ttl, advert.interval, advert.addresses);
        assert_eq!(form, (setting.version, 255, setting.interval, count), "{advert:?}");
    }
}
