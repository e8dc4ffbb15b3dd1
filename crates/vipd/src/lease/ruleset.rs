//! What the dead-man switch looks like in nf_tables: tables, chains, maps, sets and rules, and the messages for them. Pure.
//!
//! As the `nft` program lists it, for lease 7 and IPv4 (IPv6, and IPv6 link-local with the interface in the key, are alike):
//!
//! ```text
//! table inet vipd {
//!     map guarded4 { type ipv4_addr : verdict; elements = { 198.18.5.200 : goto lease-7 } }
//!     map guarded6 …  map guarded-link …
//!     set live { type mark; flags timeout; elements = { 7 timeout 338ms expires 290ms } }
//!     chain lease-7 { meta mark & 0 | 7 == @live accept; counter drop }
//!     chain incoming { type filter hook prerouting priority -300; policy accept; ip daddr vmap @guarded4 … }
//!     chain outgoing { type filter hook postrouting priority 300; policy accept; ip saddr vmap @guarded4 … }
//! }
//! table arp vipd {
//!     map guarded4 …  set live …  chain lease-7 …
//!     chain incoming { type filter hook input priority -300; policy accept; arp daddr ip vmap @guarded4 }
//!     chain outgoing { type filter hook output priority 300; policy accept; arp saddr ip vmap @guarded4 }
//! }
//! ```
//!
//! A renewal touches one element in each table, however many addresses the lease has; a packet is judged by one look-up of
//! its address, however many leases there are. (A map from addresses to numbers, to be looked up in the set, would need no
//! chains, but the `nft` program of Debian 12 crashes when it has to list that.)
//!
//! Why there: *prerouting at −300* is before connection tracking and before any destination NAT (a published container
//! port), so a lapse leaves no trace in either and nothing gets past it. *Postrouting at 300* is after source NAT, and
//! neighbour advertisements pass it: their source is the address (RFC 4861 §7.2.4), so a solicitation that came in with a
//! multicast destination stays unanswered. What the host itself sends to a lapsed global address is dropped as well:
//! better an error than an answer from the service that has moved away. Our own announcements do not pass here
//! (AF_PACKET), so the address must be live before it is announced.
//!
//! With Accept_Mode false (RFC 9568 §6.1) the chain in `inet` lets in only neighbour solicitations and advertisements, and
//! lets out everything; ARP has a table of its own. What is forwarded is for other addresses and does not come here.

use std::fmt;

use super::address::{Leased, Scope};
use super::batch::{Attributes, Batch, Operation};
use super::expression::Expression::{
    self, Byte, Count, Decide, Dispatch, Family as OfFamily, GoesOut, If, Meta, Network,
};
use super::uapi::{
    DATA_VERDICT, NF_ACCEPT, NF_ARP_IN, NF_ARP_OUT, NF_DROP, NF_INET_POST_ROUTING, NF_INET_PRE_ROUTING, NFPROTO_IPV4,
    NFPROTO_IPV6, NFT_GOTO, NFT_META_IIF, NFT_META_OIF, NFT_REG_1, NFT_REG32_01, NFT_SET_MAP, NFT_SET_TIMEOUT,
    NFTA_CHAIN_HOOK, NFTA_CHAIN_NAME, NFTA_CHAIN_TABLE, NFTA_CHAIN_TYPE, NFTA_DATA_VALUE, NFTA_DATA_VERDICT,
    NFTA_HOOK_HOOKNUM, NFTA_HOOK_PRIORITY, NFTA_LIST_ELEM, NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS, NFTA_RULE_TABLE,
    NFTA_SET_DATA_LEN, NFTA_SET_DATA_TYPE, NFTA_SET_ELEM_DATA, NFTA_SET_ELEM_EXPIRATION, NFTA_SET_ELEM_KEY,
    NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_ELEM_TIMEOUT,
    NFTA_SET_FLAGS, NFTA_SET_ID, NFTA_SET_KEY_LEN, NFTA_SET_KEY_TYPE, NFTA_SET_NAME, NFTA_SET_TABLE, NFTA_SET_USERDATA,
    NFTA_TABLE_FLAGS, NFTA_TABLE_NAME, NFTA_TABLE_USERDATA, NFTA_VERDICT_CHAIN, NFTA_VERDICT_CODE,
    UDATA_SET_KEY_IN_HOST_ORDER, UDATA_TABLE_COMMENT,
};

