//! Asks both hosts at once for a virtual IP, by ARP and by traffic, to see who answers, and how long two do.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use pnet::datalink::{self, Channel, Config};
use pnet::util::MacAddr;

use super::frame::{Frame, checksum, echo_request};
use super::world::World;

const PACE: Duration = Duration::from_millis(2);
const ASKER: Ipv4Addr = Ipv4Addr::new(198, 18, 5, 12);

/// Asks until it is dropped.
pub struct Asker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Asker {
    /// Asks from host 2, whom hosts 0 and 1 shall know.
    pub fn new(world: &World, vip: Ipv4Addr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let own = world.hosts[2].mac;
        let frames = questions(own, [world.hosts[0].mac, world.hosts[1].mac], vip);
        for host in &world.hosts[..2] {
            host.namespace.ip(&format!("neigh replace {ASKER} lladdr {own} dev eth0 nud permanent\n"));
        }
        let ask = move || {
            let link = datalink::interfaces().into_iter().find(|link| link.name == "eth0").expect("eth0");
            let Ok(Channel::Ethernet(mut sender, _receiver)) = datalink::channel(&link, Config::default()) else {
                panic!("eth0 is no Ethernet")
            };
            while !until.load(Ordering::Relaxed) {
                for frame in &frames {
                    sender.send_to(frame, None).unwrap().unwrap();
                }
                std::thread::sleep(PACE);
            }
        };
        Self { stop, thread: Some(world.hosts[2].namespace.enter(ask)) }
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the asker failed");
        }
    }
}

/// ARP to everybody, and an echo request to each of the two, whoever has the address.
fn questions(own: MacAddr, hosts: [MacAddr; 2], vip: Ipv4Addr) -> Vec<Vec<u8>> {
    let ethernet =
        |to: MacAddr, kind: u16, packet: &[u8]| [&to.octets(), &own.octets()[..], &kind.to_be_bytes(), packet].concat();
    let arp = [&[0, 1, 8, 0, 6, 4, 0, 1], &own.octets()[..], &ASKER.octets(), &[0; 6], &vip.octets()].concat();
    let echo = echo_request(0x5656_5656);
    let [high, low] = u16::try_from(20 + echo.len()).unwrap().to_be_bytes();
    let mut header = [0x45, 0, high, low, 0, 0, 0x40, 0, 64, 1, 0, 0].to_vec();
    header.extend([ASKER.octets(), vip.octets()].concat());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum);
    let packet = [header, echo].concat();
    let mut frames = vec![ethernet(MacAddr::broadcast(), 0x0806, &arp)];
    frames.extend(hosts.map(|host| ethernet(host, 0x0800, &packet)));
    frames
}

/// When that host answered for the address, by ARP or to traffic.
pub fn answers(frames: &[Frame], host: MacAddr, vip: Ipv4Addr) -> Vec<Duration> {
    let speaks = |frame: &Frame| {
        let echo = frame.echo().is_some_and(|echo| !echo.request && echo.source == vip);
        frame.from() == Some(host) && (echo || frame.arp_reply() == Some(vip))
    };
    frames.iter().filter(|frame| speaks(frame)).map(|frame| frame.at).collect()
}
