//! The control socket: who may speak, and the lines that go to and fro. Deciding is the loop's.
//!
//! A client that is slow, silent or rude costs its own connection and nothing else. Whoever may not speak is told so before
//! he has said anything, and has no connection; those that may have so many, and root has some that nobody else can take.

use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Uid;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot, watch};

use super::account;
use super::door;
use super::event::Event;
use super::protocol::{Answer, Request};
use crate::config::{Control, Principal};

/// The longest request.
const LONGEST: u64 = 4096;
/// How long a client may take to say what it wants, and to take one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections of root and of the daemon's own user, and as many of all others that may speak.
const CONNECTIONS: usize = 32;

/// A request, and where its answer goes.
pub struct Call {
    /// What is wanted.
    pub request: Request,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Reply>,
    /// Who wants it; nobody when the daemon asks itself.
    pub client: Option<Caller>,
}

/// Whoever has asked for something, as long as he is there: what nobody waits for any more is not done late.
#[derive(Debug)]
pub struct Caller(OwnedFd);

impl Caller {
    /// Whether he has hung up entirely. One who only says no more still waits for his answer.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let mut watched = [PollFd::new(self.0.as_fd(), PollFlags::empty())];
        // What cannot be asked is taken to be there.
        poll(&mut watched, PollTimeout::ZERO).is_ok()
            && watched.iter().filter_map(PollFd::revents).any(|seen| seen.intersects(PollFlags::POLLHUP))
    }
}

/// What the loop answers.
pub enum Reply {
    /// One answer.
    One(Answer),
    /// Events: those that were, and those that come.
    Stream(Vec<Event>, broadcast::Receiver<Event>),
}

/// The socket; removed when dropped.
pub struct Listener {
    path: PathBuf,
    task: tokio::task::JoinHandle<()>,
    allowed: watch::Sender<Control>,
}

