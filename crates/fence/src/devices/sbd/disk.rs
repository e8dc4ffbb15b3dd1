//! The layout of an SBD disk (sbd 1.5, `sbd-md.h`), and reading and writing its sectors past every cache.
//!
//! ```text
//! sector 0      SBD_SBD_ version slots . . sector-size watchdog allocate loop msgwait   (u32, big-endian, seconds)
//! sector 1+2i   in-use name[64]            slot i
//! sector 2+2i   command from[64]           its mailbox
//! ```

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};

/// The largest sector there is; every smaller one divides it.
const LARGEST_SECTOR: usize = 4096;
const NAME_BYTES: usize = 64;

/// What may stand in a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Message {
    Clear,
    Test,
    Reset,
    Off,
    Exit,
    Crashdump,
}

impl Message {
    const ALL: [Self; 6] = [Self::Clear, Self::Test, Self::Reset, Self::Off, Self::Exit, Self::Crashdump];

    const fn code(self) -> u8 {
        match self {
            Self::Clear => 0,
            Self::Test => 1,
            Self::Reset => 2,
            Self::Off => 3,
            Self::Exit => 4,
            Self::Crashdump => 5,
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::Test => "test",
            Self::Reset => "reset",
            Self::Off => "off",
            Self::Exit => "exit",
            Self::Crashdump => "crashdump",
        }
    }
}

/// The first sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) slots: u8,
    pub(super) sector: usize,
    /// How long the target's watchdog waits.
    pub(super) watchdog: Duration,
    /// How long a sender waits until its message has had its effect.
    pub(super) msgwait: Duration,
}

impl Header {
    /// Reads the first sector.
    ///
    /// # Errors
    /// In words, when it is none of SBD's.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let number = |at: usize| -> Option<u32> { Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?)) };
        let (Some(b"SBD_SBD_"), Some(2), Some(slots)) = (bytes.get(..8), bytes.get(8), bytes.get(9)) else {
            return Err("not an SBD disk of version 2; `sbd create` makes one".to_owned());
        };
        let (Some(sector), Some(watchdog), Some(msgwait)) = (number(12), number(16), number(28)) else {
            return Err("its header is cut off".to_owned());
        };
        let sector = usize::try_from(sector).unwrap_or_default();
        if !sector.is_power_of_two() || !(512..=LARGEST_SECTOR).contains(&sector) {
            return Err(format!("its header names a sector of {sector} bytes"));
        }
        if msgwait <= watchdog {
            return Err(format!("its msgwait of {msgwait} s is not longer than its watchdog timeout of {watchdog} s"));
        }
        let seconds = |number: u32| Duration::from_secs(number.into());
        Ok(Self { slots: *slots, sector, watchdog: seconds(watchdog), msgwait: seconds(msgwait) })
    }
}

/// An open disk.
#[derive(Debug)]
pub(super) struct Disk {
    file: File,
    pub(super) header: Header,
}

impl Disk {
    /// Opens a disk and reads its header.
    ///
    /// # Errors
    /// In words, when it cannot be opened without a cache between, or is not SBD's.
    pub(super) fn open(path: &Path, write: bool) -> Result<Self, String> {
        let flags = OFlag::O_DIRECT | OFlag::O_SYNC;
        let file = OpenOptions::new()
            .read(true)
            .write(write)
            .custom_flags(flags.bits())
            .open(path)
            .map_err(|error| error.to_string())?;
        let mut buffer = Aligned::default();
        let length = file.read_at(buffer.bytes(LARGEST_SECTOR), 0).map_err(|error| format!("header: {error}"))?;
        let header = Header::read(&buffer.bytes(LARGEST_SECTOR)[..length])?;
        Ok(Self { file, header })
    }

