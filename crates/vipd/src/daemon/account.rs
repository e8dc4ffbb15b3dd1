//! Users and groups of this host, read from `/etc/passwd` and `/etc/group` (passwd(5), group(5)).
//!
//! Not through the C library: in a static program its name service look-ups load other libraries, and crash when those
//! do not fit (decision 0002). Accounts of a directory service are not known here; configure them by number.

use std::{fs, io};

/// A line of `/etc/passwd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    /// Login name.
    pub(super) name: String,
    /// Number.
    pub(super) uid: u32,
    /// Number of the primary group.
    pub(super) gid: u32,
}

/// A line of `/etc/group`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// Name.
    pub(super) name: String,
    /// Number.
    pub(super) gid: u32,
    /// Login names of those who are in it besides those whose primary group it is.
    pub(super) members: Vec<String>,
}

/// The user of that name or number.
///
/// # Errors
/// If there is none, or the file cannot be read.
pub(super) fn user(user: &str) -> io::Result<User> {
    let is = |one: &User| user.parse().map_or(one.name == user, |id: u32| one.uid == id);
    let nobody = || io::Error::new(io::ErrorKind::NotFound, format!("there is no user {user}"));
    users()?.into_iter().find(is).ok_or_else(nobody)
}

/// Every user of this host.
///
/// # Errors
/// If the file cannot be read.
pub(super) fn users() -> io::Result<Vec<User>> {
    Ok(parse_users(&fs::read_to_string("/etc/passwd")?))
}

/// Every group of this host.
///
/// # Errors
/// If the file cannot be read.
pub(super) fn groups() -> io::Result<Vec<Group>> {
    Ok(parse_groups(&fs::read_to_string("/etc/group")?))
}

fn parse_users(text: &str) -> Vec<User> {
    let user = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, ..] = fields[..] else { return None };
        Some(User { name: name.to_owned(), uid: uid.parse().ok()?, gid: gid.parse().ok()? })
    };
    text.lines().filter_map(user).collect()
}

fn parse_groups(text: &str) -> Vec<Group> {
    let group = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, gid, members] = fields[..] else { return None };
        let members = members.split(',').filter(|member| !member.is_empty()).map(str::to_owned).collect();
        Some(Group { name: name.to_owned(), gid: gid.parse().ok()?, members })
    };
    text.lines().filter_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_entry_is_passed_over() {
        let root = User { name: "root".into(), uid: 0, gid: 0 };
        let go = User { name: "go".into(), uid: 998, gid: 997 };
        let text = "root:x:0:0:root:/root:/bin/bash\n\n+::::::\nbroken\ngo:x:998:997::/var/go:/bin/sh\nbad:x:-1:0:::\n";
        assert_eq!(parse_users(text), [root, go]);
    }

    #[test]
    fn a_group_has_its_members() {
        let vip = Group { name: "vip".into(), gid: 50, members: vec!["ann".into(), "bob".into()] };
        let empty = Group { name: "empty".into(), gid: 51, members: vec![] };
        assert_eq!(parse_groups("vip:x:50:ann,bob\nempty:x:51:\nbroken:x\n"), [vip, empty]);
    }

    #[test]
    fn this_host_has_a_root() {
        assert!(users().unwrap().iter().any(|user| user.uid == 0));
        assert!(groups().unwrap().iter().any(|group| group.gid == 0));
    }
}
