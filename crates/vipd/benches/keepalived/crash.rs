//! SIGKILL and SIGSTOP of the Active router at advertisements of 100 ms.

use std::time::Duration;

use super::bed::asker::{Asker, answers};
use super::bed::observer::{now, sleep_until};
use super::bed::router::Make;
use super::bed::site::Site;
use super::table::{Limit, Row};
use super::{RowSet, VIP, VRID, milliseconds, setting};

#[derive(Clone, Copy)]
pub enum Crash {
    Kill,
    Stop,
}

const INTERVAL: Duration = Duration::from_millis(100);
/// How long the two are watched after the take-over. Who answers twice to the end of it may do so for ever.
const WATCH: Duration = Duration::from_secs(2);

impl Crash {
    pub const ALL: [Self; 2] = [Self::Kill, Self::Stop];
}

impl RowSet for Crash {
    fn rows(&self) -> Vec<Row> {
        let bench = match self {
            Self::Kill => "SIGKILL at 100 ms",
            Self::Stop => "SIGSTOP at 100 ms",
        };
        let formula = milliseconds(setting(INTERVAL, 100).active_down_interval());
        let take_over = [Limit::AtMost(formula + 5.0), Limit::Ratio(1.0)];
        vec![
            Row::new(bench, "both answer (watched for 2 s)", "ms", &[Limit::AtMost(0.0)]),
            Row::new(bench, "last advert to take-over", "ms", &take_over),
        ]
    }

    fn measure(&self, make: Make, share: f64) -> Vec<f64> {
        let site = Site::new().expect("namespaces");
        let (low, high) = (setting(INTERVAL, 100), setting(INTERVAL, 200));
        let [_backup, mut active] = site.start_pair((make, &low), (make, &high));
        let asker = Asker::new(&site.world, VIP);
        let (is_low, is_high) = (site.is_active(1, &low), site.is_active(0, &high));
        let patience = Duration::from_secs(10);
        let beat = site.observer.wait_for("an advertisement", now(), patience, &is_high).at;
        sleep_until(beat + INTERVAL.mul_f64(share));
        match self {
            Self::Kill => active.kill(),
            Self::Stop => active.daemon().freeze(),
        }
        let struck = now();
        let took_over = site.observer.wait_for("the Backup", struck, patience, is_low).at;
        sleep_until(took_over + WATCH);
        drop(asker);

        let last = site.observer.adverts(VRID, beat).iter().rfind(|advert| is_high(advert)).unwrap().at;
        let [old, new] =
            [0, 1].map(|host| site.observer.look(beat, |frames| answers(frames, site.world.hosts[host].mac, VIP)));
        let first_of_new = *new.first().expect("the new Active answers");
        let last_of_old = *old.last().expect("the old Active answered once");
        vec![milliseconds(last_of_old.saturating_sub(first_of_new)), milliseconds(took_over - last)]
    }
}
