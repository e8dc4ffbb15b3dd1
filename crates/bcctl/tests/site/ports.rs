//! Ports for servers of the tests.

/// A port that nobody uses. Below those that the kernel gives to connections: a server of ours is down for a while, and finds its
/// port again.
pub(crate) fn free_port() -> u16 {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let next = || COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let ports = std::iter::repeat_with(|| std::process::id().wrapping_mul(97).wrapping_add(next()) % 16_000 + 16_000);
    ports.take(16_000).filter_map(|port| u16::try_from(port).ok()).find(free).expect("a port")
}
