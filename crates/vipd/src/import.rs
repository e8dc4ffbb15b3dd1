//! `vipd import`: from keepalived.conf to vipd.toml, with a list of everything that was left behind.
//!
//! ```text
//!  text ─▶ lines ────▶ words ─▶ tree ─▶ global, script, instance, group ─▶ outcome ─▶ vipd.toml
//!          comments    quotes   blocks            │                          ▲  │
//!          @id  $VAR                              ▼                          └──┘ Config::parse: what it refuses
//!          include                             ledger ── notes with lines         goes to the ledger as well
//! ```
//!
//! [`import`] is a pure function over text: included files come through a function. Every line is either carried over or
//! named in a note. The source is keepalived.conf(5) of keepalived 2.2, and its parser where the page is silent.

mod address;
mod global;
mod group;
mod instance;
mod ledger;
mod lines;
mod number;
mod outcome;
mod script;
mod track;
mod tree;
mod weights;
mod words;

use std::io;

use thiserror::Error;

pub use ledger::{Note, Place};

use global::Globals;
use ledger::Ledger;
use outcome::Draft;
use tree::Statement;

/// Finds the files of an `include`: pattern and including file to names and texts.
pub type Includes<'i> = &'i dyn Fn(&str, &str) -> io::Result<Vec<(String, String)>>;

/// What came of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// A configuration that `vipd check` accepts, with the notes as comments at its top.
    pub toml: String,
    /// How many instances it has; 0 means that nothing worth having was carried over.
    pub instances: usize,
    /// What was not carried over, in the order of the file.
    pub notes: Vec<Note>,
    /// The places of what was.
    pub carried: Vec<Place>,
}

/// Why a text is no keepalived.conf.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{place}: {problem}")]
pub struct ImportError {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub problem: String,
}

/// Translates the keepalived.conf in `text`. Pure, but for what `includes` does.
///
/// `file` is its name in notes, `config_id` what `@id` lines are compared with (keepalived's `-i`; by default the host's
/// name up to the first dot).
///
/// # Errors
/// The text is malformed: a quote or a block that is not closed, definitions or includes without end.
pub fn import(file: &str, text: &str, config_id: &str, includes: Includes<'_>) -> Result<Import, ImportError> {
    let mut ledger = Ledger::new(file);
    let lines = lines::read(file, text, config_id, includes, &mut ledger)?;
    let tree = tree::build(lines)?;
    // Global definitions count for what precedes them, too.
    let mut globals = Globals::default();
    for statement in tree.iter().filter(|statement| statement.keyword() == "global_defs") {
        globals.read(statement, &mut ledger);
    }
    let mut draft = Draft::default();
    for statement in &tree {
        top_level(statement, &globals, &mut draft, &mut ledger);
    }
    Ok(outcome::settle(draft, ledger))
}

fn top_level(statement: &Statement, globals: &Globals, draft: &mut Draft, ledger: &mut Ledger) {
    const LVS: &str =
        "LVS load balancing and its health checks are no part of vipd; keep keepalived for them, or another balancer";
    const ROUTES: &str = "vipd owns addresses, not routes and rules; configure them in the system";
    match statement.keyword() {
        "global_defs" => {}
        "vrrp_instance" => instance::read(statement, globals, draft, ledger),
        "vrrp_script" => script::read(statement, globals, draft, ledger),
        "vrrp_sync_group" => group::read(statement, draft, ledger),
        "virtual_server" | "virtual_server_group" | "lvs_sync_daemon" | "SSL" => ledger.leave(statement, LVS),
        "static_ipaddress" | "static_addresses" => {
            ledger.leave(statement, "an address that stays where it is belongs to the system's network configuration");
        }
        "static_routes" | "static_rules" => ledger.leave(statement, ROUTES),
        "track_group" => ledger.leave(statement, "there are no static addresses or routes to track"),
        "vrrp_track_process" | "track_process" => {
            ledger.leave(statement, "processes are not tracked; a [[check]] may run `pgrep`");
        }
        "track_file" | "vrrp_track_file" => ledger.leave(statement, "files are not tracked; a [[check]] may read one"),
        "bfd_instance" => ledger.leave(statement, "BFD is not spoken; use shorter advertisement intervals"),
        "garp_group" => ledger.leave(statement, "vipd paces its announcements by itself"),
        "linkbeat_interfaces" | "linkbeat_use_polling" => {
            ledger.leave(statement, "links are watched through netlink only");
        }
        "interface_up_down_delays" => ledger.leave(statement, "the state of an interface counts at once"),
        "net_namespace" | "net_namespace_ipvs" | "namespace_with_ipsets" => {
            ledger.leave(statement, "set NetworkNamespacePath= in the unit of vipd instead");
        }
        "instance" | "use_pid_dir" | "child_wait_time" => {
            ledger.leave(statement, "this is about keepalived's own processes");
        }
        other => ledger.leave(statement, &format!("the keyword {other:?} is not known")),
    }
}
