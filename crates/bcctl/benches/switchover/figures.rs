//! What the acknowledged rows of a run say.

#![allow(dead_code, reason = "each bench uses its own part")]

use std::collections::BTreeSet;

use anyhow::Result;

use crate::client::{Ack, Connection};

/// The pauses at which the server changed.
pub(crate) fn gaps(acks: &[Ack]) -> Vec<f64> {
    acks.windows(2)
        .filter(|pair| pair[0].server != pair[1].server)
        .map(|pair| pair[1].at.duration_since(pair[0].at).as_secs_f64())
        .collect()
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

/// Median, least and most.
pub(crate) fn quantity(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    format!("{:.3} s ({least:.3} … {most:.3})", median(values))
}

/// How many acknowledged rows the server does not have.
pub(crate) fn lost(acks: &[Ack], port: u16) -> Result<usize> {
    let kept = Connection::open(port)?.query("SELECT string_agg(id::text, ',') FROM bench")?.unwrap_or_default();
    let kept: BTreeSet<u64> = kept.split(',').filter_map(|id| id.parse().ok()).collect();
    Ok(acks.iter().filter(|ack| !kept.contains(&ack.id)).count())
}
