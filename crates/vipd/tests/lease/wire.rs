//! A wire between a holder of virtual IPs and a host that asks for them, frame by frame.
//!
//! Every question carries a number that the holder's kernel puts into its answer, so an answer is known to belong to a
//! question that was asked at a known time, however late it is read.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use pnet::datalink::{self, Channel, Config, DataLinkReceiver, DataLinkSender};
use pnet::util::MacAddr;

use super::namespace::Namespace;

pub(crate) const ASKER4: Ipv4Addr = Ipv4Addr::new(198, 18, 5, 2);
pub(crate) const VIP4: Ipv4Addr = Ipv4Addr::new(198, 18, 5, 200);
pub(crate) const ASKER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
/// Asks only for neighbours: its hardware address changes with every question.
pub(crate) const SOLICITOR6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 3);
pub(crate) const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x200);

/// What a busy machine may take for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const HOLDER_MAC: MacAddr = MacAddr(2, 0, 0, 0, 5, 1);
const ASKER_MAC: MacAddr = MacAddr(2, 0, 0, 0, 5, 2);

/// Two namespaces joined by a cable.
pub(crate) struct Wire {
    pub(crate) holder: Namespace,
    pub(crate) asker: Namespace,
}

impl Wire {
    /// The holder has both virtual IPs configured, and knows the asker.
    pub(crate) fn new() -> Self {
        let (holder, asker) = (Namespace::new("holder"), Namespace::new("asker"));
        let (near, far) = (HOLDER_MAC.to_string(), ASKER_MAC.to_string());
        let mut cable = vec!["link", "add", "vip0", "address", &near, "type", "veth", "peer", "name", "ask0"];
        cable.extend(["address", &far, "netns", &asker.name]);
        holder.run("ip", &cable);
        for (namespace, dev, addresses) in [
            (&holder, "vip0", ["198.18.5.1/24", "198.18.5.200/32", "fd00::1/64", "fd00::200/128"].as_slice()),
            (&asker, "ask0", ["198.18.5.2/24", "fd00::2/64"].as_slice()),
        ] {
            for address in addresses {
                let nodad: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
                namespace.run("ip", &[&["address", "add", address, "dev", dev], nodad].concat());
            }
            namespace.run("ip", &["link", "set", dev, "up"]);
        }
        for neighbour in ["198.18.5.2", "fd00::2"] {
            holder.run("ip", &["neigh", "replace", neighbour, "lladdr", &far, "dev", "vip0", "nud", "permanent"]);
        }
        Self { holder, asker }
    }

    pub(crate) fn asker(&self) -> Asker {
        self.asker.inside(|| Asker::open("ask0"))
    }
}

/// Ways to ask for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Question {
    Arp,
    Echo4,
    Solicitation,
    Echo6,
}

pub(crate) const ALL: [Question; 4] = [Question::Arp, Question::Echo4, Question::Solicitation, Question::Echo6];

/// The asking end of the wire.
pub(crate) struct Asker {
    sender: Box<dyn DataLinkSender>,
    receiver: Box<dyn DataLinkReceiver>,
    target6: Ipv6Addr,
    next: u16,
    /// When each question was about to be sent.
    asked: BTreeMap<(Question, u16), Instant>,
    answered: BTreeMap<(Question, u16), Instant>,
}

impl Asker {
    /// Opens the interface `dev` of the calling thread's namespace.
    pub(crate) fn open(dev: &str) -> Self {
        let interface = datalink::interfaces().into_iter().find(|interface| interface.name == dev).unwrap();
        let config = Config { read_timeout: Some(Duration::from_micros(500)), ..Config::default() };
        let Ok(Channel::Ethernet(sender, receiver)) = datalink::channel(&interface, config) else {
            panic!("{dev} is no Ethernet");
        };
        let (asked, answered) = (BTreeMap::new(), BTreeMap::new());
        Self { sender, receiver, target6: VIP6, next: 0, asked, answered }
    }

    /// Asks neighbours for `target6` instead of the usual virtual IP.
    pub(crate) fn for_target(self, target6: Ipv6Addr) -> Self {
        Self { target6, ..self }
    }

    /// Asks all `questions` again and again, about every `gap`, until `end`.
    pub(crate) fn ask(&mut self, questions: &[Question], gap: Duration, end: Instant) {
        self.ask_for(&[], questions, gap, end);
    }

