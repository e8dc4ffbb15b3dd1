//! The files of this host, opened by id and never by path.
//!
//! Both directories are opened once; a file is opened relative to them by its base name, without following a symbolic
//! link, and only a regular file is ever read.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bc_model::manifest::{FileEntry, Manifest};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use sha2::{Digest, Sha256};

use crate::clock::{Deadline, pause};
use crate::id::{FileId, JarName};
use crate::{lock, xml};

/// How long a writer may take, and how long a file may stay torn, before that is an error.
const WRITER_LIMIT: Duration = Duration::from_secs(5);
/// How many plugins are served or accepted.
pub(crate) const MAX_PLUGINS: usize = 1000;

/// Where the files are.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// GoCD's configuration directory.
    pub(crate) config_directory: PathBuf,
    /// The directory of external plugins.
    pub(crate) plugin_directory: PathBuf,
}

/// Why a file of this host cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostError {
    #[error("{}: {source}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{}: not a regular file", .0.display())]
    NotRegular(PathBuf),
    #[error("{}: {size} bytes, more than the {limit} that may travel", path.display())]
    TooLarge { path: PathBuf, size: u64, limit: u64 },
    #[error("{}: not whole: {torn}", path.display())]
    Torn {
        path: PathBuf,
        #[source]
        torn: xml::Torn,
    },
    #[error("{}: more than {MAX_PLUGINS} plugins", .0.display())]
    TooManyPlugins(PathBuf),
}

impl Host {
    pub(crate) fn directory(&self, id: &FileId) -> &Path {
        match id {
            FileId::Cipher | FileId::Config => &self.config_directory,
            FileId::Plugin(_) => &self.plugin_directory,
        }
    }

    pub(crate) fn path(&self, id: &FileId) -> PathBuf {
        self.directory(id).join(id.file_name())
    }

