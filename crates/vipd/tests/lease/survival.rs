//! What survives a renewal, a lapse, a flush; and what thousands of addresses cost.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use vipd::lease::{DeadMan, LeaseId, Leased, Refresh, Renewal, Support};

use crate::wire::{PATIENCE, VIP4, VIP6, Wire};
use crate::{BLUE, GREEN, VIPS, leases, ms, open, possible, renew};

/// An established connection, and how long an echo takes on it.
struct Conversation {
    near: TcpStream,
    far: TcpStream,
    said: u32,
}

impl Conversation {
    fn begin(wire: &Wire, address: IpAddr) -> Self {
        let listener = wire.holder.inside(|| TcpListener::bind((address, 0)).unwrap());
        let to = listener.local_addr().unwrap();
        let near = wire.asker.inside(|| TcpStream::connect_timeout(&to, PATIENCE).unwrap());
        let (far, _) = listener.accept().unwrap();
        for end in [&near, &far] {
            end.set_nodelay(true).unwrap();
        }
        Self { near, far, said: 0 }
    }

    /// Sends a number there and back; `None` if it is not back within `patience`. It may still come.
    fn echo(&mut self, patience: Duration) -> Option<Duration> {
        self.said += 1;
        let start = Instant::now();
        self.near.write_all(&self.said.to_be_bytes()).unwrap();
        self.catch_up(patience).then(|| start.elapsed())
    }

    /// Carries numbers there and back until the last one said is back.
    fn catch_up(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut heard = [0; 4];
        loop {
            if let Some(number) = read_number(&mut self.far) {
                self.far.write_all(&number).unwrap();
            }
            heard = read_number(&mut self.near).unwrap_or(heard);
            if u32::from_be_bytes(heard) == self.said {
                return true;
            }
            if Instant::now() > deadline {
                return false;
            }
        }
    }
}

fn read_number(from: &mut TcpStream) -> Option<[u8; 4]> {
    from.set_read_timeout(Some(ms(1))).unwrap();
    let mut number = [0; 4];
    match from.read_exact(&mut number) {
        Ok(()) => Some(number),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_connection_survives_renewals_and_a_lapse() {
    if !possible() {
        return;
    }
    for address in [IpAddr::V4(VIP4), IpAddr::V6(VIP6)] {
        let wire = Wire::new();
        let mut switch = open(&wire.holder, "vipd");
        switch.guard(BLUE, &VIPS).unwrap();
        renew(&mut switch, &[BLUE], ms(20_000));
        let mut conversation = Conversation::begin(&wire, address);
        for _ in 0..20 {
            renew(&mut switch, &[BLUE], ms(20_000));
            assert!(conversation.echo(PATIENCE).is_some(), "{address}: no echo during renewals");
        }
        let lapses = renew(&mut switch, &[BLUE], ms(100)) + ms(100);
        std::thread::sleep(lapses.saturating_duration_since(Instant::now()) + ms(20));
        assert_eq!(conversation.echo(ms(500)), None, "{address}: an echo after the lease lapsed");
        let renewed = renew(&mut switch, &[BLUE], ms(20_000));
        assert!(conversation.catch_up(ms(10_000)), "{address}: the connection did not survive the lapse");
        println!("{address}: the connection caught up {:?} after the renewal", renewed.elapsed());
        assert!(conversation.echo(PATIENCE).is_some());
    }
}

fn thousands(count: u32) -> Vec<Leased> {
    let v4 = |number| Leased::V4(Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 19, 0, 0)) + number));
    (1..=count).map(v4).collect()
}

fn median(switch: &mut DeadMan, leases: &[LeaseId]) -> Duration {
    let mut took: Vec<_> = (0..101)
        .map(|_| {
            let start = Instant::now();
            renew(switch, leases, ms(60_000)) - start
        })
        .collect();
    took.sort();
    took[took.len() / 2]
}

