//! The fixed logical ids of the files that may cross from one host to the other. An id is never a path.

use std::fmt;
use std::str::FromStr;

/// A file that the serving side offers and the standby places.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileId {
    /// `cipher.aes` in the configuration directory: what every encrypted value is encrypted with.
    Cipher,
    /// `cruise-config.xml` in the configuration directory.
    Config,
    /// `NAME.jar` in the directory of external plugins.
    Plugin(JarName),
}

/// A plugin's base name: `[A-Za-z0-9._+-]+\.jar`, at most 255 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct JarName(String);

impl JarName {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let stem = name.strip_suffix(".jar")?;
        let legal = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
        (!stem.is_empty() && stem.chars().all(legal) && name.len() <= 255).then(|| Self(name.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FileId {
    /// The longest file that is served or accepted, in bytes.
    pub(crate) const fn max_size(&self) -> u64 {
        match self {
            Self::Cipher => 4 << 10,
            Self::Config => 64 << 20,
            Self::Plugin(_) => 512 << 20,
        }
    }

    /// The name in its directory.
    pub(crate) fn file_name(&self) -> &str {
        match self {
            Self::Cipher => "cipher.aes",
            Self::Config => "cruise-config.xml",
            Self::Plugin(name) => name.as_str(),
        }
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plugin(name) => write!(f, "plugins/{}", name.as_str()),
            Self::Cipher | Self::Config => f.write_str(self.file_name()),
        }
    }
}

/// The text is none of the ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotAnId;

impl FromStr for FileId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        match text {
            "cipher.aes" => Ok(Self::Cipher),
            "cruise-config.xml" => Ok(Self::Config),
            _ => text.strip_prefix("plugins/").and_then(JarName::parse).map(Self::Plugin).ok_or(NotAnId),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Names that must get nowhere, on either side.
    pub(crate) const HOSTILE: [&str; 24] = [
        "",
        "/",
        "plugins/",
        "plugins/.jar",
        "plugins/../cipher.aes",
        "plugins/../../etc/passwd",
        "plugins/..",
        "plugins/../x.jar",
        "plugins//x.jar",
        "plugins/a/b.jar",
        "plugins/a\\b.jar",
        "plugins/x.jar\n",
        "plugins/x\n.jar",
        "plugins/x\0.jar",
        "plugins/x y.jar",
        "plugins/x.jar/",
        "plugins/x.JAR",
        "plugins/ü.jar",
        "plugins/$(id).jar",
        "plugins/x.war",
        "cipher.aes ",
        " cipher.aes",
        "/etc/go/cipher.aes",
        "cruise-config.xml\0",
    ];

    #[test]
    fn ids_are_read_as_they_are_written() {
        for text in [
            "cipher.aes",
            "cruise-config.xml",
            "plugins/a.jar",
            "plugins/github-pr_2.1+x-SNAPSHOT.jar",
            "plugins/..jar",
        ] {
            assert_eq!(text.parse::<FileId>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn hostile_names_are_no_ids() {
        for text in HOSTILE {
            assert_eq!(text.parse::<FileId>(), Err(NotAnId), "{text:?}");
        }
        assert!(
            format!("plugins/{}.jar", "x".repeat(252)).parse::<FileId>().is_err(),
            "longer than a file name may be"
        );
    }
}
