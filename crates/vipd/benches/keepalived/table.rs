//! Samples, medians, ratios, and limits.

use std::fmt;

use serde::Serialize;

use super::bed::router::Make;

/// The result of a run of the program.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Table {
    schema: u32,
    runs: u32,
    pub rows: Vec<Row>,
}

impl Table {
    pub fn new(runs: u32) -> Self {
        Self { schema: 2, runs, rows: Vec::new() }
    }
}

/// What vipd's median must not exceed.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// This, in the row's unit.
    AtMost(f64),
    /// So many times keepalived's.
    Ratio(f64),
}

/// One quantity, of both programs. Less is better.
pub struct Row {
    pub bench: String,
    pub quantity: String,
    pub unit: &'static str,
    pub limits: Vec<Limit>,
    pub vipd: Vec<f64>,
    pub keepalived: Vec<f64>,
}

/// A row as JSON: the medians and what follows from them, and every sample.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Shown<'a> {
    bench: &'a str,
    quantity: &'a str,
    unit: &'a str,
    limits: &'a [Limit],
    vipd: Option<f64>,
    keepalived: Option<f64>,
    ratio: Option<f64>,
    kept: Option<bool>,
    samples: Samples<'a>,
}

#[derive(Serialize)]
struct Samples<'a> {
    vipd: &'a [f64],
    keepalived: &'a [f64],
}

impl Serialize for Row {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown = Shown {
            bench: &self.bench,
            quantity: &self.quantity,
            unit: self.unit,
            limits: &self.limits,
            vipd: median(&self.vipd),
            keepalived: median(&self.keepalived),
            ratio: self.ratio(),
            kept: self.verdict(),
            samples: Samples { vipd: &self.vipd, keepalived: &self.keepalived },
        };
        shown.serialize(serializer)
    }
}

impl Row {
    pub fn new(bench: &str, quantity: &str, unit: &'static str, limits: &[Limit]) -> Self {
        let (vipd, keepalived) = (Vec::new(), Vec::new());
        Self { bench: bench.to_owned(), quantity: quantity.to_owned(), unit, limits: limits.to_vec(), vipd, keepalived }
    }

    pub fn samples(&mut self, make: Make) -> &mut Vec<f64> {
        match make {
            Make::Vipd => &mut self.vipd,
            Make::Keepalived => &mut self.keepalived,
            Make::Frr => unreachable!("not measured"),
        }
    }

    pub fn ratio(&self) -> Option<f64> {
        Some(median(&self.vipd)? / median(&self.keepalived)?).filter(|ratio| ratio.is_finite())
    }

    /// Whether all limits are kept; `None` if there is none, or what it needs was not measured.
    pub fn verdict(&self) -> Option<bool> {
        let vipd = median(&self.vipd)?;
        let keep = |limit: &Limit| match *limit {
            Limit::AtMost(most) => Some(vipd <= most),
            // To two decimals, as the limits are given: here nothing is a tenth of a percent faster than anything else.
            Limit::Ratio(most) => Some((self.ratio()? * 100.0).round() <= (most * 100.0).round()),
        };
        self.limits.iter().filter_map(keep).reduce(|all, one| all && one)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |samples: &[f64]| match median(samples) {
            None => "-".to_owned(),
            Some(middle) => format!("{middle:.2} ({:.2}…{:.2})", least(samples), most(samples)),
        };
        let limits: Vec<_> = self
            .limits
            .iter()
            .map(|limit| match limit {
                Limit::AtMost(most) => format!("≤ {most}"),
                Limit::Ratio(most) => format!("≤ {most:.2} ×"),
            })
            .collect();
        let verdict = match self.verdict() {
            None => "",
            Some(true) => "kept",
            Some(false) => "MISSED",
        };
        let ratio = self.ratio().map_or("-".to_owned(), |ratio| format!("{ratio:.3}"));
        write!(
            f,
            "{:<22} {:<34} {:>26} {:>26} {:<4} {ratio:>7}  {:<16} {verdict}",
            self.bench,
            self.quantity,
            number(&self.vipd),
            number(&self.keepalived),
            self.unit,
            limits.join(", "),
        )
    }
}

fn least(samples: &[f64]) -> f64 {
    samples.iter().copied().fold(f64::INFINITY, f64::min)
}

fn most(samples: &[f64]) -> f64 {
    samples.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// The middle one; of an even number the mean of the two in the middle.
pub fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (upper, lower) = (sorted.get(sorted.len() / 2)?, sorted.get(sorted.len().saturating_sub(1) / 2)?);
    Some(f64::midpoint(*upper, *lower))
}