    /// The number of the slot of this name.
    ///
    /// # Errors
    /// In words, when there is none or it cannot be read.
    pub(super) fn slot(&self, name: &str) -> Result<u8, String> {
        let mut buffer = Aligned::default();
        for slot in 0..self.header.slots {
            let sector = self.sector(1 + 2 * u64::from(slot), &mut buffer)?;
            if let [1..=255, rest @ ..] = sector
                && text(rest) == name.as_bytes()
            {
                return Ok(slot);
            }
        }
        Err(format!("no slot {name:?} on the disk; `sbd allocate {name}` makes one"))
    }

    /// What stands in a mailbox.
    ///
    /// # Errors
    /// In words, when it cannot be read.
    pub(super) fn message(&self, slot: u8) -> Result<Message, String> {
        let mut buffer = Aligned::default();
        let sector = self.sector(2 + 2 * u64::from(slot), &mut buffer)?;
        let code = sector.first().copied().unwrap_or(u8::MAX);
        Message::ALL
            .into_iter()
            .find(|message| message.code() == code)
            .ok_or_else(|| format!("the mailbox holds the unknown command {code}"))
    }

    /// Writes a message, and reads it back from the disk.
    ///
    /// # Errors
    /// In words, when it cannot be written or is not there afterwards: `sbd message` was seen to exit 0 in that case.
    pub(super) fn send(&self, slot: u8, message: Message, from: &str) -> Result<(), String> {
        let mut buffer = Aligned::default();
        let sector = buffer.bytes(self.header.sector);
        sector.fill(0);
        sector[0] = message.code();
        // The last byte stays a zero: a name ends with one.
        for (place, byte) in sector[1..NAME_BYTES].iter_mut().zip(from.bytes()) {
            *place = byte;
        }
        let at = self.offset(2 + 2 * u64::from(slot));
        let written = self.file.write_at(sector, at).map_err(|error| format!("write: {error}"))?;
        if written != self.header.sector {
            return Err(format!("write: {written} of {} bytes", self.header.sector));
        }
        match self.message(slot)? {
            found if found == message => Ok(()),
            found => Err(format!("wrote {}, but the mailbox holds {}", message.as_str(), found.as_str())),
        }
    }

    fn offset(&self, sector: u64) -> u64 {
        sector * u64::try_from(self.header.sector).unwrap_or(u64::MAX)
    }

    fn sector<'a>(&self, number: u64, buffer: &'a mut Aligned) -> Result<&'a [u8], String> {
        let bytes = buffer.bytes(self.header.sector);
        let length = self.file.read_at(bytes, self.offset(number)).map_err(|error| format!("read: {error}"))?;
        if length == bytes.len() { Ok(bytes) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof).to_string()) }
    }
}

/// The bytes of a name up to its zero.
fn text(bytes: &[u8]) -> &[u8] {
    let field = &bytes[..NAME_BYTES.min(bytes.len())];
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Memory at an address that O_DIRECT accepts (open(2)).
struct Aligned(Vec<u8>);

impl Default for Aligned {
    fn default() -> Self {
        Self(vec![0; LARGEST_SECTOR * 2])
    }
}

impl Aligned {
    fn bytes(&mut self, length: usize) -> &mut [u8] {
        let start = self.0.as_ptr().align_offset(LARGEST_SECTOR).min(LARGEST_SECTOR);
        &mut self.0[start..start + length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Vec<u8> {
        let mut bytes = b"SBD_SBD_\x02\xff\0\0".to_vec();
        for number in [512_u32, 5, 2, 1, 10] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend([0; 480]);
        bytes
    }

    #[test]
    fn the_header_is_read_and_anything_else_is_refused() {
        let read = Header::read(&header()).unwrap();
        assert_eq!((read.slots, read.sector), (255, 512));
        assert_eq!((read.watchdog, read.msgwait), (Duration::from_secs(5), Duration::from_secs(10)));
        for end in 0..32 {
            assert!(Header::read(&header()[..end]).is_err(), "{end}");
        }
        for (at, byte) in [(0, b'X'), (8, 3), (14, 0), (15, 1), (31, 5)] {
            let mut wrong = header();
            wrong[at] = byte;
            assert!(Header::read(&wrong).is_err(), "{at}");
        }
    }
}
