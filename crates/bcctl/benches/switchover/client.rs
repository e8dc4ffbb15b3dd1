//! One writer: one row per commit, every acknowledged id with its time. It speaks just enough of PostgreSQL's protocol
//! (message formats: PostgreSQL documentation, "Frontend/Backend Protocol") to start a statement within a millisecond.

#![allow(dead_code, reason = "each bench uses its own part")]

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long nothing may come back before a connection is given up. Longer than any stop that ends by itself.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts when nobody takes writes.
const PAUSE: Duration = Duration::from_millis(3);

/// A connection to a server, as user `postgres`, database `postgres`.
pub(crate) struct Connection(TcpStream);

impl Connection {
    /// Connects without a password.
    pub(crate) fn open(port: u16) -> io::Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut connection = Self(stream);
        let words = b"user\0postgres\0database\0postgres\0application_name\0bench\0\0";
        let mut startup = u32::try_from(words.len() + 8).unwrap_or_default().to_be_bytes().to_vec();
        startup.extend(196_608_u32.to_be_bytes());
        startup.extend(words);
        connection.0.write_all(&startup)?;
        connection.answer()?;
        Ok(connection)
    }

    /// The first column of the first row, if there is one.
    pub(crate) fn query(&mut self, statement: &str) -> io::Result<Option<String>> {
        let mut message = vec![b'Q'];
        message.extend(u32::try_from(statement.len() + 5).unwrap_or_default().to_be_bytes());
        message.extend(statement.as_bytes());
        message.push(0);
        self.0.write_all(&message)?;
        self.answer()
    }

    /// Reads up to ReadyForQuery.
    fn answer(&mut self) -> io::Result<Option<String>> {
        let (mut row, mut error) = (None, None);
        loop {
            let mut head = [0; 5];
            self.0.read_exact(&mut head)?;
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]).saturating_sub(4);
            let mut body = vec![0; usize::try_from(length).unwrap_or_default()];
            self.0.read_exact(&mut body)?;
            match head[0] {
                b'D' if row.is_none() && body.len() >= 6 => {
                    row = Some(String::from_utf8_lossy(&body[6..]).into_owned())
                }
                b'E' => error = Some(String::from_utf8_lossy(&body).replace('\0', " ")),
                b'R' if body != [0, 0, 0, 0] => return Err(io::Error::other("the server wants a password")),
                b'Z' => return error.map_or(Ok(row), |error| Err(io::Error::other(error))),
                _ => {}
            }
        }
    }
}

/// An acknowledged row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ack {
    pub(crate) id: u64,
    /// Which of the two servers.
    pub(crate) server: usize,
    pub(crate) at: Instant,
}

/// What a writer is told, and what it says of itself.
#[derive(Default)]
struct Control {
    stop: AtomicBool,
    /// [`WRITES`], [`HELD`] or [`RESTS`].
    rest: AtomicU8,
    acknowledged: AtomicU64,
}

const WRITES: u8 = 0;
const HELD: u8 = 1;
const RESTS: u8 = 2;

/// A client that writes all the time.
pub(crate) struct Writer {
    control: Arc<Control>,
    thread: JoinHandle<Vec<Ack>>,
}

impl Writer {
    /// Starts it; `load` more clients write beside it and are not measured.
    pub(crate) fn start(ports: [u16; 2]) -> Self {
        let control = Arc::new(Control::default());
        let told = Arc::clone(&control);
        let thread = std::thread::spawn(move || write(ports, &told));
        Self { control, thread }
    }

    /// Stops it for a while, as an application that is shut down: when this returns it has no connection.
    pub(crate) fn hold(&self) {
        self.control.rest.store(HELD, Ordering::Relaxed);
        while self.control.rest.load(Ordering::Relaxed) != RESTS && !self.thread.is_finished() {
            std::thread::sleep(PAUSE);
        }
    }

    /// Starts it again.
    pub(crate) fn release(&self) {
        self.control.rest.store(WRITES, Ordering::Relaxed);
    }

    /// Waits until it has written `more` rows.
    pub(crate) fn wait_for(&self, more: u64) -> anyhow::Result<()> {
        let wanted = self.acknowledged() + more;
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.acknowledged() < wanted {
            anyhow::ensure!(Instant::now() < deadline, "the client writes nothing");
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// How many rows have been acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.control.acknowledged.load(Ordering::Relaxed)
    }

    /// Stops it: everything that was acknowledged, in order.
    pub(crate) fn stop(self) -> Vec<Ack> {
        self.control.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn write(ports: [u16; 2], control: &Control) -> Vec<Ack> {
    let mut acks = Vec::new();
    let (mut id, mut server, mut connection) = (0, 0, None);
    while !control.stop.load(Ordering::Relaxed) {
        if control.rest.load(Ordering::Relaxed) != WRITES {
            connection = None;
            // Released in between, it goes on.
            let _ = control.rest.compare_exchange(HELD, RESTS, Ordering::Relaxed, Ordering::Relaxed);
            std::thread::sleep(PAUSE);
            continue;
        }
        let attempt = match &mut connection {
            Some(open) => {
                id += 1;
                Connection::query(open, &format!("INSERT INTO bench VALUES ({id})")).map(|_| ())
            }
            None => match Connection::open(ports[server]) {
                Ok(open) => {
                    connection = Some(open);
                    continue;
                }
                Err(error) => Err(error),
            },
        };
        match attempt {
            Ok(()) => {
                acks.push(Ack { id, server, at: Instant::now() });
                control.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            // Down, on its way down, or a standby: the other one is tried, and so on in turn.
            Err(_) => {
                connection = None;
                server = 1 - server;
                std::thread::sleep(PAUSE);
            }
        }
    }
    acks
}
