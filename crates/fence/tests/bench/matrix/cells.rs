//! The cases, device by device.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::leaks::{AGENTS, SECRET, Watch};
use super::{Group, Row, Truth};
use crate::bench::{Bench, have, install};
use crate::emulators::bmc::{self, Bmc};
use crate::emulators::fuse::Fuse;
use crate::emulators::machine::Machine;
use crate::emulators::redfish::{self, Redfish};
use crate::emulators::sbd::SbdDisk;
use crate::emulators::{Silence, wait_for};
use crate::sshd::Sshd;

/// One device in all its situations.
type Rows = fn(&Watch) -> Option<Vec<Row>>;

/// All groups; one is nothing where this machine lacks what it needs.
pub(super) const ALL: [Rows; 8] = [ipmi, redfish, exec, sbd, watchdog, nftables, ssh, postgresql];

/// A bench whose node is content with grade C.
fn bench(levels: &str, devices: &str) -> Bench {
    Bench::default().config(&format!("[nodes.pg1]\nrequired-grade = \"C\"\nlevels = {levels}\n{devices}"))
}

/// A second signal that depends on no switch: it looks whether the machine still draws power.
fn meter(bench: Bench, machine: &Machine) -> Bench {
    let script = format!(
        "case $action in status|monitor) [ -n \"$(ip netns pids {})\" ] || exit 2; exit 0 ;; *) exit 1 ;; esac",
        machine.namespace
    );
    bench.agent("meter", "3s", &script)
}

/// The same device with less time, for what is not going to work.
fn short(device: &str) -> String {
    device.replace("\"15s\"", "\"5s\"")
}

const REFUSES: &str = "refuses login";
const HANGS: &str = "hangs";
const LIES: &str = "lies";
const CAUGHT: &str = "lies, with a second signal in the level";
const WRONG: &str = "wrong target";
const AWAY: &str = "goes away half-way";

fn ipmi(leaks: &Watch) -> Option<Vec<Row>> {
    let machine = Machine::start()?;
    let bmc = Bmc::start(&machine.chassis(), SECRET)?;
    let device = |port: u16, password: &Path, more: &str| {
        format!(
            "[devices.d]\nagent = \"ipmi\"\ntimeout = \"15s\"\naddress = \"127.0.0.1\"\nport = {port}\nusername = \"{}\"\n\
             password-file = \"{}\"\ncipher = 3\n{more}",
            bmc::USER,
            password.display()
        )
    };
    let good = device(bmc.port, &bmc.password_file(), "");
    let one = |device: &str| bench("[[\"d\"]]", device);
    let mut group = Group::new("ipmi", &machine, leaks);
    group.case("works", "read back twice", one(&good), 15, Truth::Known);
    let wrong = device(bmc.port, &bmc.wrong_password_file(), "");
    group.case(REFUSES, "no session, no state", one(&short(&wrong)), 5, Truth::Known);
    let silence = Silence::start();
    let silent = device(silence.port(), &bmc.password_file(), "");
    group.case(HANGS, "killed at the deadline", one(&short(&silent)), 5, Truth::Known);
    machine.set("lie", "");
    group.case(LIES, "nobody can know it from this BMC alone", one(&good), 15, Truth::Hidden);
    machine.set("lie", "");
    let two = meter(bench("[[\"d\", \"meter\"]]", &good), &machine);
    group.case(CAUGHT, "the second signal says on", two, 18, Truth::Known);
    let guid = format!("guid = \"{}\"", "00".repeat(16));
    let other = device(bmc.port, &bmc.password_file(), &guid);
    group.case(WRONG, "the BMC's GUID is another; nothing was sent", one(&short(&other)), 5, Truth::Known);
    machine.set("vanish", &bmc.pid().to_string());
    group.case(AWAY, "off, but nobody is left to say so", one(&short(&good)), 5, Truth::Known);
    Some(group.rows)
}

