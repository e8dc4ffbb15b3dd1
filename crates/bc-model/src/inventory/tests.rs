use super::{Bytes, Inventory, Service};

const EXAMPLE: &str = include_str!("../../../../packaging/bc.toml");

/// Parses the example with `from` replaced by `to`, which must occur; returns the error as text.
fn error(from: &str, to: &str) -> String {
    assert!(EXAMPLE.contains(from), "the example has no {from:?}");
    Inventory::parse("bc.toml", &EXAMPLE.replacen(from, to, 1)).expect_err("it is wrong").to_string()
}

fn line_of(needle: &str) -> usize {
    EXAMPLE.lines().position(|line| line.contains(needle)).expect("a line of the example") + 1
}

#[test]
fn the_packaged_example_is_an_inventory() {
    let inventory = Inventory::parse("bc.toml", EXAMPLE).expect("the example parses");
    assert_eq!(inventory.site, "gocd");
    assert_eq!(inventory.hosts["pg1"].address(), "198.18.5.11");
    assert_eq!(inventory.policy.maximum_lag, Bytes(16 << 20));
    let server = inventory.server("pg2");
    assert_eq!(server.service, Service::Systemd("postgresql@15-main.service"));
    assert_eq!(server.port, 5432);
}

#[test]
fn what_is_left_out_has_a_default() {
    let inventory = Inventory::parse(
        "bc.toml",
        r#"
        site = "small"
        vip = { address = "198.18.5.200/24", interface = "eth0" }
        hosts = { one = { ssh = "root@one" }, two = { transport = "local" } }
        [postgresql]
        primary = "one"
        standby = "two"
        service = "postgresql"
        version = "15"
        data-directory = "/data"
        bin-directory = "/usr/bin"
        [gocd]
        primary = "one"
        standby = "two"
        service = "go-server"
        "#,
    )
    .expect("one host may have both roles");
    assert_eq!(inventory.postgresql.os_user, "postgres");
    assert_eq!(inventory.fencing.config, "/etc/fence/fence.toml");
    assert_eq!(inventory.hosts["two"].address(), "127.0.0.1");
}

#[test]
fn text_that_is_not_toml_names_the_line() {
    let error = Inventory::parse("bc.toml", "site = \"x\"\n[vip\n").expect_err("it is wrong").to_string();
    assert!(error.starts_with("bc.toml:2: "), "{error}");
}

#[test]
fn an_unknown_key_is_an_error_with_its_line() {
    let error = error("os-user = \"postgres\"", "os-usr = \"postgres\"");
    let line = line_of("os-user = \"postgres\"");
    assert!(error.starts_with(&format!("bc.toml:{line}: postgresql.os-usr: unknown field")), "{error}");
    assert!(error.contains("`os-user`"), "it lists what was expected: {error}");
}

#[test]
fn a_missing_key_is_named() {
    let error = error("interface = \"eth0\"", "");
    assert!(error.contains("vip") && error.contains("missing field `interface`"), "{error}");
}

#[test]
fn a_role_on_a_host_that_does_not_exist_names_the_hosts() {
    let error = error("standby = \"pg2\"", "standby = \"pg3\"");
    let line = line_of("standby = \"pg2\"");
    assert_eq!(
        error,
        format!("bc.toml:{line}: postgresql.standby: no host `pg3`; expected one of [hosts]: go1, go2, pg1, pg2")
    );
}

#[test]
fn both_places_on_one_host_are_refused() {
    assert!(error("standby = \"pg2\"", "standby = \"pg1\"").contains("already serves a primary role"));
    assert!(error("standby = \"go2\"", "standby = \"pg1\"").contains("already serves a primary role"));
}

#[test]
fn a_host_needs_one_way_to_be_reached() {
    let line = line_of("[hosts.pg1]");
    assert!(error("ssh = \"root@198.18.5.11\"", "").starts_with(&format!("bc.toml:{line}: hosts.pg1: no way")));
    assert!(error("ssh = \"root@198.18.5.11\"", "ssh = \"-oProxyCommand=x\"").contains("is not a destination"));
    assert!(error("ssh = \"root@198.18.5.11\"", "ssh = \"a\"\ntransport = \"local\"").contains("expected one of them"));
}

#[test]
fn values_out_of_shape_say_what_was_expected() {
    assert!(error("\"16MB\"", "\"16 megs\"").contains("such as \"16MB\""));
    assert!(error("\"198.18.5.200/24\"", "\"198.18.5.200\"").contains("vip.address"));
    assert!(error("port = 5432", "port = 70000").contains("postgresql.port"));
    assert!(error("promote = \"120s\"", "promote = \"120\"").contains("timeouts.promote: `120` is not a duration"));
    assert!(error("promote = \"120s\"", "promote = \"0s\"").contains("is not a duration"));
    assert!(error("site = \"gocd\"", "site = \"../x\"").contains("part of a path"));
    assert!(
        error("layout = \"debian\"", "data-directory = \"var\"\nbin-directory = \"/b\"\nservice = \"s\"")
            .contains("absolute path")
    );
}

#[test]
fn both_gocd_hosts_have_an_access_token_or_none_has() {
    const TOKEN: &str = "api-token-file = \"/etc/bcctl/gocd-token\"";
    let of = |to: &str| Inventory::parse("bc.toml", &EXAMPLE.replacen(TOKEN, to, 1));
    let inventory = of(TOKEN).expect("the example");
    assert_eq!(inventory.gocd_server("go2").api_token_file, Some("/etc/bcctl/gocd-token"));
    assert_eq!(of("").expect("none").gocd_server("go1").api_token_file, None);
    let both = "on = { go1 = { api-token-file = \"/a\" }, go2 = { api-token-file = \"/b\" } }";
    assert_eq!(of(both).expect("both").gocd_server("go2").api_token_file, Some("/b"));
    let one = error(TOKEN, "on = { go1 = { api-token-file = \"/a\" } }");
    assert!(one.contains("gocd.on.go2.api-token-file: go2 has none"), "{one}");
    assert!(
        error(TOKEN, "api-token-file = \"token\"").contains("gocd.api-token-file: `token`: expected an absolute path")
    );
}

