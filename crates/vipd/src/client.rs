//! A client of the daemon's control socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use bc_model::exit::Exit;

use crate::daemon::protocol::{Answer, Request};

/// How long the daemon may take for an answer. Acquiring probes for 0.7 s.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no vipd answers at {}: {source}", path.display())]
    NoDaemon {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The daemon hung up, or said something that is no answer.
    #[error("the answer of vipd at {}: {source}", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
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
            Self::Refused { .. } => Exit::Refused,
        }
    }

    /// What to do about it, when we know.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoDaemon { .. } => Some("systemctl start vipd, or name its socket with --socket".to_owned()),
            Self::Broken { .. } => Some("vipd status shows what is there".to_owned()),
            Self::Refused { hint, .. } => hint.clone(),
        }
    }
}

/// A request that was sent, and the answers that come.
pub struct Client {
    path: PathBuf,
    answers: Lines<BufReader<OwnedReadHalf>>,
    /// Held open: its end would tell the daemon that we are gone.
    _write: OwnedWriteHalf,
}

impl Client {
    /// Asks the daemon that listens at `path`.
    ///
    /// # Errors
    /// [`ClientError::NoDaemon`].
    pub async fn ask(path: &Path, request: &Request) -> Result<Self, ClientError> {
        let failed = |source| ClientError::NoDaemon { path: path.to_owned(), source };
        let (read, mut write) = UnixStream::connect(path).await.map_err(failed)?.into_split();
        let mut line = serde_json::to_vec(request).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        write.write_all(&line).await.map_err(failed)?;
        Ok(Self { path: path.to_owned(), answers: BufReader::new(read).lines(), _write: write })
    }

    /// The next answer; `None` at the end.
    ///
    /// # Errors
    /// [`ClientError::Refused`], or [`ClientError::Broken`].
    pub async fn next(&mut self) -> Result<Option<Answer>, ClientError> {
        let failed = |source| ClientError::Broken { path: self.path.clone(), source };
        let Some(line) = self.answers.next_line().await.map_err(failed)? else { return Ok(None) };
        match serde_json::from_str(&line).map_err(|error| failed(error.into()))? {
            Answer::Refused { error, hint } => Err(ClientError::Refused { error, hint }),
            answer => Ok(Some(answer)),
        }
    }

    /// The one answer to a question that has one.
    ///
    /// # Errors
    /// As [`next`](Self::next), or it did not come in time.
    pub async fn only(mut self) -> Result<Answer, ClientError> {
        let path = self.path.clone();
        let broken = |source| ClientError::Broken { path, source };
        match timeout(PATIENCE, self.next()).await {
            Ok(Ok(Some(answer))) => Ok(answer),
            Ok(Ok(None)) => Err(broken(io::Error::from(io::ErrorKind::UnexpectedEof))),
            Ok(Err(error)) => Err(error),
            Err(elapsed) => Err(broken(elapsed.into())),
        }
    }
}
