//! Two reports to render.

use super::*;
use crate::checkers::Verdict;
use crate::figures::Stages;

/// A drill in which everything held.
pub(crate) fn held() -> Report {
    let finding = |id: &str, title: &str, detail: &str| Finding {
        id: id.into(),
        title: title.into(),
        verdict: Verdict::Held(detail.into()),
    };
    let tenure = |mac: &str, host: &str, from_us, to_us| Tenure {
        mac: mac.into(),
        host: Some(host.into()),
        from_us,
        to_us,
        answers: 120,
    };
    Report {
        schema: Report::SCHEMA,
        run: "3f2a91c0".into(),
        started: Some("2026-11-21T20:30:00Z".parse().expect("a time")),
        verdict: "held".into(),
        gocd: "a stand-in, not GoCD itself".into(),
        fault: Some(FaultKind::Hang),
        sabotage: None,
        kill_bcctl_at: None,
        figures: Figures {
            failover: Stages {
                detect_ms: Some(512),
                fence_ms: Some(2_901),
                promote_ms: Some(3_877),
                gocd_ready_ms: Some(5_120),
                vip_moved_ms: Some(8_004),
                service_back_ms: Some(8_101),
                agents_back_ms: Some(9_650),
                write_gap_ms: Some(4_020),
                service_gap_ms: Some(8_190),
            },
            failback: Stages {
                promote_ms: Some(11_020),
                gocd_ready_ms: Some(12_311),
                vip_moved_ms: Some(15_000),
                service_back_ms: Some(15_090),
                agents_back_ms: None,
                write_gap_ms: Some(1_400),
                service_gap_ms: Some(6_120),
                ..Stages::default()
            },
        },
        rows: Rows {
            acknowledged: 1_204,
            lost_in_failover: Some(0),
            lost_afterwards: Some(0),
            unknown: 2,
            unknown_but_there: 1,
            failed: 71,
            ..Rows::default()
        },
        vip: Some([198, 18, 5, 200].into()),
        vip_answered_by: vec![
            tenure("02:42:c6:12:05:0d", "go1", 9_000_000, 31_210_000),
            tenure("02:42:c6:12:05:0e", "go2", 38_004_000, 70_500_000),
            tenure("02:42:c6:12:05:0d", "go1", 73_100_000, 90_000_000),
        ],
        invariants: vec![
            finding("one-writer", "never two writable PostgreSQL servers after the fence", "asked 800 times"),
            finding("one-vip-owner", "never two hosts answering ARP for the VIP", "900 questions, 830 answers"),
        ],
        steps: vec![StepTaken {
            name: "bcctl failover".into(),
            state: StepState::Done,
            detail: "7.1 s".into(),
            took_ms: 7_100,
        }],
        took_ms: 91_000,
    }
}

/// A drill in which the fence lied.
pub(crate) fn broken() -> Report {
    let mut report = held();
    report.verdict = "broken".into();
    report.sabotage = Some(Sabotage::NoFence);
    report.rows = Rows {
        lost_in_failover: None,
        lost_afterwards: Some(3),
        lost_afterwards_ids: [700, 701, 702].into_iter().collect(),
        ..report.rows
    };
    report.vip_answered_by[1].host = None;
    report.invariants[0].verdict = Verdict::Broken("pg1 and pg2 were both writable from 41.204 s to 43.512 s".into());
    report.invariants[1].verdict = Verdict::Unknown("nobody asked".into());
    report.invariants.push(Finding {
        id: "resumed".into(),
        title: "a bcctl that was killed is resumed".into(),
        verdict: Verdict::Skipped("nobody was killed".into()),
    });
    report
}
