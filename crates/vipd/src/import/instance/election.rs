//! What keepalived makes of keys that contradict each other: who is elected, and when (vrrp.c, vrrp_complete_instance).

use vrrp::Version;

use super::Spoken;
use crate::import::global::Globals;
use crate::import::ledger::Ledger;
use crate::import::number::toml_duration;
use crate::import::tree::Statement;

/// The `state` to begin with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Master,
    Backup,
}

impl<'s> Spoken<'s> {
    /// MASTER stays, whatever comes after it.
    pub(super) fn hear_state(&mut self, statement: &'s Statement) -> Result<(), String> {
        let state = match statement.argument() {
            Some("MASTER") => State::Master,
            Some("BACKUP") if matches!(self.state, Some((State::Master, _))) => {
                return Err("keepalived keeps the MASTER before it".to_owned());
            }
            Some("BACKUP") => State::Backup,
            Some(_) | None => {
                self.state = Some((State::Backup, statement));
                return Err("expected MASTER or BACKUP; BACKUP is used".to_owned());
            }
        };
        self.state = Some((state, statement));
        Ok(())
    }
}

/// keepalived derives a priority that is not set from the state (vrrp.c, vrrp_complete_instance).
pub(super) fn priority(spoken: &Spoken<'_>, ledger: &mut Ledger) -> u8 {
    match (spoken.priority, spoken.state) {
        (Some(priority), _) => priority,
        (None, Some((State::Master, statement))) => {
            let reason = "without a priority keepalived takes 255, the owner of the addresses, who has no lease; set a \
                          priority below it if they are virtual";
            ledger.leave(statement, reason);
            255
        }
        (None, Some((State::Backup, _)) | None) => 100,
    }
}

/// A key that the owner of the addresses has no use for.
pub(super) struct Choice<'s> {
    pub(super) key: &'static str,
    pub(super) value: String,
    /// What asks for it.
    pub(super) statement: &'s Statement,
    /// Why keepalived does not do it, either.
    pub(super) objection: Option<&'static str>,
}

/// When to preempt and to start, what to accept, and from which MAC address.
pub(super) fn choices<'s>(
    spoken: &Spoken<'s>,
    globals: &Globals,
    owner: bool,
    version: Version,
    block: &'s Statement,
    ledger: &mut Ledger,
) -> Vec<Choice<'s>> {
    let strict = spoken.strict.unwrap_or(globals.strict);
    // In strict mode the priority decides the state, whatever `state` says.
    let master = !strict && matches!(spoken.state, Some((State::Master, _)));
    let cleared = master.then_some("keepalived clears it with `state MASTER`");
    let undelayed = cleared
        .or(strict.then_some("keepalived clears it in strict mode"))
        .or(spoken.nopreempt.map(|_| "nopreempt is there as well, and what never happens is not delayed"));
    let choice = |key, value: &str, statement, objection| Choice { key, value: value.to_owned(), statement, objection };
    let mut choices = Vec::new();
    choices.extend(spoken.nopreempt.map(|statement| choice("preempt", "false", statement, cleared)));
    choices.extend(
        spoken
            .preempt_delay
            .map(|(delay, statement)| choice("preempt-delay", &toml_duration(delay), statement, undelayed)),
    );
    choices.extend(globals.startup_delay.map(|delay| choice("startup-delay", &toml_duration(delay), block, None)));
    let refusing = match spoken.accept {
        Some((true, statement)) if strict && version == Version::V2 && !owner => {
            ledger.remark(statement, "keepalived takes it back in strict mode with version 2, so accept = false");
            Some(statement)
        }
        Some((accept, statement)) => (!accept).then_some(statement),
        None => (strict && !owner).then_some(block),
    };
    choices.extend(refusing.map(|statement| choice("accept", "false", statement, None)));
    choices.extend(spoken.virtual_mac.map(|statement| choice("virtual-mac", "true", statement, None)));
    choices
}
