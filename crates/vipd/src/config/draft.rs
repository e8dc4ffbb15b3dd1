//! What the file says, key by key, each value in its type and with its place; not yet whether it fits together.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeTable;
use vrrp::wire::ChecksumForm;
use vrrp::{Priority, Version, Vrid};

use super::host::Host;
use super::instance::{Effect, LeaseSetting, OnConflict, Tracked};
use super::name::{InterfaceName, Name};
use super::problem::Problems;
use super::section::{At, Section};
use super::service::{Control, Hook, Principal};
use super::value::{self, quoted};

/// The whole file.
#[derive(Debug)]
pub(super) struct Document<'a> {
    pub(super) lease: Option<At<LeaseSetting>>,
    pub(super) instances: Vec<InstanceDraft<'a>>,
    pub(super) checks: Vec<CheckDraft<'a>>,
    pub(super) sync_groups: Vec<GroupDraft<'a>>,
    pub(super) hook: Option<Hook>,
    pub(super) control: Control,
    pub(super) metrics: Option<SocketAddr>,
}

type OpenlyTracked<T> = At<Tracked<T, Option<Effect>>>;

/// `[[instance]]`.
#[derive(Debug)]
pub(super) struct InstanceDraft<'a> {
    pub(super) section: Section<'a>,
    pub(super) name: Option<At<Name>>,
    pub(super) mode: Option<At<ModeName>>,
    pub(super) interface: Option<At<InterfaceName>>,
    pub(super) addresses: Option<At<Vec<At<IpNet>>>>,
    pub(super) unadvertised: Option<At<Vec<At<IpNet>>>>,
    pub(super) vrid: Option<At<Vrid>>,
    pub(super) priority: Option<At<Priority>>,
    pub(super) version: Option<At<Version>>,
    pub(super) interval: Option<At<u64>>,
    pub(super) checksum: Option<At<ChecksumForm>>,
    pub(super) preempt: Option<At<bool>>,
    pub(super) preempt_delay: Option<At<Duration>>,
    pub(super) startup_delay: Option<At<Duration>>,
    pub(super) accept: Option<At<bool>>,
    pub(super) virtual_mac: Option<At<bool>>,
    pub(super) unicast: Option<UnicastDraft<'a>>,
    pub(super) interfaces: Option<At<Vec<OpenlyTracked<InterfaceName>>>>,
    pub(super) checks: Option<At<Vec<OpenlyTracked<Name>>>>,
    pub(super) lease: Option<At<LeaseSetting>>,
    pub(super) on_conflict: Option<At<OnConflict>>,
    pub(super) restore_limit: Option<At<u32>>,
}

/// `mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ModeName {
    Vrrp,
    Managed,
}

const MODE: &[(&str, ModeName)] = &[("vrrp", ModeName::Vrrp), ("managed", ModeName::Managed)];

/// `[instance.unicast]`.
#[derive(Debug)]
pub(super) struct UnicastDraft<'a> {
    pub(super) section: Section<'a>,
    pub(super) peers: Option<At<Vec<At<IpAddr>>>>,
    pub(super) source: Option<At<IpAddr>>,
    pub(super) minimum_ttl: Option<At<u8>>,
}

/// `[[check]]`.
#[derive(Debug)]
pub(super) struct CheckDraft<'a> {
    pub(super) section: Section<'a>,
    pub(super) name: Option<At<Name>>,
    pub(super) command: Option<Vec<String>>,
    pub(super) interval: Duration,
    pub(super) timeout: Option<Duration>,
    pub(super) rise: u32,
    pub(super) fall: u32,
    pub(super) effect: Effect,
    pub(super) user: Option<At<String>>,
}

/// `[[sync-group]]`.
#[derive(Debug)]
pub(super) struct GroupDraft<'a> {
    pub(super) section: Section<'a>,
    pub(super) name: Option<At<Name>>,
    pub(super) instances: Option<At<Vec<At<Name>>>>,
    pub(super) interfaces: Option<At<Vec<OpenlyTracked<InterfaceName>>>>,
    pub(super) checks: Option<At<Vec<OpenlyTracked<Name>>>>,
}

/// Reads the tables. What is wrong is in `problems`; a value that is wrong counts as not there.
///
/// `host` is asked about what only it can know.
pub(super) fn read<'a>(table: &'a DeTable<'a>, problems: &'a Problems<'a>, host: &dyn Host) -> Document<'a> {
    let root = Section::root(table, problems);
    let document = Document {
        lease: root.get("lease", value::lease),
        instances: root.tables("instance").into_iter().map(instance).collect(),
        checks: root.tables("check").into_iter().map(|section| check(section, host)).collect(),
        sync_groups: root.tables("sync-group").into_iter().map(sync_group).collect(),
        hook: root.table("hook").and_then(|section| hook(section, host)),
        control: root.table("control").map(|section| control(section, host)).unwrap_or_default(),
        metrics: root.table("metrics").and_then(metrics),
    };
    root.finish();
    document
}

