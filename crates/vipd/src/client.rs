//! A client of the daemon's control socket.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thiserror::Error;

use bc_model::exit::Exit;

use crate::clock;
use crate::daemon::protocol::{Answer, Request};

/// How long the daemon may take for an answer. Acquiring probes for 0.7 s.
const PATIENCE: Duration = Duration::from_secs(15);

/// What becomes of a command that was not answered in time.
const DROPPED: &str = "; what was asked of it is dropped, unless it had begun";

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens there: there is no such socket, or whoever made it is gone.
    #[error("no vipd answers at {}: {source}", path.display())]
    NoDaemon {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The daemon cannot be reached, hung up, or said something that is no answer.
    #[error("asking vipd at {}: {source}", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// The daemon has not answered in time.
    #[error("asking vipd at {}: timed out after {PATIENCE:?}{}", path.display(), if *.changes { DROPPED } else { "" })]
    Late {
        /// The socket.
        path: PathBuf,
        /// Whether something was to be changed.
        changes: bool,
    },
    /// The daemon's configuration is wrong; nothing was changed.
    #[error("{error}")]
    Wrong {
        /// Everything that is wrong with it.
        error: String,
    },
    /// The daemon refused; nothing was changed.
    #[error("{error}")]
    Refused {
        /// Why.
        error: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

impl ClientError {
    /// What the caller's script gets.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::NoDaemon { .. } | Self::Broken { .. } => Exit::Failed,
            // Nothing was changed, or it goes on: only a look tells.
            Self::Late { changes, .. } => {
                if *changes {
                    Exit::HalfWay
                } else {
                    Exit::Failed
                }
            }
            Self::Wrong { .. } => Exit::Usage,
            Self::Refused { .. } => Exit::Refused,
        }
    }

    /// What to do about it, when we know.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoDaemon { .. } => Some("systemctl start vipd, or name its socket with --socket".to_owned()),
            Self::Broken { .. } => Some("vipd status shows what is there".to_owned()),
            Self::Late { changes: true, .. } => Some("vipd status tells, as soon as it answers again".to_owned()),
            Self::Late { changes: false, .. } => Some("systemctl status vipd: does it run, is it stopped?".to_owned()),
            Self::Wrong { .. } => Some("nothing was changed".to_owned()),
            Self::Refused { hint, .. } => hint.clone(),
        }
    }
}

/// A request that was sent, and the answers that come. The daemon learns from its end that we are gone.
pub struct Client {
    path: PathBuf,
    stream: UnixStream,
    /// Whether something is to be changed.
    changes: bool,
    /// What has come and is not a whole line yet.
    unread: Vec<u8>,
}

/// What comes until a deadline.
#[derive(Debug)]
pub enum Next {
    /// An answer.
    Answer(Answer),
    /// The end: the daemon hung up.
    End,
    /// Nothing in time.
    Nothing,
}

impl Client {
    /// Asks the daemon that listens at `path`.
    ///
    /// # Errors
    /// [`ClientError::NoDaemon`] if it is certain that there is none, else [`ClientError::Broken`].
    pub fn ask(path: &Path, request: &Request) -> Result<Self, ClientError> {
        let failed = |source| ClientError::Broken { path: path.to_owned(), source };
        let mut stream = UnixStream::connect(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NoDaemon { path: path.to_owned(), source }
            }
            _ => failed(source),
        })?;
        let mut line = serde_json::to_vec(request).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        match stream.write_all(&line) {
            // Whoever may not ask has his answer already.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written.map_err(failed)?,
        }
        Ok(Self { path: path.to_owned(), stream, changes: request.changes(), unread: Vec::new() })
    }

    /// The next answer; `None` at the end.
    ///
    /// # Errors
    /// [`ClientError::Wrong`], [`ClientError::Refused`], or [`ClientError::Broken`].
    pub fn receive(&mut self) -> Result<Option<Answer>, ClientError> {
        match self.receive_until(None)? {
            Next::Answer(answer) => Ok(Some(answer)),
            Next::End | Next::Nothing => Ok(None),
        }
    }

    /// The next answer, if it comes until `deadline`.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn receive_until(&mut self, deadline: Option<Instant>) -> Result<Next, ClientError> {
        let failed = |source| ClientError::Broken { path: self.path.clone(), source };
        let mut room = [0; 4096];
        let line = loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                break self.unread.drain(..=end).collect::<Vec<_>>();
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(clock::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(Next::Nothing);
            }
            self.stream.set_read_timeout(left).map_err(failed)?;
            match self.stream.read(&mut room) {
                Ok(0) if self.unread.is_empty() => return Ok(Next::End),
                Ok(0) => return Err(failed(io::ErrorKind::UnexpectedEof.into())),
                Ok(length) => self.unread.extend_from_slice(room.get(..length).unwrap_or_default()),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => return Err(failed(error)),
            }
        };
        match serde_json::from_slice(&line).map_err(|error| failed(error.into()))? {
            Answer::Wrong { error } => Err(ClientError::Wrong { error }),
            Answer::Refused { error, hint } => Err(ClientError::Refused { error, hint }),
            answer => Ok(Next::Answer(answer)),
        }
    }

    /// What an end means to whoever follows.
    #[must_use]
    pub fn cut_off(self) -> ClientError {
        ClientError::Broken { path: self.path, source: io::ErrorKind::UnexpectedEof.into() }
    }

    /// The one answer to a question that has one.
    ///
    /// # Errors
    /// As [`receive`](Self::receive), or it did not come in time.
    pub fn only(mut self) -> Result<Answer, ClientError> {
        match self.receive_until(Some(clock::now() + PATIENCE))? {
            Next::Answer(answer) => Ok(answer),
            Next::End => Err(self.cut_off()),
            Next::Nothing => Err(ClientError::Late { path: self.path, changes: self.changes }),
        }
    }
}
