//! The standby side: `standbyd pull --once`.
//!
//! ```text
//! lock ─▶ peer's manifest ─▶ plan ─▶ fetch what differs, next to its place ─▶ length, SHA-256, whole XML
//!            ▲                                                                │
//!            └──── it changed meanwhile: nothing was placed, once more ◀── the peer's manifest again
//!                                                                             │ the same
//!                                        re-read everything from the disk ◀── rename into place, remove
//! ```
//!
//! Nothing is placed before everything was fetched and the peer's manifest was seen unchanged after it. So the cipher and the
//! configuration that it decrypts come from one moment of the peer.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};

use bc_model::manifest::{FileEntry, Manifest, PullReport};
use sha2::{Digest, Sha256};

use crate::config::{Config, Peer};
use crate::error::PullError;
use crate::host::{Host, hexadecimal};
use crate::id::FileId;
use crate::place::{self, PlaceError, Staged};
use crate::placed::Placed;
use crate::plan::{Plan, plan};
use crate::{gocd, peer, xml};

/// How often a peer that keeps changing is asked again before that is an error.
const MAX_ROUNDS: u32 = 5;

/// Brings this host in sync with its peer; `report` grows as files are placed, also when the pull fails after that.
///
/// # Errors
/// When this host must not be pulled into, the peer cannot be asked or believed, or a file cannot be placed. Every file is then
/// the old one or the new one, whole; run it again.
pub(crate) fn pull(config: &Config, peer: &Peer, say: &dyn Fn(&str), report: &mut PullReport) -> Result<(), PullError> {
    let host = &config.host;
    let service_stands_still = || config.gocd_service.as_deref().map_or(Ok(()), gocd::stands_still);
    service_stands_still()?;
    let _lock = lock(host)?;
    fs::create_dir_all(&host.plugin_directory)
        .map_err(|source| PlaceError::Io { path: host.plugin_directory.clone(), source })?;
    place::sweep(&host.config_directory)?;
    place::sweep(&host.plugin_directory)?;
    let mut placed = Placed::load(&host.plugin_directory)?;

    let mut wanted = peer::manifest(peer)?;
    let mut rounds = 1;
    let (plan, staged) = loop {
        report.rounds = rounds;
        let plan = plan(&wanted, &on_disk(host)?, |name| placed.hash(name));
        let staged = stage(host, peer, &plan, say);
        let seen = peer::manifest(peer)?;
        match staged {
            Ok(staged) if seen == wanted => break (plan, staged),
            // A file that is not what the manifest said is excused only by a manifest that changed.
            Err(error) if seen == wanted || !error.may_be_a_change() => return Err(error),
            _ if rounds == MAX_ROUNDS => return Err(PullError::Unsteady { peer: peer.ssh.clone(), rounds }),
            _ => {
                say(&format!("{} changed while it was read; once more", peer.ssh));
                wanted = seen;
                rounds += 1;
            }
        }
    };
    // Somebody may have started the server while files were fetched.
    service_stands_still()?;
    apply(host, &plan, staged, &mut placed, say, report)?;

    let here = on_disk(host)?;
    let differs = |file: &&FileEntry| file.id.parse().ok().and_then(|id: FileId| here.get(&id)) != Some(*file);
    if let Some(file) = wanted.files.iter().find(differs) {
        return Err(PullError::ChangedHere(file.id.clone()));
    }
    report.in_sync = true;
    report.manifest = Some(wanted);
    Ok(())
}

/// One pull at a time: `flock` on GoCD's configuration directory.
fn lock(host: &Host) -> Result<File, PullError> {
    let io = |source| PlaceError::Io { path: host.config_directory.clone(), source };
    let directory = File::open(&host.config_directory).map_err(io)?;
    match directory.try_lock() {
        Ok(()) => Ok(directory),
        Err(TryLockError::WouldBlock) => Err(PullError::Busy),
        Err(TryLockError::Error(error)) => Err(io(error).into()),
    }
}