fn instance(section: Section<'_>) -> InstanceDraft<'_> {
    let addresses = |key| section.list(key, "addresses", value::virtual_address);
    let draft = InstanceDraft {
        name: section.need("name", value::name),
        mode: section.need("mode", value::one_of(MODE)),
        interface: section.need("interface", value::home),
        addresses: addresses("addresses"),
        unadvertised: addresses("unadvertised-addresses"),
        vrid: section.get("virtual-router-id", value::vrid),
        priority: section.get("priority", value::priority),
        version: section.get("version", value::version),
        interval: section.get("advertisement-interval-ms", value::milliseconds),
        checksum: section.get("checksum", value::one_of(value::CHECKSUM)),
        preempt: section.get("preempt", value::truth),
        preempt_delay: section.get("preempt-delay", value::duration(Duration::ZERO)),
        startup_delay: section.get("startup-delay", value::duration(Duration::ZERO)),
        accept: section.get("accept", value::truth),
        virtual_mac: section.get("virtual-mac", value::truth),
        unicast: section.table("unicast").map(unicast),
        interfaces: section.list("track-interfaces", "interfaces", value::tracked(value::interface)),
        checks: section.list("checks", "names of checks", value::tracked(value::name)),
        lease: section.get("lease", value::lease),
        on_conflict: section.get("on-conflict", value::one_of(value::ON_CONFLICT)),
        restore_limit: section.get("restore-limit", value::count(0..=1000, "0 to 1000 times a minute")),
        section,
    };
    draft.section.finish();
    draft
}

fn unicast(section: Section<'_>) -> UnicastDraft<'_> {
    let peers = section.list("peers", "addresses of hosts", value::host_address);
    let draft = UnicastDraft {
        peers,
        source: section.get("source", value::host_address),
        minimum_ttl: section.get("minimum-ttl", value::ttl),
        section,
    };
    draft.section.finish();
    draft
}

fn check<'a>(section: Section<'a>, host: &dyn Host) -> CheckDraft<'a> {
    let least = Duration::from_millis(10);
    let draft = CheckDraft {
        name: section.need("name", value::name),
        command: command(&section, host),
        interval: section.get("interval", value::duration(least)).map_or(Duration::from_secs(1), At::into_inner),
        timeout: section.get("timeout", value::duration(least)).map(At::into_inner),
        rise: section.get("rise", value::count(1..=1000, "1 to 1000 runs")).map_or(2, At::into_inner),
        fall: section.get("fall", value::count(1..=1000, "1 to 1000 runs")).map_or(2, At::into_inner),
        effect: section.get("weight", value::effect).map_or(Effect::Fault, At::into_inner),
        user: section.get("user", value::account),
        section,
    };
    draft.section.finish();
    draft
}

/// `command`: a program by its absolute path, so that no `PATH` decides what runs, and its arguments.
fn command(section: &Section<'_>, host: &dyn Host) -> Option<Vec<String>> {
    let Some(words) = section.list("command", "words, such as [\"/usr/bin/test\", \"-e\", \"/run/x\"]", value::word)
    else {
        if !section.has("command") {
            section.report(section.span(), "", "`command` is missing".to_owned());
        }
        return None;
    };
    let span = words.span();
    let words: Vec<String> = words.into_inner().into_iter().map(At::into_inner).collect();
    match words.first() {
        // A word that is wrong has been reported; the next one is not the program.
        _ if section.length("command") != Some(words.len()) => None,
        Some(program) if program.starts_with('/') => {
            if let Err(why) = host.may_start(program) {
                section.warn(span, "command", format!("found {}, which cannot be started now: {why}", quoted(program)));
            }
            Some(words)
        }
        Some(program) => {
            section.report(span, "command", format!("found {program:?}, expected a program by its absolute path"));
            None
        }
        None => {
            section.report(span, "command", "found no word, expected a program by its absolute path".to_owned());
            None
        }
    }
}

fn sync_group(section: Section<'_>) -> GroupDraft<'_> {
    let draft = GroupDraft {
        name: section.need("name", value::name),
        instances: section.list("instances", "names of instances", value::name),
        interfaces: section.list("track-interfaces", "interfaces", value::tracked(value::interface)),
        checks: section.list("checks", "names of checks", value::tracked(value::name)),
        section,
    };
    draft.section.finish();
    draft
}

fn hook(section: Section<'_>, host: &dyn Host) -> Option<Hook> {
    let timeout = section.get("timeout", value::duration(Duration::from_millis(10)));
    let command = command(&section, host);
    section.finish();
    Some(Hook { command: command?, timeout: timeout.map_or(Duration::from_secs(10), At::into_inner) })
}

fn control(section: Section<'_>, host: &dyn Host) -> Control {
    let principals = |key, file: &str, is_known: &dyn Fn(&str) -> bool| -> Vec<Principal> {
        let list = section.list(key, key, value::principal).map(At::into_inner).unwrap_or_default();
        for at in &list {
            if let Principal::Name(name) = at.get_ref()
                && !is_known(name)
            {
                let message = format!("found {}, which {file} does not have: it lets nobody in", quoted(name));
                section.warn(at.span(), key, message);
            }
        }
        list.into_iter().map(At::into_inner).collect()
    };
    let socket = section.get("socket", value::socket);
    if let Some(at) = &socket
        && let Err(why) = host.may_listen_at(at.get_ref())
    {
        let message = format!("found {:?}, expected a path for a socket: {why}", at.get_ref());
        section.report(at.span(), "socket", message);
    }
    let control = Control {
        users: principals("users", "/etc/passwd", &|name| host.has_user(name)),
        groups: principals("groups", "/etc/group", &|name| host.has_group(name)),
        socket: socket.map_or_else(|| PathBuf::from(Control::SOCKET), At::into_inner),
    };
    section.finish();
    control
}

fn metrics(section: Section<'_>) -> Option<SocketAddr> {
    let listen = section.need("listen", value::listen);
    section.finish();
    listen.map(At::into_inner)
}
