//! One instance with 4,001 addresses at advertisements of 100 ms: adding and announcing them all must not hold up the
//! advertisements, or the new Active loses its place to another.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::bed::observer::{now, sleep_until};
use super::bed::router::Make;
use super::bed::site::Site;
use super::bed::world::{World, until};
use super::monitor::Monitor;
use super::table::{Limit, Row};
use super::{RowSet, VRID, milliseconds, setting};
use vipd::kernel::batch::{Changes, Request};

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
            Row::new(bench, "the kernel's part: bare RTM_NEWADDR", "ms", &[]),
        ]
    }

    fn measure(&self, make: Make, _: f64) -> Vec<f64> {
        let site = Site::new().expect("namespaces");
        let mut setting = setting(INTERVAL, 200);
        setting.instances[0].unadvertised = extra().collect();
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
        let up_to = |times: &HashMap<IpAddr, Duration>| milliseconds(*times.values().max().unwrap() - began);
        vec![milliseconds(gap), up_to(&added), up_to(&announced), milliseconds(bare())]
    }
}

/// The same addresses, added in a namespace of their own by a loop that does nothing else, in batches of 128 in one system
/// call: what is left to a program that has to add them. From the first notification of the kernel's to the last.
fn bare() -> Duration {
    let world = World::new(1).expect("namespaces");
    let namespace = &world.hosts[0].namespace;
    let monitor = Monitor::new(namespace);
    let add = || {
        let link = nix::net::if_::if_nametoindex("eth0").unwrap();
        let request = |text: String| Request::Add { net: text.parse().unwrap(), link, lifetimes: None, route: true };
        let requests: Vec<_> = extra().map(request).collect();
        let refused = |at, error| panic!("address {at}: {error}");
        Changes::open().unwrap().carry_out(&requests, refused).unwrap();
    };
    namespace.enter(add).join().unwrap();
    until("the kernel has told of all", || monitor.added().len() >= usize::from(EXTRA));
    let added = monitor.added();
    *added.values().max().unwrap() - *added.values().min().unwrap()
}

fn extra() -> impl Iterator<Item = String> {
    (0..EXTRA).map(|n| format!("198.19.{}.{}/32", n / 200, n % 200 + 1))
}
