//! Totals of agreements, activities, allocations and expenditures (spec 40 §4.1, §5).
//!
//! Each function takes the rows that one operation touches and changes them together or not at all.

use golem_model::Amount;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BooksError {
    #[error(
        "Requested amount for agreement cannot be lowered. Current amount requested: {current} Amount on invoice: {asked}"
    )]
    Lowered { current: Amount, asked: Amount },
    #[error("Not enough funds. Allocated: {allocated} Needed: {needed}")]
    NotEnough { allocated: Amount, needed: Amount },
    #[error("New allocation would be smaller than the already spent amount")]
    SmallerThanSpent,
    #[error("the sum of amounts is larger than all tokens there are")]
    Overflow,
}

/// What an agreement or an activity has cost. The provider schedules nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub due: Amount,
    pub accepted: Amount,
    pub scheduled: Amount,
    pub paid: Amount,
}

fn add(a: Amount, b: Amount) -> Result<Amount, BooksError> {
    a.checked_add(b).ok_or(BooksError::Overflow)
}

fn larger(a: Amount, b: Amount) -> Amount {
    if b > a { b } else { a }
}

impl Totals {
    /// A debit note of `total` arrives or is issued; a smaller one than before changes nothing.
    pub fn claim_note(agreement: &mut Self, activity: &mut Self, total: Amount) -> Result<(), BooksError> {
        let growth = total.minus_or_zero(activity.due);
        if !growth.is_zero() {
            agreement.due = add(agreement.due, growth)?;
            activity.due = total;
        }
        Ok(())
    }

    /// The provider issues an invoice, which cannot ask less than was asked before.
    pub fn issue_invoice(&mut self, amount: Amount) -> Result<(), BooksError> {
        if amount < self.due {
            return Err(BooksError::Lowered { current: self.due, asked: amount });
        }
        self.due = amount;
        Ok(())
    }

    /// The requestor receives an invoice.
    pub fn receive_invoice(&mut self, amount: Amount) {
        self.due = larger(self.due, amount);
    }

    /// An invoice is cancelled: what is due are the notes again.
    pub fn cancel_invoice(&mut self, activities_due: Amount) {
        self.due = activities_due;
    }

    /// A note of `total` is accepted; the answer is what it adds to what was accepted before.
    pub fn accept_note(agreement: &mut Self, activity: &mut Self, total: Amount) -> Result<Amount, BooksError> {
        let growth = total.minus_or_zero(activity.accepted);
        if !growth.is_zero() {
            agreement.accepted = add(agreement.accepted, growth)?;
            activity.accepted = total;
        }
        Ok(growth)
    }

    /// An invoice is accepted; the answer is the rest above what its notes have brought.
    pub fn accept_invoice(&mut self, amount: Amount) -> Amount {
        let growth = amount.minus_or_zero(self.accepted);
        if !growth.is_zero() {
            self.accepted = amount;
        }
        growth
    }

    /// `amount` of it goes into a batch order.
    pub fn schedule(&mut self, amount: Amount) -> Result<(), BooksError> {
        self.scheduled = add(self.scheduled, amount)?;
        Ok(())
    }

    /// An order was given up before it was sent.
    pub fn unschedule(&mut self, amount: Amount) {
        self.scheduled = self.scheduled.minus_or_zero(amount);
    }

    /// A transfer was confirmed.
    pub fn pay(&mut self, amount: Amount) -> Result<(), BooksError> {
        self.paid = add(self.paid, amount)?;
        Ok(())
    }
}

/// What an allocation has and has given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Funds {
    pub total: Amount,
    pub spent: Amount,
}

impl Funds {
    pub const fn new(total: Amount) -> Self {
        Self { total, spent: Amount::ZERO }
    }

    pub fn remaining(&self) -> Amount {
        self.total.minus_or_zero(self.spent)
    }

    /// Takes `amount` for an accepted document.
    pub fn charge(&mut self, amount: Amount) -> Result<(), BooksError> {
        let allocated = self.remaining();
        if amount > allocated {
            return Err(BooksError::NotEnough { allocated, needed: amount });
        }
        if !amount.is_zero() {
            self.spent = add(self.spent, amount)?;
            // The total takes the larger scale, as clients know it (spec 41 §3.1).
            self.total = add(self.remaining(), self.spent)?;
        }
        Ok(())
    }

    /// Sets a new total; the answer is by how much it grows.
    pub fn amend(&mut self, total: Amount) -> Result<Amount, BooksError> {
        if total < self.spent {
            return Err(BooksError::SmallerThanSpent);
        }
        let growth = total.minus_or_zero(self.total);
        self.total = total;
        Ok(growth)
    }
}

/// What one allocation has paid for one agreement or activity: the only source of what is to be paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expenditure {
    pub accepted: Amount,
    pub scheduled: Amount,
    pub paid: Amount,
}

impl Expenditure {
    pub fn accept(&mut self, amount: Amount) -> Result<(), BooksError> {
        self.accepted = add(self.accepted, amount)?;
        Ok(())
    }

    /// Accepted, but in no order.
    pub fn open(&self) -> Amount {
        self.accepted.minus_or_zero(self.scheduled)
    }

    pub fn unpaid(&self) -> Amount {
        self.accepted.minus_or_zero(self.paid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Amount {
        text.parse().unwrap()
    }

    #[test]
    fn an_invoice_brings_only_the_rest_above_its_notes() {
        let (mut agreement, mut activity) = (Totals::default(), Totals::default());
        Totals::claim_note(&mut agreement, &mut activity, amount("0.125")).unwrap();
        Totals::claim_note(&mut agreement, &mut activity, amount("0.1")).unwrap();
        assert_eq!((agreement.due, activity.due), (amount("0.125"), amount("0.125")));
        let charged = Totals::accept_note(&mut agreement, &mut activity, amount("0.125")).unwrap();
        assert_eq!(charged.to_string(), "0.125");
        agreement.issue_invoice(amount("0.5")).unwrap();
        assert_eq!(agreement.accept_invoice(amount("0.5")).to_string(), "0.375");
        assert_eq!(
            agreement.issue_invoice(amount("0.2")).unwrap_err().to_string(),
            "Requested amount for agreement cannot be lowered. Current amount requested: 0.5 Amount on invoice: 0.2"
        );
        agreement.cancel_invoice(activity.due);
        assert_eq!(agreement.due, amount("0.125"));
    }

    #[test]
    fn an_allocation_shows_the_larger_scale_once_it_is_charged() {
        let mut funds = Funds::new(amount("2"));
        funds.charge(amount("0.000")).unwrap();
        assert_eq!(funds.total.to_string(), "2");
        funds.charge(amount("0.500")).unwrap();
        let shown = [funds.total, funds.spent, funds.remaining()].map(|amount| amount.to_string());
        assert_eq!(shown, ["2.000", "0.500", "1.500"]);
        assert_eq!(
            funds.charge(amount("1.6")).unwrap_err().to_string(),
            "Not enough funds. Allocated: 1.500 Needed: 1.6"
        );
        assert_eq!(funds.amend(amount("0.4")), Err(BooksError::SmallerThanSpent));
        assert_eq!(funds.amend(amount("3")), Ok(amount("1")));
    }
}
