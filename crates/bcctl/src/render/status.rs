//! `bcctl status`: the site in one table.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use bc_model::fencing::NodeState;
use bc_model::inventory::{Bytes, Inventory};
use bc_model::journal::Intent;
use jiff::Timestamp;
use serde::Serialize;

use super::operation;
use crate::finding::{Finding, Level};
use crate::journal::Found;
use crate::judge::difference;
use crate::observe::{Host, Observation};
use crate::place::Place;
use crate::plan::{Accepted, Plan, plan};
use crate::rules::loss::Loss;
use crate::rules::{self, Site};

/// What one look has shown, as it is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Screen {
    schema: u32,
    at: Timestamp,
    site: String,
    serving: Option<Place>,
    primary: Option<String>,
    vip_holders: Vec<String>,
    unfinished: Option<String>,
    failover: Failover,
    /// What `bcctl check` would say first.
    first: Option<Finding>,
    seen: Observation,
    #[serde(skip)]
    text: String,
}

/// What would happen if the other place took over now.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Failover {
    possible: bool,
    /// Why not.
    refused: Vec<Finding>,
    /// What would be lost; nothing if nobody can say who serves.
    loss: Option<Loss>,
}

impl Screen {
    /// From what was seen at `at`.
    pub(crate) fn new(inventory: &Inventory, seen: &Observation, unfinished: Option<&Found>, at: Timestamp) -> Self {
        let serving = rules::serving(inventory, seen);
        let place = serving.as_ref().ok().copied();
        let accepted = Accepted { healthy_primary: true, ..Accepted::default() };
        let failover = match plan(inventory, seen, Intent::Failover, accepted, "") {
            Plan::Steps { .. } => Vec::new(),
            Plan::Nothing(words) => vec![Finding::fail("site", &[], words)],
            Plan::Refused(findings) => findings,
        };
        let failover = Failover {
            possible: failover.is_empty(),
            refused: failover,
            loss: place.map(|serving| rules::loss::of(&Site { inventory, seen, serving })),
        };
        let wrong = rules::findings(inventory, seen).into_iter().filter(|finding| finding.level >= Level::Warning);
        let wrong: Vec<Finding> = wrong.collect();
        let primary = place
            .filter(|place| seen.sql(inventory, *place).is_some_and(|sql| !sql.in_recovery))
            .map(|place| place.postgresql(inventory).to_owned());
        let holders = Place::BOTH.into_iter().filter(|place| seen.holds_vip(inventory, *place) == Some(true));
        let mut screen = Self {
            schema: 1,
            at,
            site: inventory.site.clone(),
            serving: place,
            primary,
            vip_holders: holders.map(|place| place.gocd(inventory).to_owned()).collect(),
            unfinished: unfinished.map(|found| operation(&found.journal)),
            failover,
            first: wrong.first().cloned(),
            seen: seen.clone(),
            text: String::new(),
        };
        let state = serving.map_or_else(|finding| finding.words, |place| format!("{place} serves"));
        screen.text = text(inventory, &screen, &state, wrong.len());
        screen
    }

    /// Prints it once.
    pub(crate) fn show(&self, json: bool) -> io::Result<()> {
        let mut stdout = anstream::stdout();
        if json {
            return writeln!(stdout, "{}", serde_json::to_string_pretty(self)?);
        }
        stdout.write_all(self.text.as_bytes())
    }
}

/// Prints one screen over the other on a terminal, one after the other elsewhere.
#[derive(Default)]
pub(crate) struct Watch {
    begun: bool,
}

impl Watch {
    /// Prints the next screen.
    pub(crate) fn show(&mut self, screen: &Screen, json: bool) -> io::Result<()> {
        let terminal = io::stdout().is_terminal();
        let mut stdout = anstream::stdout();
        let text = if json {
            format!("{}\n", serde_json::to_string(screen)?)
        } else {
            format!("{}  every look new; Ctrl-C ends\n{}", screen.at.strftime("%F %T UTC"), screen.text)
        };
        let text = match (terminal && !json, self.begun) {
            (true, begun) => in_place(&text, begun),
            (false, true) if !json => format!("\n{text}"),
            (false, _) => text,
        };
        self.begun = true;
        // The sequences move the cursor; what strips colours would strip them too, so they go to the terminal as they are.
        if terminal && !json {
            io::stdout().write_all(text.as_bytes())?
        } else {
            stdout.write_all(text.as_bytes())?
        }
        io::stdout().flush()
    }
}

