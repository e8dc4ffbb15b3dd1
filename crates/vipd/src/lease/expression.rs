//! The few instructions of the nf_tables machine that our rules are made of. Pure.

use super::batch::Attributes;
use super::ruleset::{NUMBER_LEN, Verdict};
use super::uapi::{
    NFT_CMP_EQ, NFT_CMP_GTE, NFT_CMP_LTE, NFT_CMP_NEQ, NFT_META_MARK, NFT_META_NFPROTO, NFT_META_OIF,
    NFT_PAYLOAD_NETWORK_HEADER, NFT_REG_1, NFT_REG_VERDICT, NFTA_BITWISE_DREG, NFTA_BITWISE_LEN, NFTA_BITWISE_MASK,
    NFTA_BITWISE_SREG, NFTA_BITWISE_XOR, NFTA_CMP_DATA, NFTA_CMP_OP, NFTA_CMP_SREG, NFTA_DATA_VALUE, NFTA_EXPR_DATA,
    NFTA_EXPR_NAME, NFTA_IMMEDIATE_DATA, NFTA_IMMEDIATE_DREG, NFTA_LIST_ELEM, NFTA_LOOKUP_DREG, NFTA_LOOKUP_SET,
    NFTA_LOOKUP_SREG, NFTA_META_DREG, NFTA_META_KEY, NFTA_PAYLOAD_BASE, NFTA_PAYLOAD_DREG, NFTA_PAYLOAD_LEN,
    NFTA_PAYLOAD_OFFSET,
};

/// One instruction. Lookups take the key from register 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// Leave the rule unless the packet is of this family (`NFPROTO_…`).
    Family(u8),
    /// Leave the rule unless this byte of the network header is within these bounds.
    Byte { offset: u32, least: u8, most: u8 },
    /// Leave the rule unless the packet goes out.
    GoesOut,
    /// Load a fact about the packet into a register.
    Meta { key: u32, register: u32 },
    /// Load bytes of the network header into a register.
    Network { offset: u32, len: u32, register: u32 },
    /// Do as the map says for the key; go on if it says nothing.
    Dispatch(&'static str),
    /// Leave the rule unless the set has this number.
    If { number: u32, set: &'static str },
    /// Count the packet.
    Count,
    /// Decide.
    Decide(Verdict),
}

impl Expression {
    /// Writes it into `NFTA_RULE_EXPRESSIONS`.
    pub(super) fn emit(self, rule: &mut Attributes<'_>) {
        match self {
            Self::Family(family) => {
                Self::Meta { key: NFT_META_NFPROTO, register: NFT_REG_1 }.emit(rule);
                compare(rule, NFT_CMP_EQ, &[family]);
            }
            Self::Byte { offset, least, most } => {
                Self::Network { offset, len: 1, register: NFT_REG_1 }.emit(rule);
                if least == most {
                    compare(rule, NFT_CMP_EQ, &[least]);
                } else {
                    compare(rule, NFT_CMP_GTE, &[least]);
                    compare(rule, NFT_CMP_LTE, &[most]);
                }
            }
            // What comes in has no outgoing interface yet.
            Self::GoesOut => {
                Self::Meta { key: NFT_META_OIF, register: NFT_REG_1 }.emit(rule);
                compare(rule, NFT_CMP_NEQ, &0_u32.to_ne_bytes());
            }
            Self::Meta { key, register } => named(rule, "meta", |data| {
                data.number(NFTA_META_KEY, key);
                data.number(NFTA_META_DREG, register);
            }),
            Self::Network { offset, len, register } => named(rule, "payload", |data| {
                data.number(NFTA_PAYLOAD_DREG, register);
                data.number(NFTA_PAYLOAD_BASE, NFT_PAYLOAD_NETWORK_HEADER);
                data.number(NFTA_PAYLOAD_OFFSET, offset);
                data.number(NFTA_PAYLOAD_LEN, len);
            }),
            Self::Dispatch(map) => named(rule, "lookup", |data| {
                data.text(NFTA_LOOKUP_SET, map);
                data.number(NFTA_LOOKUP_SREG, NFT_REG_1);
                data.number(NFTA_LOOKUP_DREG, NFT_REG_VERDICT);
            }),
            Self::If { number, set } => {
                // A constant cannot be looked up in the language of the `nft` program, so that it could not read its own
                // listing back. A mark with all bits masked out and others put in is a constant that can.
                Self::Meta { key: NFT_META_MARK, register: NFT_REG_1 }.emit(rule);
                named(rule, "bitwise", |data| {
                    data.number(NFTA_BITWISE_SREG, NFT_REG_1);
                    data.number(NFTA_BITWISE_DREG, NFT_REG_1);
                    data.number(NFTA_BITWISE_LEN, NUMBER_LEN);
                    data.nest(NFTA_BITWISE_MASK, |mask| mask.raw(NFTA_DATA_VALUE, &[0; NUMBER_LEN as usize]));
                    data.nest(NFTA_BITWISE_XOR, |xor| xor.raw(NFTA_DATA_VALUE, &number.to_ne_bytes()));
                });
                named(rule, "lookup", |data| {
                    data.text(NFTA_LOOKUP_SET, set);
                    data.number(NFTA_LOOKUP_SREG, NFT_REG_1);
                });
            }
            Self::Count => named(rule, "counter", |_| {}),
            Self::Decide(verdict) => named(rule, "immediate", |data| {
                data.number(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
                data.nest(NFTA_IMMEDIATE_DATA, |value| verdict.emit(value));
            }),
        }
    }
}

/// Leaves the rule unless register 1 compares like that.
fn compare(rule: &mut Attributes<'_>, operator: u32, bytes: &[u8]) {
    named(rule, "cmp", |data| {
        data.number(NFTA_CMP_SREG, NFT_REG_1);
        data.number(NFTA_CMP_OP, operator);
        data.nest(NFTA_CMP_DATA, |value| value.raw(NFTA_DATA_VALUE, bytes));
    });
}

fn named(rule: &mut Attributes<'_>, name: &str, data: impl FnOnce(&mut Attributes<'_>)) {
    rule.nest(NFTA_LIST_ELEM, |element| {
        element.text(NFTA_EXPR_NAME, name);
        element.nest(NFTA_EXPR_DATA, data);
    });
}
