//! How the agent describes itself: the schema is `metadata.rng` of the ClusterLabs agents.

use std::fmt::Write as _;

const HEAD: &str = r#"<?xml version="1.0" ?>
<resource-agent name="fence_bc" shortdesc="Fence agent for nodes of a fence.toml; off means seen off" >
<longdesc>fence_bc turns off a node that /etc/fence/fence.toml names, through the levels of devices given there, and reports success only after every device of a level was asked again and answered off. It keeps a history of what was done and why. An action is required: without one nothing is done.</longdesc>
<vendor-url>https://www.gocd.org</vendor-url>
<parameters>
"#;

/// Name, required, the name it replaces, getopt, type, default, short description.
type Parameter =
    (&'static str, bool, Option<&'static str>, &'static str, &'static str, Option<&'static str>, &'static str);

const PARAMETERS: [Parameter; 8] = [
    ("action", true, None, "-o, --action=[action]", "string", None, "What to do; there is no default"),
    ("plug", false, Some("port"), "-n, --plug=[id]", "string", None, "Node, as fence.toml names it"),
    ("nodename", false, None, "--nodename=[name]", "string", None, "Node, where plug is not given"),
    (
        "config",
        false,
        None,
        "--config=[file]",
        "string",
        Some("/etc/fence/fence.toml"),
        "Configuration: nodes, levels, devices",
    ),
    ("delay", false, None, "--delay=[seconds]", "second", Some("0"), "Wait X seconds before fencing is started"),
    ("separator", false, None, "-C, --separator=[char]", "string", Some(","), "Separator for the columns of a list"),
    (
        "verbose",
        false,
        None,
        "-v, --verbose",
        "boolean",
        None,
        "Accepted for compatibility: progress is always told on stderr",
    ),
    ("quiet", false, None, "-q, --quiet", "boolean", None, "Accepted for compatibility"),
];

const ACTIONS: [&str; 9] =
    ["on", "off", "reboot", "status", "list", "list-status", "monitor", "metadata", "validate-all"];

/// The XML document.
pub(super) fn xml() -> String {
    let mut text = HEAD.to_owned();
    for (name, required, obsoletes, getopt, kind, default, description) in PARAMETERS {
        let obsoletes = obsoletes.map_or(String::new(), |name| format!(" obsoletes=\"{name}\""));
        let default = default.map_or(String::new(), |value| format!(" default=\"{value}\""));
        let required = u8::from(required);
        let _ = write!(
            text,
            "\t<parameter name=\"{name}\" unique=\"0\" required=\"{required}\"{obsoletes}>\n\
             \t\t<getopt mixed=\"{getopt}\" />\n\t\t<content type=\"{kind}\"{default} />\n\
             \t\t<shortdesc lang=\"en\">{description}</shortdesc>\n\t</parameter>\n"
        );
    }
    text.push_str("</parameters>\n<actions>\n");
    for name in ACTIONS {
        // Nothing is turned on by the cluster itself: that a node may come back is said by a person.
        let automatic = if name == "on" { " automatic=\"0\"" } else { "" };
        let _ = writeln!(text, "\t<action name=\"{name}\"{automatic} />");
    }
    text.push_str("</actions>\n</resource-agent>\n");
    text
}
