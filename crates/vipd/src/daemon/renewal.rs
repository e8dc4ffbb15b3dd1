//! What the result of a renewal means for the instance whose lease it is. Pure.

use std::time::Instant;

use super::effect::Input;
use crate::lease::{LeaseError, Term};

/// Until when the kernel answers for the addresses, after it was asked for `term` and gave this result; `before`: until when
/// it answered so far.
///
/// # Errors
/// What the instance must know: the lease is over, or it is and cannot be renewed.
pub fn judge(
    result: Result<(), &LeaseError>,
    term: Term,
    before: Option<Instant>,
    now: Instant,
) -> Result<Option<Instant>, Input<'static>> {
    match result {
        Ok(()) if term.until <= now => Err(Input::LeaseLost(now, "the renewal came too late".to_owned())),
        Ok(()) => Ok(Some(term.until)),
        Err(error @ LeaseError::Stalled { .. }) => Err(Input::LeaseLost(now, error.to_string())),
        // The next renewal tries again, as long as the last one lasts.
        Err(_) if before.is_some_and(|before| now < before) => Ok(before),
        Err(error) => Err(Input::Unrenewed(format!("the lease is not renewed: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test picks its start of time")]

    use std::time::Duration;

    use super::*;

    #[test]
    fn a_refused_renewal_is_borne_with_as_long_as_the_last_one_lasts() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let term = Term { until: at(280), latest: at(300) };
        assert!(matches!(judge(Ok(()), term, None, at(1)), Ok(Some(until)) if until == at(280)));
        let refused = Err(&LeaseError::Unanswered);
        let next = Term { until: at(380), latest: at(400) };
        assert!(matches!(judge(refused, next, Some(at(280)), at(101)), Ok(Some(until)) if until == at(280)));
        let lost = judge(refused, next, Some(at(280)), at(301));
        assert!(matches!(&lost, Err(Input::Unrenewed(why)) if why.contains("did not answer")), "{lost:?}");
        assert!(matches!(judge(refused, term, None, at(1)), Err(Input::Unrenewed(_))), "it was never live");
    }

    #[test]
    fn a_renewal_that_came_too_late_or_took_too_long_is_a_lease_lost() {
        let start = Instant::now();
        let term = Term { until: start, latest: start };
        let late = start + Duration::from_millis(1);
        assert!(matches!(judge(Ok(()), term, Some(start), late), Err(Input::LeaseLost(at, _)) if at == late));
        let stalled = LeaseError::Stalled { held_up: Duration::from_secs(1) };
        assert!(matches!(judge(Err(&stalled), term, Some(late), start), Err(Input::LeaseLost(..))));
    }
}
