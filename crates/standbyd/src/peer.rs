//! The peer, asked over the system's own `ssh`.
//!
//! Its host key is never learnt on the way, and nothing of it is believed: an answer has a largest size, a silence has a
//! limit, a manifest is read as what a stranger wrote.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;

use bc_model::manifest::Manifest;

use crate::clock::{Deadline, pause};
use crate::config::Peer;
use crate::host::MAX_PLUGINS;
use crate::id::FileId;

const MAX_MANIFEST: u64 = 1 << 20;
const MAX_WORDS: u64 = 4 << 10;

/// Why the peer's answer cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    #[error("cannot run ssh: {0}")]
    Ssh(#[source] io::Error),
    #[error("{peer} does not answer over ssh: {words}")]
    Unreachable { peer: String, words: String },
    #[error("{peer} refused {request:?} (exit {code}): {words}")]
    Refused { peer: String, request: String, code: i32, words: String },
    #[error("{peer} broke off in the middle of {request:?}: {words}")]
    BrokeOff { peer: String, request: String, words: String },
    #[error("{peer} said nothing for {silence:?} in the middle of {request:?}")]
    Silent { peer: String, request: String, silence: std::time::Duration },
    #[error("{peer} answered {request:?} with more than {limit} bytes")]
    TooLong { peer: String, request: String, limit: u64 },
    #[error("the manifest of {peer}: {problem}")]
    Manifest { peer: String, problem: String },
    /// This side could not keep what the peer sent.
    #[error(transparent)]
    Kept(io::Error),
}

/// Ends with the process: a peer that is given up is not left running.
struct Connection(Child);

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The peer's manifest, checked: known ids only, each once, none longer than may travel, and the two that belong together.
///
/// # Errors
/// When the peer cannot be asked, or answers anything else.
pub(crate) fn manifest(peer: &Peer) -> Result<Manifest, PeerError> {
    let mut bytes = Vec::new();
    fetch(peer, "manifest", MAX_MANIFEST, &mut |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    read_manifest(&bytes).map_err(|problem| PeerError::Manifest { peer: peer.ssh.clone(), problem })
}

fn read_manifest(bytes: &[u8]) -> Result<Manifest, String> {
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(|error| format!("not readable: {error}"))?;
    if manifest.schema != Manifest::SCHEMA {
        return Err(format!(
            "schema {}, expected {}; install the same standbyd on both hosts",
            manifest.schema,
            Manifest::SCHEMA
        ));
    }
    let mut seen = BTreeSet::new();
    for file in &manifest.files {
        let id: FileId = file
            .id
            .parse()
            .map_err(|_| format!("{:?} is not the id of a file", file.id.chars().take(100).collect::<String>()))?;
        if file.size > id.max_size() {
            return Err(format!("{id}: {} bytes, more than the {} that may travel", file.size, id.max_size()));
        }
        if file.sha256.len() != 64 || !file.sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(format!("{id}: its hash is not 64 lower-case hexadecimal digits"));
        }
        if !seen.insert(id.clone()) {
            return Err(format!("{id} is there twice"));
        }
    }
    for needed in [FileId::Cipher, FileId::Config] {
        if !seen.contains(&needed) {
            return Err(format!("no {needed}; is that a GoCD server?"));
        }
    }
    if seen.len() > MAX_PLUGINS + 2 {
        return Err(format!("more than {MAX_PLUGINS} plugins"));
    }
    Ok(manifest)
}

/// Sends one request and hands the answer to `keep`, piece by piece.
///
/// # Errors
/// When the answer is longer than `limit`, does not come, or is not followed by exit 0. What was kept is then not whole.
pub(crate) fn fetch(
    peer: &Peer,
    request: &str,
    limit: u64,
    keep: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), PeerError> {
    let child = ssh(peer).arg(request).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut connection = Connection(child.map_err(PeerError::Ssh)?);
    let (name, request) = (peer.ssh.clone(), request.to_owned());
    let words = words_of(connection.0.stderr.take())?;
    let pieces = pieces_of(connection.0.stdout.take())?;
    let mut size = 0;
    loop {
        match pieces.recv_timeout(peer.silence) {
            Ok(piece) => {
                let piece = piece.map_err(|error| PeerError::BrokeOff {
                    peer: name.clone(),
                    request: request.clone(),
                    words: error.to_string(),
                })?;
                size += piece.len() as u64;
                if size > limit {
                    return Err(PeerError::TooLong { peer: name, request, limit });
                }
                keep(&piece).map_err(PeerError::Kept)?;
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                return Err(PeerError::Silent { peer: name, request, silence: peer.silence });
            }
        }
    }
    let code = wait(&mut connection.0, peer)?;
    if code == Some(0) {
        return Ok(());
    }
    let words = words.recv_timeout(peer.silence).unwrap_or_default();
    Err(match (code, size) {
        (Some(255), 0) => PeerError::Unreachable { peer: name, words },
        (Some(255) | None, _) => PeerError::BrokeOff { peer: name, request, words },
        (Some(code), _) => PeerError::Refused { peer: name, request, code, words },
    })
}