impl Listener {
    /// Listens at `path`, and hands on what those that `control` allows ask for.
    ///
    /// # Errors
    /// `AddrInUse` if another daemon listens there, `AlreadyExists` if something else is; else what the system says.
    pub fn open(path: &Path, control: &Control, calls: mpsc::Sender<Call>) -> io::Result<Self> {
        match std::os::unix::net::UnixStream::connect(path) {
            // One that is stopped, too: the kernel connects for it.
            Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another vipd listens there")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
                    return Err(io::Error::new(io::ErrorKind::AlreadyExists, "what is there is no socket"));
                }
                std::fs::remove_file(path)?;
            }
            Err(error) => return Err(error),
        }
        let listener = UnixListener::bind(path)?;
        // Whoever connects is asked who he is; the answer to a stranger says what to do.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
        let (allowed, current) = watch::channel(control.clone());
        let task = tokio::spawn(listen(listener, current, calls));
        Ok(Self { path: path.to_owned(), task, allowed })
    }

    /// Allows others from now on.
    pub fn allow(&self, control: &Control) {
        self.allowed.send_replace(control.clone());
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn listen(listener: UnixListener, current: watch::Receiver<Control>, calls: mpsc::Sender<Call>) {
    let [owners, others] = [(); 2].map(|()| Arc::new(Semaphore::new(CONNECTIONS)));
    loop {
        let (stream, _) = door::next(|| listener.accept()).await;
        let Ok(who) = stream.peer_cred() else { continue };
        let slots = match may_speak(who.uid(), who.gid(), &current.borrow()) {
            May::Always => &owners,
            May::AsConfigured => &others,
            May::Not => {
                let hint = "ask root, or add the user to [control] users";
                refuse(stream, format!("user {} may not control this vipd", who.uid()), hint);
                continue;
            }
        };
        let Ok(slot) = Arc::clone(slots).try_acquire_owned() else {
            refuse(stream, format!("{CONNECTIONS} clients are connected already"), "end some of them");
            continue;
        };
        let calls = calls.clone();
        tokio::spawn(async move {
            if let Err(error) = serve(stream, &calls).await {
                tracing::debug!(%error, "a client hung up");
            }
            drop(slot);
        });
    }
}

/// Says why, and hangs up: the words fit into any socket, and whoever does not want them has none.
fn refuse(stream: UnixStream, error: String, hint: &str) {
    let answer = Answer::Refused { error, hint: Some(hint.to_owned()) };
    let _ = stream.into_std().and_then(|mut stream| stream.write_all(&line(&answer)?));
}

async fn serve(stream: UnixStream, calls: &mpsc::Sender<Call>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(read.take(LONGEST));
    let read = tokio::time::timeout(PATIENCE, reader.read_line(&mut line)).await;
    if read.map_err(io::Error::from)?? == 0 {
        return Ok(());
    }
    let request = match serde_json::from_str(&line) {
        Ok(request) => request,
        Err(error) => {
            let error = format!("not a request: {error}");
            return write_line(&mut write, &Answer::Refused { error, hint: None }).await;
        }
    };
    let client = Some(Caller(write.as_ref().as_fd().try_clone_to_owned()?));
    let (reply, answer) = oneshot::channel();
    let ended = || io::Error::from(io::ErrorKind::BrokenPipe);
    calls.send(Call { request, reply, client }).await.map_err(|_| ended())?;
    match answer.await.map_err(|_| ended())? {
        Reply::One(answer) => write_line(&mut write, &answer).await,
        Reply::Stream(past, mut coming) => {
            for event in past {
                write_line(&mut write, &Answer::Event { event }).await?;
            }
            let mut rest = [0; 64];
            loop {
                let answer = tokio::select! {
                    event = coming.recv() => match event {
                        Ok(event) => Answer::Event { event },
                        Err(broadcast::error::RecvError::Lagged(events)) => Answer::Lost { events },
                        Err(broadcast::error::RecvError::Closed) => return Ok(()),
                    },
                    // A reader says nothing more; its end is seen here.
                    said = reader.read(&mut rest) => if said? == 0 { return Ok(()) } else { continue },
                };
                write_line(&mut write, &answer).await?;
            }
        }
    }
}

async fn write_line(write: &mut (impl tokio::io::AsyncWrite + Unpin), answer: &Answer) -> io::Result<()> {
    tokio::time::timeout(PATIENCE, write.write_all(&line(answer)?)).await?
}

fn line(answer: &Answer) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    Ok(line)
}

/// Whether somebody may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum May {
    /// Root, and the daemon's own user.
    Always,
    /// The configuration names him, or a group of his.
    AsConfigured,
    /// A stranger.
    Not,
}

fn may_speak(uid: u32, gid: u32, control: &Control) -> May {
    let owner = Uid::from_raw(uid);
    if owner.is_root() || owner == Uid::effective() {
        return May::Always;
    }
    if control.users.is_empty() && control.groups.is_empty() {
        return May::Not;
    }
    // Files that cannot be read name nobody.
    let users = account::users().unwrap_or_default();
    let groups = account::groups().unwrap_or_default();
    let is_user = |principal: &Principal| match principal {
        Principal::Id(id) => *id == uid,
        Principal::Name(name) => users.iter().any(|user| user.name == *name && user.uid == uid),
    };
    let is_member = |group: &account::Group| {
        let named = |user: &account::User| user.uid == uid && group.members.contains(&user.name);
        group.gid == gid || users.iter().any(named)
    };
    let is_group = |principal: &Principal| match principal {
        Principal::Id(id) => *id == gid || groups.iter().any(|group| group.gid == *id && is_member(group)),
        Principal::Name(name) => groups.iter().any(|group| group.name == *name && is_member(group)),
    };
    if control.users.iter().any(is_user) || control.groups.iter().any(is_group) { May::AsConfigured } else { May::Not }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_only_says_no_more_is_still_there() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let caller = Caller(ours.into());
        assert!(!caller.is_gone());
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(!caller.is_gone(), "he waits for the answer");
        drop(theirs);
        assert!(caller.is_gone());
    }
}
