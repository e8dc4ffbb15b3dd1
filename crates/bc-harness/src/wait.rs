//! Waiting for the world, always with a deadline, and always able to say what was seen last.

use std::future::Future;
use std::time::Duration;

use crate::clock::{self, Moment};

/// The deadline passed.
#[derive(Debug, thiserror::Error)]
#[error("waited {} s for {what}; last seen: {last_seen}", limit.as_secs_f32())]
pub(crate) struct DeadlinePassed {
    what: String,
    limit: Duration,
    last_seen: String,
}

/// Asks `probe` every `every` until it answers `Ok`, for `limit` at most.
///
/// `probe` answers `Err` with what it saw instead, in words.
///
/// # Errors
/// [`DeadlinePassed`] with the last answer. A probe that hangs is cut off at the deadline.
pub(crate) async fn until<T, F, Fut>(
    what: &str,
    limit: Duration,
    every: Duration,
    mut probe: F,
) -> Result<T, DeadlinePassed>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let deadline = Moment::now().after(limit);
    let mut last_seen = "nothing yet".to_owned();
    loop {
        let left = deadline.since(Moment::now());
        match tokio::time::timeout(left, probe()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(seen)) => last_seen = seen,
            Err(_) => return Err(DeadlinePassed { what: what.to_owned(), limit, last_seen }),
        }
        if Moment::now() >= deadline {
            return Err(DeadlinePassed { what: what.to_owned(), limit, last_seen });
        }
        clock::pause(every).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn it_returns_what_the_probe_found() {
        let asked = Cell::new(0);
        let found = until("three", 1000 * MS, MS, || {
            asked.set(asked.get() + 1);
            let n = asked.get();
            async move { if n == 3 { Ok(n) } else { Err(format!("{n}")) } }
        });
        assert_eq!(found.await.expect("found"), 3);
    }

    #[tokio::test]
    async fn it_says_what_it_saw_last() {
        let error = until::<(), _, _>("the moon", 20 * MS, MS, || async { Err("a cloud".to_owned()) }).await;
        assert_eq!(error.expect_err("never").to_string(), "waited 0.02 s for the moon; last seen: a cloud");
    }

    #[tokio::test]
    async fn a_probe_that_hangs_is_cut_off_at_the_deadline() {
        let error = until::<(), _, _>("silence", 20 * MS, MS, std::future::pending).await;
        assert!(error.expect_err("never").to_string().ends_with("last seen: nothing yet"));
    }
}
