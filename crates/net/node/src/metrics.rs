//! Counters of the net; names of spec 11 §12, without a label per node: those grow without bound.

use std::sync::atomic::Ordering;

use golem_net_relay_core::Node;
use metrics::{counter, gauge};

use crate::shared::Shared;

pub(crate) fn publish(node: &Node, shared: &Shared, dropped: u64, calls: usize) {
    let count = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    gauge!("net.connections.p2p").set(count(node.connected().count()));
    gauge!("net.connections.relay").set(count(usize::from(node.is_relay_up())));
    gauge!("net.public-addresses").set(count(usize::from(node.public_address().is_some())));
    gauge!("net.calls.waiting").set(count(calls));
    let counters = &shared.counters;
    counter!("net.packets.dropped").absolute(dropped);
    for (name, value) in [
        ("net.calls.foreign-caller", &counters.foreign_callers),
        ("net.replies.foreign-replier", &counters.foreign_repliers),
        ("net.packets.malformed", &counters.malformed),
        ("net.calls.overload", &counters.overload),
        ("net.broadcasts.dropped", &counters.broadcasts_dropped),
    ] {
        counter!(name).absolute(value.load(Ordering::Relaxed));
    }
}