    /// Opens the file, or nothing if it is absent.
    ///
    /// # Errors
    /// When it is a symbolic link or otherwise no regular file, is longer than may travel, or cannot be opened.
    pub(crate) fn open(&self, id: &FileId) -> Result<Option<File>, HostError> {
        let path = self.path(id);
        let directory = match open_directory(self.directory(id)) {
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(HostError::Io { path: self.directory(id).to_owned(), source: errno.into() }),
            Ok(directory) => directory,
        };
        // O_NONBLOCK: a FIFO of that name must not hold us.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = match openat(&directory, id.file_name(), flags, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(None),
            // What Linux says of a symbolic link under O_NOFOLLOW, and of a socket.
            Err(Errno::ELOOP | Errno::ENXIO) => return Err(HostError::NotRegular(path)),
            Err(errno) => return Err(HostError::Io { path, source: errno.into() }),
            Ok(file) => File::from(file),
        };
        let metadata = file.metadata().map_err(|source| HostError::Io { path: path.clone(), source })?;
        if !metadata.is_file() {
            return Err(HostError::NotRegular(path));
        }
        if metadata.len() > id.max_size() {
            return Err(HostError::TooLarge { path, size: metadata.len(), limit: id.max_size() });
        }
        Ok(Some(file))
    }

    /// `cruise-config.xml`, read under GoCD's lock, whole; or nothing if it is absent.
    ///
    /// # Errors
    /// When it is still torn after five seconds: somebody writes it without the lock, or it is broken.
    pub(crate) fn read_config(&self) -> Result<Option<Vec<u8>>, HostError> {
        let deadline = Deadline::after(WRITER_LIMIT);
        loop {
            let Some(bytes) = self.read_config_once()? else { return Ok(None) };
            match xml::check(&bytes) {
                Ok(()) => return Ok(Some(bytes)),
                Err(torn) if deadline.passed() => {
                    return Err(HostError::Torn { path: self.path(&FileId::Config), torn });
                }
                Err(_) => pause(),
            }
        }
    }

    fn read_config_once(&self) -> Result<Option<Vec<u8>>, HostError> {
        let Some(file) = self.open(&FileId::Config)? else { return Ok(None) };
        let io = |source| HostError::Io { path: self.path(&FileId::Config), source };
        lock::read_lock(&file, WRITER_LIMIT).map_err(io)?;
        let mut bytes = Vec::new();
        (&file).take(FileId::Config.max_size() + 1).read_to_end(&mut bytes).map_err(io)?;
        let size = bytes.len() as u64;
        if size > FileId::Config.max_size() {
            return Err(HostError::TooLarge {
                path: self.path(&FileId::Config),
                size,
                limit: FileId::Config.max_size(),
            });
        }
        Ok(Some(bytes))
    }

    /// The base names of the plugins, in order; `skipped` is told of every other entry that looks like one.
    ///
    /// # Errors
    /// When the directory cannot be read. A directory that does not exist has no plugins.
    pub(crate) fn plugins(&self, skipped: &mut dyn FnMut(&str)) -> Result<Vec<JarName>, HostError> {
        let io = |source| HostError::Io { path: self.plugin_directory.clone(), source };
        let entries = match fs::read_dir(&self.plugin_directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(io)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(io)?;
            let name = entry.file_name();
            let regular = entry.file_type().map_err(io)?.is_file();
            match name.to_str().and_then(JarName::parse).filter(|_| regular) {
                Some(name) => names.push(name),
                None if name.as_encoded_bytes().ends_with(b".jar") => {
                    skipped(&format!("{:?}: not a regular file named [A-Za-z0-9._+-]+.jar, skipped", entry.path()));
                }
                None => {}
            }
        }
        if names.len() > MAX_PLUGINS {
            return Err(HostError::TooManyPlugins(self.plugin_directory.clone()));
        }
        names.sort();
        Ok(names)
    }

    /// The manifest of this host as it may be served: `cruise-config.xml` is whole, and read under GoCD's lock.
    ///
    /// # Errors
    /// When a file cannot be read or the configuration is torn.
    pub(crate) fn manifest(&self, skipped: &mut dyn FnMut(&str)) -> Result<Manifest, HostError> {
        let mut files = Vec::new();
        files.extend(self.hash(&FileId::Cipher)?);
        if let Some(bytes) = self.read_config()? {
            files.push(entry(&FileId::Config, bytes.len() as u64, &Sha256::digest(&bytes)));
        }
        for name in self.plugins(skipped)? {
            // A plugin that was deleted since the directory was listed is absent.
            files.extend(self.hash(&FileId::Plugin(name))?);
        }
        Ok(Manifest { schema: Manifest::SCHEMA, files })
    }

    /// The entry of one file as it lies on the disk, or nothing if it is absent.
    ///
    /// # Errors
    /// When it cannot be read to its end.
    pub(crate) fn hash(&self, id: &FileId) -> Result<Option<FileEntry>, HostError> {
        let Some(file) = self.open(id)? else { return Ok(None) };
        let mut hasher = Sha256::new();
        let size = copy(&mut file.take(id.max_size() + 1), &mut |bytes| {
            hasher.update(bytes);
            Ok(())
        });
        let size = size.map_err(|source| HostError::Io { path: self.path(id), source })?;
        if size > id.max_size() {
            return Err(HostError::TooLarge { path: self.path(id), size, limit: id.max_size() });
        }
        Ok(Some(entry(id, size, &hasher.finalize())))
    }
}

/// Opens a directory of the configuration, which itself may be reached through a symbolic link.
pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    nix::fcntl::open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

/// Hands everything that `from` has to `to`, piece by piece; the number of bytes.
///
/// # Errors
/// Those of either side.
pub(crate) fn copy(from: &mut dyn Read, to: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<u64> {
    let mut buffer = vec![0; 64 << 10];
    let mut size = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(size),
            Ok(length) => {
                to(&buffer[..length])?;
                size += length as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

pub(crate) fn entry(id: &FileId, size: u64, digest: &[u8]) -> FileEntry {
    FileEntry { id: id.to_string(), size, sha256: hexadecimal(digest) }
}

pub(crate) fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
