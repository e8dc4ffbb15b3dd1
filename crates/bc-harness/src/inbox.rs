//! What runs inside the operator box: this same program, mounted there, called by the harness from outside.
//!
//! Not for people: hidden in `--help`.

pub(crate) mod arp;
pub(crate) mod assassin;
