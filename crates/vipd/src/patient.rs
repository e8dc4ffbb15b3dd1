//! A writer that remembers its first failure instead of reporting it: what a verb has found out is not lost with its reader.

use std::io::{self, Write};

/// Writes to `W` until that fails once, and then to nobody.
#[derive(Debug)]
pub struct Patient<W> {
    to: W,
    failed: Option<io::Error>,
}

impl<W: Write> Patient<W> {
    /// A writer to `to`.
    pub const fn new(to: W) -> Self {
        Self { to, failed: None }
    }

    /// Whether everything was written.
    ///
    /// # Errors
    /// The first failure.
    pub fn result(mut self) -> io::Result<()> {
        let flushed = self.flush();
        self.failed.map_or(flushed, Err)
    }
}

impl<W: Write> Write for Patient<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed.is_none() {
            match self.to.write_all(bytes) {
                Ok(()) => {}
                Err(error) => self.failed = Some(error),
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.failed.is_none()
            && let Err(error) = self.to.flush()
        {
            self.failed = Some(error);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_first_failure_is_told_at_the_end_and_nothing_before() {
        let mut all = Patient::new(Full(8));
        writeln!(all, "four").unwrap();
        assert!(all.result().is_ok());
        let mut some = Patient::new(Full(8));
        writeln!(some, "four").unwrap();
        writeln!(some, "five").unwrap();
        some.flush().unwrap();
        assert_eq!(some.result().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
