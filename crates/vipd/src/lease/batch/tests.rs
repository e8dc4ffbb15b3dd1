use super::super::uapi::NFTA_TABLE_NAME;
use super::*;

fn one_table(batch: &mut Batch) {
    batch.begin();
    batch.push(Family::Arp, Operation::AddTable, |message| message.text(NFTA_TABLE_NAME, "vipd"));
}

/// As `strace` shows the `nft` program send it, but for the acknowledgement that we ask for.
#[cfg(target_endian = "little")]
#[test]
fn a_transaction_is_framed_as_the_nft_program_frames_it() {
    let mut batch = Batch::default();
    one_table(&mut batch);
    batch.commit();
    #[rustfmt::skip]
    let expected = [
        20, 0, 0, 0,  16, 0,  1, 0,  0, 0, 0, 0,  0, 0, 0, 0,  0, 0, 0, 10,
        32, 0, 0, 0,  0, 10,  5, 4,  1, 0, 0, 0,  0, 0, 0, 0,  3, 0, 0, 0,
        9, 0,  1, 0,  b'v', b'i', b'p', b'd', 0,  0, 0, 0,
        20, 0, 0, 0,  17, 0,  1, 0,  2, 0, 0, 0,  0, 0, 0, 0,  0, 0, 0, 10,
    ];
    assert_eq!(batch.bytes(), expected);
}

#[test]
fn a_rehearsal_has_no_end_but_asks_for_an_answer() {
    let mut batch = Batch::default();
    one_table(&mut batch);
    batch.rehearse();
    assert_eq!(batch.bytes().len(), 20 + 32);
    assert_eq!(batch.last_sequence(), 1);
}

#[test]
fn an_answer_is_told_apart_by_its_sequence_number() {
    let mut batch = Batch::default();
    one_table(&mut batch);
    batch.commit();
    assert!(!batch.contains(3));
    one_table(&mut batch);
    batch.commit();
    assert_eq!(batch.last_sequence(), 4);
    assert!(!batch.contains(2), "an answer to the transaction before");
    assert!((3..=5).all(|sequence| batch.contains(sequence)));
    assert_eq!(batch.operation(4), Some((Operation::AddTable, Family::Arp)));
    assert_eq!(batch.operation(3), None, "the begin of the transaction");
    assert_eq!(batch.operation(9), None);
}

#[test]
fn sequence_numbers_may_wrap() {
    let mut batch = Batch { next: u32::MAX, ..Batch::default() };
    one_table(&mut batch);
    batch.commit();
    assert_eq!(batch.last_sequence(), 0);
    assert!([u32::MAX, 0, 1].into_iter().all(|sequence| batch.contains(sequence)));
    assert!(!batch.contains(2));
}

#[test]
fn a_second_transaction_of_the_same_length_needs_no_new_memory() {
    let mut batch = Batch::default();
    one_table(&mut batch);
    batch.commit();
    let memory = (batch.bytes.as_ptr(), batch.bytes.capacity());
    one_table(&mut batch);
    batch.commit();
    assert_eq!((batch.bytes.as_ptr(), batch.bytes.capacity()), memory);
}
