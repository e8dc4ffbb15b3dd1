//! An advertisement that is received or sent, and a timer that fires, touch no heap.
#![expect(unsafe_code, reason = "a global allocator that counts is an unsafe trait; it forwards to the system's")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::Ipv4Addr;
use std::time::Duration;

use vrrp::wire::{ChecksumForm, Endpoints, IPV4_GROUP, Ipv4Packet};
use vrrp::{
    Action, AddressList, AdverInterval, Advertisement, Counters, Input, Instant, Peers, Preempt, Priority, Router,
    Settings, State, Version, VirtualRouter, Vrid,
};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is forwarded to the system's allocator unchanged; the counter is a plain thread-local cell.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const US: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

/// From keepalived: VRID 52, priority 200, 1 s, 198.18.0.101.
const PACKET: [u8; 32] = [
    0x45, 0xc0, 0x00, 0x20, 0x00, 0x01, 0x00, 0x00, 0xff, 0x70, 0x14, 0x87, 198, 18, 0, 1, 224, 0, 0, 18, 0x31, 0x34,
    0xc8, 0x01, 0x00, 0x64, 0x99, 0x4b, 198, 18, 0, 101,
];

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(vec![1_u8; 16]));
    assert_eq!(ALLOCATIONS.get(), before + 1);
}

#[test]
fn an_advertisement_allocates_nothing() {
    let vips = [[198, 18, 0, 101]];
    let settings = Settings {
        priority: Priority::DEFAULT,
        interval: AdverInterval::from_millis(Version::V3, 1000).unwrap(),
        preempt: Preempt::Immediately,
        startup_delay: Duration::ZERO,
        primary: US.into(),
        shared_mac: false,
        in_sync_group: false,
    };
    let virtual_router = VirtualRouter {
        vrid: Vrid::new(52).unwrap(),
        priority: settings.priority,
        interval: settings.interval,
        addresses: AddressList::v4(&vips).unwrap(),
        primary: US.into(),
        peers: Peers::Multicast,
    };
    let (mut router, mut counters, mut buffer) = (Router::new(settings), Counters::ZERO, [0; 64]);
    let mut sent = 0;
    let before = ALLOCATIONS.get();
    router.handle(Instant::ORIGIN, Input::Startup);
    for round in 0..1_000 {
        // As Backup it hears, now and then nobody, and takes over; as Active it is outranked.
        let now = router.deadline().unwrap();
        for action in router.handle(now, Input::Timer) {
            if let Action::SendAdvertisement(priority) = action {
                let advertisement =
                    Advertisement::new(virtual_router.vrid, priority, settings.interval, virtual_router.addresses)
                        .unwrap();
                let endpoints = Endpoints::V4 { source: US, destination: IPV4_GROUP };
                sent += advertisement.emit(endpoints, ChecksumForm::default(), &mut buffer).unwrap();
            }
        }
        if round % 3 == 0 {
            let datagram = Ipv4Packet::new_checked(&PACKET).unwrap().datagram();
            let received = virtual_router.receive(&datagram, &mut counters).unwrap();
            router.handle(now, Input::Advertisement(received.heard));
            assert!(matches!(router.state(), State::Backup(_)));
        }
    }
    assert_eq!(ALLOCATIONS.get(), before);
    assert!(sent > 0 && counters.accepted() > 300);
}