fn ssh(peer: &Peer) -> Command {
    let mut ssh = Command::new("ssh");
    ssh.args(["-T", "-x", "-a"]);
    let connect = peer.silence.as_secs().clamp(1, 10);
    let mut set = |option: String| {
        ssh.arg("-o").arg(option);
    };
    set("BatchMode=yes".to_owned());
    set(format!("ConnectTimeout={connect}"));
    set("ServerAliveInterval=5".to_owned());
    set("ServerAliveCountMax=3".to_owned());
    set("ClearAllForwardings=yes".to_owned());
    set("ControlMaster=no".to_owned());
    set("ControlPath=none".to_owned());
    // Whoever can pose as the peer can replace the configuration and the plugins: its key must be known beforehand.
    set("StrictHostKeyChecking=yes".to_owned());
    if let Some(identity) = &peer.identity_file {
        set("IdentitiesOnly=yes".to_owned());
        set(format!("IdentityFile={}", identity.display()));
    }
    if let Some(known_hosts) = &peer.known_hosts {
        set("GlobalKnownHostsFile=/dev/null".to_owned());
        set(format!("UserKnownHostsFile={}", known_hosts.display()));
    }
    ssh.arg("--").arg(&peer.ssh);
    ssh
}

/// Reads the answer in a thread, so that a silence can be measured. The bound lets the peer go no faster than the disk.
fn pieces_of(stdout: Option<impl Read + Send + 'static>) -> Result<Receiver<io::Result<Vec<u8>>>, PeerError> {
    let (to, pieces) = mpsc::sync_channel(16);
    let read = move || {
        let Some(mut stdout) = stdout else { return };
        let mut buffer = vec![0; 64 << 10];
        loop {
            let piece = match stdout.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => Ok(buffer[..length].to_vec()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            if to.send(piece).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().spawn(read).map_err(PeerError::Ssh)?;
    Ok(pieces)
}

/// What ssh or the peer said was wrong; a peer that says more than 4 KiB is read no further.
fn words_of(stderr: Option<impl Read + Send + 'static>) -> Result<Receiver<String>, PeerError> {
    let (to, words) = mpsc::channel();
    let read = move || {
        let mut bytes = Vec::new();
        if let Some(stderr) = stderr {
            let _ = stderr.take(MAX_WORDS).read_to_end(&mut bytes);
        }
        let text = String::from_utf8_lossy(&bytes);
        let lines = || text.lines().filter(|line| !line.trim().is_empty());
        // The peer's own standbyd says what is wrong, then what could be done about it there; ssh's cause is its last line.
        let error = lines().find_map(|line| line.strip_prefix("error: "));
        let line = error.or(lines().next_back()).unwrap_or("it said nothing");
        let _ = to.send(line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect());
    };
    thread::Builder::new().spawn(read).map_err(PeerError::Ssh)?;
    Ok(words)
}

/// The exit code once the output has ended; nothing if it was killed or does not end.
fn wait(child: &mut Child, peer: &Peer) -> Result<Option<i32>, PeerError> {
    let deadline = Deadline::after(peer.silence);
    loop {
        match child.try_wait().map_err(PeerError::Ssh)? {
            Some(status) => return Ok(status.code()),
            None if deadline.passed() => return Ok(None),
            None => pause(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::tests::HOSTILE;

    fn manifest_of(entries: &[(&str, u64, &str)]) -> Result<Manifest, String> {
        let files: Vec<_> = entries
            .iter()
            .map(|(id, size, sha256)| serde_json::json!({"id": id, "size": size, "sha256": sha256}))
            .collect();
        read_manifest(serde_json::json!({"schema": 1, "files": files}).to_string().as_bytes())
    }

    fn hash() -> String {
        "0123456789abcdef".repeat(4)
    }

    #[test]
    fn a_manifest_of_known_files_is_read() {
        let hash = hash();
        manifest_of(&[("cipher.aes", 32, &hash), ("cruise-config.xml", 9, &hash), ("plugins/a.jar", 0, &hash)])
            .unwrap();
    }

    #[test]
    fn a_hostile_manifest_is_refused_as_a_whole() {
        let hash = hash();
        let with = |id: &str, size: u64, sha256: &str| {
            manifest_of(&[("cipher.aes", 32, &hash), ("cruise-config.xml", 9, &hash), (id, size, sha256)])
        };
        for id in HOSTILE {
            assert!(with(id, 1, &hash).unwrap_err().contains("is not the id of a file"), "{id:?}");
        }
        assert!(with("plugins/a.jar", u64::MAX, &hash).unwrap_err().contains("more than the"));
        assert!(with("cipher.aes", 1, &hash).unwrap_err().contains("twice"));
        for sha256 in ["", "xyz", &hash[1..], &hash.to_uppercase()] {
            assert!(with("plugins/a.jar", 1, sha256).unwrap_err().contains("hexadecimal"), "{sha256}");
        }
        assert!(manifest_of(&[("cipher.aes", 32, &hash)]).unwrap_err().contains("no cruise-config.xml"));
        assert!(read_manifest(b"<html>").is_err() && read_manifest(b"").is_err());
        assert!(read_manifest(br#"{"schema":2,"files":[]}"#).unwrap_err().contains("schema 2, expected 1"));
    }
}
