//! The dead-man switch as a one-shot verb meets it: what a dead daemon left silent, and what a running one sees to.

use crate::error::Error;
use crate::holder::Vip;
use crate::lease::{DeadMan, Guarded, LeaseError, Leased, Missing, TableName};

/// What a dead daemon guards in vain: silent wherever it is assigned next.
pub struct Left {
    switch: DeadMan,
    address: Leased,
}

/// The guard that a dead daemon left over `vip`, if there is one. If there is none, that was one question to the kernel.
///
/// # Errors
/// [`Error::Guarded`] if the daemon lives, or [`Error::Guard`].
pub fn over(vip: &Vip) -> Result<Option<Left>, Error> {
    let address = Leased::new(vip.net.addr(), vip.link);
    if !DeadMan::guards(&TableName::default(), address).map_err(Error::Guard)? {
        return Ok(None);
    }
    let guarded = || Error::Guarded { what: vip.net.addr().to_string() };
    let mut switch = open().map_err(|error| error.map_or_else(guarded, Error::Guard))?;
    // Before Linux 6.9 a table is nobody's, but a lease that runs is somebody's.
    let runs = |one: &Guarded| one.address == address && one.remaining.is_some();
    if !switch.support().owned && switch.list().map_err(Error::Guard)?.iter().any(runs) {
        return Err(guarded());
    }
    Ok(Some(Left { switch, address }))
}

impl Left {
    /// Lets the address be heard again; what else the dead daemon guards stays silent.
    ///
    /// # Errors
    /// [`Error::Guard`]; then it is as it was.
    pub fn lift(mut self) -> Result<(), Error> {
        self.switch.retire(&[self.address]).map_err(Error::Guard)
    }
}

/// All that a dead daemon guards; `None` where there is no switch, or it may not be touched.
///
/// # Errors
/// [`Error::Guarded`] if the daemon lives.
pub fn left() -> Result<Option<DeadMan>, Error> {
    match open() {
        Ok(switch) => Ok(Some(switch)),
        Err(None) => Err(Error::Guarded { what: "addresses here".to_owned() }),
        Err(Some(_)) => Ok(None),
    }
}

/// Opens the switch; `None` for an error if it is a running daemon's.
fn open() -> Result<DeadMan, Option<LeaseError>> {
    DeadMan::open(TableName::default()).map_err(|error| match error {
        LeaseError::Unavailable(Missing::Taken(_)) => None,
        error => Some(error),
    })
}