#[test]
fn a_renewal_costs_the_same_with_thousands_of_addresses() {
    if !possible() {
        return;
    }
    let wire = Wire::new();
    let mut switch = open(&wire.holder, "vipd");
    let found = switch.support();
    switch.guard(GREEN, &VIPS).unwrap();
    let addresses = thousands(4001);
    let start = Instant::now();
    switch.guard(BLUE, &addresses).unwrap();
    println!("guarded 4,001 addresses in {:?}", start.elapsed());
    for refresh in [Refresh::Replace, found.refresh] {
        switch.limit_to(Support { refresh, ..found });
        let (many, few) = (median(&mut switch, &[BLUE]), median(&mut switch, &[GREEN]));
        println!("median renewal, {refresh:?}: 4,001 addresses {many:?}, 2 addresses {few:?}");
        assert!(many <= few * 20 + ms(1), "it grows with the number of addresses: {many:?}, {few:?}");
    }
    let instances: Vec<_> = (1001..=1255).filter_map(NonZeroU32::new).map(LeaseId).collect();
    for (lease, number) in instances.iter().zip(1..=255) {
        switch.guard(*lease, &[Leased::V4(Ipv4Addr::new(198, 18, 9, number))]).unwrap();
    }
    println!("median renewal of 255 leases at once: {:?}", median(&mut switch, &instances));

    let start = Instant::now();
    let listed = switch.list().unwrap();
    println!("listed 4,258 addresses of 257 leases in {:?}", start.elapsed());
    assert_eq!(listed.iter().filter(|guarded| guarded.remaining > Some(ms(10_000))).count(), 4003 + 255);
    let start = Instant::now();
    switch.silence(&[BLUE]).unwrap();
    println!("silenced 4,001 in {:?}", start.elapsed());
    assert_eq!(switch.list().unwrap().iter().filter(|guarded| guarded.remaining.is_some()).count(), 2 + 255);
    switch.retire(&addresses).unwrap();
    assert_eq!(switch.list().unwrap().len(), 2 + 255);
}

#[test]
fn more_than_a_transaction_holds_is_done_in_several() {
    if !possible() {
        return;
    }
    let wire = Wire::new();
    let mut switch = open(&wire.holder, "vipd");
    let addresses = thousands(20_000);
    // Both ways in: with the tables, and into tables that are there.
    switch.guard(BLUE, &addresses).unwrap();
    switch.guard(GREEN, &addresses).unwrap();
    let many: Vec<_> = (1..=1500).filter_map(NonZeroU32::new).map(LeaseId).collect();
    for (lease, address) in many.iter().zip(&addresses) {
        switch.guard(*lease, &[*address]).unwrap();
    }
    renew(&mut switch, &[&many[..], &[GREEN]].concat(), ms(60_000));
    let listed = switch.list().unwrap();
    assert_eq!(listed.iter().filter(|guarded| guarded.remaining.is_some()).count(), 20_000);
    assert_eq!(listed.iter().filter(|guarded| guarded.lease == Some(GREEN)).count(), 18_500);
    switch.silence(&[&many[..], &[GREEN]].concat()).unwrap();
    assert!(switch.list().unwrap().iter().all(|guarded| guarded.remaining.is_none()));
    switch.retire(&addresses).unwrap();
    assert_eq!(switch.list().unwrap(), []);
}

#[test]
fn a_flush_of_all_rules_leaves_ours_alone() {
    if !possible() {
        return;
    }
    let wire = Wire::new();
    let mut switch = open(&wire.holder, "vipd");
    if !switch.support().owned {
        println!("skipped: this kernel has no tables with an owner");
        return;
    }
    switch.guard(BLUE, &VIPS).unwrap();
    renew(&mut switch, &[BLUE], ms(60_000));
    wire.holder.nft("flush ruleset");
    assert_eq!(switch.list().unwrap().len(), 2);
    assert!(wire.holder.nft("list ruleset").contains("table arp vipd"));
}

#[test]
fn tables_that_somebody_removed_are_made_anew() {
    if !possible() {
        return;
    }
    let wire = Wire::new();
    let mut switch = open(&wire.holder, "vipd");
    switch.limit_to(Support { refresh: Refresh::Replace, owned: false });
    switch.guard(BLUE, &VIPS[..1]).unwrap();
    switch.guard(GREEN, &VIPS[1..]).unwrap();
    wire.holder.nft("flush ruleset");
    assert_eq!(switch.list().unwrap(), []);
    let renewal = switch.renew(&leases(&[BLUE], ms(60_000)), Instant::now).unwrap();
    assert_eq!(renewal, Renewal { renewed: 1, too_late: 0, reinstalled: true });
    let listed: Vec<_> = switch.list().unwrap().iter().map(|one| (one.address, one.remaining.is_some())).collect();
    assert_eq!(listed, [(VIPS[0], true), (VIPS[1], false)], "both guarded, one live");

    wire.holder.nft("flush ruleset");
    let another = Leased::V4(Ipv4Addr::new(198, 18, 5, 201));
    switch.guard(BLUE, &[another]).unwrap();
    assert_eq!(switch.list().unwrap().len(), 3);
    wire.holder.nft("flush ruleset");
    switch.silence(&[BLUE]).unwrap();
    switch.retire(&VIPS).unwrap();
    switch.remove().unwrap();
    switch.remove().unwrap();
}
