//! What is sent to Docker to build an image: a tar whose bytes depend on content and modes, and on nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::Sources;

/// One entry: a directory, a file with its bytes and whether it is executable, or a symbolic link.
enum Item {
    Directory,
    File { bytes: Vec<u8>, executable: bool },
    Link { target: String },
}

/// The files of one build, by path, in order.
pub(crate) struct BuildContext(BTreeMap<String, Item>);

impl BuildContext {
    /// Collects `testenv/images/NAME/*` at the top, `packaging/`, and `bin/` with `programs`.
    ///
    /// # Errors
    /// If a directory or a program is missing.
    pub(crate) fn gather(sources: &Sources, name: &str, programs: &[&str]) -> Result<Self> {
        let mut context = Self(BTreeMap::new());
        context.add_tree(&sources.repository.join("testenv/images").join(name), "")?;
        context.add_tree(&sources.repository.join("packaging"), "packaging/")?;
        if !programs.is_empty() {
            context.0.insert("bin/".to_owned(), Item::Directory);
        }
        for program in programs {
            let path = sources.programs.join(program);
            let bytes = fs::read(&path).with_context(|| format!("cannot read the program {}", path.display()))?;
            context.0.insert(format!("bin/{program}"), Item::File { bytes, executable: true });
        }
        Ok(context)
    }

    fn add_tree(&mut self, directory: &Path, prefix: &str) -> Result<()> {
        if !prefix.is_empty() {
            self.0.insert(prefix.to_owned(), Item::Directory);
        }
        let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            let Ok(name) = entry.file_name().into_string() else {
                bail!("{} has a name that is not UTF-8", path.display());
            };
            let name = format!("{prefix}{name}");
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.add_tree(&path, &format!("{name}/"))?;
            } else if kind.is_symlink() {
                let target = fs::read_link(&path)?.to_string_lossy().into_owned();
                self.0.insert(name, Item::Link { target });
            } else {
                let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
                let executable = entry.metadata()?.permissions().mode() & 0o111 != 0;
                self.0.insert(name, Item::File { bytes, executable });
            }
        }
        Ok(())
    }

    /// Hash of everything, and of the image that it is built upon.
    pub(crate) fn hash(&self, base: &str) -> String {
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update(bytes.len().to_be_bytes());
            hash.update(bytes);
        };
        add(base.as_bytes());
        for (name, item) in &self.0 {
            add(name.as_bytes());
            match item {
                Item::Directory => add(&[0]),
                Item::File { bytes, executable } => {
                    add(&[1, u8::from(*executable)]);
                    add(bytes);
                }
                Item::Link { target } => {
                    add(&[2]);
                    add(target.as_bytes());
                }
            }
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The tar: owner 0:0, time 0, modes 0755 and 0644.
    ///
    /// # Errors
    /// If a path does not fit into a tar header.
    pub(crate) fn into_tar(self) -> Result<Vec<u8>> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, item) in self.0 {
            let mut header = tar::Header::new_gnu();
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            match item {
                Item::Directory => {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_mode(0o755);
                    header.set_size(0);
                    tar.append_data(&mut header, &name, std::io::empty())?;
                }
                Item::File { bytes, executable } => {
                    header.set_entry_type(tar::EntryType::Regular);
                    header.set_mode(if executable { 0o755 } else { 0o644 });
                    header.set_size(bytes.len() as u64);
                    tar.append_data(&mut header, &name, bytes.as_slice())?;
                }
                Item::Link { target } => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_mode(0o777);
                    header.set_size(0);
                    tar.append_link(&mut header, &name, &target)?;
                }
            }
        }
        Ok(tar.into_inner()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(root: &Path) -> Sources {
        for directory in ["testenv/images/box/etc", "packaging", "bin"] {
            fs::create_dir_all(root.join(directory)).expect("directory");
        }
        for (file, text) in
            [("testenv/images/box/Dockerfile", "FROM x"), ("testenv/images/box/etc/a", "a"), ("packaging/p", "p")]
        {
            fs::write(root.join(file), text).expect("file");
        }
        fs::write(root.join("bin/tool"), "tool").expect("file");
        Sources { repository: root.to_owned(), programs: root.join("bin") }
    }

    fn hash(sources: &Sources, base: &str) -> String {
        BuildContext::gather(sources, "box", &["tool"]).expect("context").hash(base)
    }

    #[test]
    fn the_tar_has_the_contracts_layout_modes_and_owners() {
        let root = tempfile::tempdir().expect("directory");
        let context = BuildContext::gather(&sources(root.path()), "box", &["tool"]).expect("context");
        let bytes = context.into_tar().expect("tar");
        let mut archive = tar::Archive::new(bytes.as_slice());
        let found: Vec<_> = archive
            .entries()
            .expect("entries")
            .map(|entry| {
                let entry = entry.expect("entry");
                let header = entry.header();
                let path = entry.path().expect("path").display().to_string();
                (path, header.mode().expect("mode"), header.uid().expect("uid"), header.mtime().expect("mtime"))
            })
            .collect();
        let expected = [
            ("Dockerfile", 0o644),
            ("bin/", 0o755),
            ("bin/tool", 0o755),
            ("etc/", 0o755),
            ("etc/a", 0o644),
            ("packaging/", 0o755),
            ("packaging/p", 0o644),
        ];
        assert_eq!(found, expected.map(|(path, mode)| (path.to_owned(), mode, 0, 0)));
    }

    #[test]
    fn the_hash_depends_on_content_mode_and_base_only() {
        let root = tempfile::tempdir().expect("directory");
        let sources = sources(root.path());
        let first = hash(&sources, "base");
        fs::write(root.path().join("packaging/p"), "p").expect("written again");
        assert_eq!(hash(&sources, "base"), first, "the time of a file is not content");
        assert_ne!(hash(&sources, "another"), first, "a new base is a new image");
        let dockerfile = root.path().join("testenv/images/box/Dockerfile");
        fs::set_permissions(&dockerfile, fs::Permissions::from_mode(0o755)).expect("mode");
        let executable = hash(&sources, "base");
        assert_ne!(executable, first, "a mode is content");
        fs::write(root.path().join("bin/tool"), "tool 2").expect("written");
        assert_ne!(hash(&sources, "base"), executable, "a new program is a new image");
    }

    #[test]
    fn a_missing_program_is_named() {
        let root = tempfile::tempdir().expect("directory");
        let error = BuildContext::gather(&sources(root.path()), "box", &["missing"]).err().expect("an error");
        assert!(format!("{error:#}").contains("bin/missing"), "{error:#}");
    }
}
