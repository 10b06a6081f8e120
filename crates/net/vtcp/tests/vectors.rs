//! Packets of real peers: segments are encoded again byte for byte, and a captured stream is read by our stack.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "test code"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use golem_net_relay_wire::{Datagram, Flags};
use golem_net_vtcp::{Address, Config, Event, FrameDecoder, Segment, Stack};
use serde_json::Value;

fn vector(name: &str) -> Value {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/vectors/net")).join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The IPv6 packets of a capture, with who sent them.
fn packets(name: &str) -> Vec<(String, Bytes)> {
    let vector = vector(name);
    let packets = vector["packets"].as_array().unwrap();
    packets
        .iter()
        .filter_map(|packet| {
            let bytes = hex::decode(packet["hex"].as_str()?).unwrap();
            let Ok(Datagram::Forward(forward)) = Datagram::decode(bytes.into()) else { return None };
            let reliable = !forward.flags.has(Flags::UNRELIABLE) && !forward.payload.is_empty();
            reliable.then(|| (packet["from"].as_str().unwrap().to_owned(), forward.payload))
        })
        .collect()
}

#[test]
fn segments_are_encoded_again_byte_for_byte() {
    let mut count = 0;
    for name in [
        "02-p2p-session.json",
        "05-relayed-unreliable-and-reliable.json",
        "06-gsb-over-reliable.json",
        "11-shutdown.json",
    ] {
        for (_, packet) in packets(name) {
            let segment = Segment::decode(&packet).unwrap();
            assert_eq!(hex::encode(segment.encode()), hex::encode(&packet), "{name}");
            count += 1;
        }
    }
    assert!(count > 40, "{count}");
}

#[test]
fn addresses_of_nodes_are_as_computed() {
    for row in vector("12-computed.json")["node_id_to_ipv6"].as_array().unwrap() {
        let id = hex::decode(row["node_id"].as_str().unwrap().trim_start_matches("0x")).unwrap();
        assert_eq!(Address::of_node(&id.try_into().unwrap()).to_string(), row["ipv6"].as_str().unwrap());
    }
}

/// Replays what `who` sent on its own connections to a stack that stands for the other node.
fn replay(name: &str, who: &str) -> Vec<Bytes> {
    let segments: Vec<Bytes> =
        packets(name).into_iter().filter(|(from, _)| from == who).map(|(_, packet)| packet).collect();
    let first = Segment::decode(&segments[0]).unwrap();
    let mut stack = Stack::new(first.target, Config::default());
    let mut decoders: BTreeMap<_, FrameDecoder> = BTreeMap::new();
    let (mut frames, mut ports, mut now) = (Vec::new(), BTreeMap::new(), Duration::ZERO);
    for packet in segments {
        let mut segment = Segment::decode(&packet).unwrap();
        if segment.source_port < 1000 {
            continue; // answers on connections that the other node opened
        }
        // Our stack chose another first number: shift the acknowledgement as if the peer had seen it.
        if segment.flags.has(golem_net_vtcp::Flags::ACK) {
            segment.ack = ports.get(&segment.source_port).map_or(0, |iss: &u32| iss.wrapping_add(1));
        } else {
            ports.insert(segment.source_port, 77);
        }
        now += Duration::from_millis(1);
        stack.on_packet(now, first.source, &segment.encode(), 77).unwrap();
        while stack.poll_packet(now).is_some() {}
        while let Some(event) = stack.poll_event() {
            if let Event::Readable(id) = event {
                let decoder = decoders.entry(id).or_default();
                while let Some(piece) = stack.read(id) {
                    decoder.push(piece);
                }
                while let Some(frame) = decoder.next_frame().unwrap() {
                    frames.push(frame);
                }
            }
        }
    }
    frames
}

#[test]
fn captured_streams_give_their_bus_messages() {
    for (name, who, want) in [
        ("02-p2p-session.json", "B", 1),
        ("05-relayed-unreliable-and-reliable.json", "B", 1),
        ("06-gsb-over-reliable.json", "B", 3),
        ("06-gsb-over-reliable.json", "A", 3),
    ] {
        let frames = replay(name, who);
        assert!(frames.len() >= want, "{name} {who}: {}", frames.len());
        // CallRequest (6) or CallReply (7) of the bus.
        assert!(frames.iter().all(|frame| [0x32, 0x3a].contains(&frame[0])), "{name} {who}");
    }
}
