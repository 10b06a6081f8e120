//! Every request of a recorded conversation gets what the official relay answered, or what spec 10 §13 wants instead.
#![cfg(test)]

#[path = "support/probe.rs"]
#[expect(dead_code, reason = "shared with the tests of the server")]
mod probe;

use std::collections::HashMap;

use bytes::Bytes;
use golem_keys::SecretKey;
use golem_net_relay_wire::message::{
    ControlKind, DisconnectedBy, Kind, NodeResponse, Packet, RequestKind, ResponseKind, StatusCode,
};
use golem_net_relay_wire::{Datagram, SessionId, challenge};
use probe::{DIFFICULTY, Probe, RETRIES, challenge_of, relay, solved};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/vectors/net");

fn json(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(format!("{VECTORS}/{name}.json")).unwrap()).unwrap()
}

fn key(name: &str) -> SecretKey {
    let secret = hex::decode(json("keys")[name]["secret"].as_str().unwrap()).unwrap();
    SecretKey::from_bytes(&secret.try_into().unwrap()).unwrap()
}

/// One recorded datagram.
struct Step {
    n: u64,
    from: String,
    hex: Vec<u8>,
    note: String,
}

fn steps() -> Vec<Step> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packets = json("07-relay-requests-and-errors")["packets"].as_array().unwrap().clone();
    packets
        .iter()
        .map(|packet| Step {
            n: packet["n"].as_u64().unwrap(),
            from: text(&packet["from"]),
            hex: hex::decode(text(&packet["hex"])).unwrap(),
            note: text(&packet["note"]),
        })
        .collect()
}

/// What stands in a recording and is different for us: session ids, ports, times.
struct World {
    sessions: HashMap<Bytes, SessionId>,
}

impl World {
    fn session(&self, recorded: &mut Bytes) {
        if let Some(ours) = self.sessions.get(recorded) {
            *recorded = Bytes::copy_from_slice(ours.as_bytes());
        }
    }

    /// The recorded datagram with our ids.
    fn ours(&self, hex: &[u8]) -> Datagram {
        let mut datagram = Datagram::decode(Bytes::copy_from_slice(hex)).unwrap();
        match &mut datagram {
            Datagram::Forward(forward) => {
                let mut id = Bytes::copy_from_slice(forward.session.as_bytes());
                self.session(&mut id);
                forward.session = SessionId::try_from(&*id).unwrap();
            }
            Datagram::Packet(packet) => {
                self.session(&mut packet.session_id);
                if let Some(Kind::Control(control)) = &mut packet.kind
                    && let Some(ControlKind::Disconnected(gone)) = &mut control.kind
                    && let Some(DisconnectedBy::SessionId(id)) = &mut gone.by
                {
                    self.session(id);
                }
            }
        }
        datagram
    }
}

/// Takes out what no two runs have in common.
fn plain(mut datagram: Datagram) -> Datagram {
    let node = |node: &mut NodeResponse| {
        node.seen_ts = 0;
        node.endpoints.iter_mut().for_each(|endpoint| endpoint.port = 0);
    };
    if let Datagram::Packet(Packet { kind: Some(kind), .. }) = &mut datagram {
        match kind {
            Kind::Response(response) => match &mut response.kind {
                Some(ResponseKind::Node(found)) => node(found),
                Some(ResponseKind::Neighbours(found)) => found.nodes.iter_mut().for_each(node),
                Some(ResponseKind::Register(register)) => {
                    register.endpoints.iter_mut().for_each(|endpoint| endpoint.port = 0);
                }
                _ => {}
            },
            Kind::Control(control) => {
                if let Some(ControlKind::ReverseConnection(reverse)) = &mut control.kind {
                    reverse.endpoints.iter_mut().for_each(|endpoint| endpoint.port = 0);
                }
            }
            Kind::Request(_) => {}
        }
    }
    datagram
}

fn disconnected(session: Bytes) -> Datagram {
    Datagram::Packet(Packet::disconnected(SessionId::try_from(&*session).unwrap()))
}

