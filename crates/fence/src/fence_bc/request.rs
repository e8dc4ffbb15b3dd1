//! What a caller asks of us as an agent: `name=value` lines on standard input, or the usual options. Pure.
//!
//! The grammar of the lines is that of the ClusterLabs library (`fencing.py`): the line is trimmed; empty lines and those
//! that begin with `#` are skipped; the name ends at the first `=`; one pair of surrounding `"` is taken away; `-` and `_`
//! are the same in a name; the last line of a name wins. A name that nobody knows is a warning, never an error.

use std::time::Duration;

/// The longest delay that is waited for: a caller that wants more has made a typing error.
const LONGEST_DELAY: Duration = Duration::from_secs(3600);

/// What an agent can be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Turn the plug off; done only when it was seen off.
    Off,
    /// Turn it on.
    On,
    /// Off, seen off, then on.
    Reboot,
    /// Say whether it is on (exit 0) or off (exit 2).
    Status,
    /// Say whether the devices would be able to do their work.
    Monitor,
    /// Name the plugs.
    List,
    /// Name the plugs, and say of each whether it is on.
    ListStatus,
    /// Describe the agent in XML.
    Metadata,
    /// Check the configuration; no device is asked.
    ValidateAll,
}

impl Action {
    /// All of them, with the words that mean them.
    pub const WORDS: [(&'static str, Self); 10] = [
        ("on", Self::On),
        ("off", Self::Off),
        ("reboot", Self::Reboot),
        ("status", Self::Status),
        ("list", Self::List),
        ("list-status", Self::ListStatus),
        ("monitor", Self::Monitor),
        ("metadata", Self::Metadata),
        ("meta-data", Self::Metadata),
        ("validate-all", Self::ValidateAll),
    ];

    fn parse(word: &str) -> Option<Self> {
        Self::WORDS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, action)| action)
    }
}

/// A request, as far as it could be understood; nothing in it has been checked against a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is to be done; without it nothing is.
    pub action: Result<Action, NoAction>,
    /// The plug: our node.
    pub plug: Option<String>,
    /// The name by which the cluster knows the node; used where no plug is named.
    pub nodename: Option<String>,
    /// The configuration file.
    pub config: Option<String>,
    /// Waited for before `off` and `reboot`, to let one side of a race win.
    pub delay: Duration,
    /// What stands between the columns of a list.
    pub separator: String,
    /// What was not understood, for stderr; never a value, because any of them may be a secret.
    pub warnings: Vec<String>,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            action: Err(NoAction::Missing),
            plug: None,
            nodename: None,
            config: None,
            delay: Duration::ZERO,
            separator: ",".to_owned(),
            warnings: Vec::new(),
        }
    }
}

/// Why there is nothing to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAction {
    /// No action was named. Other agents reboot then.
    #[error("no action is named; say action=off, and so on: nothing is ever done by default")]
    Missing,
    /// The word means nothing here.
    #[error("the action is not one of on, off, reboot, status, list, list-status, monitor, metadata, validate-all")]
    Unknown,
    /// The delay cannot be meant, and acting at once would lose the race that it is there to win.
    #[error("delay: expected whole seconds from 0 to 3600")]
    Delay,
}

impl Request {
    /// Reads the lines of a request.
    #[must_use]
    pub fn from_lines(bytes: &[u8]) -> Self {
        let mut request = Self::default();
        let text = String::from_utf8_lossy(bytes);
        for line in text.split(['\n', '\r']).map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            request.set(&name.replace('-', "_"), value);
        }
        request
    }

    /// Reads an agent's options.
    ///
    /// # Errors
    /// An option that is not known, and one without the value that it needs: whether the next word belongs to an unknown
    /// option cannot be told.
    pub fn from_arguments(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut request = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            if let Some(long) = argument.strip_prefix("--") {
                let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
                let option = OPTIONS.iter().find(|option| option.long == name);
                let option = option.ok_or_else(|| format!("unknown option --{}", shown(name)))?;
                let value = match (option.takes_value, value) {
                    (true, Some(value)) => value.to_owned(),
                    (true, None) => arguments.next().ok_or_else(|| format!("option --{name} needs a value"))?,
                    (false, None) => "1".to_owned(),
                    (false, Some(_)) => return Err(format!("option --{name} takes no value")),
                };
                request.set(&name.replace('-', "_"), &value);
            } else if let Some(shorts) = argument.strip_prefix('-').filter(|shorts| !shorts.is_empty()) {
                let mut letters = shorts.chars();
                while let Some(letter) = letters.next() {
                    let option = OPTIONS.iter().find(|option| option.short == Some(letter));
                    let option = option.ok_or_else(|| format!("unknown option -{}", letter.escape_default()))?;
                    let value = if option.takes_value {
                        // The rest of the word, or the next word.
                        match letters.as_str() {
                            "" => arguments.next().ok_or_else(|| format!("option -{letter} needs a value"))?,
                            rest => rest.to_owned(),
                        }
                    } else {
                        "1".to_owned()
                    };
                    request.set(&option.long.replace('-', "_"), &value);
                    if option.takes_value {
                        break;
                    }
                }
            } else {
                return Err(format!("unexpected argument {:?}", shown(&argument)));
            }
        }
        Ok(request)
    }

    /// The node that is meant: the plug, else the name in the cluster.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        self.plug.as_deref().or(self.nodename.as_deref())
    }

    fn set(&mut self, name: &str, value: &str) {
        let text = || Some(value.to_owned()).filter(|value| !value.is_empty());
        match name {
            "action" => match (self.action, Action::parse(value)) {
                // What made the request impossible stays: a later line cannot make the delay readable.
                (Err(NoAction::Delay), _) => {}
                (_, action) => self.action = action.ok_or(NoAction::Unknown),
            },
            "plug" | "port" => self.plug = text(),
            "nodename" => self.nodename = text(),
            "config" => self.config = text(),
            "separator" => self.separator = value.to_owned(),
            "delay" => match value.parse().map(Duration::from_secs) {
                Ok(delay) if delay <= LONGEST_DELAY => self.delay = delay,
                _ => self.action = Err(NoAction::Delay),
            },
            // Progress is always told on stderr; there is nothing to add and nothing to leave out.
            "verbose" | "verbose_level" | "quiet" | "debug_file" | "help" | "version" => {}
            "option" => self.warnings.push("option= is no longer honoured; say action=".to_owned()),
            name => self.warnings.push(format!("unknown name {:?} is ignored", shown(name))),
        }
    }
}

