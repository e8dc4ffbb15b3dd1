//! `pg_rewind` in place, as an attempt: whatever comes of it, the copy of `reseed` is the way that always works.
//!
//! ```text
//! DATA.rewind-OP           this host's configuration and control file, as they were before
//! DATA.rewind-OP/begun     it has begun to change files: from here on it is done, or given up, and never begun again
//! DATA.rewind-OP/refused   it is given up, and why; the copy follows
//! DATA.old-OP              it is done (DATA.rewind-OP renamed): what `reseed` would leave, so nothing is copied
//! ```

use bc_model::inventory::Inventory;

use super::postgresql::{conninfo, owned, program};
use super::reseed::{Directories, directories};
use super::{Command, outliving, quote, standby};
use crate::judge::Check;

fn beside(inventory: &Inventory, host: &str, operation: &str) -> String {
    quote(&format!("{}.rewind-{operation}", inventory.server(host).data_directory.trim_end_matches('/')))
}

/// Rewinds the stopped server on `host` to where it can follow `source`, or says why not. Status 0 in both cases.
pub(crate) fn attempt(inventory: &Inventory, host: &str, source: &str, operation: &str) -> Command {
    let Directories { data, copy, old, lock, log, .. } = directories(inventory, host, operation);
    let aside = beside(inventory, host, operation);
    let server = format!("{} dbname=postgres", conninfo(inventory, host, source));
    // The configuration need not be with the data. pg_rewind asks it for the restore_command, and knows of such files from 15 on.
    let config = inventory.server(host).config_directory;
    let file = format!(" --config-file={}", quote(&format!("{}/postgresql.conf", config.trim_end_matches('/'))));
    let (file, old_rewind) = if inventory.postgresql.version.rewind_takes_config_file() {
        (file, String::new())
    } else {
        (String::new(), format!("[ -f {data}/postgresql.conf ] || archive=\n"))
    };
    // pg_rewind empties the files that it is going to copy before it copies the first one: whatever becomes of it, the host's own
    // configuration is put back, for the copy that follows takes it from the old data.
    //
    // The message counts, not the status: before the source's checkpoint it says "no rewind required" with status 0.
    let job = format!(
        "set -e\n\
         [ ! -e {copy} ] && [ ! -e {old} ] && [ ! -e {aside}/refused ] || exit 0\n\
         mkdir -p -m 0700 {aside}\n\
         keep_own() {{\n  \
           for file in postgresql.conf pg_hba.conf pg_ident.conf postgresql.auto.conf; do\n    \
             [ ! -f {aside}/$file ] || cp -p {aside}/$file {data}/$file\n  \
           done\n\
         }}\n\
         refuse() {{ [ ! -e {aside}/begun ] || {{ keep_own; sync -f {data}; }}; {{ echo \"$1\"; tail -n 2 {aside}/said 2>/dev/null; }} | tr '\\n' ' ' >{aside}/refused; exit 0; }}\n\
         [ ! -e {aside}/begun ] || refuse 'a rewind had begun and not ended, and is never continued'\n\
         for file in postgresql.conf pg_hba.conf pg_ident.conf postgresql.auto.conf; do\n  \
           [ ! -f {data}/$file ] || cp -p {data}/$file {aside}/$file\n\
         done\n\
         cp -p {data}/global/pg_control {aside}/pg_control || refuse 'there is no control file'\n\
         case $({control} {data} | sed -n 's/^Database cluster state: *//p') in\n\
         'shut down'|'shut down in recovery') ;;\n\
         *) rm -f {data}/standby.signal\n   \
           {postgres} --single -F -D {config} -c data_directory={data} template1 </dev/null >{aside}/said 2>&1 || refuse 'it does not recover from its crash:' ;;\n\
         esac\n\
         archive=$({postgres} -D {config} -C restore_command 2>/dev/null || true)\n\
         {old_rewind}\
         rewind() {{ {rewind} -D {data}{file} --source-server={server} ${{archive:+-c}} \"$@\" >{aside}/said 2>&1; }}\n\
         rewind -n || refuse 'pg_rewind does not want to:'\n\
         sync {aside}\n\
         touch {aside}/begun && sync {aside}/begun {aside}\n\
         rewind || refuse 'pg_rewind broke off:'\n\
         grep -Eq 'Done!|no rewind required' {aside}/said || refuse 'pg_rewind did not say that it is done:'\n\
         keep_own\n\
         {mark}\
         sync -f {data}\n\
         mv -T {aside} {old}\n\
         sync \"$(dirname {old})\"",
        // pg_rewind does that as well, but not when it only looks.
        control = program(inventory, host, "pg_controldata"),
        postgres = program(inventory, host, "postgres"),
        rewind = program(inventory, host, "pg_rewind"),
        server = quote(&server),
        config = quote(config),
        mark = standby::mark_copy(inventory, host, source, &data),
    );
    owned(inventory, host, &outliving(&job, &lock, &log), &[])
}

/// Whether [`attempt`] has come to an end, one way or the other.
pub(crate) fn attempted(inventory: &Inventory, host: &str, operation: &str) -> Check {
    let Directories { copy, old, .. } = directories(inventory, host, operation);
    let aside = beside(inventory, host, operation);
    let script = format!(
        "if [ -e {old} ]; then echo rewound; elif [ -e {aside}/refused ]; then echo \"not rewound, so it is copied: $(cat {aside}/refused)\"; else [ -e {copy} ]; fi"
    );
    Check::succeeds(owned(inventory, host, &script, &[]))
}