    /// The same, and for a while more until there is an answer to each that is `wanted`: it may be held up.
    pub(crate) fn ask_for(&mut self, wanted: &[Question], questions: &[Question], gap: Duration, end: Instant) {
        let deadline = end + PATIENCE;
        loop {
            let round = Instant::now();
            self.next += 1;
            for &question in questions {
                let frame = self.frame(question);
                self.asked.insert((question, self.next), Instant::now());
                self.sender.send_to(&frame, None).unwrap().unwrap();
            }
            while Instant::now() < round + gap {
                self.read();
            }
            let now = Instant::now();
            if now >= deadline || now >= end && wanted.iter().all(|&question| self.counts(question).1 > 0) {
                break;
            }
        }
        // What is still on its way: there is no more when none came although it was waited for.
        let patience = Instant::now() + Duration::from_millis(20);
        loop {
            let waited = Instant::now() >= patience;
            if !self.read() && waited {
                break;
            }
        }
    }

    /// Waits until all that was asked has been answered, for at most 5 s.
    pub(crate) fn catch_up(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.answered.len() < self.asked.len() && Instant::now() < deadline {
            self.read();
        }
    }

    /// The longest that we or the wire were held up since `begin`: from one question to the next, or to its answer.
    pub(crate) fn held_up(&self, begin: Instant) -> Duration {
        let mut asked: Vec<_> = self.asked.values().copied().chain([begin]).collect();
        asked.sort();
        let gaps = asked.windows(2).map(|two| two[1] - two[0]);
        let waits = self.answered.iter().map(|(key, at)| *at - self.asked[key]);
        gaps.chain(waits).max().unwrap_or_default()
    }

    /// The questions of that kind that were asked and that were answered.
    pub(crate) fn counts(&self, question: Question) -> (usize, usize) {
        let of_kind = |map: &BTreeMap<(Question, u16), _>| map.keys().filter(|key| key.0 == question).count();
        (of_kind(&self.asked), of_kind(&self.answered))
    }

    /// When the last question of that kind that was answered had been asked.
    pub(crate) fn last_answered(&self, question: Question) -> Option<Instant> {
        self.answered.keys().filter(|key| key.0 == question).map(|key| self.asked[key]).max()
    }

    /// The longest time from one question that was answered to the next.
    pub(crate) fn longest_silence(&self, question: Question) -> Duration {
        let mut asked: Vec<_> =
            self.answered.keys().filter(|key| key.0 == question).map(|key| self.asked[key]).collect();
        asked.sort();
        asked.windows(2).map(|two| two[1] - two[0]).max().unwrap_or(Duration::MAX)
    }

    /// Forgets what was asked and answered.
    pub(crate) fn forget(&mut self) {
        self.asked.clear();
        self.answered.clear();
    }

    /// Reads a frame, if there is one or one comes at once. An answer to what has been forgotten counts for nothing.
    fn read(&mut self) -> bool {
        match self.receiver.next() {
            Ok(frame) => {
                if let Some(key) = answer(frame, self.target6).filter(|key| self.asked.contains_key(key)) {
                    self.answered.entry(key).or_insert_with(Instant::now);
                }
                true
            }
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock), "{error}");
                false
            }
        }
    }

    fn frame(&self, question: Question) -> Vec<u8> {
        let number = self.next.to_be_bytes();
        match question {
            Question::Arp => {
                let numbered = numbered_mac(self.next);
                let packet =
                    [&[0, 1, 8, 0, 6, 4, 0, 1], &octets(numbered)[..], &ASKER4.octets(), &[0; 6], &VIP4.octets()];
                ethernet(MacAddr::broadcast(), 0x0806, &packet.concat())
            }
            Question::Echo4 => {
                let mut echo = [&[8, 0, 0, 0, 0x56, 0x56], &number[..], b"is it you?"].concat();
                let sum = checksum(&[&echo]);
                echo[2..4].copy_from_slice(&sum);
                ethernet(HOLDER_MAC, 0x0800, &ipv4(VIP4, &echo))
            }
            Question::Echo6 => {
                let echo = [&[128, 0, 0, 0, 0x56, 0x56], &number[..], b"is it you?"].concat();
                ethernet(HOLDER_MAC, 0x86dd, &ipv6(ASKER6, VIP6, 64, echo))
            }
            Question::Solicitation => {
                // RFC 4861 §4.3, to the solicited-node multicast address (RFC 4291 §2.7.1).
                let target = self.target6.octets();
                let group =
                    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, target[13], target[14], target[15]]);
                let source = if self.target6.is_unicast_link_local() { LINK_LOCAL_SOLICITOR6 } else { SOLICITOR6 };
                let lladdr = octets(numbered_mac(self.next));
                let solicitation = [&[135, 0, 0, 0, 0, 0, 0, 0], &target[..], &[1, 1], &lladdr].concat();
                let group_mac = MacAddr(0x33, 0x33, 0xff, target[13], target[14], target[15]);
                ethernet(group_mac, 0x86dd, &ipv6(source, group, 255, solicitation))
            }
        }
    }
}

