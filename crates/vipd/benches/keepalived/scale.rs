//! One instance with 4,001 addresses at advertisements of 100 ms: adding and announcing them all must not hold up the
//! advertisements, or the new Active loses its place to another.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::bed::observer::{now, sleep_until};
use super::bed::router::Make;
use super::bed::site::Site;
use super::monitor::Monitor;
use super::table::{Limit, Row};
use super::{RowSet, VRID, milliseconds, setting};

const EXTRA: u16 = 4000;
const INTERVAL: Duration = Duration::from_millis(100);
/// From the first advertisement on. keepalived announces a second time after 5 s.
const WATCH: Duration = Duration::from_secs(7);

pub struct Scale;

impl RowSet for Scale {
    fn rows(&self) -> Vec<Row> {
        let bench = "4,001 addresses";
        vec![
            Row::new(bench, "worst gap between adverts", "ms", &[Limit::AtMost(120.0)]),
            Row::new(bench, "until all are in place", "ms", &[Limit::Ratio(0.5)]),
            Row::new(bench, "until the last is announced", "ms", &[Limit::Ratio(0.5)]),
        ]
    }

    fn measure(&self, make: Make, _: f64) -> Vec<f64> {
        let site = Site::new().expect("namespaces");
        let mut setting = setting(INTERVAL, 200);
        setting.instances[0].unadvertised =
            (0..EXTRA).map(|n| format!("198.19.{}.{}/32", n / 200, n % 200 + 1)).collect();
        let monitor = Monitor::new(&site.world.hosts[0].namespace);
        let from = now();
        let _active = site.start_active(make, 0, &setting);
        let first = site.observer.adverts(VRID, from)[0].at;
        sleep_until(first + WATCH);

        let added = monitor.added();
        let adverts = site.observer.adverts(VRID, from);
        let gap = adverts.windows(2).map(|two| two[1].at - two[0].at).max().expect("advertisements");
        let mut announced: HashMap<IpAddr, Duration> = HashMap::new();
        site.observer.look(from, |frames| {
            for frame in frames {
                if let Some(address) = frame.announces() {
                    announced.entry(address).or_insert(frame.at);
                }
            }
        });
        let all = usize::from(EXTRA) + 1;
        assert_eq!((added.len(), announced.len()), (all, all), "addresses in place, addresses announced");
        // Some add first and advertise then.
        let began = first.min(*added.values().min().unwrap());
        let until = |times: &HashMap<IpAddr, Duration>| milliseconds(*times.values().max().unwrap() - began);
        vec![milliseconds(gap), until(&added), until(&announced)]
    }
}
