//! The dead-man switch: guarded addresses are silent unless their lease is renewed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::address::{LeaseId, Leased};
use super::answer::{self, Element};
use super::batch::{Batch, Operation};
use super::error::LeaseError;
use super::nfnetlink::Nfnetlink;
use super::plan::Term;
use super::ruleset::{self, Admission, Family, LeaseChain};
use super::support::{Missing, Refresh, Support};
use super::table::TableName;

/// Bytes that a transaction takes at most for one address, or one lease, and for its frame.
const BYTES_PER_ADDRESS: usize = 256;
const BYTES_PER_LEASE: usize = 2048;
const BYTES_OF_FRAME: usize = 8 << 10;

/// The number of no lease: never renewed. Addresses that a dead daemon left have it.
const NOBODYS: u32 = 0;

/// A timeout for elements that are deleted by the same transaction.
const PASSING: Option<u64> = Some(1000);

/// A lease that is to be renewed: nothing is heard from its addresses after the term, unless it is renewed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its number.
    pub id: LeaseId,
    /// Until when.
    pub term: Term,
}

/// What became of a renewal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Renewal {
    /// Leases that were renewed.
    pub renewed: usize,
    /// Leases whose term was over before the renewal: they were left to lapse.
    pub too_late: usize,
    /// Somebody had removed our tables; they were made anew, and other leases are silent until their next renewal.
    pub reinstalled: bool,
}

/// A guarded address, as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// The address.
    pub address: Leased,
    /// Its lease; `None`: left by a dead daemon.
    pub lease: Option<LeaseId>,
    /// How long it is live yet, unless renewed; `None`: it is silent now.
    pub remaining: Option<Duration>,
}

/// The dead-man switch in one network namespace, with its own tables (families arp and inet).
///
/// Calls take effect before they return, and wait for nothing but the kernel's own lock on nf_tables. Needs
/// `CAP_NET_ADMIN`, and nothing else. Dropping it changes nothing: what is guarded stays guarded.
pub struct DeadMan {
    kernel: Nfnetlink,
    batch: Batch,
    table: TableName,
    support: Support,
    /// What must be in the maps: addresses, and the numbers of their leases.
    guarded: BTreeMap<Leased, u32>,
    /// The leases that have a chain. They keep it to the end: a lease often comes back.
    leases: BTreeSet<u32>,
    /// The leases for whose addresses not everything is let in.
    restricted: BTreeSet<u32>,
    /// Whether the tables are known to be there as we make them.
    installed: bool,
}

impl fmt::Debug for DeadMan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadMan")
            .field("table", &self.table)
            .field("support", &self.support)
            .field("guarded", &self.guarded.len())
            .field("installed", &self.installed)
            .finish_non_exhaustive()
    }
}

impl DeadMan {
    /// What the kernel lets a dead-man switch of that name do, found out without leaving anything behind.
    ///
    /// # Errors
    /// [`LeaseError::Unavailable`] with what is missing.
    pub fn probe(table: &TableName) -> Result<Support, LeaseError> {
        let mut kernel = Nfnetlink::open().map_err(|error| LeaseError::Unavailable(Missing::Nfnetlink(error)))?;
        Support::find_out(&mut kernel, &mut Batch::default(), table)
    }

    /// Whether a switch of that name guards `address`, of whichever daemon it is. One question to the kernel.
    ///
    /// # Errors
    /// There was no answer. A refusal is one: there is no such switch, or without `CAP_NET_ADMIN` it is not to be seen.
    pub fn guards(table: &TableName, address: Leased) -> Result<bool, LeaseError> {
        let Ok(mut kernel) = Nfnetlink::open() else { return Ok(false) };
        let (scope, mut found) = (address.scope(), false);
        let is_it = |element: Element<'_>| found |= Leased::from_key(scope, element.key) == Some(address);
        match elements(&mut kernel, &mut Batch::default(), Family::Inet, table, ruleset::guarded_name(scope), is_it) {
            Err(LeaseError::Refused(_)) => Ok(false),
            result => result.map(|()| found),
        }
    }

    /// Everything that a switch of that name guards, of whichever daemon it is; nothing if there is no such switch.
    ///
    /// # Errors
    /// It is not to be seen, for instance without `CAP_NET_ADMIN`.
    pub fn look(table: &TableName) -> Result<Vec<Guarded>, LeaseError> {
        let mut kernel = Nfnetlink::open().map_err(|error| LeaseError::Unavailable(Missing::Nfnetlink(error)))?;
        list(&mut kernel, &mut Batch::default(), table)
    }

