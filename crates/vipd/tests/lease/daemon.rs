//! A process that renews, and what happens when it is stopped, killed, or not allowed to.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pnet::datalink::{self, Channel, Config};
use vipd::lease::DeadMan;

use crate::namespace::{Namespace, assert_not_the_machines_own};
use crate::wire::{ALL, PATIENCE, Wire, speaks_for};
use crate::{BLUE, VIPS, leases, ms, possible};

const TIMEOUT: Duration = ms(200);
const ROLE: &str = "VIPD_LEASE_TEST_ROLE";

/// Not a test but the process that other tests start: renews the virtual IPs every 50 ms, or only looks.
#[test]
#[ignore = "started by the other tests, in a namespace of theirs"]
fn daemon() {
    let Ok(role) = std::env::var(ROLE) else { return };
    // The namespace is the whole process's here.
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(std::env::var("VIPD_LEASE_TEST_NETNS").unwrap(), own.display().to_string());
    let opened = DeadMan::open("vipd".parse().unwrap());
    if role == "probe" {
        return println!("\nprobe: {}", opened.map_or_else(|error| error.to_string(), |_| "works".to_owned()));
    }
    let mut switch = opened.unwrap();
    switch.guard(BLUE, &VIPS).unwrap();
    for renewal in 0.. {
        switch.renew(&leases(&[BLUE], TIMEOUT), Instant::now).unwrap();
        if renewal == 0 {
            println!("\nrenewing");
        }
        std::thread::sleep(ms(50));
    }
}

/// Starts it in `namespace`, by way of `wrapper`, and reads its first line that begins with `word`.
fn start(namespace: &Namespace, wrapper: &[&OsStr], role: &str, word: &str) -> (Child, String) {
    let inode = namespace.inside(|| {
        assert_not_the_machines_own();
        std::fs::read_link("/proc/thread-self/ns/net").unwrap()
    });
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &namespace.name]).args(wrapper);
    command.args(["--exact", "daemon::daemon", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, role).env("VIPD_LEASE_TEST_NETNS", inode).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.find(|line| line.starts_with(word)).unwrap_or_default();
    (child, line)
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The kernel lets go within the timeout after a signal, whatever the process was doing; and nothing at all is heard.
#[test]
fn a_stopped_or_killed_daemon_falls_silent_by_itself() {
    if !possible() {
        return;
    }
    let own = std::env::current_exe().unwrap();
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        let wire = Wire::new();
        let (child, line) = start(&wire.holder, &[own.as_os_str()], "renew", "renewing");
        assert_eq!(line, "renewing");
        // ip execs the test binary, so this is the daemon itself.
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let _killed = Killed(child);
        let mut asker = wire.asker();
        asker.ask_for(&ALL, &ALL, ms(5), Instant::now() + ms(400));
        assert!(ALL.iter().all(|&question| asker.counts(question).1 > 0), "it answers while it is renewed");

        asker.forget();
        kill(pid, signal).unwrap();
        // A renewal that was under way in the kernel is made before the process heeds the signal.
        let deadline = Instant::now() + PATIENCE;
        while !is_still(pid) {
            assert!(Instant::now() < deadline, "it runs on after {signal}");
            std::thread::sleep(Duration::from_micros(100));
        }
        let stopped = Instant::now();
        asker.ask(&ALL, ms(2), stopped + TIMEOUT + ms(500));
        for question in ALL {
            let last = asker.last_answered(question).map(|last| last.saturating_duration_since(stopped));
            println!("{signal}: the last {question:?} to be answered was asked {last:?} after the signal");
            assert!(last <= Some(TIMEOUT + ms(10)), "{question:?} was answered {last:?} after {signal}");
            assert!(asker.counts(question).0 > 20, "it was not asked often enough");
        }
        assert!(nothing_is_heard(&wire, &mut asker), "the address was heard after its lease");
        let listed = wire.holder.nft("list table inet vipd");
        assert!(
            listed.contains("elements = { 198.18.5.200 : goto lease-1 }"),
            "the guard outlives the daemon:\n{listed}"
        );

        if signal == Signal::SIGSTOP {
            kill(pid, Signal::SIGCONT).unwrap();
            asker.forget();
            asker.ask_for(&ALL, &ALL, ms(5), Instant::now() + ms(400));
            assert!(ALL.iter().all(|&question| asker.counts(question).1 > 0), "it answers when it is renewed again");
        }
    }
}

/// Whether all threads of a process have stopped or ended (proc(5)).
fn is_still(pid: Pid) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
    let states = stats.filter_map(|stat| stat.rsplit(") ").next().and_then(|rest| rest.chars().next()));
    states.into_iter().all(|state| matches!(state, 'T' | 'Z' | 'X'))
}

/// Whether no frame whatever speaks for a virtual IP while it is asked for.
fn nothing_is_heard(wire: &Wire, asker: &mut crate::wire::Asker) -> bool {
    let mut listener = wire.asker.inside(|| {
        let ask0 = datalink::interfaces().into_iter().find(|interface| interface.name == "ask0").unwrap();
        let config = Config { read_timeout: Some(ms(1)), ..Config::default() };
        let Ok(Channel::Ethernet(_, listener)) = datalink::channel(&ask0, config) else { panic!("no Ethernet") };
        listener
    });
    asker.forget();
    asker.ask(&ALL, ms(5), Instant::now() + ms(200));
    let (mut heard, mut frames) = (0, 0);
    while let Ok(frame) = listener.next() {
        frames += 1;
        heard += usize::from(VIPS.iter().map(|vip| vip.address()).any(|vip: IpAddr| speaks_for(frame, vip)));
    }
    let asked: usize = ALL.iter().map(|&question| asker.counts(question).0).sum();
    assert!(asked > 0 && frames >= asked, "the listener heard {frames} frames, although {asked} questions were asked");
    heard == 0
}

#[test]
fn cap_net_admin_is_enough_and_its_absence_is_said() {
    if !possible() {
        return;
    }
    let holder = Namespace::new("holder");
    // A copy that everybody can run, wherever this program was built. A process of its own writes it: a test next door that
    // starts a program has copies of our descriptors for a moment, and a file that somebody may write cannot be run.
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join("lease");
    let mut install = Command::new("install");
    let installed = install.args(["-m", "0755"]).arg(std::env::current_exe().unwrap()).arg(&program).status();
    assert!(installed.unwrap().success(), "{}", program.display());
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"];
    let admin = ["--inh-caps=-all,+net_admin", "--ambient-caps=-all,+net_admin", "--bounding-set=-all,+net_admin"];
    let none = ["--inh-caps=-all", "--bounding-set=-all"];
    for (capabilities, says) in [
        (admin.as_slice(), "probe: works"),
        (none.as_slice(), "probe: no dead-man switch here: not permitted to use nf_tables"),
    ] {
        let mut wrapper: Vec<_> = nobody.iter().chain(capabilities).map(OsStr::new).collect();
        wrapper.push(program.as_os_str());
        let (child, line) = start(&holder, &wrapper, "probe", "probe: ");
        drop(Killed(child));
        assert_eq!(line, says, "{capabilities:?}");
    }
}
