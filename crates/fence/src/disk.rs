//! The steps by which something reaches the disk, one by one, so that a test can let the program die between any two of them.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What is done to files that must survive a power cut.
pub(crate) trait Disk: Sync {
    /// Writes all of `bytes` at the end of a file opened for appending.
    fn append(&self, file: &mut File, bytes: &[u8]) -> io::Result<()>;
    /// Waits until the disk has the file's content.
    fn sync(&self, file: &File) -> io::Result<()>;
    /// Puts `from` in the place of `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Waits until the disk has the directory's names.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;
}

/// The machine's disk.
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn append(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }
}

/// Puts `content` into `file`, so that a reader finds the old content or the new, whatever happens on the way; creates its
/// directory. On the disk when this returns.
///
/// # Errors
/// When any step fails; the old content is then still there, unless only the directory could not be synced.
pub(crate) fn replace(disk: &dyn Disk, file: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let directory = file.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory)?;
    let mut name = OsString::from(".");
    name.push(file.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    let beside = directory.join(name);
    let mut new = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&beside)?;
    let done = disk.append(&mut new, content).and_then(|()| disk.sync(&new)).and_then(|()| disk.rename(&beside, file));
    if let Err(error) = done {
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    disk.sync_directory(directory)
}

/// Removes `file`, and waits until the disk knows; that it was not there is no error.
///
/// # Errors
/// When it may still be there.
pub(crate) fn remove(disk: &dyn Disk, file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    disk.sync_directory(file.parent().unwrap_or(Path::new("/")))
}