#[tokio::test]
async fn requests_and_errors() {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let relay = relay(&tasks, &stop);
    let [a, b, a2, stranger] = [
        Probe::new(relay.addr()).await,
        Probe::new(relay.addr()).await,
        Probe::new(relay.addr()).await,
        Probe::new(relay.addr()).await,
    ];
    let (key_a, key_b) = (key("golem-spec-probe-1"), key("golem-spec-probe-2"));
    let mut world = World { sessions: HashMap::new() };
    let mut challenge = None;
    let steps = steps();
    for (at, step) in steps.iter().enumerate().filter(|(_, step)| step.from == "probe") {
        let recorded = Datagram::decode(Bytes::copy_from_slice(&step.hex)).ok();
        let recorded_session = match &recorded {
            Some(Datagram::Packet(packet)) => packet.session_id.clone(),
            Some(Datagram::Forward(forward)) => Bytes::copy_from_slice(forward.session.as_bytes()),
            None => Bytes::new(),
        };
        let answer = steps.get(at + 1).filter(|next| next.from == "R");
        let socket = match (step.n, hex::encode(recorded_session.get(..4).unwrap_or_default())) {
            (87..=91 | 107, _) => &stranger,
            (35, _) => &b,
            (93, _) => &a2,
            (_, id) if id == "cad7b110" => &b,
            (_, id) if id == "8643f858" => &a2,
            _ => &a,
        };
        let what = format!("{} {}", step.n, step.note);
        match step.n {
            // The answers to checks, and received forwards, which are part of another step.
            33 | 63 | 75 | 77 | 99 | 111 | 113 | 115 | 117 => continue,
            _ if step.note.ends_with("session 1") => {
                socket.send(&step.hex).await;
                let Datagram::Packet(packet) = socket.answer().await else { panic!("{what}") };
                let Some(Datagram::Packet(official)) =
                    answer.and_then(|next| Datagram::decode(next.hex.clone().into()).ok())
                else {
                    panic!("{what}")
                };
                world.sessions.insert(official.session_id.clone(), packet.session().unwrap());
                let (asked, official) = (challenge_of(&packet).clone(), challenge_of(&official));
                assert_eq!((&asked.version, asked.kind), (&official.version, official.kind), "{what}");
                assert_eq!((asked.difficulty, asked.challenge.len()), (DIFFICULTY, official.challenge.len()), "{what}");
                challenge = Some(asked);
                continue;
            }
            _ if step.note.ends_with("session 2") => {
                let Datagram::Packet(mut packet) = world.ours(&step.hex) else { panic!("{what}") };
                let Some(Kind::Request(request)) = &mut packet.kind else { panic!("{what}") };
                let Some(RequestKind::Session(session)) = &mut request.kind else { panic!("{what}") };
                let key = if recorded_session[..] == hex::decode("cad7b1104284deaf7e3d6abf0e8d8549").unwrap() {
                    &key_b
                } else {
                    &key_a
                };
                let asked = challenge.as_ref().unwrap();
                let mut response = solved(key, asked);
                if step.n == 17 {
                    let mut wrong = response.solution.to_vec();
                    while challenge::is_solved(&asked.challenge, DIFFICULTY, &wrong) {
                        wrong[71] = wrong[71].wrapping_add(1);
                    }
                    response.solution = wrong.into();
                }
                session.challenge_resp = Some(response);
                socket.send(&Datagram::Packet(packet).encode()).await;
            }
            31 | 97 => {
                let Some(Datagram::Packet(Packet { kind: Some(Kind::Request(request)), .. })) = &recorded else {
                    panic!("{what}")
                };
                let session = world.sessions[&recorded_session];
                let Datagram::Packet(packet) = socket.register(session, request.request_id).await else {
                    panic!("{what}")
                };
                let Some(Kind::Response(response)) = packet.kind else { panic!("{what}") };
                let Some(ResponseKind::Register(register)) = response.kind else { panic!("{what}") };
                assert_eq!((response.request_id, response.code), (request.request_id, 200), "{what}");
                let endpoints: Vec<_> =
                    register.endpoints.iter().map(|endpoint| endpoint.socket_addr().unwrap()).collect();
                assert_eq!(endpoints, [socket.address()], "{what}");
                continue;
            }
            39 => {
                socket.send(&world.ours(&step.hex).encode()).await;
                for _ in 0..=RETRIES {
                    let (ping, from) = socket.next().await;
                    assert_ne!(from, relay.addr(), "{what}");
                    let Datagram::Packet(Packet { kind: Some(Kind::Request(request)), .. }) = ping else {
                        panic!("{what}")
                    };
                    assert!(matches!(request.kind, Some(RequestKind::Ping(_))), "{what}");
                }
                let recorded = &steps.iter().find(|step| step.n == 44).unwrap().hex;
                assert_eq!(socket.answer().await, world.ours(recorded), "{what}");
                continue;
            }
            // Told at the first ping; not again so soon.
            68 => {
                let Some(Datagram::Forward(mut forward)) = recorded else { panic!("{what}") };
                forward.session = SessionId::from([0xfe; 16]);
                socket.send(&forward.encode()).await;
                assert_eq!(socket.answer().await, disconnected(Bytes::from_static(&[0xfe; 16])), "{what}");
                continue;
            }
            74 => {
                // The sender has its slot although the receiver was unknown.
                socket.send(&world.ours(&step.hex).encode()).await;
                assert_eq!(socket.answer().await, world.ours(&steps[at + 1].hex), "{what}");
                continue;
            }
            76 => {
                socket.send(&world.ours(&step.hex).encode()).await;
                assert_eq!(b.answer().await, world.ours(&steps[at + 1].hex), "{what}");
                continue;
            }
            78 => {
                socket.send(&world.ours(&step.hex).encode()).await;
                let Datagram::Forward(got) = b.answer().await else { panic!("{what}") };
                assert_eq!((got.slot, got.flags.0, got.payload.len()), (2, 0xfff7, 0), "{what}");
                continue;
            }
            _ => match recorded {
                Some(_) => socket.send(&world.ours(&step.hex).encode()).await,
                None => socket.send(&step.hex).await,
            },
        }
        let official = answer.filter(|next| !next.hex.is_empty()).map(|next| world.ours(&next.hex));
        match step.n {
            // Better than silence: a node learns at once that its session is gone.
            1 | 19 => {
                let mut session = recorded_session.clone();
                world.session(&mut session);
                assert_eq!(socket.answer().await, disconnected(session), "{what}");
            }
            // The same, unless this session was told of less than 5 s ago.
            87 => {
                let mut session = recorded_session.clone();
                world.session(&mut session);
                socket.is_quiet_but_for(&disconnected(session)).await;
            }
            // Unknown slots: 404 as for slot 0.
            49 | 51 => {
                let Datagram::Packet(Packet { kind: Some(Kind::Response(got)), .. }) = socket.answer().await else {
                    panic!("{what}")
                };
                assert_eq!(got.code, StatusCode::NotFound as i32, "{what}");
            }
            // The official relay runs the check of a session for whoever names it; ours asks for its address.
            91 => {
                let Datagram::Packet(Packet { kind: Some(Kind::Response(got)), .. }) = socket.answer().await else {
                    panic!("{what}")
                };
                assert_eq!(got.code, StatusCode::Unauthorized as i32, "{what}");
            }
            // So the endpoint of its owner stays known.
            105 => {
                let Datagram::Packet(Packet { kind: Some(Kind::Response(got)), .. }) = socket.answer().await else {
                    panic!("{what}")
                };
                let Some(ResponseKind::Node(node)) = got.kind else { panic!("{what}") };
                assert_eq!((got.code, node.slot), (200, 2), "{what}");
                assert_eq!(node.endpoints[0].socket_addr(), Some(a.address()), "{what}");
            }
            // And a stranger cannot end a session.
            109 => {
                let Datagram::Packet(Packet { kind: Some(Kind::Response(got)), .. }) = socket.answer().await else {
                    panic!("{what}")
                };
                assert!(matches!(got.kind, Some(ResponseKind::Pong(_))), "{what}");
            }
            // A refused proof: nodes throw away answers without a kind, so ours has one.
            17 => {
                let Datagram::Packet(packet) = socket.answer().await else { panic!("{what}") };
                let Some(Kind::Response(got)) = packet.kind else { panic!("{what}") };
                assert_eq!((got.code, got.request_id), (StatusCode::BadRequest as i32, 8), "{what}");
            }
            // The other node hears of it too.
            61 => {
                assert_eq!(socket.answer().await, official.unwrap(), "{what}");
                let control = world.ours(&steps.iter().find(|step| step.n == 63).unwrap().hex);
                assert_eq!(plain(b.answer().await), plain(control), "{what}");
            }
            _ => match official {
                Some(official) => assert_eq!(plain(socket.answer().await), plain(official), "{what}"),
                None => socket.is_quiet().await,
            },
        }
    }
    for probe in [&a, &b, &a2, &stranger] {
        probe.is_quiet().await;
    }
    stop.cancel();
}
