//! The chain of hashes through the history: a line that was changed, removed or put in afterwards is found.
//!
//! ```text
//! {"hash":"H₂","prev":"H₁","kind":"intent",…}      H₂ = SHA-256 of everything after `{"hash":"H₂",`
//! ```
//!
//! `prev` is the hash of the line before; of the first line, the SHA-256 of all bytes before it, so that a history of the
//! first format, which had no hashes, is covered too. Bytes that a killed program left behind are covered by the `torn`
//! line that follows them. No I/O here.

use bc_model::fencing::{HistoryLine, TornLine};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

const HEAD: &[u8] = b"{\"hash\":\"";
const HEX: usize = 64;
const BROKEN: &str = "does not follow the line before it: lines were removed, put in or moved";

/// A SHA-256 in hexadecimal.
pub(crate) fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::with_capacity(HEX), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A line that carries the hash that it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) hash: String,
    pub(crate) prev: String,
    pub(crate) line: HistoryLine,
}

/// Reads one line, without its newline; `None` if it is not a line that was written whole.
pub(crate) fn link(bytes: &[u8]) -> Option<Link> {
    let (hash, body) = split(bytes)?;
    if digest(body) != hash {
        return None;
    }
    #[derive(serde::Deserialize)]
    struct Prev {
        prev: String,
    }
    Some(Link {
        hash: hash.to_owned(),
        prev: serde_json::from_slice::<Prev>(bytes).ok()?.prev,
        line: serde_json::from_slice(bytes).ok()?,
    })
}

/// The hash that a line claims, and what it should be the hash of.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let rest = bytes.strip_prefix(HEAD)?;
    let (hash, rest) = rest.split_at_checked(HEX)?;
    let body = rest.strip_prefix(b"\",")?;
    let hash = std::str::from_utf8(hash).ok()?;
    hash.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some((hash, body))
}

/// Where the chain stands at the end of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tip {
    /// `prev` of the next line.
    pub(crate) hash: String,
    /// What is left behind after the last whole line; empty unless a program was killed while it wrote.
    pub(crate) torn: Vec<u8>,
}

/// Finds the end of the chain in the last part of a file; `whole` if that part is all of it.
///
/// `None` if the part holds no line of the chain, and more of the file is needed to tell.
pub(crate) fn tip(part: &[u8], whole: bool) -> Option<Tip> {
    let mut end = part.len();
    while end > 0 {
        let stop = if part[end - 1] == b'\n' { end - 1 } else { end };
        let start = part[..stop].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        // The beginning of the part may be the middle of a line.
        if let Some(link) = link(&part[start..stop]) {
            return Some(Tip { hash: link.hash, torn: part[end..].to_vec() });
        }
        end = start;
    }
    // No chain yet: what is there, if anything, is of the first format. Its last line may lack the newline.
    let end: &[u8] = if part.is_empty() || part.ends_with(b"\n") { b"" } else { b"\n" };
    whole.then(|| Tip { hash: digest(&[part, end].concat()), torn: Vec::new() })
}

/// The bytes that continue the chain with `line`.
///
/// # Errors
/// When the line cannot be represented, which its types rule out.
pub(crate) fn forge(
    tip: &Tip,
    ends_with_newline: bool,
    line: &HistoryLine,
    now: Timestamp,
) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut prev = tip.hash.clone();
    let mut torn = tip.torn.clone();
    if !ends_with_newline {
        bytes.push(b'\n');
        // A whole last line may lack nothing but its newline.
        if !torn.is_empty() {
            torn.push(b'\n');
        }
    }
    if !torn.is_empty() {
        let found = TornLine { at: now, bytes: torn.len() as u64, sha256: digest(&torn) };
        prev = add(&mut bytes, &prev, &HistoryLine::Torn(found))?;
    }
    add(&mut bytes, &prev, line)?;
    Ok(bytes)
}

fn add(bytes: &mut Vec<u8>, prev: &str, line: &HistoryLine) -> serde_json::Result<String> {
    let json = serde_json::to_string(line)?;
    // `{"kind":…}` becomes `"prev":"…","kind":…}`.
    let body = format!("\"prev\":\"{prev}\",{}", &json[1..]);
    let hash = digest(body.as_bytes());
    bytes.extend_from_slice(HEAD);
    bytes.extend_from_slice(hash.as_bytes());
    bytes.extend_from_slice(b"\",");
    bytes.extend_from_slice(body.as_bytes());
    bytes.push(b'\n');
    Ok(hash)
}

