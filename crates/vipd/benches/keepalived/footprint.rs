//! Memory and CPU of a router that is Active on so many virtual routers, at advertisements of 100 ms.

use std::fs;
use std::time::Duration;

use nix::unistd::Pid;

use super::bed::observer::{now, sleep_until};
use super::bed::process::Process;
use super::bed::router::{Instance, Make, Setting};
use super::bed::site::Site;
use super::table::{Limit, Row};
use super::{RowSet, setting};

const INTERVAL: Duration = Duration::from_millis(100);
/// Memory is read and CPU time begins to count when announcements and the like are over; keepalived's end after 5 s.
const SETTLE: Duration = Duration::from_secs(7);
const WATCH: Duration = Duration::from_secs(5);

/// With the number of instances.
pub struct Footprint(pub u8);

impl RowSet for Footprint {
    fn rows(&self) -> Vec<Row> {
        let bench = if self.0 == 1 { "1 instance".to_owned() } else { format!("{} instances", self.0) };
        // At one instance there is nothing to see but the resolution of the clock.
        let cpu: &[Limit] = if self.0 == 1 { &[] } else { &[Limit::Ratio(1.0)] };
        vec![
            Row::new(&bench, "PSS of all processes", "kB", &[Limit::Ratio(1.0)]),
            Row::new(&bench, "RSS of all processes", "kB", &[]),
            Row::new(&bench, "CPU at adverts of 100 ms", "%", cpu),
        ]
    }

    fn measure(&self, make: Make, _: f64) -> Vec<f64> {
        let site = Site::new().expect("namespaces");
        let instances = (1..=self.0).map(|vrid| Instance {
            vrid,
            addresses: vec![format!("198.19.0.{vrid}/32")],
            unadvertised: Vec::new(),
        });
        let setting = Setting { instances: instances.collect(), ..setting(INTERVAL, 200) };
        let from = now();
        let mut router = make.start(&site.world.hosts[0], &setting);
        for vrid in 1..=self.0 {
            let what = format!("virtual router {vrid}");
            site.observer.wait_for(&what, from, Duration::from_secs(20), |advert| advert.vrid == vrid);
        }
        sleep_until(now() + SETTLE);
        let daemon = router.daemon();
        let (began, before) = (now(), cpu_time(daemon));
        sleep_until(began + WATCH);
        let (took, spent) = (now() - began, cpu_time(daemon) - before);
        let heard = site.observer.look(began, |frames| frames.iter().filter(|frame| frame.advert().is_some()).count());
        let due = usize::from(self.0) * 50;
        assert!(heard >= due * 9 / 10, "{heard} of {due} advertisements while the CPU time was taken");
        vec![kilobytes(daemon, "Pss"), kilobytes(daemon, "Rss"), 100.0 * spent.as_secs_f64() / took.as_secs_f64()]
    }
}

/// What all its processes have together (proc(5), `smaps_rollup`).
#[expect(clippy::cast_precision_loss, reason = "kilobytes of a small daemon")]
fn kilobytes(process: &Process, key: &str) -> f64 {
    let of_one = |pid: Pid| -> u64 {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    process.family().into_iter().map(of_one).sum::<u64>() as f64
}

/// The time all its threads have spent on a CPU, to the nanosecond (`schedstat`; the clock ticks of `stat` are too coarse).
fn cpu_time(process: &Process) -> Duration {
    let of_task = |path: std::path::PathBuf| -> u64 {
        let text = fs::read_to_string(path.join("schedstat")).unwrap();
        text.split(' ').next().unwrap().parse().unwrap()
    };
    let of_one = |pid: Pid| -> u64 {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        tasks.map(|task| of_task(task.unwrap().path())).sum()
    };
    Duration::from_nanos(process.family().into_iter().map(of_one).sum())
}
