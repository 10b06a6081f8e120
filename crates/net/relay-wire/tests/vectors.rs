//! Packets of real peers: decoded, encoded again byte for byte, proofs checked and reproduced.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "test code"
)]

use std::path::PathBuf;

use golem_keys::{PublicKey, SecretKey};
use golem_net_relay_wire::message::{Kind, RequestKind, ResponseKind};
use golem_net_relay_wire::{Datagram, challenge, proof, seal::Seal};
use serde_json::Value;

fn vector(name: &str) -> Value {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/vectors/net")).join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

const CAPTURES: [&str; 11] = [
    "01-relay-session.json",
    "02-p2p-session.json",
    "03-relay-session-two-identities.json",
    "04-reverse-connection.json",
    "05-relayed-unreliable-and-reliable.json",
    "06-gsb-over-reliable.json",
    "07-relay-requests-and-errors.json",
    "08-session-lost-disconnected.json",
    "09-newest-server-rejects-0.17.6.json",
    "10-vpn.json",
    "11-shutdown.json",
];

fn packets(name: &str) -> Vec<(Vec<u8>, Value)> {
    let vector = vector(name);
    vector["packets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|packet| (hex::decode(packet["hex"].as_str().unwrap_or_default()).unwrap(), packet.clone()))
        .collect()
}

#[test]
fn every_packet_is_encoded_again_byte_for_byte() {
    let (mut good, mut bad) = (0, 0);
    for name in CAPTURES {
        for (bytes, packet) in packets(name) {
            match Datagram::decode(bytes.clone().into()) {
                Ok(datagram) => {
                    assert_eq!(hex::encode(datagram.encode()), hex::encode(&bytes), "{name} {packet}");
                    good += 1;
                }
                Err(_) => {
                    assert!(packet["decoded"].get("packet").is_none(), "{name} {packet}");
                    assert!(packet["decoded"].get("forward").is_none(), "{name} {packet}");
                    bad += 1;
                }
            }
        }
    }
    assert!(good > 250 && bad > 0, "{good} {bad}");
}

fn secret(name: &str) -> SecretKey {
    vector("keys.json")[name]["secret"].as_str().unwrap().parse().unwrap()
}

fn key(hex_text: &str) -> PublicKey {
    PublicKey::try_from(&*hex::decode(hex_text).unwrap()).unwrap()
}

#[test]
fn proofs_of_real_peers_hold_and_our_signatures_are_the_same() {
    let secrets: Vec<SecretKey> = vector("keys.json")
        .as_object()
        .unwrap()
        .values()
        .map(|k| k["secret"].as_str().unwrap().parse().unwrap())
        .collect();
    let (mut checked, mut reproduced, mut refused) = (0, 0, 0);
    for name in CAPTURES {
        let mut challenges = Vec::new();
        for (bytes, packet) in packets(name) {
            let Ok(Datagram::Packet(message)) = Datagram::decode(bytes.into()) else { continue };
            let (asked, answered) = match message.kind.unwrap() {
                Kind::Request(request) => match request.kind {
                    Some(RequestKind::Session(session)) => (session.challenge_req, session.challenge_resp),
                    _ => continue,
                },
                Kind::Response(response) => match response.kind {
                    Some(ResponseKind::Session(session)) => (session.challenge_req, session.challenge_resp),
                    _ => continue,
                },
                Kind::Control(_) => continue,
            };
            challenges.extend(asked);
            let Some(answer) = answered else { continue };
            let held = challenges.iter().find_map(|c| proof::check(&c.challenge, c.difficulty, &answer).ok());
            let Some(proved) = held else {
                assert_eq!(packet["verified"]["solution_valid"], Value::Bool(false), "{name} {packet}");
                refused += 1;
                continue;
            };
            let ids: Vec<String> = proved.keys.iter().map(|key| key.node_id().to_string()).collect();
            assert!(packet["verified"].to_string().contains(ids[0].trim_start_matches("0x")), "{name} {packet}");
            let digest = proof::solution_digest(&answer.solution);
            for (key, signature) in proved.keys.iter().zip(&answer.signatures) {
                if let Some(secret) = secrets.iter().find(|secret| secret.public() == *key) {
                    assert_eq!(secret.sign(&digest).as_bytes()[..], signature[..]);
                    reproduced += 1;
                }
            }
            checked += 1;
        }
    }
    assert!(checked >= 8 && reproduced >= 8 && refused == 1, "{checked} {reproduced} {refused}");
}

#[test]
fn our_solver_finds_the_first_solution_as_peers_do() {
    let Some((bytes, _)) = packets("01-relay-session.json").into_iter().nth(2) else { panic!("no third packet") };
    let Ok(Datagram::Packet(packet)) = Datagram::decode(bytes.into()) else { panic!("not a packet") };
    let Some(Kind::Request(request)) = packet.kind else { panic!("not a request") };
    let Some(RequestKind::Session(session)) = request.kind else { panic!("not a session") };
    let challenge = hex::decode("f0ae8a4279cae71ec47f48b863c92798").unwrap();
    let solution = challenge::solve(&challenge, 16, 1 << 20).unwrap();
    assert_eq!(solution[..], session.challenge_resp.unwrap().solution[..]);
}

#[test]
fn computed_encryption_is_reproduced() {
    let vector = &vector("12-computed.json")["successor_encryption"];
    let text = |name: &str| vector[name].as_str().unwrap().to_owned();
    let (a, b) = (key(&text("session_pub_key_a")), key(&text("session_pub_key_b")));
    let secret_a: SecretKey = text("session_secret_a").parse().unwrap();
    let secret_b: SecretKey = text("session_secret_b").parse().unwrap();
    assert_eq!(hex::encode(proof::session_key_digest(&a)), text("proof_message_sha256"));
    assert_eq!(
        hex::encode(secret("golem-spec-node-a").sign(&proof::session_key_digest(&a)).as_bytes()),
        text("session_sign_by_golem-spec-node-a")
    );
    assert!(proof::vouches(
        &[secret("golem-spec-node-a").public()],
        &a,
        &[&hex::decode(text("session_sign_by_golem-spec-node-a")).unwrap()]
    ));
    let (from_a, from_b) = (Seal::new(&secret_a, &b).unwrap(), Seal::new(&secret_b, &a).unwrap());
    let nonce = hex::decode(text("nonce")).unwrap().try_into().unwrap();
    let plain = hex::decode(text("plaintext")).unwrap();
    let sealed = from_a.seal(nonce, &plain);
    assert_eq!(hex::encode(&sealed), text("forward_payload"));
    assert_eq!(from_b.open(&sealed).unwrap(), plain);
    for at in 0..sealed.len() {
        let mut changed = sealed.to_vec();
        changed[at] ^= 1;
        assert!(from_b.open(&changed).is_err());
        assert!(from_b.open(&sealed[..at]).is_err());
    }
}