fn redfish(leaks: &Watch) -> Option<Vec<Row>> {
    let machine = Machine::start()?;
    let service = Redfish::start(&machine.chassis(), SECRET)?;
    let device = |port: u16, password: &str, system: &str, more: &str| {
        format!(
            "[devices.d]\nagent = \"redfish\"\ntimeout = \"15s\"\naddress = \"127.0.0.1\"\nport = {port}\nsystem = \"{system}\"\nusername = \"{}\"\n\
             password-file = \"{}\"\nca-file = \"{}\"\n{more}",
            redfish::USER,
            service.path(password).display(),
            service.ca_file().display()
        )
    };
    let good = device(service.port, "password", redfish::SYSTEM, "");
    let one = |device: &str| bench("[[\"d\"]]", device);
    let mut group = Group::new("redfish", &machine, leaks);
    group.case("works", "PowerState Off, twice", one(&good), 15, Truth::Known);
    group.case(REFUSES, "HTTP 401", one(&short(&device(service.port, "wrong", redfish::SYSTEM, ""))), 5, Truth::Known);
    let silence = Silence::start();
    let silent = device(silence.port(), "password", redfish::SYSTEM, "");
    group.case(HANGS, "the deadline is of the whole call", one(&short(&silent)), 5, Truth::Known);
    machine.set("lie", "");
    group.case(LIES, "nobody can know it from this BMC alone", one(&good), 15, Truth::Hidden);
    machine.set("lie", "");
    let two = meter(bench("[[\"d\", \"meter\"]]", &good), &machine);
    group.case(CAUGHT, "the second signal says on", two, 18, Truth::Known);
    let uuid = format!("uuid = \"{}\"", redfish::SYSTEM);
    let other = device(service.port, "password", redfish::OTHER, &uuid);
    group.case(WRONG, "the system's UUID is another; nothing was sent", one(&short(&other)), 5, Truth::Known);
    machine.set("vanish", &service.pid().to_string());
    group.case(AWAY, "off, but nobody is left to say so", one(&short(&good)), 5, Truth::Known);
    Some(group.rows)
}

fn exec(leaks: &Watch) -> Option<Vec<Row>> {
    if !(have("fence_ipmilan", "fence-agents") && have("fence_redfish", "fence-agents")) {
        return None;
    }
    let machine = Machine::start()?;
    let bmc = Bmc::start(&machine.chassis(), AGENTS)?;
    let device = |port: u16, password: &Path| {
        format!(
            "[devices.d]\nagent = \"exec\"\ncommand = \"/usr/sbin/fence_ipmilan\"\ntimeout = \"15s\"\n[devices.d.options]\n\
             ip = \"127.0.0.1\"\nipport = {port}\nusername = \"{}\"\nlanplus = true\ncipher = 3\npower_wait = 0\npower_timeout = 2\n\
             [devices.d.options-from-file]\npassword = \"{}\"",
            bmc::USER,
            password.display()
        )
    };
    let good = device(bmc.port, &bmc.password_file());
    let one = |device: &str| bench("[[\"d\"]]", device);
    let mut group = Group::new("exec (fence_ipmilan)", &machine, leaks);
    group.case("works", "asked again in calls of its own", one(&good), 15, Truth::Known);
    let wrong = device(bmc.port, &bmc.wrong_password_file());
    group.case(REFUSES, "status exits 1: unknown", one(&short(&wrong)), 5, Truth::Known);
    let silence = Silence::start();
    let silent = device(silence.port(), &bmc.password_file());
    group.case(HANGS, "its process group is killed at the deadline", one(&short(&silent)), 5, Truth::Known);
    machine.set("lie", "");
    group.case(LIES, "nobody can know it from this BMC alone", one(&good), 15, Truth::Hidden);
    machine.set("lie", "");
    let two = meter(bench("[[\"d\", \"meter\"]]", &good), &machine);
    group.case(CAUGHT, "the second signal says on", two, 18, Truth::Known);
    let redfish = "[devices.d]\nagent = \"exec\"\ncommand = \"/usr/sbin/fence_redfish\"\ntimeout = \"5s\"\n\
                   options = { ip = \"127.0.0.1\", username = \"admin\" }";
    group.case(
        WRONG,
        "fence_redfish without systems_uri takes the last system: refused",
        one(redfish),
        5,
        Truth::Known,
    );
    machine.set("vanish", &bmc.pid().to_string());
    let away = good.replace("\"15s\"", "\"9s\"");
    group.case(AWAY, "off, but nobody is left to say so", one(&away), 9, Truth::Known);
    Some(group.rows)
}

