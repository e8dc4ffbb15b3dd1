//! GoCD's artifact store beside its database: a failover may lose runs whose artifacts are kept, and GoCD would use their counters
//! again. Their folders are moved aside, never deleted.
//!
//! Everything in the store is done as GoCD's own user: it owns the store, and a shared drive may not let root write.

use bc_model::inventory::Inventory;

use super::{Command, postgresql, quote};
use crate::judge::{Check, Expect};

/// Where a relative `artifactsDir` begins: the working directory of GoCD's packages.
const WORKING_DIRECTORY: &str = "/var/lib/go-server";
/// Below the store, so that a rename is all it takes.
const QUARANTINE: &str = "bcctl-quarantine";

/// The text of `artifactsDir` in `cruise-config.xml`, the element of today or the attribute of old; comments do not count.
const DIRECTORY: &str = r#"BEGIN { RS = "<" }
comment { if (index($0, "-->")) comment = 0; next }
/^!--/ { comment = !index($0, "-->"); next }
tolower($0) ~ /^artifactsdir>/ { sub(/^[^>]*>/, ""); print; exit }
/^server[ \t\r\n]/ && match(tolower($0), /artifactsdir="[^"]*"/) { print substr($0, RSTART + 14, RLENGTH - 15); exit }"#;

/// A script that runs as GoCD's user in the store of `host`; `argument` becomes its `$1`.
fn in_store(inventory: &Inventory, host: &str, script: &str, argument: &str) -> Command {
    let server = inventory.gocd_server(host);
    let find = match server.artifacts_directory {
        Some(directory) => format!("a={}", quote(directory)),
        None => format!(
            "a=$(awk {} {}) || exit 1; a=$(echo $a); case ${{a:=artifacts}} in *'&'*) echo \"artifactsDir $a: say gocd.artifacts-directory\" >&2; exit 1;; \
             /*) ;; *) a={WORKING_DIRECTORY}/$a;; esac",
            quote(DIRECTORY),
            quote(&format!("{}/cruise-config.xml", server.config_directory)),
        ),
    };
    let whole = format!("set -fu; {find}; {script}");
    Command::on(host, format!("runuser -u {} -- sh -c {} sh {argument}", quote(&inventory.gocd.os_user), quote(&whole)))
}

/// The counter that each pipeline has reached in the database on `primary`, beside the folders in the store of `host`. The folders
/// are looked at first: a run that begins meanwhile is in the database before it has a folder.
pub(crate) fn compared(inventory: &Inventory, host: &str, primary: &str) -> Check {
    let folders = in_store(
        inventory,
        host,
        "if [ -L \"$a\"/pipelines ]; then echo \"$a/pipelines is a link\" >&2; exit 1; fi; echo \"store $a\"; \
         [ ! -e \"$a\"/pipelines ] || find \"$a\"/pipelines -mindepth 1 -maxdepth 2 -printf \"%y %P\\n\"",
        "",
    );
    let statement = "SELECT lower(name) || ' ' || max(counter) FROM \
         (SELECT pipelinename::text, labelcount FROM pipelinelabelcounts UNION ALL SELECT name::text, counter FROM pipelines) \
         AS run (name, counter) WHERE counter IS NOT NULL GROUP BY lower(name)";
    let psql = postgresql::psql_in(inventory, primary, &inventory.gocd.database);
    let counters = Command::on(primary, format!("{psql} -c {}", quote(statement)));
    Check { commands: vec![folders, counters], expect: Expect::Compared }
}

/// Moves the folders that `compared` has found, those that are still there.
pub(crate) fn quarantine(inventory: &Inventory, host: &str, operation: &str) -> Command {
    let script = format!(
        "IFS=:; for run in $1; do [ \"$run\" ] && [ -e \"$a/pipelines/$run\" ] || continue; name=${{run%/*}}; to=$a/{QUARANTINE}/{operation}; \
         for part in pipelines \"pipelines/$name\" \"pipelines/$run\"; do \
         if [ -L \"$a/$part\" ] || [ ! -d \"$a/$part\" ]; then echo \"$a/$part is no directory of its own\" >&2; exit 1; fi; done; \
         if [ -L \"$a\"/{QUARANTINE} ] || [ -L \"$to\" ]; then echo \"$to is reached by a link\" >&2; exit 1; fi; \
         mkdir -p \"$to/$name\" || exit 1; \
         if [ \"$(stat -c %m \"$a/pipelines/$run\")\" != \"$(stat -c %m \"$to/$name\")\" ]; then \
         echo \"$a/pipelines/$run is in another file system than $to: nothing is copied\" >&2; exit 1; fi; \
         if [ -e \"$to/$run\" ]; then echo \"$to/$run is there already\" >&2; exit 1; fi; \
         mv -T \"$a/pipelines/$run\" \"$to/$run\" && sync \"$to/$name\" \"$a/pipelines/$name\" || exit 1; done"
    );
    in_store(inventory, host, &script, "\"${excess}\"")
}

/// Whether each of them is in quarantine and no longer in GoCD's way.
pub(crate) fn quarantined(inventory: &Inventory, host: &str, operation: &str) -> Check {
    let script = format!(
        "to=$a/{QUARANTINE}/{operation}; IFS=:; for run in $1; do [ \"$run\" ] || continue; \
         if [ -e \"$a/pipelines/$run\" ]; then echo \"$a/pipelines/$run is still there\" >&2; exit 1; fi; \
         if [ ! -d \"$to/$run\" ]; then echo \"$to/$run is not there\" >&2; exit 1; fi; done; \
         if [ -d \"$to\" ]; then echo \"in $to: $(find \"$to\" -mindepth 2 -maxdepth 2 -printf \"%P \")\"; else echo \"nothing had to be moved\"; fi"
    );
    Check::succeeds(in_store(inventory, host, &script, "\"${excess}\""))
}
