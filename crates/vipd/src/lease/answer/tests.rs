use proptest::prelude::*;

use super::super::address::Leased;
use super::super::batch::Batch;
use super::super::ruleset::{self, LeaseChain};
use super::*;

/// A message as the kernel sends it: to sequence number 7.
fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(NETLINK_HEADER + payload.len()).unwrap().to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(7_u32.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn error(code: i32, flags: u16, quoted: &[u8], attributes: &[u8]) -> Vec<u8> {
    message(NLMSG_ERROR, flags, &[&code.to_ne_bytes(), quoted, attributes].concat())
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn read_all(datagram: &[u8]) -> Vec<(u32, Answer<'_>)> {
    answers(datagram).collect()
}

#[test]
fn an_acknowledgement_is_an_error_message_with_number_0() {
    assert_eq!(read_all(&error(0, NLM_F_CAPPED, &[0; 16], &[])), [(7, Answer::Done)]);
}

#[test]
fn a_refusal_brings_the_kernels_words_whether_it_quotes_our_header_or_all() {
    let words = [attribute(NLMSGERR_ATTR_MSG, b"no such set\0"), attribute(NLMSGERR_ATTR_OFFS, &40_u32.to_ne_bytes())];
    let expected = Refused { errno: 2, words: Some("no such set"), offset: Some(40) };
    let capped = error(-2, NLM_F_CAPPED | NLM_F_ACK_TLVS, &[0; 16], &words.concat());
    assert_eq!(read_all(&capped), [(7, Answer::Refused(expected))]);

    let mut ours = [0xa5; 24];
    ours[..4].copy_from_slice(&24_u32.to_ne_bytes());
    let whole = error(-2, NLM_F_ACK_TLVS, &ours, &words.concat());
    assert_eq!(read_all(&whole), [(7, Answer::Refused(expected))]);
}

#[test]
fn a_datagram_may_hold_several_messages() {
    let both = [error(-1, 0, &[], &[]), message(NLMSG_DONE, 0, &[0; 4])].concat();
    let refused = Refused { errno: 1, words: None, offset: None };
    assert_eq!(read_all(&both), [(7, Answer::Refused(refused)), (7, Answer::Done)]);
}

#[test]
fn a_disturbed_list_is_noticed() {
    assert_eq!(read_all(&message(NLMSG_DONE, NLM_F_DUMP_INTR, &[0; 4])), [(7, Answer::Interrupted)]);
}

/// What we write to add elements is laid out as what the kernel sends to list them.
#[test]
fn elements_read_back_as_they_were_written() {
    let read = |batch: &Batch, message: usize| match read_all(batch.bytes())[message] {
        (_, Answer::Elements(list)) => {
            elements(list).map(|one| (one.key.to_vec(), LeaseChain::from_name(one.chain), one.left)).collect()
        }
        _ => Vec::new(),
    };
    for (address, link) in [("198.18.5.200", 1), ("fd00::200", 2), ("fe80::200", 3)] {
        let leased = Leased::new(address.parse().unwrap(), link);
        let mut batch = Batch::default();
        ruleset::guarded(&mut batch, "vipd", Operation::AddElements, std::iter::once((leased, 51)));
        let key = leased.key()[..leased.scope().key_len()].to_vec();
        assert_eq!(read(&batch, 0), [(key, Some(LeaseChain(51)), None)], "{address}");
    }
    let mut batch = Batch::default();
    ruleset::live(&mut batch, "vipd", Operation::AddElements, std::iter::once((51, Some(300))));
    let left = Some(Duration::from_millis(300));
    for message in [0, 1] {
        assert_eq!(read(&batch, message), [(51_u32.to_ne_bytes().to_vec(), None, left)], "one in each family");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = elements(&bytes).count();
        let _ = answers(&bytes).count();
    }

    #[test]
    fn no_message_makes_the_reader_panic(kind in 0_u16..0x0b00, flags: u16, payload in proptest::collection::vec(any::<u8>(), 0..80)) {
        for (_, answer) in answers(&message(kind, flags, &payload)) {
            if let Answer::Elements(list) = answer {
                let _ = elements(list).count();
            }
        }
        for (_, _) in answers(&message(NLMSG_ERROR, flags, &payload)) {}
    }
}