/// A record that says that the machine's watchdog is armed.
fn armed(file: &Path, node: &str) {
    let now = jiff_now();
    let record = format!(
        r#"{{"schema":1,"node":"{node}","armed":true,"device":"watchdog0","identity":"bench","timeout-s":1,"nowayout":true,"magic-close":true,"boot-id":"b","sequence":1,"at":"{now}"}}"#
    );
    fs::write(file, record).unwrap();
}

/// The time as records write it.
fn jiff_now() -> String {
    let date = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap().stdout;
    String::from_utf8(date).unwrap().trim().to_owned()
}

fn sbd(leaks: &Watch) -> Option<Vec<Row>> {
    let machine = Machine::start()?;
    let disk = SbdDisk::start()?;
    let fuse = Fuse::start(&machine.chassis())?;
    let record = machine.path("armed.json");
    armed(&record, "pg1");
    let device = |path: &Path, slot: &str, timeout: &str| {
        format!(
            "[devices.d]\nagent = \"sbd\"\ntimeout = \"{timeout}\"\ndisks = [\"{}\"]\nslot = \"{slot}\"\narmed-record = \"{}\"",
            path.display(),
            record.display()
        )
    };
    let good = device(&disk.link(), "pg1", "12s");
    let one = |device: &str| bench("[[\"d\"]]", device);
    let mut group = Group::new("sbd", &machine, leaks);
    let watcher = disk.watch(&machine.chassis());
    group.case(
        "works",
        "the pill is on the disk, msgwait went by, the watchdog was armed",
        one(&good),
        8,
        Truth::Known,
    );
    drop(watcher);
    assert_eq!(disk.mailbox("pg1"), "pg1 off fence", "sbd's own tool reads what fence wrote");
    disk.clear();
    disk.protect(true);
    group.case(REFUSES, "a disk that cannot be written", one(&device(&disk.link(), "pg1", "4s")), 4, Truth::Known);
    disk.protect(false);
    group.case(HANGS, "a disk that never answers", one(&device(&fuse.stuck(), "pg1", "3s")), 3, Truth::Known);
    group.case(LIES, "the record says armed, and no sbd runs", one(&good), 12, Truth::Hidden);
    disk.clear();
    let two = meter(bench("[[\"d\", \"meter\"]]", &good), &machine);
    group.case(CAUGHT, "the second signal says on", two, 15, Truth::Known);
    disk.clear();
    armed(&record, "pg2");
    group.case(WRONG, "the record is about another node: the pill alone is no proof", one(&good), 12, Truth::Known);
    disk.clear();
    armed(&record, "pg1");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // It is read back after msgwait.
            wait_for("the pill is written", || disk.mailbox("pg1") == "pg1 off fence", || disk.mailbox("pg1"));
            fs::remove_file(disk.link()).unwrap();
        });
        group.case(AWAY, "the disk is gone when it is read back", one(&good), 12, Truth::Known);
    });
    Some(group.rows)
}

/// `fence watchdog run` on the machine.
struct Guard(Child);