    /// Opens the switch in the network namespace of the calling thread. Changes nothing yet.
    ///
    /// What a dead daemon left guarded stays so, and silent, until [`DeadMan::sweep`].
    ///
    /// # Errors
    /// [`LeaseError::Unavailable`] if there is none here: then the address lifetime is all there is.
    pub fn open(table: TableName) -> Result<Self, LeaseError> {
        let mut kernel = Nfnetlink::open().map_err(|error| LeaseError::Unavailable(Missing::Nfnetlink(error)))?;
        let mut batch = Batch::default();
        let support = Support::find_out(&mut kernel, &mut batch, &table)?;
        let mut switch = Self {
            kernel,
            batch,
            table,
            support,
            guarded: BTreeMap::new(),
            leases: BTreeSet::new(),
            restricted: BTreeSet::new(),
            installed: false,
        };
        switch.guarded = switch.list()?.into_iter().map(|guarded| (guarded.address, NOBODYS)).collect();
        Ok(switch)
    }

    /// What the kernel lets it do.
    #[must_use]
    pub const fn support(&self) -> Support {
        self.support
    }

    /// Uses no more of the kernel than `support`, as if it were an older one. Call it before anything is guarded.
    pub const fn limit_to(&mut self, support: Support) {
        self.support = support;
    }

    /// Makes `addresses` silent unless `lease` is renewed. Call it before they are configured. Idempotent; an address of
    /// another lease changes over to this one without an interruption if both run.
    ///
    /// # Errors
    /// The kernel's refusal; then none, or with many thousands of addresses some, are guarded.
    pub fn guard(&mut self, lease: LeaseId, addresses: &[Leased]) -> Result<(), LeaseError> {
        let number = lease.0.get();
        if self.installed {
            // Nobody else can have taken them out of tables that are ours.
            let is_new = |address: &&Leased| !self.support.owned || self.guarded.get(address) != Some(&number);
            let new: Vec<_> = addresses.iter().filter(is_new).copied().collect();
            for some in new.chunks(self.per_transaction(BYTES_PER_ADDRESS)) {
                let before = some.iter().filter_map(|address| Some((*address, *self.guarded.get(address)?)));
                let changed = before.filter(|(_, before)| *before != number);
                let new = some.iter().map(|&address| (address, number));
                self.batch.begin();
                let table = self.table.as_str();
                if !self.leases.contains(&number) {
                    ruleset::add_lease(&mut self.batch, table, number, admission(&self.restricted, number));
                }
                ruleset::guarded(&mut self.batch, table, Operation::DeleteElements, changed);
                ruleset::guarded(&mut self.batch, table, Operation::AddElements, new);
                match self.commit() {
                    // Somebody has tampered with our tables: make them anew.
                    Err(error) if error.is_discrepancy() => {
                        self.installed = false;
                        break;
                    }
                    result => result?,
                }
                self.leases.insert(number);
                self.guarded.extend(some.iter().map(|&address| (address, number)));
            }
        }
        self.guarded.extend(addresses.iter().map(|&address| (address, number)));
        if self.installed { Ok(()) } else { self.install() }
    }

    /// What is let in for the addresses of `lease` while it runs, from now on. Call it before they are guarded. Idempotent.
    ///
    /// # Errors
    /// The kernel's refusal; then it is as it was.
    pub fn admit(&mut self, lease: LeaseId, what: Admission) -> Result<(), LeaseError> {
        let number = lease.0.get();
        if admission(&self.restricted, number) == what {
            return Ok(());
        }
        if self.installed && self.leases.contains(&number) {
            self.batch.begin();
            ruleset::readmit(&mut self.batch, self.table.as_str(), number, what);
            match self.commit() {
                // Whoever guards or renews next makes the tables anew, and finds it there.
                Err(error) if error.is_discrepancy() => self.installed = false,
                result => result?,
            }
        }
        match what {
            Admission::All => self.restricted.remove(&number),
            Admission::Discovery => self.restricted.insert(number),
        };
        Ok(())
    }

    /// Prolongs `leases`, each to its term, in one transaction (many thousands: in several).
    ///
    /// `clock` is read before and after. Leases whose term is over are left out. The cost does not depend on the number of
    /// addresses. Allocates nothing unless there are more leases than before.
    ///
    /// # Errors
    /// The kernel's refusal: the leases run on as they were. [`LeaseError::Stalled`] if the process was held up in between
    /// so that some lease could have outlived its term: those are silent now. In both cases step down unless the next
    /// renewal is in time.
    pub fn renew(&mut self, leases: &[Lease], clock: impl Fn() -> Instant) -> Result<Renewal, LeaseError> {
        if !self.installed {
            self.install()?;
        }
        match self.renew_all(leases, &clock) {
            Err(error) if error.is_discrepancy() => {
                // First live, then guarded, so that what is renewed is not interrupted.
                self.install_leases()?;
                let renewal = self.renew_all(leases, &clock)?;
                self.guard_all()?;
                Ok(Renewal { reinstalled: true, ..renewal })
            }
            result => result,
        }
    }

