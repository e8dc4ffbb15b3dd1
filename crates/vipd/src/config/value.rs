//! Single values: from TOML to the types of the field, or "found …, expected …".

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeValue;
use vrrp::wire::ChecksumForm;
use vrrp::{Priority, Version, Vrid};

use super::instance::{Effect, LeaseSetting, OnConflict, Tracked, Weight};
use super::name::{InterfaceName, Name};
use super::service::Principal;
use crate::address::{VipAddress, check_kind};
use crate::lease::LeasePlan;

type Read<T> = Result<T, String>;

/// How long anything in this file may be told to wait.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// What a value is, in words short enough for an error.
pub(super) fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
        DeValue::Integer(_) => "a number".to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// A text in quotes, cut where it grows long, with nothing in it that a terminal would obey.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}

fn wrong<T>(value: &DeValue<'_>, expected: &str) -> Read<T> {
    Err(format!("found {}, expected {expected}", describe(value)))
}

/// `"text"`.
pub(super) fn text(value: &DeValue<'_>) -> Read<String> {
    match value.as_str() {
        Some(text) if text.contains('\0') => wrong(value, "a string without a zero byte"),
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        Some(_) | None => wrong(value, "a string in quotes, not empty"),
    }
}

/// `true` or `false`.
pub(super) fn truth(value: &DeValue<'_>) -> Read<bool> {
    value.as_bool().map_or_else(|| wrong(value, "true or false"), Ok)
}

/// A whole number in a range; `expected` is the range in words.
pub(super) fn number(range: RangeInclusive<i64>, expected: &str) -> impl Fn(&DeValue<'_>) -> Read<i64> {
    move |value| {
        let number = value.as_integer().and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok());
        number.filter(|number| range.contains(number)).map_or_else(|| wrong(value, expected), Ok)
    }
}

/// A count that fits 32 bits.
pub(super) fn count(range: RangeInclusive<u32>, expected: &str) -> impl Fn(&DeValue<'_>) -> Read<u32> {
    let number = number(i64::from(*range.start())..=i64::from(*range.end()), expected);
    move |value| number(value).and_then(|number| u32::try_from(number).map_err(|error| error.to_string()))
}

fn byte<T>(value: &DeValue<'_>, expected: &str, make: impl Fn(u8) -> Option<T>) -> Read<T> {
    let number = number(0..=255, expected)(value)?;
    u8::try_from(number).ok().and_then(make).map_or_else(|| wrong(value, expected), Ok)
}

/// A virtual router's number.
pub(super) fn vrid(value: &DeValue<'_>) -> Read<Vrid> {
    byte(value, "1 to 255", Vrid::new)
}

/// A priority.
pub(super) fn priority(value: &DeValue<'_>) -> Read<Priority> {
    byte(value, "1 to 254, or 255 for the owner of the addresses", Priority::new)
}

/// A lowest TTL.
pub(super) fn ttl(value: &DeValue<'_>) -> Read<u8> {
    byte(value, "1 to 255", |ttl| (ttl > 0).then_some(ttl))
}

/// `2` or `3`.
pub(super) fn version(value: &DeValue<'_>) -> Read<Version> {
    match number(2..=3, "2 (RFC 3768) or 3 (RFC 9568)")(value)? {
        2 => Ok(Version::V2),
        _ => Ok(Version::V3),
    }
}

/// Milliseconds; whether the protocol can carry them depends on its version.
pub(super) fn milliseconds(value: &DeValue<'_>) -> Read<u64> {
    let number = number(0..=i64::from(u32::MAX), "whole milliseconds, such as 1000")(value)?;
    u64::try_from(number).map_err(|error| error.to_string())
}

/// `"1s"`, `"300ms"`, `"5m"`, within a range.
pub(super) fn duration(least: Duration) -> impl Fn(&DeValue<'_>) -> Read<Duration> {
    duration_up_to(least, LONGEST)
}

