//! `bcctl status`: the site in one table.

use std::io::{self, Write as _};

use bc_model::fencing::NodeState;
use bc_model::inventory::{Bytes, Inventory};
use serde::Serialize;

use super::operation;
use crate::journal::Found;
use crate::judge::difference;
use crate::observe::{Host, Observation};
use crate::place::Place;
use crate::rules;

/// Shows the site.
pub(crate) fn status(
    inventory: &Inventory,
    seen: &Observation,
    unfinished: Option<&Found>,
    json: bool,
) -> io::Result<()> {
    let serving = rules::serving(inventory, seen);
    let mut stdout = anstream::stdout();
    if json {
        #[derive(Serialize)]
        #[serde(rename_all = "kebab-case")]
        struct Report<'a> {
            schema: u32,
            site: &'a str,
            serving: Option<Place>,
            vip_holders: Vec<&'a str>,
            unfinished: Option<String>,
            seen: &'a Observation,
        }
        let vip_holders = Place::BOTH
            .into_iter()
            .filter(|place| seen.holds_vip(inventory, *place) == Some(true))
            .map(|place| place.gocd(inventory))
            .collect();
        let report = Report {
            schema: 1,
            site: &inventory.site,
            serving: serving.as_ref().ok().copied(),
            vip_holders,
            unfinished: unfinished.map(|found| operation(&found.journal)),
            seen,
        };
        return writeln!(stdout, "{}", serde_json::to_string_pretty(&report)?);
    }
    stdout.write_all(
        text(inventory, seen, serving.as_ref().map_err(|finding| finding.words.as_str()), unfinished).as_bytes(),
    )
}

fn text(
    inventory: &Inventory,
    seen: &Observation,
    serving: Result<&Place, &str>,
    unfinished: Option<&Found>,
) -> String {
    let state = match serving {
        Ok(place) => format!("{place} serves"),
        Err(words) => words.to_owned(),
    };
    let mut rows = vec![[String::new(), "home".to_owned(), "away".to_owned()]];
    let mut row =
        |name: &str, cell: &dyn Fn(Place) -> String| rows.push([name.to_owned(), cell(Place::Home), cell(Place::Away)]);
    row("PostgreSQL", &|place| format!("{}  {}", place.postgresql(inventory), server(inventory, seen, place)));
    row("WAL", &|place| wal(inventory, seen, place));
    row("GoCD", &|place| format!("{}  {}", place.gocd(inventory), gocd(inventory, seen, place)));
    row(&format!("VIP {}", inventory.vip.address.addr()), &|place| match seen.holds_vip(inventory, place) {
        Some(true) => "held".to_owned(),
        Some(false) => "-".to_owned(),
        None => "?".to_owned(),
    });
    row("config", &|place| files(inventory, seen, place));
    row("power", &|place| power(inventory, seen, place));
    let widths: Vec<usize> =
        (0..2).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()).collect();
    let mut text = format!("site {}: {state}\n", inventory.site);
    for [name, home, away] in rows {
        let line = format!("  {name:a$}  {home:b$}  {away}", a = widths[0], b = widths[1]);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push_str(&match unfinished {
        Some(found) => format!("unfinished: {} (`bcctl resume` continues it)\n", operation(&found.journal)),
        None => "no operation is unfinished\n".to_owned(),
    });
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

fn wal(inventory: &Inventory, seen: &Observation, place: Place) -> String {
    let Some(sql) = seen.sql(inventory, place) else { return "-".to_owned() };
    if let Some(write) = sql.write_lsn {
        return format!("writes {write}");
    }
    let Some(replay) = sql.replay_lsn else { return "-".to_owned() };
    let lag = seen
        .sql(inventory, place.other())
        .and_then(|primary| primary.write_lsn)
        .map(|write| format!(", {} behind", Bytes(write.since(replay))));
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
