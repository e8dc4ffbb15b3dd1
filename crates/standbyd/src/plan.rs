//! What a pull has to do: the peer's manifest against what lies on this host. Pure.

use std::collections::BTreeMap;

use bc_model::manifest::{FileEntry, Manifest};

use crate::id::{FileId, JarName};

/// What has to happen to this host's files, each list in the order of ids.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// To fetch, with what they must turn out to be.
    pub(crate) fetch: Vec<(FileId, FileEntry)>,
    /// The same already.
    pub(crate) unchanged: Vec<FileId>,
    /// To remove: the peer has them no longer, and they are still what a pull has placed.
    pub(crate) remove: Vec<JarName>,
    /// Only this host has them and no pull has placed them as they are: left alone.
    pub(crate) left: Vec<JarName>,
}

/// Compares `wanted` (the peer's manifest, checked) with `here`; `placed` knows the hash that a pull has placed under a name.
pub(crate) fn plan<'a>(
    wanted: &Manifest,
    here: &BTreeMap<FileId, FileEntry>,
    placed: impl Fn(&JarName) -> Option<&'a str>,
) -> Plan {
    let mut plan = Plan::default();
    let wanted: BTreeMap<FileId, &FileEntry> =
        wanted.files.iter().filter_map(|file| Some((file.id.parse().ok()?, file))).collect();
    for (id, file) in &wanted {
        if here.get(id) == Some(*file) {
            plan.unchanged.push(id.clone());
        } else {
            plan.fetch.push((id.clone(), (*file).clone()));
        }
    }
    for (id, file) in here {
        let FileId::Plugin(name) = id else { continue };
        if !wanted.contains_key(id) {
            let ours = placed(name) == Some(file.sha256.as_str());
            if ours { &mut plan.remove } else { &mut plan.left }.push(name.clone());
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, content: char) -> FileEntry {
        FileEntry { id: id.to_owned(), size: 1, sha256: content.to_string().repeat(64) }
    }

    fn planned(wanted: &[(&str, char)], here: &[(&str, char)], placed: &[(&str, char)]) -> [Vec<String>; 4] {
        let wanted = Manifest { schema: 1, files: wanted.iter().map(|(id, content)| entry(id, *content)).collect() };
        let here = here.iter().map(|(id, content)| (id.parse().unwrap(), entry(id, *content))).collect();
        let placed: BTreeMap<JarName, String> = placed
            .iter()
            .map(|(name, content)| (JarName::parse(name).unwrap(), content.to_string().repeat(64)))
            .collect();
        let plan = plan(&wanted, &here, |name| placed.get(name).map(String::as_str));
        let names = |names: Vec<JarName>| names.iter().map(|name| name.as_str().to_owned()).collect();
        let fetch = plan.fetch.iter().map(|(id, _)| id.to_string()).collect();
        let unchanged = plan.unchanged.iter().map(ToString::to_string).collect();
        [fetch, unchanged, names(plan.remove), names(plan.left)]
    }

    #[test]
    fn an_empty_host_fetches_everything() {
        let wanted = [("cipher.aes", 'a'), ("cruise-config.xml", 'b'), ("plugins/x.jar", 'c')];
        assert_eq!(planned(&wanted, &[], &[])[0], ["cipher.aes", "cruise-config.xml", "plugins/x.jar"]);
    }

    #[test]
    fn only_what_differs_is_fetched() {
        let [fetch, unchanged, ..] = planned(
            &[("cipher.aes", 'a'), ("cruise-config.xml", 'b')],
            &[("cipher.aes", 'a'), ("cruise-config.xml", 'z')],
            &[],
        );
        assert_eq!((fetch, unchanged), (vec!["cruise-config.xml".into()], vec!["cipher.aes".into()]));
    }

    #[test]
    fn only_plugins_that_are_still_what_we_placed_are_removed() {
        let here = [("plugins/ours.jar", 'a'), ("plugins/theirs.jar", 'b'), ("plugins/changed.jar", 'c')];
        let [_, _, remove, left] = planned(&[], &here, &[("ours.jar", 'a'), ("changed.jar", 'x'), ("gone.jar", 'a')]);
        assert_eq!((remove, left), (vec!["ours.jar".into()], vec!["changed.jar".into(), "theirs.jar".into()]));
    }

    #[test]
    fn the_configuration_and_the_cipher_are_never_removed() {
        let [_, _, remove, left] = planned(&[], &[("cipher.aes", 'a'), ("cruise-config.xml", 'b')], &[]);
        assert_eq!((remove.len(), left.len()), (0, 0));
    }
}
