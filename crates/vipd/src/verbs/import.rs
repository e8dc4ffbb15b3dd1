//! `vipd import`: keepalived.conf in, vipd.toml on stdout, what stayed behind on stderr. Touches nothing.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use bc_model::exit::Exit;

use crate::config::read_all;
use crate::import;

/// Imports `file` (`-` is standard input): the configuration goes to `out`, the notes to `err`.
///
/// The result is 0 if anything was carried over, 2 if the file is malformed or cannot be read, and 3 if there is nothing
/// in it that could be carried over. `config_id` decides `@id` lines.
///
/// # Errors
/// What the streams say.
pub fn import(file: &Path, config_id: &str, out: &mut impl Write, err: &mut impl Write) -> io::Result<Exit> {
    let (name, text) = match read(file) {
        Ok(read) => read,
        Err(error) => {
            writeln!(err, "error: cannot read {}: {error}", file.display())?;
            return Ok(Exit::Usage);
        }
    };
    let import = match import::import(&name, &text, config_id, &included) {
        Ok(import) => import,
        Err(error) => {
            let file = if file == Path::new("-") { "FILE" } else { &name };
            writeln!(err, "error: {error}\n  hint: `keepalived -t -f {file}` shows how keepalived reads it")?;
            return Ok(Exit::Usage);
        }
    };
    write!(out, "{}", import.toml)?;
    for note in &import.notes {
        writeln!(err, "note: {note}")?;
    }
    let (instances, notes) = (import.instances, import.notes.len());
    if instances == 0 {
        writeln!(err, "error: {name} has nothing that could be carried over; the notes say why")?;
        return Ok(Exit::Refused);
    }
    let plural = |count| if count == 1 { "" } else { "s" };
    writeln!(err, "{instances} instance{} carried over, {notes} note{}", plural(instances), plural(notes))?;
    Ok(Exit::Done)
}

/// The part of the host's name before the first dot: keepalived's config-id unless `-i` names another.
#[must_use]
pub fn default_config_id() -> String {
    let host = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    host.split('.').next().unwrap_or_default().to_owned()
}

/// Name and text. A comment in an old encoding is no reason to refuse a file.
fn read(file: &Path) -> io::Result<(String, String)> {
    let (name, bytes) = if file == Path::new("-") {
        ("<stdin>".to_owned(), read_all(io::stdin().lock())?)
    } else {
        (file.display().to_string(), read_all(File::open(file)?)?)
    };
    Ok((name, String::from_utf8_lossy(&bytes).into_owned()))
}

/// The files that an `include` means, seen from the directory of the file that it stands in.
fn included(pattern: &str, from: &str) -> io::Result<Vec<(String, String)>> {
    if pattern.contains('{') {
        return Err(io::Error::other("patterns in braces are not expanded; name the files"));
    }
    let directory = Path::new(from).parent().unwrap_or(Path::new(""));
    let pattern = directory.join(pattern);
    let paths = glob::glob(&pattern.to_string_lossy()).map_err(io::Error::other)?;
    let mut files = Vec::new();
    for path in paths {
        let path = path.map_err(io::Error::from)?;
        if path.is_file() {
            let cannot_read = |error| io::Error::other(format!("cannot read {}: {error}", path.display()));
            files.push(read(&path).map_err(cannot_read)?);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const INSTANCE: &str =
        "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n virtual_ipaddress {\n 198.18.0.100/24\n }\n}\n";

    fn imported(files: &[(&str, &str)]) -> (Exit, String, String) {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = import(&directory.path().join(files[0].0), "host", &mut out, &mut err).unwrap();
        let place = directory.path().display().to_string() + "/";
        let words = |bytes| String::from_utf8(bytes).unwrap().replace(&place, "");
        (exit, words(out), words(err))
    }

    #[test]
    fn what_is_included_is_found_next_to_the_file() {
        let (exit, out, err) =
            imported(&[("keepalived.conf", "include conf.d/*.conf\n"), ("conf.d/a.conf", INSTANCE), ("conf.d/b", "}")]);
        assert_eq!(exit, Exit::Done, "{err}");
        assert!(out.contains("name = \"VI_1\""), "{out}");
        assert_eq!(err, "1 instance carried over, 0 notes\n");
    }

    #[test]
    fn nothing_to_carry_over_is_exit_3_with_the_reasons() {
        let (exit, out, err) = imported(&[("keepalived.conf", "virtual_server 198.18.0.1 80 {\n}\n")]);
        assert_eq!((exit, out.as_str()), (Exit::Refused, ""));
        assert!(err.starts_with("note: keepalived.conf:1-2: virtual_server 198.18.0.1 80: LVS"), "{err}");
        assert!(err.contains("error: keepalived.conf has nothing that could be carried over"), "{err}");
    }

    #[test]
    fn a_malformed_file_is_exit_2_with_the_line() {
        let (exit, out, err) = imported(&[("keepalived.conf", "vrrp_instance VI_1 {\n")]);
        assert_eq!((exit, out.as_str()), (Exit::Usage, ""));
        assert!(err.starts_with("error: keepalived.conf:1: the block of `vrrp_instance` is never closed"), "{err}");
    }

    #[test]
    fn a_comment_in_an_old_encoding_is_read_past() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("keepalived.conf");
        fs::write(&file, [b"# caf\xe9\n", INSTANCE.as_bytes()].concat()).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(import(&file, "host", &mut out, &mut err).unwrap(), Exit::Done);
    }
}