    /// Ends `leases` at once: their addresses are silent. Call it before they are removed. Idempotent.
    ///
    /// # Errors
    /// The kernel's refusal; then they run to the end of their term.
    pub fn silence(&mut self, leases: &[LeaseId]) -> Result<(), LeaseError> {
        for some in leases.chunks(self.per_transaction(BYTES_PER_LEASE)) {
            let numbers = some.iter().map(|lease| lease.0.get());
            self.batch.begin();
            // Adding first makes the deletion succeed whether the lease runs or not.
            for (operation, timeout) in [(Operation::AddElements, PASSING), (Operation::DeleteElements, None)] {
                let elements = numbers.clone().map(|number| (number, timeout));
                ruleset::live(&mut self.batch, self.table.as_str(), operation, elements);
            }
            match self.commit_despite_lapse() {
                Err(error) if error.is_discrepancy() => self.installed = false,
                result => result?,
            }
        }
        Ok(())
    }

    /// Guards `addresses` no longer. Call it after they have been removed. Idempotent.
    ///
    /// # Errors
    /// The kernel's refusal; then they stay guarded.
    pub fn retire(&mut self, addresses: &[Leased]) -> Result<(), LeaseError> {
        for some in addresses.chunks(self.per_transaction(BYTES_PER_ADDRESS)) {
            let known = some.iter().filter_map(|address| Some((*address, *self.guarded.get(address)?)));
            if self.installed && known.clone().next().is_some() {
                self.batch.begin();
                ruleset::guarded(&mut self.batch, self.table.as_str(), Operation::DeleteElements, known);
                match self.commit() {
                    Err(error) if error.is_discrepancy() => self.installed = false,
                    result => result?,
                }
            }
            for address in some {
                self.guarded.remove(address);
            }
        }
        match (self.installed, self.guarded.is_empty()) {
            (true, _) => Ok(()),
            (false, true) => self.remove(),
            (false, false) => self.install(),
        }
    }

    /// Removes our tables and all that is in them. Idempotent.
    ///
    /// # Errors
    /// The kernel's refusal; then they are there.
    pub fn remove(&mut self) -> Result<(), LeaseError> {
        self.batch.begin();
        ruleset::remove(&mut self.batch, self.table.as_str());
        self.commit()?;
        self.guarded.clear();
        self.leases.clear();
        self.installed = false;
        Ok(())
    }

    /// Clears away what a dead daemon left, once its addresses have been removed. Call it before anything is guarded.
    ///
    /// Addresses among `configured`, which the host still has and would answer for again, stay guarded and are silent: they
    /// are returned. Remove and [`retire`](Self::retire) them.
    ///
    /// # Errors
    /// The kernel's refusal; then everything is as it was.
    pub fn sweep(&mut self, configured: &[IpAddr]) -> Result<Vec<Leased>, LeaseError> {
        let left = self.list()?.into_iter().map(|guarded| guarded.address);
        let kept: Vec<_> = left.filter(|leased| configured.contains(&leased.address())).collect();
        if kept.is_empty() {
            self.remove()?;
        } else {
            let nobodys = kept.iter().map(|&leased| (leased, NOBODYS)).collect();
            let before = std::mem::replace(&mut self.guarded, nobodys);
            self.install().inspect_err(|_| self.guarded = before)?;
        }
        Ok(kept)
    }

