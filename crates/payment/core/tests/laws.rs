//! Laws of money: random sequences of documents, acceptances, orders, confirmations and failures.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

use std::collections::BTreeMap;

use golem_model::{Amount, NodeId};
use golem_payment_core::books::{Expenditure, Funds, Totals};
use golem_payment_core::clearing::{self, Open, Order, PaidPart};
use proptest::prelude::*;

/// One requestor's books, kept as the service keeps its rows.
#[derive(Default)]
struct Books {
    agreements: BTreeMap<u8, Totals>,
    activities: BTreeMap<u8, Totals>,
    allocations: Vec<Funds>,
    rows: BTreeMap<(usize, u8, Option<u8>), Expenditure>,
    /// Ordered and neither confirmed nor given up.
    flying: BTreeMap<String, Vec<Open>>,
    next_id: u32,
    confirmed: Amount,
}

#[derive(Clone, Debug)]
enum Event {
    Note { activity: u8, total: u32 },
    Invoice { agreement: u8, amount: u32 },
    AcceptNote { activity: u8, total: u32, allocation: usize },
    AcceptInvoice { agreement: u8, amount: u32, allocation: usize },
    Order { smallest: u32 },
    Confirm { pick: usize },
    Abandon { pick: usize },
}

/// Each agreement has two activities.
const fn agreement_of(activity: u8) -> u8 {
    activity / 2
}

fn amount(units: u32) -> Amount {
    Amount::from_wei(alloy_primitives::U256::from(units))
}

impl Books {
    fn apply(&mut self, event: Event) {
        match event {
            Event::Note { activity, total } => {
                let agreement = self.agreements.entry(agreement_of(activity)).or_default();
                let activity = self.activities.entry(activity).or_default();
                Totals::claim_note(agreement, activity, amount(total)).unwrap();
            }
            Event::Invoice { agreement, amount: asked } => {
                self.agreements.entry(agreement).or_default().receive_invoice(amount(asked));
            }
            Event::AcceptNote { activity, total, allocation } => {
                let mut agreement = self.agreements.get(&agreement_of(activity)).copied().unwrap_or_default();
                let mut totals = self.activities.get(&activity).copied().unwrap_or_default();
                let growth = Totals::accept_note(&mut agreement, &mut totals, amount(total)).unwrap();
                if self.charge(allocation, growth, agreement_of(activity), Some(activity)) {
                    self.agreements.insert(agreement_of(activity), agreement);
                    self.activities.insert(activity, totals);
                }
            }
            Event::AcceptInvoice { agreement, amount: asked, allocation } => {
                let mut totals = self.agreements.get(&agreement).copied().unwrap_or_default();
                let growth = totals.accept_invoice(amount(asked));
                if self.charge(allocation, growth, agreement, None) {
                    self.agreements.insert(agreement, totals);
                }
            }
            Event::Order { smallest } => self.order(amount(smallest)),
            Event::Confirm { pick } => {
                if let Some(rows) = self.take_flying(pick) {
                    self.confirm(&rows);
                }
            }
            Event::Abandon { pick } => {
                for row in self.take_flying(pick).unwrap_or_default() {
                    let (agreement, activity) = self.totals_of(&row);
                    agreement.unschedule(row.amount);
                    activity.into_iter().for_each(|activity| activity.unschedule(row.amount));
                    let row_key = key(&row);
                    let expenditure = self.rows.get_mut(&row_key).unwrap();
                    expenditure.scheduled = expenditure.scheduled.minus_or_zero(row.amount);
                }
            }
        }
    }

    fn charge(&mut self, allocation: usize, growth: Amount, agreement: u8, activity: Option<u8>) -> bool {
        if self.allocations[allocation].charge(growth).is_err() {
            return false;
        }
        if !growth.is_zero() {
            self.rows.entry((allocation, agreement, activity)).or_default().accept(growth).unwrap();
        }
        true
    }

    fn order(&mut self, smallest: Amount) {
        let open = self.rows.iter().map(|((allocation, agreement, activity), row)| Open {
            allocation_id: allocation.to_string(),
            deposit: *allocation == 0,
            payer_addr: "payer".to_owned(),
            payee_addr: format!("payee-{}", agreement % 2),
            peer: NodeId::from([agreement % 3; 20]),
            agreement_id: agreement.to_string(),
            activity_id: activity.map(|activity| activity.to_string()),
            amount: row.open(),
        });
        let open: Vec<_> = open.collect();
        let sum_before = Amount::sum(open.iter().map(|row| row.amount)).unwrap();
        let next_id = &mut self.next_id;
        let orders: Vec<Order> = clearing::orders(open, smallest, || {
            *next_id += 1;
            next_id.to_string()
        })
        .unwrap();
        let mut ordered = Amount::ZERO;
        for item in orders.into_iter().flat_map(|order| order.items) {
            assert_eq!(item.amount, Amount::sum(item.documents.iter().map(|row| row.amount)).unwrap());
            ordered = ordered.checked_add(item.amount).unwrap();
            for row in &item.documents {
                let (agreement, activity) = self.totals_of(row);
                agreement.schedule(row.amount).unwrap();
                activity.into_iter().for_each(|activity| activity.schedule(row.amount).unwrap());
                let expenditure = self.rows.get_mut(&key(row)).unwrap();
                expenditure.scheduled = expenditure.scheduled.checked_add(row.amount).unwrap();
            }
            self.flying.entry(item.payment_id).or_default().extend(item.documents);
        }
        assert!(ordered <= sum_before);
        assert!(!smallest.is_zero() || ordered == sum_before, "nothing open is forgotten");
    }