/// Shown by `nft list ruleset` to whoever wonders.
const COMMENT: &str = "vipd: keeps a virtual IP silent unless vipd renews its lease";

/// Elements in one message: its nest must stay below 65,536 bytes, and an element takes at most 80.
const ELEMENTS_PER_MESSAGE: usize = 800;

/// The type of a lease's number as the `nft` program names it (mark: in the machine's byte order), and its length in bytes.
const NUMBER_TYPE: u32 = 19;
pub(super) const NUMBER_LEN: u32 = 4;

/// The next header of ICMPv6, and its messages of neighbour discovery (RFC 4861 §4.3, §4.4).
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// Names a set within the transaction that makes it; each set and map of a table needs another.
const LIVE_ID: u32 = 1;

/// The packet families that we have a table in (`NFPROTO_…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Family {
    Inet = 1,
    Arp = 3,
}

impl Family {
    pub(super) const ALL: [Self; 2] = [Self::Arp, Self::Inet];

    pub(super) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|&family| family as u8 == number)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Arp => "arp",
        }
    }

    /// The kinds of addresses that are met in this family.
    pub(super) const fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Arp => &[Scope::V4],
            Self::Inet => &[Scope::V4, Scope::V6, Scope::OnLink],
        }
    }
}

/// The map of the guarded addresses.
pub(super) const fn guarded_name(scope: Scope) -> &'static str {
    match scope {
        Scope::V4 => "guarded4",
        Scope::V6 => "guarded6",
        Scope::OnLink => "guarded-link",
    }
}

/// The set of the leases that run, by number.
pub(super) const LIVE: &str = "live";

/// The name of the chain that judges the packets of the lease of that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeaseChain(pub(super) u32);

impl LeaseChain {
    /// Reads the name, as it is kept in a map: with the zero byte that ends it.
    pub(super) fn from_name(name: &[u8]) -> Option<Self> {
        let name = std::str::from_utf8(name.strip_suffix(b"\0")?).ok()?;
        name.strip_prefix("lease-")?.parse().ok().map(Self)
    }
}

impl fmt::Display for LeaseChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lease-{}", self.0)
    }
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Our tables have no objection.
    Accept,
    Drop,
    /// The chain of its lease decides.
    Goto(LeaseChain),
}

impl Verdict {
    /// Writes it into the attribute of an instruction or of a map's element.
    pub(super) fn emit(self, data: &mut Attributes<'_>) {
        let (code, chain) = match self {
            Self::Accept => (NF_ACCEPT, None),
            Self::Drop => (NF_DROP, None),
            Self::Goto(chain) => (NFT_GOTO, Some(chain)),
        };
        data.nest(NFTA_DATA_VERDICT, |verdict| {
            verdict.raw(NFTA_VERDICT_CODE, &code.to_be_bytes());
            if let Some(chain) = chain {
                verdict.text(NFTA_VERDICT_CHAIN, chain);
            }
        });
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Incoming,
    Outgoing,
}

impl Direction {
    const fn chain(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Outgoing => "outgoing",
        }
    }

    const fn hook(self, family: Family) -> u32 {
        match (family, self) {
            (Family::Arp, Self::Incoming) => NF_ARP_IN,
            (Family::Arp, Self::Outgoing) => NF_ARP_OUT,
            (Family::Inet, Self::Incoming) => NF_INET_PRE_ROUTING,
            (Family::Inet, Self::Outgoing) => NF_INET_POST_ROUTING,
        }
    }

    /// First on the way in, last on the way out.
    const fn priority(self) -> i32 {
        match self {
            Self::Incoming => -300,
            Self::Outgoing => 300,
        }
    }
}

