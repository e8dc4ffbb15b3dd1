//! The rules of a host as a file for `/etc/sudoers.d`.

use std::fmt::Write as _;

use bc_model::inventory::Inventory;

use super::{rules, word};

/// Who logs in on a host; nothing if the inventory leaves that to `ssh`, or it is root, who needs no rules.
pub(crate) fn login<'a>(inventory: &'a Inventory, host: &str) -> Option<&'a str> {
    let (login, _) = inventory.hosts.get(host)?.ssh.as_deref()?.rsplit_once('@')?;
    (login != "root").then_some(login)
}

/// The file.
///
/// # Errors
/// What no rule can list.
pub(crate) fn page(inventory: &Inventory, host: &str, login: &str) -> Result<String, String> {
    let mut text = format!(
        "# What bcctl does on {host} (site {}) as another user, written by `bcctl sudoers {host}`: docs/sudo.md.\n\
         # visudo -cf FILE && install -m 0440 FILE /etc/sudoers.d/bcctl\n\
         Defaults:{} secure_path=\"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"\n",
        inventory.site,
        word(login)
    );
    let mut user = String::new();
    for rule in rules(inventory, host)? {
        if rule.user != user {
            user.clone_from(&rule.user);
            let _ = writeln!(text, "\n# As {user}:");
        }
        let _ = writeln!(text, "{}", rule.line(login, &rule.path()));
    }
    Ok(text)
}
