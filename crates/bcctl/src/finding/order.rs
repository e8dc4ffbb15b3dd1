//! Causes before consequences, bad before less bad.

use std::cmp::Reverse;

use super::{Cause, Finding, Kind, Level};

/// Puts findings in the order in which they are to be mended, and marks those that another one explains.
pub(crate) fn by_cause(mut findings: Vec<Finding>) -> Vec<Finding> {
    let marks: Vec<Option<&'static Kind>> = findings.iter().map(|finding| explanation(finding, &findings)).collect();
    for (finding, mark) in findings.iter_mut().zip(marks) {
        finding.because_of = mark;
    }
    // The numbers are in causal order; what is as it should be comes first, as it was found.
    findings.sort_by_key(|finding| {
        let number = finding.kind.map_or(0, |kind| kind.number);
        (finding.level != Level::Ok, finding.because_of.is_some(), Reverse(finding.level), number)
    });
    findings
}

/// The first finding that explains this one.
fn explanation(finding: &Finding, all: &[Finding]) -> Option<&'static Kind> {
    let explains = |cause: &Cause| {
        all.iter().find(|other| {
            let number = other.kind.map(|kind| kind.number);
            match cause {
                Cause::Same(wanted) => number == Some(*wanted) && other.subject == finding.subject,
                Cause::Any(wanted) => number == Some(*wanted),
            }
        })
    };
    finding.kind?.follows.iter().find_map(explains).and_then(|other| other.kind)
}