/// The text from the upper left corner on, each line cleared to its end, and what is left below it cleared: nothing flickers.
fn in_place(text: &str, begun: bool) -> String {
    let clear = if begun { "" } else { "\x1b[2J" };
    format!("{clear}\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))
}

fn text(inventory: &Inventory, screen: &Screen, state: &str, wrong: usize) -> String {
    let seen = &screen.seen;
    let mut rows = vec![[String::new(), "home".to_owned(), "away".to_owned()]];
    let mut row =
        |name: &str, cell: &dyn Fn(Place) -> String| rows.push([name.to_owned(), cell(Place::Home), cell(Place::Away)]);
    row("PostgreSQL", &|place| format!("{}  {}", place.postgresql(inventory), server(inventory, seen, place)));
    row("WAL", &|place| wal(inventory, screen, place));
    row("GoCD", &|place| format!("{}  {}", place.gocd(inventory), gocd(inventory, seen, place)));
    row(&format!("VIP {}", inventory.vip.address.addr()), &|place| match seen.holds_vip(inventory, place) {
        Some(true) => "held".to_owned(),
        Some(false) => "-".to_owned(),
        None => "?".to_owned(),
    });
    row("config", &|place| files(inventory, seen, place));
    if !seen.fence.is_empty() {
        row("power", &|place| power(inventory, seen, place));
    }
    let widths: Vec<usize> =
        (0..2).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()).collect();
    let mut text = format!("site {}: {state}\n", inventory.site);
    for [name, home, away] in rows {
        let line = format!("  {name:a$}  {home:b$}  {away}", a = widths[0], b = widths[1]);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push_str(&failover(inventory, screen));
    if let Some(first) = &screen.first {
        let code = first.code().unwrap_or_default();
        let _ = writeln!(text, "wrong:    {code} {}: {} (`bcctl check` shows all {wrong})", first.subject, first.words);
    }
    text.push_str(&match &screen.unfinished {
        Some(name) => format!("unfinished: {name} (`bcctl resume` continues it)\n"),
        None => "no operation is unfinished\n".to_owned(),
    });
    text
}

/// What would happen if the other place took over now, and what would be lost.
fn failover(inventory: &Inventory, screen: &Screen) -> String {
    let Some(place) = screen.serving else {
        return "failover: nobody can say who serves, so it is refused\n".to_owned();
    };
    let mut text = match screen.failover.refused.first() {
        None => {
            let (fenced, to) = (place.hosts(inventory).join(" and "), place.other());
            format!(
                "failover: now it would turn off {fenced}, promote {} and serve from {}\n",
                to.postgresql(inventory),
                to.gocd(inventory)
            )
        }
        Some(first) => {
            let code = first.code().map(|code| format!("{code} ")).unwrap_or_default();
            format!("failover: now it would be refused: {code}{}: {}\n", first.subject, first.words)
        }
    };
    let Some(loss) = &screen.failover.loss else { return text };
    let words = match (&loss.diverged, loss.bytes, loss.reached) {
        (Some(_), ..) => "everything since the histories parted; it must not be promoted".to_owned(),
        (None, _, None) => "everything: there is no standby".to_owned(),
        (None, Some(0), _) => "nothing that is committed now".to_owned(),
        _ if loss.synchronous => "nothing that was acknowledged: the standby is synchronous".to_owned(),
        (None, Some(bytes), _) => {
            format!("up to {}{}", Bytes(bytes), loss.seconds.map(|age| format!(", {age} s")).unwrap_or_default())
        }
        (None, None, _) => format!(
            "cannot be known: the primary does not answer{}",
            loss.seconds.map(|age| format!("; the standby's last commit is {age} s old")).unwrap_or_default()
        ),
    };
    let _ = writeln!(text, "loss:     {words}");
    text
}

fn unseen(seen: &Observation, host: &str) -> String {
    match seen.hosts.get(host) {
        Some(Host::Unseen { .. }) if seen.power(host) == NodeState::Off => "off".to_owned(),
        Some(Host::Unseen { words, .. }) => format!("not reached: {words}"),
        _ => "?".to_owned(),
    }
}

fn server(inventory: &Inventory, seen: &Observation, place: Place) -> String {
    let host = place.postgresql(inventory);
    let Some(server) = seen.postgresql(inventory, place) else { return unseen(seen, host) };
    match (&server.sql, &server.control) {
        (Some(sql), _) => format!("{}, timeline {}", if sql.in_recovery { "standby" } else { "primary" }, sql.timeline),
        (None, Some(control)) if server.service.active => format!("does not answer ({})", control.state),
        (None, Some(control)) => format!("stopped ({}), timeline {}", control.state, control.timeline),
        (None, None) => "no cluster".to_owned(),
    }
}

fn wal(inventory: &Inventory, screen: &Screen, place: Place) -> String {
    let seen = &screen.seen;
    let Some(sql) = seen.sql(inventory, place) else { return "-".to_owned() };
    if let Some(write) = sql.write_lsn {
        return format!("writes {write}");
    }
    let Some(replay) = sql.replay_lsn else { return "-".to_owned() };
    let lag = seen.sql(inventory, place.other()).and_then(|primary| primary.write_lsn).map(|write| {
        match (write.since(replay), sql.last_commit_age) {
            (0, _) => ", has everything".to_owned(),
            (bytes, Some(age)) => format!(", {} and {age} s behind", Bytes(bytes)),
            (bytes, None) => format!(", {} behind", Bytes(bytes)),
        }
    });
    if screen.failover.loss.as_ref().is_some_and(|loss| loss.diverged.is_some()) {
        return format!("replayed {replay}, DIVERGED: not a copy of the primary");
    }
    format!("replayed {replay}{}, {}", lag.unwrap_or_default(), sql.receiver.as_deref().unwrap_or("receives nothing"))
}

fn gocd(inventory: &Inventory, seen: &Observation, place: Place) -> String {
    let Some(gocd) = seen.gocd(inventory, place) else { return unseen(seen, place.gocd(inventory)) };
    match (gocd.service.active, gocd.health) {
        (false, 0) => "stopped".to_owned(),
        (false, status) => format!("answers {status}, but its service is stopped"),
        (true, 0) => "starting, nobody listens yet".to_owned(),
        (true, status) => {
            format!("{status}{}", gocd.version.as_deref().map(|version| format!(", {version}")).unwrap_or_default())
        }
    }
}

fn files(inventory: &Inventory, seen: &Observation, place: Place) -> String {
    let of = |place| seen.gocd(inventory, place).map(|gocd| gocd.manifest.as_ref());
    match (of(place), of(place.other())) {
        (Some(Ok(own)), Some(Ok(other))) if place == Place::Away => {
            difference(other, own).unwrap_or_else(|| "the same".to_owned())
        }
        (Some(Ok(own)), _) => format!("{} files", own.files.len()),
        (Some(Err(words)), _) => words.clone(),
        (None, _) => "?".to_owned(),
    }
}

fn power(inventory: &Inventory, seen: &Observation, place: Place) -> String {
    let states: Vec<String> = place
        .hosts(inventory)
        .iter()
        .map(|host| {
            let state = match seen.power(host) {
                NodeState::On => "on",
                NodeState::Off => "off",
                NodeState::Unknown => "?",
            };
            format!("{host} {state}")
        })
        .collect();
    states.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::Lsn;
    use crate::observe::tests::{healthy, inventory};

    fn screen(seen: &Observation) -> Screen {
        Screen::new(&inventory(), seen, None, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn one_screen_says_who_serves_who_is_behind_and_what_a_failover_would_do() {
        let mut behind = healthy();
        behind.answers("pg1").write_lsn = Some(Lsn(0x500_0148 + 300_000));
        insta::assert_snapshot!(screen(&behind).text);
    }

    #[test]
    fn a_diverged_standby_is_said_to_be_one() {
        let mut seen = healthy();
        seen.answers("pg1").replication[0].ahead = true;
        let text = screen(&seen).text;
        assert!(text.contains("DIVERGED") && text.contains("refused: BC210 pg2") && !text.contains("behind"), "{text}");
    }

    #[test]
    fn with_the_primary_gone_the_loss_cannot_be_known() {
        let seen = healthy().lost("pg1", NodeState::Off).lost("go1", NodeState::Off);
        let text = screen(&seen).text;
        assert!(
            text.contains(
                "loss:     cannot be known: the primary does not answer; the standby's last commit is 1.4 s old"
            ),
            "{text}"
        );
        assert!(text.contains("failover: now it would turn off go1 and pg1, promote pg2 and serve from go2"), "{text}");
    }

    #[test]
    fn a_screen_is_drawn_over_the_last_one() {
        assert_eq!(in_place("a\nb\n", false), "\x1b[2J\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
        assert_eq!(in_place("a\n", true), "\x1b[Ha\x1b[K\n\x1b[J");
    }
}
