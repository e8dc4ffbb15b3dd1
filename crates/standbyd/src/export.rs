//! The serving side: `standbyd export`, the forced command of the peer's key.
//!
//! ```text
//! command="/usr/bin/standbyd export",restrict ssh-ed25519 AAAA… standbyd@go2
//! ```
//!
//! The peer's words come in `SSH_ORIGINAL_COMMAND` (sshd(8)) and are one of two requests; anything else is refused and logged.

use std::io::{self, Write};

use bc_model::exit::Exit;

use crate::audit;
use crate::error::Error;
use crate::host::{Host, copy};
use crate::id::FileId;
use crate::render;

/// What a peer may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// The list of files.
    Manifest,
    /// The bytes of one file.
    Get(FileId),
}

/// Why the peer's words are not served.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("no request; this key serves `standbyd pull` and nothing else")]
    Nothing,
    #[error("not a request: {0}; expected `manifest` or `get ID`")]
    Malformed(String),
    #[error("not in the manifest: {0}")]
    NotServed(String),
}

impl Refusal {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Nothing | Self::Malformed(_) => Exit::Usage,
            Self::NotServed(_) => Exit::Refused,
        }
    }
}

/// Reads the peer's words, exactly: no blanks more or less.
///
/// # Errors
/// Malformed if it is no request, not served if it names no id.
pub(crate) fn parse(words: Option<&str>) -> Result<Request, Refusal> {
    match words {
        None | Some("") => Err(Refusal::Nothing),
        Some("manifest") => Ok(Request::Manifest),
        Some(words) => match words.strip_prefix("get ") {
            Some(id) => id.parse().map(Request::Get).map_err(|_| Refusal::NotServed(audit::quote(id))),
            None => Err(Refusal::Malformed(audit::quote(words))),
        },
    }
}

/// Serves one request on standard output.
///
/// # Errors
/// When it is refused or a file cannot be read; what was printed until then is not a whole answer, and the exit code says so.
pub(crate) fn serve(host: &Host, words: Option<&str>) -> Result<Exit, Error> {
    let request = parse(words);
    audit::log(&match &request {
        Ok(Request::Manifest) => "serves the manifest".to_owned(),
        Ok(Request::Get(id)) => format!("serves {id}"),
        Err(refusal) => format!("refuses: {refusal}"),
    });
    match request? {
        Request::Manifest => {
            let manifest = host.manifest(&mut |skipped| render::warn(skipped))?;
            render::print(&render::json(&manifest)?)?;
        }
        Request::Get(id) => get(host, &id)?,
    }
    Ok(Exit::Done)
}

fn get(host: &Host, id: &FileId) -> Result<(), Error> {
    let absent = || Error::Refusal(Refusal::NotServed(id.to_string()));
    let stdout = &mut io::stdout().lock();
    // Written past the formatting layer: these are bytes, not text.
    let mut write = |bytes: &[u8]| stdout.write_all(bytes);
    match id {
        FileId::Config => write(&host.read_config()?.ok_or_else(absent)?),
        FileId::Cipher | FileId::Plugin(_) => copy(&mut host.open(id)?.ok_or_else(absent)?, &mut write).map(drop),
    }
    .and_then(|()| stdout.flush())
    .map_err(Error::Output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::tests::HOSTILE;

    #[test]
    fn there_are_two_requests() {
        assert_eq!(parse(Some("manifest")), Ok(Request::Manifest));
        assert_eq!(parse(Some("get cipher.aes")), Ok(Request::Get(FileId::Cipher)));
        assert_eq!(parse(Some("get plugins/a.jar")).unwrap(), Request::Get("plugins/a.jar".parse().unwrap()));
    }

    #[test]
    fn everything_else_is_refused() {
        assert_eq!(parse(None), Err(Refusal::Nothing));
        for words in [
            "Manifest",
            "manifest ",
            " manifest",
            "manifest; id",
            "manifest\n",
            "get",
            "getcipher.aes",
            "put cipher.aes",
            "sh",
            "scp -f /etc/go",
            "standbyd export",
        ] {
            assert_eq!(parse(Some(words)).unwrap_err().exit(), Exit::Usage, "{words:?}");
        }
        for id in HOSTILE {
            assert_eq!(parse(Some(&format!("get {id}"))).unwrap_err().exit(), Exit::Refused, "{id:?}");
        }
        for words in ["get  cipher.aes", "get cipher.aes cruise-config.xml", "get cipher.aes;id"] {
            assert_eq!(parse(Some(words)).unwrap_err().exit(), Exit::Refused, "{words:?}");
        }
    }
}