    fn take_flying(&mut self, pick: usize) -> Option<Vec<Open>> {
        let id = self.flying.keys().nth(pick % self.flying.len().max(1))?.clone();
        self.flying.remove(&id)
    }

    fn confirm(&mut self, rows: &[Open]) {
        let parts: Vec<_> = rows
            .iter()
            .map(|row| PaidPart {
                peer: row.peer,
                agreement_id: row.agreement_id.clone(),
                activity_id: row.activity_id.clone(),
                amount: row.amount,
            })
            .collect();
        let shares = clearing::shares(&parts).unwrap();
        let told = Amount::sum(shares.iter().map(|shares| shares.amount)).unwrap();
        assert_eq!(told, Amount::sum(rows.iter().map(|row| row.amount)).unwrap());
        self.confirmed = self.confirmed.checked_add(told).unwrap();
        for row in rows {
            let (agreement, activity) = self.totals_of(row);
            agreement.pay(row.amount).unwrap();
            activity.into_iter().for_each(|activity| activity.pay(row.amount).unwrap());
            let expenditure = self.rows.get_mut(&key(row)).unwrap();
            expenditure.paid = expenditure.paid.checked_add(row.amount).unwrap();
        }
    }

    fn totals_of(&mut self, row: &Open) -> (&mut Totals, Option<&mut Totals>) {
        let agreement = self.agreements.get_mut(&row.agreement_id.parse().unwrap()).unwrap();
        let activity = row.activity_id.as_ref().map(|id| self.activities.get_mut(&id.parse().unwrap()).unwrap());
        (agreement, activity)
    }

    fn check(&self) {
        let sum = |amounts: &mut dyn Iterator<Item = Amount>| Amount::sum(amounts).unwrap();
        for (id, totals) in &self.agreements {
            let rows = || self.rows.iter().filter(|(key, _)| key.1 == *id).map(|(_, row)| row);
            assert_eq!(totals.accepted, sum(&mut rows().map(|row| row.accepted)));
            assert_eq!(totals.scheduled, sum(&mut rows().map(|row| row.scheduled)));
            assert_eq!(totals.paid, sum(&mut rows().map(|row| row.paid)));
            let open = sum(&mut rows().map(Expenditure::open));
            assert_eq!(totals.accepted, totals.scheduled.checked_add(open).unwrap(), "accepted = scheduled + open");
            assert!(totals.paid <= totals.scheduled && totals.scheduled <= totals.accepted);
            let notes = self.activities.iter().filter(|(activity, _)| agreement_of(**activity) == *id);
            assert!(totals.due >= sum(&mut notes.map(|(_, activity)| activity.due)));
        }
        for (index, funds) in self.allocations.iter().enumerate() {
            let spent = sum(&mut self.rows.iter().filter(|(key, _)| key.0 == index).map(|(_, row)| row.accepted));
            assert_eq!(funds.spent, spent);
            assert!(funds.spent <= funds.total, "an allocation is never over-spent");
        }
        let paid = sum(&mut self.agreements.values().map(|totals| totals.paid));
        assert_eq!(paid, self.confirmed, "what is booked as paid was transferred");
    }
}

fn key(row: &Open) -> (usize, u8, Option<u8>) {
    let activity = row.activity_id.as_ref().map(|id| id.parse().unwrap());
    (row.allocation_id.parse().unwrap(), row.agreement_id.parse().unwrap(), activity)
}

fn event() -> impl Strategy<Value = Event> {
    let (activity, agreement, units, allocation) = (0..6_u8, 0..3_u8, 0..100_u32, 0..3_usize);
    prop_oneof![
        (activity.clone(), units.clone()).prop_map(|(activity, total)| Event::Note { activity, total }),
        (agreement.clone(), units.clone()).prop_map(|(agreement, amount)| Event::Invoice { agreement, amount }),
        (activity, units.clone(), allocation.clone()).prop_map(|(activity, total, allocation)| Event::AcceptNote {
            activity,
            total,
            allocation
        }),
        (agreement, units, allocation).prop_map(|(agreement, amount, allocation)| Event::AcceptInvoice {
            agreement,
            amount,
            allocation
        }),
        prop_oneof![Just(0), 0..50_u32].prop_map(|smallest| Event::Order { smallest }),
        any::<usize>().prop_map(|pick| Event::Confirm { pick }),
        any::<usize>().prop_map(|pick| Event::Abandon { pick }),
    ]
}

proptest! {
    #[test]
    fn money_is_neither_made_nor_lost(events in prop::collection::vec(event(), 0..60)) {
        let mut books = Books {
            allocations: [50, 150, 400].map(|units| Funds::new(amount(units))).to_vec(),
            ..Books::default()
        };
        for event in events {
            books.apply(event);
            books.check();
        }
    }
}
