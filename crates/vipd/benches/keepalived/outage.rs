//! How long a client gets no answer when the Active router's link is cut, or when it is stopped as it should be.

use std::time::Duration;

use super::bed::client::{Client, Silence, longest_silence};
use super::bed::frame::{Advert, Frame};
use super::bed::observer::{now, sleep_until};
use super::bed::router::Make;
use super::bed::site::Site;
use super::bed::world::until;
use super::table::{Limit, Row};
use super::{RowSet, VIP, VRID, milliseconds, setting};

#[derive(Clone, Copy)]
enum Fault {
    LinkCut,
    GracefulStop,
}

/// One fault at one interval.
pub struct Outage {
    fault: Fault,
    interval: Duration,
}

impl Outage {
    pub fn all() -> impl Iterator<Item = Self> {
        [20, 100, 1000].into_iter().flat_map(|interval| {
            let interval = Duration::from_millis(interval);
            [Fault::LinkCut, Fault::GracefulStop].map(|fault| Self { fault, interval })
        })
    }
}

impl RowSet for Outage {
    fn rows(&self) -> Vec<Row> {
        let what = match self.fault {
            Fault::LinkCut => "link cut",
            Fault::GracefulStop => "graceful stop",
        };
        let bench = format!("{what} at {} ms", self.interval.as_millis());
        vec![
            Row::new(&bench, "outage seen by a client", "ms", &[Limit::Ratio(1.02)]),
            Row::new(&bench, "of it, more than the formula", "ms", &[Limit::AtMost(5.0)]),
        ]
    }

    fn measure(&self, make: Make, share: f64) -> Vec<f64> {
        let site = Site::new().expect("namespaces");
        let (low, high) = (setting(self.interval, 100), setting(self.interval, 200));
        let [_backup, mut active] = site.start_pair((make, &low), (make, &high));
        let client = Client::new(&site.world.hosts[2].namespace, VIP);
        let answered = || {
            let last = |frames: &[Frame]| frames.iter().rev().find_map(Frame::echo);
            site.observer.look(Duration::ZERO, last).is_some_and(|echo| !echo.request)
        };
        until("the client gets answers", answered);

        let patience = Duration::from_secs(15);
        let (is_low, is_high) = (site.is_active(1, &low), site.is_active(0, &high));
        let scissors = site.scissors(0);
        let beat = site.observer.wait_for("an advertisement", now(), patience, &is_high).at;
        sleep_until(beat + self.interval.mul_f64(share));
        let struck = now();
        match self.fault {
            Fault::LinkCut => scissors.cut(),
            Fault::GracefulStop => active.daemon().terminate(),
        }
        let took_over = site.observer.wait_for("the Backup", struck, patience, &is_low).at;
        sleep_until(took_over + Duration::from_millis(500));
        drop(client);

        let silence = site.observer.look(beat, |frames| longest_silence(frames, VIP)).expect("an outage that ended");
        // Both clocks of the protocol start with the last advertisement that the Backup has heard.
        let heard: Vec<Advert> =
            site.observer.adverts(VRID, beat).into_iter().filter(|advert| advert.at < took_over).collect();
        let last = heard.iter().rfind(|advert| advert.source == site.source(0, &high)).expect("the old Active");
        let due = last.at + if last.priority == 0 { low.skew() } else { low.active_down_interval() };
        let Silence { since, until } = silence;
        vec![milliseconds(until - since), milliseconds(until) - milliseconds(due)]
    }
}
