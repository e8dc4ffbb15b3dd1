//! A file that is there whole or not at all, whatever happens while it is written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Puts `bytes` in the place of the file, creates its directory, and waits until the disk has both.
///
/// # Errors
/// When any of it fails; what was there before is then still there.
pub(crate) fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = file.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory)?;
    let mut name = std::ffi::OsString::from(".");
    name.push(file.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    let beside = directory.join(name);
    let mut written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&beside)?;
    let done = written.write_all(bytes).and_then(|()| written.sync_all()).and_then(|()| fs::rename(&beside, file));
    if let Err(error) = done {
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    sync_directory(directory)
}

/// Removes the file, and waits until the disk knows; that it was not there is no error.
///
/// # Errors
/// When it may still be there.
pub(crate) fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    sync_directory(file.parent().unwrap_or(Path::new("/")))
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