/// The same with a limit of its own.
fn duration_up_to(least: Duration, most: Duration) -> impl Fn(&DeValue<'_>) -> Read<Duration> {
    move |value| {
        let parsed = value.as_str().and_then(|text| text.parse::<jiff::SignedDuration>().ok());
        let Some(duration) = parsed.and_then(|signed| Duration::try_from(signed).ok()) else {
            return wrong(value, "a number and a unit in quotes, such as \"300ms\", \"2s\" or \"5m\"");
        };
        if duration < least || duration > most {
            return wrong(value, &format!("{} to {}", jiff_words(least), jiff_words(most)));
        }
        Ok(duration)
    }
}

fn jiff_words(duration: Duration) -> String {
    jiff::SignedDuration::try_from(duration).map_or_else(|_| format!("{duration:?}"), |signed| format!("{signed:#}"))
}

/// A name of our own.
pub(super) fn name(value: &DeValue<'_>) -> Read<Name> {
    let name = value.as_str().and_then(Name::new);
    name.map_or_else(
        || wrong(value, "1 to 64 letters, digits, `-`, `_` and `.`: it becomes a metric label and part of file names"),
        Ok,
    )
}

/// A network interface.
pub(super) fn interface(value: &DeValue<'_>) -> Read<InterfaceName> {
    match value.as_str() {
        Some(text) => InterfaceName::new(text),
        None => wrong(value, "the name of an interface, such as \"eth0\""),
    }
}

/// The interface of an instance: one that others can be heard on.
pub(super) fn home(value: &DeValue<'_>) -> Read<InterfaceName> {
    match interface(value)? {
        loopback if loopback.as_str() == "lo" => {
            wrong(value, "the interface that the clients are on: no other host hears what is said on the loopback")
        }
        other => Ok(other),
    }
}

/// A virtual address with its prefix length.
pub(super) fn virtual_address(value: &DeValue<'_>) -> Read<IpNet> {
    const EXPECTED: &str = "an address with its prefix length, such as \"198.18.5.200/24\" or \"fd00::200/64\"";
    let Some(text) = value.as_str() else { return wrong(value, EXPECTED) };
    match text.parse::<VipAddress>() {
        Ok(vip) => Ok(vip.0),
        Err(reason) => Err(format!("found {}: {reason}", quoted(text))),
    }
}

/// The address of a host.
pub(super) fn host_address(value: &DeValue<'_>) -> Read<IpAddr> {
    let address = value.as_str().and_then(|text| text.parse::<IpAddr>().ok());
    match address {
        Some(address) if check_kind(address).is_ok() => Ok(address),
        Some(_) | None => wrong(value, "the address of a host, such as \"198.18.5.11\", without a prefix length"),
    }
}

/// Where to listen.
pub(super) fn listen(value: &DeValue<'_>) -> Read<SocketAddr> {
    let is_ours = |address: &SocketAddr| {
        let ip = address.ip();
        address.port() > 0 && !ip.is_multicast() && ip != IpAddr::V4(Ipv4Addr::BROADCAST)
    };
    let address = value.as_str().and_then(|text| text.parse::<SocketAddr>().ok()).filter(is_ours);
    address.map_or_else(
        || wrong(value, "an address of this host and a port, such as \"127.0.0.1:9150\" or \"[::1]:9150\""),
        Ok,
    )
}

/// The absolute path of a Unix socket, as long as the kernel takes one (unix(7)).
pub(super) fn socket(value: &DeValue<'_>) -> Read<PathBuf> {
    const LONGEST: usize = 107;
    let text = text(value)?;
    match text.len() {
        length if length > LONGEST => {
            wrong(value, &format!("at most {LONGEST} bytes and not {length}: a socket has no longer path"))
        }
        length if length > 1 && text.starts_with('/') => Ok(PathBuf::from(text)),
        _ => wrong(value, "an absolute path"),
    }
}

