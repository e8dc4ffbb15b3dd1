//! System properties of a JVM, as GoCD's server would have them: from its options, and from `JAVA_TOOL_OPTIONS`, which every JVM
//! reads by itself.

/// Options of a JVM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options(Vec<(String, String)>);

impl Options {
    /// Options of the command line and of the environment; the former win.
    pub(crate) fn new(options: &str, tool_options: &str) -> Self {
        let properties = tool_options.split_whitespace().chain(options.split_whitespace());
        Self(
            properties
                .filter_map(|option| option.strip_prefix("-D")?.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    /// A property, as it was said last.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Options;

    #[test]
    fn what_is_said_last_counts_and_the_command_line_before_the_environment() {
        let options = Options::new("-Xmx1g -Da=1 -Db=2 -Da=3", "-Db=9 -Dc=4");
        assert_eq!(options.get("a"), Some("3"));
        assert_eq!(options.get("b"), Some("2"));
        assert_eq!(options.get("c"), Some("4"));
        assert_eq!(options.get("d"), None);
    }
}