    /// Everything that is guarded, and for how long it is live yet, as the kernel has it now.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn list(&mut self) -> Result<Vec<Guarded>, LeaseError> {
        list(&mut self.kernel, &mut self.batch, &self.table)
    }

    /// Makes the tables anew, with all that must be guarded and nothing live.
    fn install(&mut self) -> Result<(), LeaseError> {
        self.install_leases()?;
        self.guard_all()
    }

    /// Makes the tables anew, with the leases but without addresses.
    fn install_leases(&mut self) -> Result<(), LeaseError> {
        self.installed = false;
        self.leases = self.guarded.values().copied().collect();
        self.batch.begin();
        ruleset::install(&mut self.batch, self.table.as_str(), self.support.table_flags());
        self.commit()?;
        let (many, table) = (self.per_transaction(BYTES_PER_LEASE), self.table.as_str());
        for skipped in (0..self.leases.len()).step_by(many) {
            self.batch.begin();
            let some = self.leases.iter().skip(skipped).take(many);
            let restricted = &self.restricted;
            some.for_each(|&number| ruleset::add_lease(&mut self.batch, table, number, admission(restricted, number)));
            if !self.batch.is_empty() {
                self.batch.commit();
                self.kernel.transact(&self.batch)?;
            }
        }
        Ok(())
    }

    /// Adds all that must be guarded.
    fn guard_all(&mut self) -> Result<(), LeaseError> {
        let many = self.per_transaction(BYTES_PER_ADDRESS);
        for skipped in (0..self.guarded.len()).step_by(many) {
            self.batch.begin();
            let some = self.guarded.iter().skip(skipped).take(many).map(|(&address, &number)| (address, number));
            ruleset::guarded(&mut self.batch, self.table.as_str(), Operation::AddElements, some);
            self.commit()?;
        }
        self.installed = true;
        Ok(())
    }

    fn renew_all(&mut self, leases: &[Lease], clock: &impl Fn() -> Instant) -> Result<Renewal, LeaseError> {
        let (mut renewal, mut held_up) = (Renewal::default(), None);
        for some in leases.chunks(self.per_transaction(BYTES_PER_LEASE)) {
            let before = clock();
            let timely =
                some.iter().filter_map(|lease| Some((lease.id.0.get(), Some(lease.term.milliseconds(before)?))));
            let renewed = timely.clone().count();
            renewal.renewed += renewed;
            renewal.too_late += some.len() - renewed;
            let table = self.table.as_str();
            self.batch.begin();
            if self.support.refresh == Refresh::Replace {
                // Adding first makes the deletion succeed whether the lease runs or not.
                let old = timely.clone().map(|(number, _)| (number, None));
                ruleset::live(&mut self.batch, table, Operation::AddElements, timely.clone());
                ruleset::live(&mut self.batch, table, Operation::DeleteElements, old);
            }
            ruleset::live(&mut self.batch, table, Operation::AddElements, timely);
            self.commit_despite_lapse()?;
            let after = clock();
            let outlived = |lease: &&Lease| lease.term.is_outlived(before, after);
            if some.iter().any(|lease| outlived(&lease)) {
                held_up = held_up.max(Some(after.saturating_duration_since(before)));
                let outlived: Vec<_> = some.iter().filter(outlived).map(|lease| lease.id).collect();
                self.silence(&outlived)?;
            }
        }
        held_up.map_or(Ok(renewal), |held_up| Err(LeaseError::Stalled { held_up }))
    }

    fn commit(&mut self) -> Result<(), LeaseError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.batch.commit();
        self.kernel.transact(&self.batch)
    }

    /// Kernels before 6.8 do not stop the clock for a transaction: a lease may lapse between its addition, which finds it
    /// there, and its deletion, which does not. Now that it has lapsed, the second attempt cannot meet this again.
    fn commit_despite_lapse(&mut self) -> Result<(), LeaseError> {
        match self.commit() {
            Err(error) if error.is_lapse() => self.kernel.transact(&self.batch),
            result => result,
        }
    }

    fn per_transaction(&self, bytes_of_item: usize) -> usize {
        (self.kernel.longest().saturating_sub(BYTES_OF_FRAME) / bytes_of_item).max(1)
    }
}

fn list(kernel: &mut Nfnetlink, batch: &mut Batch, table: &TableName) -> Result<Vec<Guarded>, LeaseError> {
    let mut live: BTreeMap<u32, Option<Duration>> = BTreeMap::new();
    let mut guarded: BTreeMap<Leased, u32> = BTreeMap::new();
    // What is not there has no elements.
    let there = |result: Result<(), LeaseError>| match result {
        Err(error) if error.is_discrepancy() => Ok(()),
        result => result,
    };
    for family in Family::ALL {
        there(elements(kernel, batch, family, table, ruleset::LIVE, |element| {
            if let Ok(number) = element.key.try_into().map(u32::from_ne_bytes) {
                // The later of both families: until then something may be heard.
                let left = live.entry(number).or_default();
                *left = element.left.max(*left);
            }
        }))?;
        for &scope in family.scopes() {
            there(elements(kernel, batch, family, table, ruleset::guarded_name(scope), |element| {
                let lease = LeaseChain::from_name(element.chain).map(|LeaseChain(number)| number);
                guarded.extend(Leased::from_key(scope, element.key).zip(lease));
            }))?;
        }
    }
    let of_lease = |(address, number)| {
        let remaining = live.get(&number).copied().flatten();
        Guarded { address, lease: NonZeroU32::new(number).map(LeaseId), remaining }
    };
    Ok(guarded.into_iter().map(of_lease).collect())
}

/// Hands each element of a set or a map to `each`, a disturbed list perhaps twice.
fn elements(
    kernel: &mut Nfnetlink,
    batch: &mut Batch,
    family: Family,
    table: &TableName,
    set: &str,
    mut each: impl FnMut(Element<'_>),
) -> Result<(), LeaseError> {
    ruleset::list(batch, family, table.as_str(), set);
    kernel.list(batch, |part| answer::elements(part).for_each(&mut each))
}

fn admission(restricted: &BTreeSet<u32>, number: u32) -> Admission {
    if restricted.contains(&number) { Admission::Discovery } else { Admission::All }
}