#[test]
fn what_is_gocds_alone_is_refused_for_postgresql_and_names_are_names() {
    let commands = "[postgresql.on.pg2]\ncommands = { start = \"a\", stop = \"b\", status = \"c\", start-in-maintenance = \"d\" }\n[gocd]";
    assert!(error("[gocd]", commands).contains("commands.start-in-maintenance: maintenance mode is GoCD's"));
    assert!(error("port = 8153", "port = 8153\ndatabase = \"a;b\"").contains("gocd.database: `a;b`"));
    assert!(error("port = 8153", "port = 8153\nartifacts-directory = \"artifacts\"").contains("absolute path"));
}

#[test]
fn a_pair_without_a_service_is_refused() {
    assert!(error("service = \"go-server.service\"", "").contains("gocd: no service for go1"));
}

#[test]
fn sizes_read_and_print_as_postgresql_writes_them() {
    for (text, bytes, printed) in
        [("16MB", 16 << 20, "16 MB"), ("0B", 0, "0 B"), ("3kB", 3 << 10, "3072 B"), ("2GB", 2 << 30, "2048 MB")]
    {
        let parsed: Bytes = text.parse().expect("a size");
        assert_eq!(parsed, Bytes(bytes));
        assert_eq!(parsed.to_string(), printed);
    }
    for wrong in ["", "16", "MB", "-1MB", "1.5GB", "99999999999TB", "16mb"] {
        wrong.parse::<Bytes>().expect_err(wrong);
    }
}

const SMALL: &str = r#"
    site = "small"
    vip = { address = "198.18.5.200/24", interface = "eth0" }
    hosts = { one = { ssh = "root@one" }, two = { ssh = "root@two" } }
    gocd = { primary = "one", standby = "two", service = "go-server" }
    [postgresql]
    primary = "one"
    standby = "two"
"#;

#[test]
fn a_layout_says_where_the_packages_put_things() {
    let parse = |more: &str| Inventory::parse("bc.toml", &format!("{SMALL}{more}"));
    let debian = parse("layout = 'debian'\nversion = '9.6'\ncluster = 'ci'").expect("a site");
    let server = debian.server("one");
    assert_eq!(server.data_directory, "/var/lib/postgresql/9.6/ci");
    assert_eq!(server.bin_directory, "/usr/lib/postgresql/9.6/bin");
    assert_eq!(server.config_directory, "/etc/postgresql/9.6/ci", "outside the data directory");
    assert_eq!(server.service, Service::Systemd("postgresql@9.6-ci.service"));
    let pgdg = parse("layout = 'pgdg'\nversion = '16'\ndata-directory = '/srv/pg'").expect("a site");
    let server = pgdg.server("two");
    assert_eq!((server.data_directory, server.bin_directory), ("/srv/pg", "/usr/pgsql-16/bin"));
    assert_eq!(server.config_directory, "/srv/pg", "with the data");
    assert_eq!(server.service, Service::Systemd("postgresql-16.service"));
    let plain =
        parse("service = 'pg'\ndata-directory = '/srv/pg'\nbin-directory = '/opt/pgsql-12/bin'").expect("a site");
    assert_eq!(plain.postgresql.version, "12".parse().expect("a version"), "from the path of the programs");
}

#[test]
fn what_no_layout_and_no_path_says_has_to_be_written() {
    let error = |more: &str| Inventory::parse("bc.toml", &format!("{SMALL}{more}")).expect_err("wrong").to_string();
    let unsaid = error("service = 'pg'\ndata-directory = '/srv/pg'\nbin-directory = '/usr/bin'");
    assert!(unsaid.contains("postgresql: missing field `version`"), "{unsaid}");
    assert!(error("version = '15'\nservice = 'pg'").contains("missing field `data-directory`, or a `layout`"));
    assert!(error("version = '8.4'\nlayout = 'debian'").contains("postgresql.version: `8.4` is not a version"));
    assert!(error("version = '15'\nlayout = 'pgdg'\ncluster = 'main'").contains("`cluster` is for"));
    let error = error("version = '15'\nlayout = 'pgdg'\narchive = { directory = '/share/$HOME' }");
    assert!(error.contains("postgresql.archive.directory: `/share/$HOME`"), "{error}");
}

#[test]
fn a_way_to_prove_oneself_is_one_that_the_server_can_read() {
    let parse = |more: &str| Inventory::parse("bc.toml", &format!("{SMALL}layout = 'debian'\n{more}"));
    let auth =
        |more: &str| parse(more).map(|inventory| inventory.postgresql.replication_auth).map_err(|e| e.to_string());
    assert_eq!(auth("version = '15'").as_deref(), Ok("scram-sha-256"));
    assert_eq!(auth("version = '9.6'").as_deref(), Ok("md5"));
    assert_eq!(auth("version = '15'\nreplication-auth = 'cert map=x'").as_deref(), Ok("cert map=x"));
    for (more, words) in [
        ("version = '15'\nreplication-auth = 'scram-sha256'", "\"scram-sha256\" is not known here"),
        ("version = '15'\nreplication-auth = \"md5\\nhost all\"", "is not known here"),
        ("version = '9.6'\nreplication-auth = 'scram-sha-256'", "PostgreSQL 9.6 has no scram-sha-256"),
    ] {
        let error = auth(more).expect_err(more);
        assert!(error.contains(words), "{error}");
    }
}
