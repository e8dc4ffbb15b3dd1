//! `db.properties`: which database, as whom (GoCD: ConnectionManager). Java's properties format.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::cipher::{Cipher, DecryptError};

/// Where the database is and who logs in.
#[derive(PartialEq, Eq)]
pub(crate) struct DbProperties {
    /// Name or address of the one host; GoCD would take several, which makes an unfenced server follow a promotion.
    pub(crate) host: String,
    /// TCP port.
    pub(crate) port: u16,
    /// Name of the database.
    pub(crate) database: String,
    /// Role.
    pub(crate) user: String,
    /// Its password, decrypted.
    pub(crate) password: String,
}

/// Why `db.properties` cannot be used.
#[derive(Debug, Error)]
pub(crate) enum DbPropertiesError {
    /// The file could not be read.
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    /// Not in Java's properties format.
    #[error("{}: {source}", path.display())]
    Format { path: PathBuf, source: java_properties::PropertiesError },
    /// A key that must be there is not.
    #[error("{}: {key} is missing", path.display())]
    Missing { path: PathBuf, key: &'static str },
    /// A URL that the stand-in does not understand.
    #[error("{}: db.url {url}: expected jdbc:postgresql://HOST[:PORT]/DATABASE, one host", path.display())]
    Url { path: PathBuf, url: String },
    /// The encrypted password belongs to another `cipher.aes`.
    #[error("{}: db.encryptedPassword: {source}", path.display())]
    Password { path: PathBuf, source: DecryptError },
}

/// Reads the file; decrypts `db.encryptedPassword`, which wins over `db.password`.
///
/// # Errors
///
/// [`DbPropertiesError`], with the file and the key.
pub(crate) fn load(path: &Path, cipher: &Cipher) -> Result<DbProperties, DbPropertiesError> {
    let path = path.to_owned();
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(source) => return Err(DbPropertiesError::File { path, source }),
    };
    let properties = match java_properties::read(file) {
        Ok(properties) => properties,
        Err(source) => return Err(DbPropertiesError::Format { path, source }),
    };
    interpret(&properties, cipher, &path)
}

fn interpret(
    properties: &HashMap<String, String>,
    cipher: &Cipher,
    path: &Path,
) -> Result<DbProperties, DbPropertiesError> {
    let required = |key: &'static str| {
        properties
            .get(key)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| DbPropertiesError::Missing { path: path.to_owned(), key })
    };
    let url = required("db.url")?;
    let (host, port, database) =
        parse_url(url).ok_or_else(|| DbPropertiesError::Url { path: path.to_owned(), url: url.clone() })?;
    let password = match properties.get("db.encryptedPassword") {
        Some(value) => {
            cipher.decrypt(value).map_err(|source| DbPropertiesError::Password { path: path.to_owned(), source })?
        }
        None => properties.get("db.password").cloned().unwrap_or_default(),
    };
    Ok(DbProperties { host, port, database, user: required("db.user")?.clone(), password })
}

fn parse_url(url: &str) -> Option<(String, u16, String)> {
    let (authority, rest) = url.strip_prefix("jdbc:postgresql://")?.split_once('/')?;
    let database = rest.split_once('?').map_or(rest, |(database, _)| database);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (authority, 5432),
    };
    let valid = !host.is_empty() && !host.contains(',') && !database.is_empty();
    valid.then(|| (host.to_owned(), port, database.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{DbPropertiesError, load, parse_url};
    use crate::cipher::Cipher;

    fn load_text(text: &str) -> Result<super::DbProperties, DbPropertiesError> {
        let directory = tempfile::tempdir().unwrap();
        let cipher = Cipher::load_or_create(&directory.path().join("cipher.aes")).unwrap();
        let path = directory.path().join("db.properties");
        let text = text.replace("ENCRYPTED", &cipher.encrypt("s3cret").unwrap());
        std::fs::write(&path, text).unwrap();
        load(&path, &cipher)
    }

    #[test]
    fn a_url_names_host_port_and_database() {
        let table = [
            ("jdbc:postgresql://pg1:5433/gocd", Some(("pg1", 5433, "gocd"))),
            ("jdbc:postgresql://198.18.5.11/gocd?tcpKeepAlive=true", Some(("198.18.5.11", 5432, "gocd"))),
            ("jdbc:postgresql://pg1,pg2/gocd?targetServerType=primary", None),
            ("jdbc:postgresql://pg1:port/gocd", None),
            ("jdbc:postgresql://pg1/", None),
            ("jdbc:h2:/var/lib/go", None),
        ];
        for (url, expected) in table {
            let expected = expected.map(|(host, port, database)| (host.to_owned(), port, database.to_owned()));
            assert_eq!(parse_url(url), expected, "{url}");
        }
    }

    #[test]
    fn a_password_may_be_plain_or_encrypted_with_the_sites_cipher() {
        let plain =
            load_text("# GoCD\ndb.url=jdbc:postgresql://pg1/gocd\ndb.user = gocd\ndb.password=s3cret\n").ok().unwrap();
        let encrypted = load_text(
            "db.url=jdbc:postgresql://pg1/gocd\ndb.user=gocd\ndb.password=no\ndb.encryptedPassword=ENCRYPTED\n",
        )
        .ok()
        .unwrap();
        assert_eq!(plain.password, "s3cret");
        assert_eq!(encrypted.password, "s3cret");
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = load_text("db.user=gocd\n").err().unwrap().to_string();
        assert!(error.ends_with("db.properties: db.url is missing"), "{error}");
    }
}
