//! keepalived's numbers: seconds with a fraction, and switches.

use std::time::Duration;

/// `<TIMER>`: seconds, with up to six digits after the point.
pub(super) fn seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let seconds: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let nanos: u32 = format!("{fraction:0<9}").parse().ok()?;
    (seconds <= 1_000_000).then(|| Duration::new(seconds, nanos))
}

/// `<BOOL>`, which is true if it is left out.
pub(super) fn switch(text: Option<&str>) -> Option<bool> {
    match text {
        None | Some("on" | "true" | "yes") => Some(true),
        Some("off" | "false" | "no") => Some(false),
        Some(_) => None,
    }
}

/// A duration as vipd.toml writes it.
pub(super) fn toml_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    match (micros % 1_000_000, micros % 1000) {
        (0, _) => format!("\"{}s\"", micros / 1_000_000),
        (_, 0) => format!("\"{}ms\"", micros / 1000),
        _ => format!("\"{micros}us\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_have_a_fraction() {
        assert_eq!(seconds("1"), Some(Duration::from_secs(1)));
        assert_eq!(seconds("0.92"), Some(Duration::from_millis(920)));
        assert_eq!(seconds(".5"), Some(Duration::from_millis(500)));
        for wrong in ["", ".", "-1", "1s", "1.2.3", "1e3", "99999999999999999999"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_duration_is_written_in_its_largest_whole_unit() {
        assert_eq!(toml_duration(Duration::from_secs(300)), "\"300s\"");
        assert_eq!(toml_duration(Duration::from_millis(1500)), "\"1500ms\"");
        assert_eq!(toml_duration(Duration::from_micros(15)), "\"15us\"");
    }

    #[test]
    fn a_switch_without_a_word_is_on() {
        assert_eq!((switch(None), switch(Some("off")), switch(Some("maybe"))), (Some(true), Some(false), None));
    }
}
