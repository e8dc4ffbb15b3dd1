//! The report as JUnit XML: a case per invariant.

use anyhow::Result;
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::Report;
use crate::checkers::Verdict;

pub(super) fn render(report: &Report) -> Result<String> {
    let mut suite = TestSuite::new("bc-harness drill");
    for (name, value) in [("run", report.run.as_str()), ("gocd", &report.gocd), ("verdict", &report.verdict)] {
        suite.add_property(quick_junit::Property::new(name, value));
    }
    for finding in &report.invariants {
        let status = match &finding.verdict {
            Verdict::Held(_) => TestCaseStatus::success(),
            Verdict::Broken(_) => non_success(NonSuccessKind::Failure, &finding.verdict),
            Verdict::Unknown(_) => non_success(NonSuccessKind::Error, &finding.verdict),
            Verdict::Skipped(reason) => {
                let mut status = TestCaseStatus::skipped();
                status.set_message(reason.as_str());
                status
            }
        };
        let mut case = TestCase::new(finding.title.as_str(), status);
        case.set_classname(format!("drill.{}", finding.id));
        case.set_system_out(finding.verdict.detail());
        suite.add_test_case(case);
    }
    let mut all = quick_junit::Report::new("bc-harness");
    all.add_test_suite(suite);
    Ok(all.to_string()? + "\n")
}

fn non_success(kind: NonSuccessKind, verdict: &Verdict) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(verdict.detail()).set_type(verdict.word());
    status
}
