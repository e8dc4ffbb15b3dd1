//! This host, as a configuration asks about it.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

use super::{account, privilege};
use crate::config::Host;

/// The host that this process runs on, with the privileges that it has.
#[derive(Clone, Copy, Debug)]
pub struct ThisHost {
    /// Whether the control socket is elsewhere, whatever the configuration says (`--socket`).
    pub listens_elsewhere: bool,
}

impl Host for ThisHost {
    fn may_run_as(&self, user: &str) -> Result<(), String> {
        privilege::may_run_as(user)
    }

    fn may_listen_at(&self, path: &Path) -> Result<(), String> {
        // What cannot be seen from here may be right all the same.
        match fs::metadata(path) {
            Ok(there) if self.listens_elsewhere || there.file_type().is_socket() => Ok(()),
            Ok(there) if there.is_dir() => Err("there is a directory of that name".to_owned()),
            Ok(_) => Err("there is a file of that name which is no socket".to_owned()),
            Err(_) => Ok(()),
        }
    }

    fn may_start(&self, program: &str) -> Result<(), String> {
        match fs::metadata(program) {
            Ok(there) if !there.is_file() => Err("it is not a file".to_owned()),
            Ok(there) if there.permissions().mode() & 0o111 == 0 => Err("it is not executable".to_owned()),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err("there is no such file".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn has_user(&self, name: &str) -> bool {
        account::users().map_or(true, |users| users.iter().any(|user| user.name == name))
    }

    fn has_group(&self, name: &str) -> bool {
        account::groups().map_or(true, |groups| groups.iter().any(|group| group.name == name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: ThisHost = ThisHost { listens_elsewhere: false };

    #[test]
    fn a_program_is_a_file_that_may_be_executed() {
        let directory = tempfile::tempdir().unwrap();
        let plain = directory.path().join("plain");
        fs::write(&plain, "").unwrap();
        let found = ["/bin/sh", "/nonexistent/x", "/bin", plain.to_str().unwrap()].map(|one| HOST.may_start(one));
        let words = ["there is no such file", "it is not a file", "it is not executable"];
        assert_eq!(found[0], Ok(()));
        assert_eq!(found[1..], words.map(|why| Err(why.to_owned())));
    }

    #[test]
    fn a_socket_may_be_where_nothing_or_a_socket_is() {
        let directory = tempfile::tempdir().unwrap();
        let [plain, socket, free] = ["plain", "socket", "free"].map(|name| directory.path().join(name));
        fs::write(&plain, "").unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert_eq!((HOST.may_listen_at(&socket), HOST.may_listen_at(&free)), (Ok(()), Ok(())));
        assert!(HOST.may_listen_at(&plain).is_err() && HOST.may_listen_at(directory.path()).is_err());
        assert_eq!(ThisHost { listens_elsewhere: true }.may_listen_at(&plain), Ok(()));
    }

    #[test]
    fn root_is_there_and_nosuch_is_not() {
        assert!(HOST.has_user("root") && !HOST.has_user("nosuch"));
        assert!(HOST.has_group("root") && !HOST.has_group("nosuch"));
    }
}
