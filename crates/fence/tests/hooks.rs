//! The hooks, called by the real managers, with the snippets of `docs/fence-hooks.md`.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod bench;
#[path = "hooks/keepalived.rs"]
mod keepalived;
#[path = "hooks/patroni.rs"]
mod patroni;
#[path = "hooks/pgaf.rs"]
mod pgaf;
#[path = "hooks/repmgr.rs"]
mod repmgr;
#[path = "hooks/site.rs"]
mod site;
#[path = "hooks/systemd.rs"]
mod systemd;