impl Guard {
    /// The watchdog has to be slower than a machine that runs all groups at once may be.
    fn start(fuse: &Fuse, timeout: &str, record: &Path, check: &[&str]) -> Self {
        let _ = fs::remove_file(record);
        let mut command = Command::new(env!("CARGO_BIN_EXE_fence"));
        command.args(["watchdog", "run", "--timeout", timeout, "--node", "pg1", "--device"]).arg(fuse.watchdog());
        command.arg("--record").arg(record).arg("--").args(check);
        let guard = Self(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        wait_for("the record is written", || record.exists(), String::new);
        guard
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn watchdog(leaks: &Watch) -> Option<Vec<Row>> {
    let machine = Machine::start()?;
    let fuse = Fuse::start(&machine.chassis())?;
    let (record, check, fails) = (machine.path("record.json"), machine.path("check"), machine.path("fails"));
    install(&check, &format!("#!/bin/sh\n[ ! -e {} ]\n", fails.display()));
    let check = [check.to_str().unwrap()];
    let device = |record: &Path, timeout: &str| {
        format!("[devices.d]\nagent = \"watchdog\"\ntimeout = \"{timeout}\"\nrecord = \"{}\"", record.display())
    };
    let good = device(&record, "12s");
    let one = |device: &str| bench("[[\"d\"]]", device);
    let mut group = Group::new("watchdog", &machine, leaks);
    let guard = Guard::start(&fuse, "2s", &record, &check);
    fs::write(&fails, "").unwrap();
    group.case("works", "the record was not renewed for two timeouts", one(&good), 12, Truth::Known);
    drop(guard);
    fs::remove_file(&fails).unwrap();
    let lives = Guard::start(&fuse, "3s", &record, &check);
    group.case("the node lives", "the record is renewed", one(&device(&record, "15s")), 15, Truth::Known);
    drop(lives);
    wait_for("the watchdog has fired", || !fuse.is_armed(), String::new);
    machine.switch(true);
    group.case(REFUSES, "no record", one(&device(&machine.path("none.json"), "3s")), 3, Truth::Known);
    group.case(HANGS, "a file system that never answers", one(&device(&fuse.stuck(), "3s")), 3, Truth::Known);
    armed(&record, "pg1");
    group.case(LIES, "the record says armed, and no watchdog is", one(&good), 12, Truth::Hidden);
    let two = meter(bench("[[\"d\", \"meter\"]]", &good), &machine);
    group.case(CAUGHT, "the second signal says on", two, 15, Truth::Known);
    armed(&record, "pg2");
    group.case(WRONG, "the record is about another node", one(&good), 12, Truth::Known);
    armed(&record, "pg1");
    let away = record.clone();
    let gone = std::thread::spawn(move || {
        std::thread::park_timeout(std::time::Duration::from_millis(1500));
        fs::remove_file(away).unwrap();
    });
    group.case(AWAY, "the record is gone before its time", one(&good), 12, Truth::Known);
    gone.join().unwrap();
    Some(group.rows)
}

/// A host behind a real sshd whose commands run in a namespace.
fn host(machine: &Machine, namespace: &str) -> Option<Sshd> {
    if !(have("sshd", "openssh-server") && have("ssh", "openssh-client")) {
        return None;
    }
    let forced = machine.path("forced");
    install(
        &forced,
        &format!(
            "#!/bin/sh\n[ ! -e {0}/away ] || case $SSH_ORIGINAL_COMMAND in *'nft -j list'*|*'gate set'*) exit 255 ;; esac\n\
             PATH={0}:$PATH exec ip netns exec {namespace} sh -c \"$SSH_ORIGINAL_COMMAND\"\n",
            machine.path("").display()
        ),
    );
    Some(Sshd::start(&forced))
}

fn login(sshd: &Sshd, stranger: bool) -> String {
    let identity = if stranger { sshd.strangers_identity() } else { sshd.identity() };
    format!(
        "destination = \"{}\"\nidentity-file = \"{}\"\nknown-hosts = \"{}\"",
        sshd.destination(),
        identity.display(),
        sshd.known_hosts().display()
    )
}

fn silent_login(silence: &Silence) -> String {
    format!("destination = \"ssh://root@127.0.0.1:{}\"", silence.port())
}

/// The router: isolation is seen from a client behind it, and is not the end of the machine.
fn nftables(leaks: &Watch) -> Option<Vec<Row>> {
    if !have("nft", "nftables") {
        return None;
    }
    let machine = Machine::start()?;
    let router = Machine::start()?;
    let sshd = host(&router, &router.namespace)?;
    let device = |login: &str, address: &str, timeout: &str| {
        format!("[devices.d]\nagent = \"nftables\"\ntimeout = \"{timeout}\"\naddresses = [\"{address}\"]\n{login}")
    };
    let good = device(&login(&sshd, false), "198.18.79.11", "20s");
    let one = |device: &str| bench("[[\"d\"]]", device);
    let lift = |device: &str| {
        one(device).fence(&["on", "pg1", "--reason", "matrix"]).expect_code(0);
    };
    let mut group = Group::new("nftables", &machine, leaks);
    group.case("works", "isolated: the machine runs, and nothing passes the router", one(&good), 20, Truth::Hidden);
    lift(&good);
    let stranger = device(&login(&sshd, true), "198.18.79.11", "4s");
    group.case(REFUSES, "ssh refuses the key", one(&stranger), 4, Truth::Known);
    let silence = Silence::start();
    let silent = device(&silent_login(&silence), "198.18.79.11", "3s");
    group.case(HANGS, "ssh is killed at the deadline", one(&silent), 3, Truth::Known);
    let nft = router.path("nft");
    install(&nft, "#!/bin/sh\ncase $* in '-f -') cat >/dev/null ;; *) exec /usr/sbin/nft \"$@\" ;; esac\n");
    let short = good.replace("\"20s\"", "\"9s\"");
    group.case(LIES, "a loader that loads nothing: the rules are read back", one(&short), 9, Truth::Known);
    fs::remove_file(nft).unwrap();
    let own = device(&login(&sshd, false), "127.0.0.1", "4s");
    group.case(WRONG, "run on the node itself: refused", one(&own), 4, Truth::Known);
    router.set("away", "");
    group.case(AWAY, "loaded, but nobody is left to say so", one(&short), 9, Truth::Known);
    Some(group.rows)
}

fn ssh(leaks: &Watch) -> Option<Vec<Row>> {
    let machine = Machine::with_postgresql()?;
    let sshd = host(&machine, &machine.namespace)?;
    let device = |login: &str, data: &Path, timeout: &str| {
        format!(
            "[devices.d]\nagent = \"ssh\"\ntimeout = \"{timeout}\"\ndata-directories = [\"{}\"]\nports = [5432]\ngate-directory = \"{}\"\n{login}",
            data.display(),
            machine.path("gate").display()
        )
    };
    stopper("ssh", leaks, &machine, &device(&login(&sshd, false), &machine.data(), "20s"), |group| {
        let stranger = device(&login(&sshd, true), &machine.data(), "4s");
        group.case(REFUSES, "ssh refuses the key", bench("[[\"d\"]]", &stranger), 4, Truth::Known);
        let silence = Silence::start();
        let silent = device(&silent_login(&silence), &machine.data(), "3s");
        group.case(HANGS, "ssh is killed at the deadline", bench("[[\"d\"]]", &silent), 3, Truth::Known);
        let wrong = device(&login(&sshd, false), Path::new("/nonexistent/data"), "4s");
        group.case(WRONG, "no data directory of that name there", bench("[[\"d\"]]", &wrong), 4, Truth::Known);
        machine.set("away", "");
        let short = device(&login(&sshd, false), &machine.data(), "10s");
        group.case(AWAY, "stopped, but nobody is left to say so", bench("[[\"d\"]]", &short), 10, Truth::Known);
    })
}

/// PostgreSQL of this host: the test's own, found by its data directory.
fn postgresql(leaks: &Watch) -> Option<Vec<Row>> {
    let machine = Machine::with_postgresql()?;
    // Its port is one of the namespace; of this host's ports somebody else may use the same.
    let port = crate::sshd::free_port();
    let device = |data: &Path, timeout: &str| {
        format!(
            "[devices.d]\nagent = \"postgresql\"\ntimeout = \"{timeout}\"\ndata-directory = \"{}\"\nport = {port}\ngate-directory = \"{}\"",
            data.display(),
            machine.path("gate").display()
        )
    };
    stopper("postgresql", leaks, &machine, &device(&machine.data(), "20s"), |group| {
        let wrong = device(Path::new("/nonexistent/data"), "4s");
        group.case(WRONG, "no data directory of that name here", bench("[[\"d\"]]", &wrong), 4, Truth::Known);
    })
}

/// What both ways to stop a PostgreSQL have in common.
fn stopper(
    name: &'static str,
    leaks: &Watch,
    machine: &Machine,
    good: &str,
    more: impl FnOnce(&mut Group<'_>),
) -> Option<Vec<Row>> {
    let mut group = Group::new(name, machine, leaks);
    group.case("works", "no process, port closed, boot gate set", bench("[[\"d\"]]", good), 20, Truth::Known);
    wait_for("PostgreSQL is back", || machine.sql("select 1").is_ok(), || machine.log());
    let stopped = Command::new("sh")
        .args(["-c", &format!("kill -STOP $(head -1 {}/postmaster.pid)", machine.data().display())])
        .status()
        .unwrap();
    assert!(stopped.success());
    group.case("PostgreSQL hangs", "a stopped postmaster is killed", bench("[[\"d\"]]", good), 20, Truth::Known);
    wait_for("PostgreSQL is back", || machine.sql("select 1").is_ok(), || machine.log());
    more(&mut group);
    Some(group.rows)
}