/// What is wrong with a history, and where.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Flaw {
    /// The line, counted from 1.
    pub(crate) line: usize,
    /// In words.
    pub(crate) problem: String,
}

/// What `verify` found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Verified {
    /// Lines of the chain.
    pub(crate) lines: usize,
    /// Lines before the chain began, of the first format.
    pub(crate) before: usize,
    /// Pieces that killed programs left behind, and that a later line accounts for.
    pub(crate) torn: usize,
    /// The hash of the last line.
    pub(crate) head: Option<String>,
    /// The line that carries the hash that was looked for.
    pub(crate) found: Option<usize>,
    /// What is wrong, in the order of the lines.
    pub(crate) flaws: Vec<Flaw>,
    /// Bytes at the end that no line accounts for yet: the next request will.
    pub(crate) unfinished: usize,
}

/// Bytes that are no line.
struct Gap<'a> {
    from: usize,
    line: usize,
    /// The first of them, and the last hash that any of them claims.
    first: &'a [u8],
    claimed: Option<String>,
}

impl Gap<'_> {
    fn flaw(&self) -> Flaw {
        let problem = match split(self.first) {
            Some((claimed, body)) => {
                format!("was changed: it says that its hash is {claimed}, but that is {}", digest(body))
            }
            None => "is no line of the history, and no later line accounts for it".to_owned(),
        };
        Flaw { line: self.line, problem }
    }
}

/// Checks every line of a history; `wanted` is a hash that should be in it.
pub(crate) fn verify(bytes: &[u8], wanted: Option<&str>) -> Verified {
    let mut done = Verified::default();
    let mut gap: Option<Gap<'_>> = None;
    let mut at = 0;
    for (number, raw) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        let (start, text) = (at, raw.strip_suffix(b"\n").unwrap_or(raw));
        at += raw.len();
        let Some(link) = link(text) else {
            let gap = gap.get_or_insert(Gap { from: start, line: number, first: text, claimed: None });
            gap.claimed = split(text).map(|(claimed, _)| claimed.to_owned()).or(gap.claimed.take());
            continue;
        };
        let flaw = |problem: &str| Flaw { line: number, problem: problem.to_owned() };
        let gap = gap.take();
        let Some(mut head) = done.head.take() else {
            match gap.map(|gap| (gap.flaw(), gap.claimed)) {
                _ if link.prev == digest(&bytes[..start]) => done.before = number - 1,
                // The lines before are of the chain too, and were changed.
                Some((changed, Some(claimed))) => {
                    done.flaws.push(changed);
                    if link.prev != claimed {
                        done.flaws.push(flaw(BROKEN));
                    }
                }
                _ => done.flaws.push(flaw("is where the chain begins, and does not fit what is before it")),
            }
            done.add(link, number, wanted);
            continue;
        };
        if let Some(gap) = gap {
            let left = &bytes[gap.from..start];
            let accounted = matches!(&link.line, HistoryLine::Torn(found)
                if (found.bytes, found.sha256.as_str()) == (left.len() as u64, digest(left).as_str()));
            if accounted {
                done.torn += 1;
            } else {
                done.flaws.push(gap.flaw());
                // One change is one flaw: what follows is judged by the hash that the changed line claims.
                head = gap.claimed.unwrap_or(head);
            }
        }
        if link.prev != head {
            done.flaws.push(flaw(BROKEN));
        }
        done.add(link, number, wanted);
    }
    match gap {
        Some(_) if done.head.is_none() => {
            done.before = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
        }
        Some(gap) if split(gap.first).is_some() && bytes.ends_with(b"}\n") => done.flaws.push(gap.flaw()),
        Some(gap) => done.unfinished = bytes.len() - gap.from,
        None => {}
    }
    done
}

impl Verified {
    fn add(&mut self, link: Link, number: usize, wanted: Option<&str>) {
        self.lines += 1;
        if wanted == Some(link.hash.as_str()) {
            self.found = Some(number);
        }
        self.head = Some(link.hash);
    }
}

#[cfg(test)]
mod tests;