/// The instructions that bring our side's address into the registers: the destination of what comes in, the source of
/// what goes out.
fn load(family: Family, scope: Scope, direction: Direction) -> [Option<Expression>; 3] {
    use Direction::{Incoming, Outgoing};
    let at = |offset, len, register| Some(Network { offset, len, register });
    match (family, scope, direction) {
        // RFC 826 with hardware addresses of six bytes: sender protocol address at 14, target's at 24.
        (Family::Arp, _, Incoming) => [None, None, at(24, 4, NFT_REG_1)],
        (Family::Arp, _, Outgoing) => [None, None, at(14, 4, NFT_REG_1)],
        // RFC 791 §3.1
        (Family::Inet, Scope::V4, Incoming) => [Some(OfFamily(NFPROTO_IPV4)), None, at(16, 4, NFT_REG_1)],
        (Family::Inet, Scope::V4, Outgoing) => [Some(OfFamily(NFPROTO_IPV4)), None, at(12, 4, NFT_REG_1)],
        // RFC 8200 §3
        (Family::Inet, Scope::V6, Incoming) => [Some(OfFamily(NFPROTO_IPV6)), None, at(24, 16, NFT_REG_1)],
        (Family::Inet, Scope::V6, Outgoing) => [Some(OfFamily(NFPROTO_IPV6)), None, at(8, 16, NFT_REG_1)],
        (Family::Inet, Scope::OnLink, Incoming) => {
            let link = Meta { key: NFT_META_IIF, register: NFT_REG_1 };
            [Some(OfFamily(NFPROTO_IPV6)), Some(link), at(24, 16, NFT_REG32_01)]
        }
        (Family::Inet, Scope::OnLink, Outgoing) => {
            let link = Meta { key: NFT_META_OIF, register: NFT_REG_1 };
            [Some(OfFamily(NFPROTO_IPV6)), Some(link), at(8, 16, NFT_REG32_01)]
        }
    }
}

/// Makes our tables anew, without addresses and leases, whatever was in them.
///
/// `flags` are the table's (`NFT_TABLE_F_…`), 0 for none.
pub(super) fn install(batch: &mut Batch, table: &str, flags: u32) {
    for family in Family::ALL {
        remove_family(batch, family, table);
        add_table(batch, family, table, flags);
        add_live_set(batch, family, table);
        for (id, &scope) in (LIVE_ID + 1..).zip(family.scopes()) {
            add_guarded_map(batch, family, table, scope, id);
        }
        for direction in [Direction::Incoming, Direction::Outgoing] {
            add_hook(batch, family, table, direction);
            for &scope in family.scopes() {
                let load = load(family, scope, direction).into_iter().flatten();
                add_rule(batch, family, table, direction.chain(), load.chain([Dispatch(guarded_name(scope))]));
            }
        }
    }
}

/// Removes our tables with all that is in them, if they are there.
pub(super) fn remove(batch: &mut Batch, table: &str) {
    Family::ALL.into_iter().for_each(|family| remove_family(batch, family, table));
}

/// A table without chains, and in it the set of leases that run: to try things in.
pub(super) fn scratch(batch: &mut Batch, table: &str, flags: u32) {
    remove_family(batch, Family::Inet, table);
    add_table(batch, Family::Inet, table, flags);
    add_live_set(batch, Family::Inet, table);
}

/// Adding first makes the deletion succeed if there was none.
pub(super) fn remove_family(batch: &mut Batch, family: Family, table: &str) {
    batch.push(family, Operation::AddTable, |message| message.text(NFTA_TABLE_NAME, table));
    batch.push(family, Operation::DeleteTable, |message| message.text(NFTA_TABLE_NAME, table));
}

/// What is let in for the addresses of a lease that runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admission {
    /// Everything.
    #[default]
    All,
    /// Only what finds out where they are: ARP, neighbour solicitations and advertisements (RFC 9568 §6.1, Accept_Mode
    /// false).
    Discovery,
}

/// Makes the chain of a new lease, which does not run.
pub(super) fn add_lease(batch: &mut Batch, table: &str, number: u32, admission: Admission) {
    for family in Family::ALL {
        batch.push(family, Operation::AddChain, |message| {
            message.text(NFTA_CHAIN_TABLE, table);
            message.text(NFTA_CHAIN_NAME, LeaseChain(number));
        });
        add_lease_rules(batch, family, table, number, admission);
    }
}