/// A name as it may be shown: somebody may have written `password:hunter2`, so only its beginning.
fn shown(name: &str) -> String {
    name.chars().take_while(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).take(32).collect()
}

/// An option of the command line.
struct Known {
    short: Option<char>,
    long: &'static str,
    takes_value: bool,
}

const fn known(short: Option<char>, long: &'static str, takes_value: bool) -> Known {
    Known { short, long, takes_value }
}

/// Ours first; then those of other agents, which callers pass out of habit: each is a warning.
const OPTIONS: [Known; 32] = [
    known(Some('o'), "action", true),
    known(Some('n'), "plug", true),
    known(None, "nodename", true),
    known(None, "config", true),
    known(None, "delay", true),
    known(Some('C'), "separator", true),
    known(Some('v'), "verbose", false),
    known(None, "verbose-level", true),
    known(Some('q'), "quiet", false),
    known(Some('D'), "debug-file", true),
    known(Some('V'), "version", false),
    known(Some('h'), "help", false),
    known(Some('a'), "ip", true),
    known(Some('u'), "ipport", true),
    known(Some('l'), "username", true),
    known(Some('p'), "password", true),
    known(Some('S'), "password-script", true),
    known(Some('k'), "identity-file", true),
    known(Some('m'), "method", true),
    known(Some('x'), "ssh", false),
    known(Some('z'), "ssl", false),
    known(None, "ssl-insecure", false),
    known(None, "ssl-secure", false),
    known(Some('4'), "inet4-only", false),
    known(Some('6'), "inet6-only", false),
    known(None, "plug-separator", true),
    known(None, "login-timeout", true),
    known(None, "shell-timeout", true),
    known(None, "power-timeout", true),
    known(None, "power-wait", true),
    known(None, "retry-on", true),
    known(None, "disable-timeout", true),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Request {
        Request::from_lines(text.as_bytes())
    }

    fn arguments(words: &[&str]) -> Result<Request, String> {
        Request::from_arguments(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn a_request_is_read_as_the_library_reads_it() {
        let request =
            lines("# from pacemaker\n\n  action=OFF \nnodename=node-a\r\nplug=\"pg 1\"\ndelay=3\nplug=pg1=x\n");
        assert_eq!(request.action, Ok(Action::Off));
        assert_eq!((request.plug.as_deref(), request.nodename.as_deref()), (Some("pg1=x"), Some("node-a")));
        assert_eq!((request.delay, request.target()), (Duration::from_secs(3), Some("pg1=x")));
        assert_eq!(request.warnings, Vec::<String>::new());
        assert_eq!(lines("plug=\"pg 1\"").plug.as_deref(), Some("pg 1"));
        assert_eq!(lines("plug=\"").plug.as_deref(), Some("\""));
    }

    #[test]
    fn without_an_action_there_is_nothing_to_do() {
        for text in ["", "option=off", "action", "plug=pg1", "action = off", "action=cycle", "action=off\naction=offf"]
        {
            assert!(lines(text).action.is_err(), "{text:?}");
        }
        assert_eq!(lines("option=off").warnings, ["option= is no longer honoured; say action="]);
        assert_eq!(lines("action=status\naction=off").action, Ok(Action::Off), "the last one wins");
    }

    #[test]
    fn a_delay_that_cannot_be_read_stops_everything() {
        for delay in ["x", "-1", "1.5", "99999", ""] {
            assert_eq!(lines(&format!("delay={delay}\naction=off")).action, Err(NoAction::Delay), "{delay}");
        }
    }

    #[test]
    fn unknown_names_are_told_without_their_values() {
        let request = lines("action=off\npasswd=hunter2\nplug=pg1\nhunter2 is secret\nverbose=1\nport=pg2");
        assert_eq!((request.action, request.target()), (Ok(Action::Off), Some("pg2")));
        assert_eq!(request.warnings, [r#"unknown name "passwd" is ignored"#, r#"unknown name "hunter2" is ignored"#,]);
    }

    #[test]
    fn options_may_be_long_short_and_joined() {
        let long = arguments(&["--action=off", "--plug", "pg1", "--delay=2", "--ip=198.18.0.9"]).unwrap();
        assert_eq!((long.action, long.target(), long.delay.as_secs()), (Ok(Action::Off), Some("pg1"), 2));
        assert_eq!(long.warnings, [r#"unknown name "ip" is ignored"#]);
        let short = arguments(&["-vo", "status", "-npg1"]).unwrap();
        assert_eq!((short.action, short.target()), (Ok(Action::Status), Some("pg1")));
        for words in [&["--bogus"][..], &["-o"], &["--verbose=1"], &["status"], &["-"], &["--actio=off"]] {
            assert!(arguments(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn any_bytes_are_tolerated() {
        assert!(Request::from_lines(b"\xff=\xfe\n\0=\n=\n\"").action.is_err());
    }
}