const LINK_LOCAL_SOLICITOR6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 3);

/// Which question a frame answers.
fn answer(frame: &[u8], target6: Ipv6Addr) -> Option<(Question, u16)> {
    let number = |at: usize| Some(u16::from_be_bytes(*frame.get(at..)?.first_chunk()?));
    let (kind, packet) = (number(12)?, &frame[14..]);
    let protocol_address = |at: usize, len: usize| packet.get(at..at + len);
    match kind {
        // A reply whose sender is the virtual IP, to the hardware address that carries the number.
        0x0806 if packet.get(7) == Some(&2) && protocol_address(14, 4)? == VIP4.octets() => {
            Some((Question::Arp, number(14 + 22)?))
        }
        0x0800 if protocol_address(12, 4)? == VIP4.octets() && packet.get(20) == Some(&0) => {
            Some((Question::Echo4, number(14 + 26)?))
        }
        0x86dd if packet.get(40) == Some(&129) && protocol_address(8, 16)? == VIP6.octets() => {
            Some((Question::Echo6, number(14 + 46)?))
        }
        // An advertisement for the target, sent to the hardware address that carries the number.
        0x86dd if packet.get(40) == Some(&136) && protocol_address(48, 16)? == target6.octets() => {
            Some((Question::Solicitation, number(4)?))
        }
        _ => None,
    }
}

/// The source address of a frame that speaks for `vip` in whatever protocol; also of one that nobody asked for.
pub(crate) fn speaks_for(frame: &[u8], vip: IpAddr) -> bool {
    let range = |at: usize, len: usize| frame.get(14 + at..14 + at + len);
    match (frame.get(12..14), vip) {
        (Some([8, 6]), IpAddr::V4(vip)) => range(14, 4) == Some(&vip.octets()),
        (Some([8, 0]), IpAddr::V4(vip)) => range(12, 4) == Some(&vip.octets()),
        (Some([0x86, 0xdd]), IpAddr::V6(vip)) => {
            let advertises = range(40, 1) == Some(&[136]) && range(48, 16) == Some(&vip.octets());
            advertises || range(8, 16) == Some(&vip.octets())
        }
        _ => false,
    }
}

fn numbered_mac(number: u16) -> MacAddr {
    let [high, low] = number.to_be_bytes();
    MacAddr(2, 0x56, 0, 0, high, low)
}

fn octets(mac: MacAddr) -> [u8; 6] {
    mac.octets()
}

fn ethernet(destination: MacAddr, kind: u16, packet: &[u8]) -> Vec<u8> {
    [&octets(destination), &octets(ASKER_MAC)[..], &kind.to_be_bytes(), packet].concat()
}

fn ipv4(destination: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let mut header = [0x45, 0, high, low, 0, 0, 0x40, 0, 64, 1, 0, 0].to_vec();
    header.extend([ASKER4.octets(), destination.octets()].concat());
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum);
    [&header, payload].concat()
}

/// An ICMPv6 packet; the checksum is put into `message`.
fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8, mut message: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    let addresses = [source.octets(), destination.octets()].concat();
    let sum = checksum(&[&addresses, &length, &[0, 58], &message]);
    message[2..4].copy_from_slice(&sum);
    [&[0x60, 0, 0, 0], &length[..], &[58, hop_limit], &addresses, &message].concat()
}

/// RFC 1071, over parts of even length (but the last).
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u32 = words.map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    (!u16::try_from(folded).unwrap()).to_be_bytes()
}