/// Lets something else in for the addresses of a lease that has a chain, from one packet to the next.
pub(super) fn readmit(batch: &mut Batch, table: &str, number: u32, admission: Admission) {
    for family in Family::ALL {
        batch.push(family, Operation::DeleteRules, |message| {
            message.text(NFTA_RULE_TABLE, table);
            message.text(NFTA_RULE_CHAIN, LeaseChain(number));
        });
        add_lease_rules(batch, family, table, number, admission);
    }
}

fn add_lease_rules(batch: &mut Batch, family: Family, table: &str, number: u32, admission: Admission) {
    let chain = LeaseChain(number);
    let mut accept = |of: &[Expression]| {
        let lives = [If { number, set: LIVE }, Decide(Verdict::Accept)];
        add_rule(batch, family, table, chain, of.iter().copied().chain(lives));
    };
    match (family, admission) {
        (Family::Arp, _) | (Family::Inet, Admission::All) => accept(&[]),
        (Family::Inet, Admission::Discovery) => {
            accept(&[GoesOut]);
            // RFC 8200 §3: next header at 6; RFC 4861 §4.3, §4.4: the type comes first after a header without extensions.
            let discovery = Byte { offset: 40, least: SOLICITATION, most: ADVERTISEMENT };
            accept(&[OfFamily(NFPROTO_IPV6), Byte { offset: 6, least: ICMPV6, most: ICMPV6 }, discovery]);
        }
    }
    add_rule(batch, family, table, chain, [Count, Decide(Verdict::Drop)].into_iter());
}

/// Adds addresses, each with the number of its lease, to the maps of all families, or deletes them from there.
///
/// An address that is there already must be of the same lease.
pub(super) fn guarded<I>(batch: &mut Batch, table: &str, operation: Operation, addresses: I)
where
    I: Iterator<Item = (Leased, u32)> + Clone,
{
    for family in Family::ALL {
        for &scope in family.scopes() {
            let of_scope = addresses.clone().filter(|(leased, _)| leased.scope() == scope);
            elements(batch, family, operation, table, guarded_name(scope), of_scope, |element, (leased, number)| {
                key(element, &leased.key()[..scope.key_len()]);
                element.nest(NFTA_SET_ELEM_DATA, |data| Verdict::Goto(LeaseChain(number)).emit(data));
            });
        }
    }
}

/// Lets leases run, each for so many milliseconds, or ends them, in both families.
///
/// A lease that runs already gets the new milliseconds on a kernel that can update them, else it is left as it is.
pub(super) fn live<I>(batch: &mut Batch, table: &str, operation: Operation, leases: I)
where
    I: Iterator<Item = (u32, Option<u64>)> + Clone,
{
    Family::ALL.into_iter().for_each(|family| live_of(batch, family, table, operation, leases.clone()));
}

/// The same in one family.
pub(super) fn live_of<I>(batch: &mut Batch, family: Family, table: &str, operation: Operation, leases: I)
where
    I: Iterator<Item = (u32, Option<u64>)>,
{
    elements(batch, family, operation, table, LIVE, leases, |element, (number, milliseconds)| {
        key(element, &number.to_ne_bytes());
        if let Some(milliseconds) = milliseconds {
            element.long(NFTA_SET_ELEM_TIMEOUT, milliseconds);
            // Without this a kernel that can update an element leaves the remaining time of an unchanged timeout alone.
            element.long(NFTA_SET_ELEM_EXPIRATION, milliseconds);
        }
    });
}

/// Asks for the elements of a set or a map.
pub(super) fn list(batch: &mut Batch, family: Family, table: &str, set: &str) {
    batch.ask(family, Operation::ListElements, |message| {
        message.text(NFTA_SET_ELEM_LIST_TABLE, table);
        message.text(NFTA_SET_ELEM_LIST_SET, set);
    });
}

