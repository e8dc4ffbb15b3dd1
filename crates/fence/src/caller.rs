//! Who asks: for reports and the history.

use std::{env, fs};

/// Login name and host of the caller: `root@operator`, or `root@operator (sudo by alice)`.
pub(crate) fn name() -> String {
    let host = host();
    let uid = nix::unistd::getuid();
    let login = login_of(uid.as_raw()).unwrap_or_else(|| format!("uid {uid}"));
    match env::var("SUDO_USER") {
        Ok(user) if !user.is_empty() => format!("{login}@{host} (sudo by {user})"),
        _ => format!("{login}@{host}"),
    }
}

/// The name of this host.
pub(crate) fn host() -> String {
    nix::unistd::gethostname().ok().and_then(|host| host.into_string().ok()).unwrap_or_else(|| "unknown".to_owned())
}

/// The login name of a user.
pub(crate) fn login_of(uid: u32) -> Option<String> {
    // Read directly: a static binary has no name service (docs/decisions/0002).
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    login(&passwd, uid).map(str::to_owned)
}

fn login(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::login;

    #[test]
    fn the_login_name_comes_from_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n# note\npostgres:x:109:117::/:/bin/sh\n";
        assert_eq!([login(passwd, 0), login(passwd, 109), login(passwd, 7)], [Some("root"), Some("postgres"), None]);
    }
}
