//! The report as a table in a terminal: plain text, no wider than it must be.

use std::fmt::Write;

use super::Report;
use crate::figures::Stages;
use crate::ranges::Ranges;

type Pick = fn(&Stages) -> Option<u64>;

const STAGES: [(&str, Pick); 9] = [
    ("detect", |stages| stages.detect_ms),
    ("fence", |stages| stages.fence_ms),
    ("promote", |stages| stages.promote_ms),
    ("GoCD ready", |stages| stages.gocd_ready_ms),
    ("VIP moved", |stages| stages.vip_moved_ms),
    ("VIP serves", |stages| stages.service_back_ms),
    ("agents back", |stages| stages.agents_back_ms),
    ("longest without a write", |stages| stages.write_gap_ms),
    ("longest without the VIP", |stages| stages.service_gap_ms),
];

pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = write(report, &mut text);
    text
}

fn write(report: &Report, out: &mut String) -> std::fmt::Result {
    let fault = report.fault.map_or("no fault", |fault| fault.as_str());
    write!(out, "Drill {}: {fault}", report.run)?;
    if let Some(sabotage) = report.sabotage {
        write!(out, ", sabotage {}", sabotage.as_str())?;
    }
    if let Some(step) = &report.kill_bcctl_at {
        write!(out, ", bcctl killed at {step}")?;
    }
    writeln!(out, ", {} s: {}", report.took_ms / 1000, report.verdict)?;
    if !report.gocd.is_empty() {
        writeln!(out, "GoCD: {}", report.gocd)?;
    }

    writeln!(out, "\n{:<26}{:>12}{:>12}", "ms, as clients saw it", "failover", "failback")?;
    for (name, pick) in STAGES {
        let cell = |stages| pick(stages).map_or_else(|| "–".to_owned(), grouped);
        writeln!(out, "{name:<26}{:>12}{:>12}", cell(&report.figures.failover), cell(&report.figures.failback))?;
    }

    let rows = &report.rows;
    writeln!(out)?;
    let mut row = |name: &str, count: Option<usize>, remark: String| {
        let count = count.map_or_else(|| "–".to_owned(), |count| grouped(count as u64));
        writeln!(out, "{name:<26}{count:>12}{remark}")
    };
    row("rows acknowledged", Some(rows.acknowledged), String::new())?;
    row("rows lost in the failover", rows.lost_in_failover, ids(&rows.lost_in_failover_ids))?;
    row("rows lost otherwise", rows.lost_afterwards, ids(&rows.lost_afterwards_ids))?;
    row("rows unknown", Some(rows.unknown), format!("  {} of them are there", rows.unknown_but_there))?;

    if let Some(vip) = report.vip {
        writeln!(out, "\nwho answered for {vip}")?;
        for tenure in &report.vip_answered_by {
            let host = tenure.host.as_deref().unwrap_or("a stranger");
            let (from, to) = (seconds(tenure.from_us), seconds(tenure.to_us));
            writeln!(out, "  {}  {host:<12}{from:>10} – {to}", tenure.mac)?;
        }
    }

    writeln!(out)?;
    for finding in &report.invariants {
        writeln!(out, "{:<8} {}", finding.verdict.word(), finding.title)?;
        writeln!(out, "{:<8}   {}", "", finding.verdict.detail().trim_end())?;
    }
    Ok(())
}

fn ids(ids: &Ranges) -> String {
    if ids.is_empty() { String::new() } else { format!("  ids {ids}") }
}

/// Thousands apart by a thin gap.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

fn seconds(us: u64) -> String {
    format!("{}.{} s", us / 1_000_000, us / 100_000 % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1 000"), (1_234_567, "1 234 567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