/// What lies on this host, whole or not: it is only compared, and replaced where it differs.
fn on_disk(host: &Host) -> Result<BTreeMap<FileId, FileEntry>, PullError> {
    let mut ids = vec![FileId::Cipher, FileId::Config];
    ids.extend(host.plugins(&mut |_| {})?.into_iter().map(FileId::Plugin));
    let mut files = BTreeMap::new();
    for id in ids {
        if let Some(file) = host.hash(&id)? {
            files.insert(id, file);
        }
    }
    Ok(files)
}

/// Fetches everything that differs, next to its place, and checks it.
fn stage(host: &Host, peer: &Peer, plan: &Plan, say: &dyn Fn(&str)) -> Result<Vec<(FileId, Staged)>, PullError> {
    plan.fetch.iter().map(|(id, wanted)| Ok((id.clone(), fetch(host, peer, id, wanted, say)?))).collect()
}

fn fetch(host: &Host, peer: &Peer, id: &FileId, wanted: &FileEntry, say: &dyn Fn(&str)) -> Result<Staged, PullError> {
    say(&format!("fetching {id} ({} bytes)", wanted.size));
    let mode = match id {
        FileId::Cipher | FileId::Config => 0o600,
        FileId::Plugin(_) => 0o640,
    };
    let mut staged = Staged::create(&host.path(id), mode)?;
    let (mut hasher, mut size) = (Sha256::new(), 0);
    let mut refused = None;
    let fetched = peer::fetch(peer, &format!("get {id}"), wanted.size, &mut |bytes| {
        hasher.update(bytes);
        size += bytes.len() as u64;
        staged.write(bytes).map_err(|error| {
            refused = Some(error);
            std::io::ErrorKind::Other.into()
        })
    });
    if let Some(error) = refused {
        return Err(error.into());
    }
    fetched?;
    let sha256 = hexadecimal(&hasher.finalize());
    if (size, &sha256) != (wanted.size, &wanted.sha256) {
        return Err(PullError::Mismatch {
            peer: peer.ssh.clone(),
            id: id.to_string(),
            got: format!("{size} bytes, SHA-256 {sha256}"),
            wanted: format!("{} bytes, SHA-256 {}", wanted.size, wanted.sha256),
        });
    }
    if *id == FileId::Config {
        xml::check(&staged.read()?).map_err(|torn| PullError::Torn { peer: peer.ssh.clone(), torn })?;
    }
    Ok(staged)
}

/// Places what was staged, the cipher before the configuration that needs it, then removes what the peer no longer has.
fn apply(
    host: &Host,
    plan: &Plan,
    staged: Vec<(FileId, Staged)>,
    placed: &mut Placed,
    say: &dyn Fn(&str),
    report: &mut PullReport,
) -> Result<(), PullError> {
    for ((id, staged), (_, file)) in staged.into_iter().zip(&plan.fetch) {
        match &id {
            FileId::Plugin(name) => placed.note(name, &file.sha256)?,
            FileId::Cipher | FileId::Config => staged.keep_previous()?,
        }
        staged.place()?;
        say(&format!("placed {id}"));
        report.fetched.push(id.to_string());
    }
    for name in &plan.remove {
        let id = FileId::Plugin(name.clone());
        place::remove(&host.path(&id))?;
        placed.forget(name)?;
        say(&format!("removed {id}: the peer no longer has it"));
        report.removed.push(id.to_string());
    }
    report.unchanged = plan.unchanged.iter().map(ToString::to_string).collect();
    report.left = plan.left.iter().map(|name| FileId::Plugin(name.clone()).to_string()).collect();
    Ok(())
}

/// A report of a pull that has not begun.
pub(crate) fn begin(peer: &Peer) -> PullReport {
    PullReport {
        schema: PullReport::SCHEMA,
        peer: peer.ssh.clone(),
        in_sync: false,
        reason: None,
        fetched: vec![],
        unchanged: vec![],
        removed: vec![],
        left: vec![],
        rounds: 0,
        manifest: None::<Manifest>,
    }
}