fn elements<T>(
    batch: &mut Batch,
    family: Family,
    operation: Operation,
    table: &str,
    set: &str,
    items: impl Iterator<Item = T>,
    emit: impl Fn(&mut Attributes<'_>, T),
) {
    let mut items = items.peekable();
    while items.peek().is_some() {
        batch.push(family, operation, |message| {
            message.text(NFTA_SET_ELEM_LIST_TABLE, table);
            message.text(NFTA_SET_ELEM_LIST_SET, set);
            message.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |list| {
                for item in items.by_ref().take(ELEMENTS_PER_MESSAGE) {
                    list.nest(NFTA_LIST_ELEM, |element| emit(element, item));
                }
            });
        });
    }
}

fn key(element: &mut Attributes<'_>, bytes: &[u8]) {
    element.nest(NFTA_SET_ELEM_KEY, |data| data.raw(NFTA_DATA_VALUE, bytes));
}

fn add_table(batch: &mut Batch, family: Family, table: &str, flags: u32) {
    batch.push(family, Operation::AddTable, |message| {
        message.text(NFTA_TABLE_NAME, table);
        message.number(NFTA_TABLE_FLAGS, flags);
        message.raw(NFTA_TABLE_USERDATA, &comment());
    });
}

/// The table's comment as the `nft` program keeps it: type, length, text.
fn comment() -> Vec<u8> {
    let length = u8::try_from(COMMENT.len() + 1).unwrap_or(u8::MAX);
    [&[UDATA_TABLE_COMMENT, length], COMMENT.as_bytes(), &[0]].concat()
}

fn add_live_set(batch: &mut Batch, family: Family, table: &str) {
    batch.push(family, Operation::AddSet, |message| {
        message.text(NFTA_SET_TABLE, table);
        message.text(NFTA_SET_NAME, LIVE);
        message.number(NFTA_SET_FLAGS, NFT_SET_TIMEOUT);
        message.number(NFTA_SET_KEY_TYPE, NUMBER_TYPE);
        message.number(NFTA_SET_KEY_LEN, NUMBER_LEN);
        message.number(NFTA_SET_ID, LIVE_ID);
        message.raw(NFTA_SET_USERDATA, &UDATA_SET_KEY_IN_HOST_ORDER);
    });
}

fn add_guarded_map(batch: &mut Batch, family: Family, table: &str, scope: Scope, id: u32) {
    batch.push(family, Operation::AddSet, |message| {
        message.text(NFTA_SET_TABLE, table);
        message.text(NFTA_SET_NAME, guarded_name(scope));
        message.number(NFTA_SET_FLAGS, NFT_SET_MAP);
        message.number(NFTA_SET_KEY_TYPE, scope.key_type());
        message.number(NFTA_SET_KEY_LEN, u32::try_from(scope.key_len()).unwrap_or(u32::MAX));
        message.number(NFTA_SET_DATA_TYPE, DATA_VERDICT);
        message.number(NFTA_SET_DATA_LEN, 0);
        message.number(NFTA_SET_ID, id);
    });
}

fn add_hook(batch: &mut Batch, family: Family, table: &str, direction: Direction) {
    batch.push(family, Operation::AddChain, |message| {
        message.text(NFTA_CHAIN_TABLE, table);
        message.text(NFTA_CHAIN_NAME, direction.chain());
        message.text(NFTA_CHAIN_TYPE, "filter");
        message.nest(NFTA_CHAIN_HOOK, |hook| {
            hook.number(NFTA_HOOK_HOOKNUM, direction.hook(family));
            hook.raw(NFTA_HOOK_PRIORITY, &direction.priority().to_be_bytes());
        });
    });
}

fn add_rule(
    batch: &mut Batch,
    family: Family,
    table: &str,
    chain: impl fmt::Display,
    expressions: impl Iterator<Item = Expression>,
) {
    batch.push(family, Operation::AddRule, |message| {
        message.text(NFTA_RULE_TABLE, table);
        message.text(NFTA_RULE_CHAIN, chain);
        message.nest(NFTA_RULE_EXPRESSIONS, |rule| expressions.for_each(|expression| expression.emit(rule)));
    });
}
