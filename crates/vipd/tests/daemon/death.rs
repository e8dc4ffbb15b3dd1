//! Two daemons, and the end of the one that is Active: never do both answer, and the other takes over in time.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::bed::asker::{Asker, answers};
use super::bed::observer::now;
use super::bed::router::{Instance, Make, Setting};
use super::bed::site::Site;
use super::bed::tell::tell;
use super::bed::world::{PATIENCE, until};

const VIP: Ipv4Addr = Ipv4Addr::new(198, 18, 5, 200);
/// What a busy machine may add to a timer; a quiet one adds less than a millisecond.
const LATE: Duration = Duration::from_millis(400);
/// How long after the end is watched.
const AFTER: Duration = Duration::from_millis(1500);

enum End {
    Killed,
    Frozen,
    Stopped,
    Cut,
}

fn setting(priority: u8) -> Setting {
    Setting {
        version: 3,
        interval: Duration::from_millis(100),
        priority,
        preempt: true,
        virtual_mac: false,
        instances: vec![Instance { vrid: 51, addresses: vec!["198.18.5.200/24".into()], unadvertised: Vec::new() }],
    }
}

/// Ends the Active router in that way, while both hosts are asked for the address every 2 ms.
fn die(end: &End) {
    let Some(site) = Site::new() else { return };
    let (low, high) = (setting(100), setting(200));
    let [_lower, mut higher] = site.start_pair((Make::Vipd, &low), (Make::Vipd, &high));
    let asker = Asker::new(&site.world, VIP);
    let answered = |host: usize| {
        let mac = site.world.hosts[host].mac;
        site.observer.look(Duration::ZERO, |frames| answers(frames, mac, VIP))
    };
    until("the Active answers", || answered(0).len() > 50);

    let ended = now();
    match end {
        End::Killed => higher.kill(),
        End::Frozen => higher.daemon().freeze(),
        End::Stopped => higher.stop(),
        End::Cut => site.scissors(0).cut(),
    }
    let took_over = site.observer.wait_for("the Backup", ended, PATIENCE, site.is_active(1, &low)).at;
    std::thread::sleep(AFTER);
    drop(asker);

    let from_high = site.observer.adverts(51, Duration::ZERO);
    let last = from_high.iter().rfind(|advert| advert.source == site.source(0, &high)).unwrap();
    let formula = if last.priority == 0 { low.skew() } else { low.active_down_interval() };
    println!("take-over after {:?}, formula {formula:?}", took_over - last.at);
    let patience = formula + low.listening_again() + LATE;
    assert!(took_over - last.at <= patience, "{:?} instead of {formula:?}", took_over - last.at);

    let [old, new] = [0, 1].map(answered);
    let (last_old, first_new) = (old.last().unwrap(), new.iter().find(|at| **at > ended).unwrap());
    println!(
        "the old owner's last answer {:?} after its end; the new one's first {:?}",
        last_old.saturating_sub(ended),
        *first_new - ended
    );
    assert!(old.len() > 50 && new.len() > 50, "both were heard: {} and {} answers", old.len(), new.len());
    assert!(last_old < first_new, "both answered for {:?}", *last_old - *first_new);
}

#[test]
fn nobody_answers_beside_the_new_owner_when_the_old_one_is_killed() {
    tell(|| die(&End::Killed));
}

#[test]
fn nobody_answers_beside_the_new_owner_when_the_old_one_is_frozen() {
    tell(|| die(&End::Frozen));
}

#[test]
fn a_daemon_that_is_told_to_end_hands_over_within_skew_time() {
    tell(|| die(&End::Stopped));
}

#[test]
fn a_cut_link_moves_the_address() {
    tell(|| die(&End::Cut));
}
