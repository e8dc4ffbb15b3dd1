//! Placing a file: staged next to its place, fsynced, renamed, and the directory fsynced.
//!
//! A reader sees the old file or the new one, and after a power cut the same holds.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

const PREFIX: &str = ".standbyd-";
const SUFFIX: &str = ".tmp";
/// What the file that a placed one replaces is kept as.
const PREVIOUS: &str = "standbyd-previous";

/// Why a file was not placed; what was there before still is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error("{}: {source}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// A file that is not in its place yet. Dropped, it vanishes.
#[derive(Debug)]
pub(crate) struct Staged {
    file: NamedTempFile,
    target: PathBuf,
    mode: u32,
}

impl Staged {
    /// Begins a file for `target`; `mode` is for a target that does not exist yet.
    ///
    /// # Errors
    /// When nothing can be created in the target's directory.
    pub(crate) fn create(target: &Path, mode: u32) -> Result<Self, PlaceError> {
        let directory = directory_of(target);
        let file = tempfile::Builder::new().prefix(PREFIX).suffix(SUFFIX).tempfile_in(directory);
        let file = file.map_err(|source| PlaceError::Io { path: directory.to_owned(), source })?;
        Ok(Self { file, target: target.to_owned(), mode })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// When the disk refuses them.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), PlaceError> {
        self.file.write_all(bytes).map_err(|source| PlaceError::Io { path: self.file.path().to_owned(), source })
    }

    /// The file as it is staged, for a last look.
    ///
    /// # Errors
    /// When it cannot be read back.
    pub(crate) fn read(&self) -> Result<Vec<u8>, PlaceError> {
        fs::read(self.file.path()).map_err(|source| PlaceError::Io { path: self.file.path().to_owned(), source })
    }

    /// Keeps the file that will be replaced as `NAME.standbyd-previous`: a pull from the wrong peer can be undone by hand.
    ///
    /// # Errors
    /// When the old file cannot be linked; nothing was placed.
    pub(crate) fn keep_previous(&self) -> Result<(), PlaceError> {
        let mut name = self.target.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{PREVIOUS}"));
        let previous = self.target.with_file_name(name);
        let linked = match fs::remove_file(&previous) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::hard_link(&self.target, &previous),
        };
        match linked {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(PlaceError::Io { path: previous, source: error })
            }
            _ => Ok(()),
        }
    }

    /// Puts the file into its place, with the owner and mode of the one it replaces.
    ///
    /// # Errors
    /// When any step fails; the old file is then still there.
    pub(crate) fn place(self) -> Result<(), PlaceError> {
        let Self { file, target, mode } = self;
        let io = |source| PlaceError::Io { path: target.clone(), source };
        adopt(file.as_file(), &target, mode).map_err(io)?;
        file.as_file().sync_all().map_err(io)?;
        file.persist(&target).map_err(|error| io(error.error))?;
        sync_directory(directory_of(&target))
    }
}

/// Owner and mode: those of the file that is replaced; else of its directory, and `mode`.
fn adopt(file: &File, target: &Path, mode: u32) -> io::Result<()> {
    let (like, mode) = match fs::symlink_metadata(target) {
        Ok(replaced) if replaced.is_file() => {
            // Nobody outside the group is let in by a pull, whatever was there before.
            let mode = replaced.mode() & 0o770;
            (replaced, mode)
        }
        _ => (fs::metadata(directory_of(target))?, mode),
    };
    file.set_permissions(Permissions::from_mode(mode))?;
    let own = file.metadata()?;
    // Only root can give files away; run as GoCD's own user there is nothing to give.
    if nix::unistd::geteuid().is_root() && (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        fchown(file, Some(like.uid()), Some(like.gid()))?;
    }
    Ok(())
}

/// Removes a file and makes sure that it stays removed.
///
/// # Errors
/// When it cannot be removed.
pub(crate) fn remove(path: &Path) -> Result<(), PlaceError> {
    fs::remove_file(path).map_err(|source| PlaceError::Io { path: path.to_owned(), source })?;
    sync_directory(directory_of(path))
}

/// Removes what pulls that were killed have left staged in `directory`; call it only under the lock.
///
/// # Errors
/// When the directory cannot be read or a file cannot be removed.
pub(crate) fn sweep(directory: &Path) -> Result<(), PlaceError> {
    let io = |source| PlaceError::Io { path: directory.to_owned(), source };
    for entry in fs::read_dir(directory).map_err(io)? {
        let entry = entry.map_err(io)?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX)) {
            fs::remove_file(entry.path()).map_err(io)?;
        }
    }
    Ok(())
}

fn sync_directory(directory: &Path) -> Result<(), PlaceError> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|source| PlaceError::Io { path: directory.to_owned(), source })
}

fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_staged_file_that_is_dropped_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("cipher.aes");
        fs::write(&target, "old").unwrap();
        let mut staged = Staged::create(&target, 0o600).unwrap();
        staged.write(b"new").unwrap();
        drop(staged);
        assert_eq!(fs::read_to_string(&target).unwrap(), "old");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_new_file_is_private_and_a_replaced_one_keeps_its_mode_but_for_others() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("cipher.aes");
        let mode = || fs::metadata(&target).unwrap().mode() & 0o777;
        let place = || {
            let mut staged = Staged::create(&target, 0o600).unwrap();
            staged.write(b"x").unwrap();
            staged.keep_previous().unwrap();
            staged.place().unwrap();
        };
        place();
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&target, Permissions::from_mode(0o664)).unwrap();
        place();
        assert_eq!(mode(), 0o660);
        assert!(directory.path().join("cipher.aes.standbyd-previous").exists());
    }

    #[test]
    fn a_symbolic_link_is_replaced_and_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (target, victim) = (directory.path().join("a.jar"), directory.path().join("victim"));
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, &target).unwrap();
        let mut staged = Staged::create(&target, 0o640).unwrap();
        staged.write(b"new").unwrap();
        staged.place().unwrap();
        assert_eq!(fs::read_to_string(victim).unwrap(), "precious");
        assert_eq!(fs::read_to_string(target).unwrap(), "new");
    }

    #[test]
    fn what_killed_pulls_left_is_swept_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        for name in [".standbyd-abc.tmp", ".standbyd-placed.json", "a.jar", "x.tmp"] {
            fs::write(directory.path().join(name), "x").unwrap();
        }
        sweep(directory.path()).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".standbyd-placed.json", "a.jar", "x.tmp"]);
    }
}
