//! The control socket: who may speak, and the lines that go to and fro. Deciding is the loop's.
//!
//! A client that is slow, silent or rude costs its own connection and nothing else.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::Uid;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::account;
use super::event::Event;
use super::protocol::{Answer, Request};
use crate::config::{Control, Principal};

/// The longest request.
const LONGEST: u64 = 4096;
/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request, and where its answer goes.
pub struct Call {
    /// What is wanted.
    pub request: Request,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Reply>,
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
    /// `AddrInUse` if another daemon listens there; else what the system says.
    pub fn open(path: &Path, control: &Control, calls: mpsc::Sender<Call>) -> io::Result<Self> {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another vipd listens there"));
        }
        match std::fs::remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let listener = UnixListener::bind(path)?;
        // Whoever connects is asked who he is; the answer to a stranger says what to do.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
        let (allowed, current) = watch::channel(control.clone());
        let task = tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let (calls, control) = (calls.clone(), current.borrow().clone());
                        tokio::spawn(async move {
                            if let Err(error) = serve(stream, &control, &calls).await {
                                tracing::debug!(%error, "a client hung up");
                            }
                        });
                    }
                    // Too many open files: those who are connected finish first.
                    Err(error) => {
                        tracing::warn!(%error, "accept");
                        tokio::task::yield_now().await;
                    }
                }
            }
        });
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

async fn serve(stream: UnixStream, control: &Control, calls: &mpsc::Sender<Call>) -> io::Result<()> {
    let who = stream.peer_cred()?;
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(read.take(LONGEST));
    let read = tokio::time::timeout(PATIENCE, reader.read_line(&mut line)).await;
    if read.map_err(io::Error::from)?? == 0 {
        return Ok(());
    }
    if !is_allowed(&who, control) {
        let error = format!("user {} may not control this vipd", who.uid());
        let hint = Some("ask root, or add the user to [control] users".to_owned());
        return write_line(&mut write, &Answer::Refused { error, hint }).await;
    }
    let request = match serde_json::from_str(&line) {
        Ok(request) => request,
        Err(error) => {
            let error = format!("not a request: {error}");
            return write_line(&mut write, &Answer::Refused { error, hint: None }).await;
        }
    };
    let (reply, answer) = oneshot::channel();
    let ended = || io::Error::from(io::ErrorKind::BrokenPipe);
    calls.send(Call { request, reply }).await.map_err(|_| ended())?;
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
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    write.write_all(&line).await
}

/// Root, the daemon's own user, and those whom the configuration names.
fn is_allowed(who: &UCred, control: &Control) -> bool {
    let uid = Uid::from_raw(who.uid());
    if uid.is_root() || uid == Uid::effective() {
        return true;
    }
    // Files that cannot be read name nobody.
    let users = account::users().unwrap_or_default();
    let groups = account::groups().unwrap_or_default();
    let is_user = |principal: &Principal| match principal {
        Principal::Id(id) => *id == who.uid(),
        Principal::Name(name) => users.iter().any(|user| user.name == *name && user.uid == who.uid()),
    };
    let is_member = |group: &account::Group| {
        let named = |user: &account::User| user.uid == who.uid() && group.members.contains(&user.name);
        group.gid == who.gid() || users.iter().any(named)
    };
    let is_group = |principal: &Principal| match principal {
        Principal::Id(id) => *id == who.gid() || groups.iter().any(|group| group.gid == *id && is_member(group)),
        Principal::Name(name) => groups.iter().any(|group| group.name == *name && is_member(group)),
    };
    control.users.iter().any(is_user) || control.groups.iter().any(is_group)
}