/// One word of a command.
pub(super) fn word(value: &DeValue<'_>) -> Read<String> {
    match value.as_str() {
        Some(text) if !text.contains('\0') => Ok(text.to_owned()),
        Some(_) | None => wrong(value, "a string in quotes, without a zero byte"),
    }
}

/// A user or group, by name or number.
pub(super) fn principal(value: &DeValue<'_>) -> Read<Principal> {
    const EXPECTED: &str = "a name such as \"go\", or a number from 0 to 4294967294";
    match value {
        DeValue::Integer(_) => count(0..=u32::MAX - 1, EXPECTED)(value).map(Principal::Id),
        DeValue::String(name) if is_account_name(name) => Ok(Principal::Name(name.to_string())),
        _ => wrong(value, EXPECTED),
    }
}

/// The name of an account, as `useradd` allows it.
pub(super) fn account(value: &DeValue<'_>) -> Read<String> {
    match value.as_str() {
        Some(name) if is_account_name(name) => Ok(name.to_owned()),
        Some(_) | None => wrong(value, "the name of a user, such as \"nobody\""),
    }
}

fn is_account_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '$');
    name.len() <= 32 && name.chars().all(allowed) && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// `true`, `false`, or a length.
pub(super) fn lease(value: &DeValue<'_>) -> Read<LeaseSetting> {
    match value {
        DeValue::Boolean(true) => Ok(LeaseSetting::Automatic),
        DeValue::Boolean(false) => Ok(LeaseSetting::Off),
        DeValue::String(_) => {
            duration_up_to(Duration::from_millis(40), LeasePlan::LONGEST)(value).map(LeaseSetting::Fixed)
        }
        _ => wrong(value, "true, false, or a length such as \"2s\""),
    }
}

/// One of a few words.
pub(super) fn one_of<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&DeValue<'_>) -> Read<T> {
    move |value| {
        let known = value.as_str().and_then(|text| words.iter().find(|(word, _)| *word == text));
        known.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words = words.iter().map(|(word, _)| format!("{word:?}")).collect::<Vec<_>>().join(" or ");
            format!("found {}, expected {words}", describe(value))
        })
    }
}

/// The two answers to a conflict.
pub(super) const ON_CONFLICT: &[(&str, OnConflict)] =
    &[("defend", OnConflict::Defend), ("release", OnConflict::Release)];

/// The two checksums of v3 over IPv4.
pub(super) const CHECKSUM: &[(&str, ChecksumForm)] =
    &[("rfc5798", ChecksumForm::Rfc5798), ("rfc9568", ChecksumForm::Rfc9568)];

/// A weight; 0 is none.
pub(super) fn effect(value: &DeValue<'_>) -> Read<Effect> {
    let number = number(-253..=253, "a weight from -253 to 253, or 0 for none")(value)?;
    let weight = i16::try_from(number).map_err(|error| error.to_string())?;
    Ok(Weight::new(weight).map_or(Effect::Fault, Effect::Weight))
}

/// `"NAME"`, or `{ name = "NAME", weight = -20 }`. Without a weight the effect is open.
pub(super) fn tracked<T>(
    read_name: impl Fn(&DeValue<'_>) -> Read<T>,
) -> impl Fn(&DeValue<'_>) -> Read<Tracked<T, Option<Effect>>> {
    move |value| {
        let Some(table) = value.as_table() else {
            return Ok(Tracked { what: read_name(value)?, effect: None });
        };
        if let Some(unknown) = table.keys().find(|key| !["name", "weight"].contains(&key.get_ref().as_ref())) {
            return Err(format!("unknown key {}; expected {{ name = …, weight = … }}", quoted(unknown.get_ref())));
        }
        let name = table.get("name").ok_or("`name` is missing; expected { name = …, weight = … }")?;
        let effect = table.get("weight").map(|weight| effect(weight.get_ref())).transpose()?;
        Ok(Tracked { what: read_name(name.get_ref())?, effect })
    }
}
