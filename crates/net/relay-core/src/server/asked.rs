//! Answers to requests on a session (spec 10 §8, §13.2).

use std::net::SocketAddr;

use golem_model::NodeId;
use golem_net_relay_wire::SessionId;
use golem_net_relay_wire::message::{
    ControlKind, Empty, Endpoint, NeighboursResponse, NodeResponse, Packet, Register, RequestKind, ResponseKind,
    ReverseControl, StatusCode, node_id_bytes,
};

use super::{Now, Server};

impl Server {
    pub(super) fn on_request(
        &mut self,
        now: Now,
        from: SocketAddr,
        session: SessionId,
        request_id: u64,
        kind: RequestKind,
    ) {
        let Some(asker) = self.table.hear(now.time, session, from).map(|session| session.default_id()) else {
            return self.on_stranger(now, from, session, request_id, &kind);
        };
        let (code, kind) = match kind {
            RequestKind::Session(_) => return,
            RequestKind::Ping(_) => (StatusCode::Ok, ResponseKind::Pong(Empty {})),
            RequestKind::Register(_) => {
                self.counters.registered += 1;
                // Found at once; the endpoint follows when the check has ended.
                self.table.register(session);
                return self.start_check(now.time, session, request_id);
            }
            RequestKind::Node(asked) => {
                let (code, answer) = match NodeId::try_from(&*asked.node_id) {
                    Ok(id) => self.describe(now, id),
                    Err(_) => (StatusCode::BadRequest, NodeResponse::default()),
                };
                self.counters.node += 1;
                self.counters.node_error += u64::from(code != StatusCode::Ok);
                (code, ResponseKind::Node(answer))
            }
            RequestKind::Slot(asked) => {
                let id = self.table.by_slot(asked.slot).map(|session| session.default_id());
                let (code, answer) =
                    id.map_or_else(|| (StatusCode::NotFound, NodeResponse::default()), |id| self.describe(now, id));
                self.counters.slot_info += 1;
                self.counters.slot_info_error += u64::from(code != StatusCode::Ok);
                (code, ResponseKind::Node(answer))
            }
            RequestKind::Neighbours(asked) => {
                self.counters.neighbours += 1;
                let count = usize::try_from(asked.count).unwrap_or(usize::MAX);
                let nearest = self.table.nearest(asker, session, count);
                let nodes = nearest.into_iter().filter_map(|id| self.describe_shortly(now, id)).collect();
                (StatusCode::Ok, ResponseKind::Neighbours(NeighboursResponse { nodes }))
            }
            RequestKind::ReverseConnection(asked) => {
                let code = self.reverse(session, asker, &asked.node_id);
                self.counters.reverse += 1;
                self.counters.reverse_error += u64::from(code != StatusCode::Ok);
                (code, ResponseKind::ReverseConnection(Empty {}))
            }
        };
        self.answer(from, Some(session), request_id, code, kind);
    }

    /// Every answer carries a kind: nodes throw away those without (spec 10 §3).
    fn on_stranger(&mut self, now: Now, from: SocketAddr, session: SessionId, request_id: u64, kind: &RequestKind) {
        let kind = match kind {
            RequestKind::Session(_) => return,
            RequestKind::Ping(_) => return self.tell_unknown(now.time, from, session),
            RequestKind::Register(_) => ResponseKind::Register(Register::default()),
            RequestKind::Node(_) | RequestKind::Slot(_) => ResponseKind::Node(NodeResponse::default()),
            RequestKind::Neighbours(_) => ResponseKind::Neighbours(NeighboursResponse::default()),
            RequestKind::ReverseConnection(_) => ResponseKind::ReverseConnection(Empty {}),
        };
        self.answer(from, Some(session), request_id, StatusCode::Unauthorized, kind);
    }

    fn describe(&mut self, now: Now, id: NodeId) -> (StatusCode, NodeResponse) {
        let Some(default) = self.table.by_id(id).map(|session| session.default_id()) else {
            return (StatusCode::NotFound, NodeResponse::default());
        };
        let slot = self.slot_of(default);
        let answer = self.table.by_id(id).map(|session| session.describe(now.time, now.unix, slot, true));
        (StatusCode::Ok, answer.unwrap_or_default())
    }

    fn describe_shortly(&mut self, now: Now, id: NodeId) -> Option<NodeResponse> {
        let slot = self.slot_of(id);
        self.table.by_id(id).map(|session| session.describe(now.time, now.unix, slot, false))
    }

    fn reverse(&mut self, session: SessionId, asker: NodeId, node_id: &[u8]) -> StatusCode {
        let Ok(node) = NodeId::try_from(node_id) else { return StatusCode::BadRequest };
        let Some(endpoint) = self.table.get_mut(session).filter(|asker| asker.is_public()).map(|asker| asker.address)
        else {
            return StatusCode::BadRequest;
        };
        let Some((target, to)) = self.table.by_id(node).map(|target| (target.id, target.address)) else {
            return StatusCode::NotFound;
        };
        let control = ReverseControl { node_id: node_id_bytes(asker), endpoints: vec![Endpoint::from(endpoint)] };
        self.send(to, &Packet::control(target, ControlKind::ReverseConnection(control)));
        StatusCode::Ok
    }

    pub(super) fn answer_register(&mut self, session: SessionId, requests: &[u64]) {
        let Some((to, endpoints)) = self.table.get_mut(session).map(|known| (known.address, known.endpoints())) else {
            return;
        };
        for request_id in requests {
            let kind = ResponseKind::Register(Register { endpoints: endpoints.clone() });
            self.answer(to, Some(session), *request_id, StatusCode::Ok, kind);
        }
    }
}
