//! What the journals tell: `history`, `report`; and journals of other operators, found on the hosts.

use bc_model::exit::Exit;
use bc_model::inventory::Inventory;
use bc_model::journal::Journal;

use super::{Result, VerbError, by};
use crate::cli::{Look, Report};
use crate::finding::{ALL, Finding};
use crate::hosts::SystemHosts;
use crate::journal::{Lock, Store};
use crate::render;

pub(super) fn history(inventory: &Inventory, store: &Store, how: &Look) -> Result<Exit> {
    render::history(&inventory.site, &store.all()?, how.json).map_err(VerbError::Output)?;
    Ok(Exit::Done)
}

pub(super) fn report(store: &Store, how: &Report) -> Result<Exit> {
    let found = match &how.operation {
        None => store.newest()?,
        Some(wanted) => store.all()?.into_iter().find(|found| super::name(&found.journal) == *wanted),
    };
    let Some(found) = found else {
        let words = how.operation.as_deref().unwrap_or("an operation");
        render::error(&format!("{words}: there is no journal of it here"), Some("`bcctl history` lists them"));
        return Ok(Exit::Usage);
    };
    render::report(&found.journal).map_err(VerbError::Output)?;
    Ok(Exit::Done)
}

/// Takes the lock on the hosts, and brings the newest journal of the hosts here if it says more than ours. Returns
/// a reason to do nothing.
pub(crate) fn take_part(hosts: &SystemHosts<'_>, store: &Store, lock: &Lock) -> Result<Option<Finding>> {
    // The lock first: until it is ours, the shells of somebody who was killed may still write to the journals.
    if let Err(held) = hosts.lock(&by()) {
        let words = format!("another bcctl works on this site: {} has the lock of {}", held.by, held.host);
        let hint = "wait for it. If its machine is lost, end that shell on that host (`kill NUMBER`): the lock goes with it; then `bcctl resume`";
        return Ok(Some(Finding::fail("site", ALL, words).hint(hint)));
    }
    let journals = hosts.journals();
    let newest = journals.iter().map(|(operation, _)| operation.clone()).max();
    let longest = journals
        .into_iter()
        .filter(|(operation, _)| Some(operation) == newest.as_ref())
        .filter_map(|(operation, text)| Some((operation, Journal::parse(&text).ok()?, text)))
        .max_by_key(|(_, journal, _)| journal.entries.len());
    if let Some((operation, journal, text)) = longest {
        let ours = store.newest()?;
        let ours = ours.as_ref().map(|found| (super::name(&found.journal), found.journal.entries.len()));
        if ours.is_none_or(|ours| ours < (operation.clone(), journal.entries.len())) {
            store.adopt(&operation, &text[..journal.whole], lock)?;
        }
    }
    Ok(None)
}
