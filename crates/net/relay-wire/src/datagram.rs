use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

use crate::message::Packet;
use crate::{DIRECT_SLOT, SessionId};

/// Bytes before the payload of a Forward packet.
pub const FORWARD_HEADER_BYTES: usize = 23;

/// First byte of a Forward packet: field tag 1, which `Packet` leaves free.
const FORWARD_TAG: u8 = 0x0a;

/// What the payload of a Forward packet is; unknown bits are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Flags(pub u16);

impl Flags {
    /// The payload is one IPv6 packet of the virtual TCP.
    pub const RELIABLE: Self = Self(0);
    /// The payload is one bus message.
    pub const UNRELIABLE: Self = Self(1);
    /// The payload is sealed (spec 10 §15); never sent to a peer that has not announced it.
    pub const ENCRYPTED: Self = Self(2);
    /// Asks the receiver to learn our session key again (spec 10 §15).
    pub const KEY_SYNC: Self = Self(4);

    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Data between nodes: directly with slot 0, or through a relay, which replaces the slot of the receiver by that of
/// the sender (spec 10 §10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    pub session: SessionId,
    pub slot: u32,
    pub flags: Flags,
    pub payload: Bytes,
}

impl Forward {
    pub const fn is_direct(&self) -> bool {
        self.slot == DIRECT_SLOT
    }

    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(FORWARD_HEADER_BYTES + self.payload.len());
        Self::put_header(&mut out, self.session, self.slot, self.flags);
        out.put_slice(&self.payload);
        out.freeze()
    }

    /// Writes the 23 bytes in front of a payload that the caller appends.
    pub fn put_header(out: &mut BytesMut, session: SessionId, slot: u32, flags: Flags) {
        out.put_u8(FORWARD_TAG);
        out.put_slice(session.as_bytes());
        out.put_u32(slot);
        out.put_u16(flags.0);
    }
}

/// Content of one UDP payload.
#[expect(clippy::large_enum_variant, reason = "lives on the stack for the time of one datagram")]
#[derive(Clone, Debug, PartialEq)]
pub enum Datagram {
    Forward(Forward),
    Packet(Packet),
}

/// A datagram that both sides of the protocol drop without an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDatagram {
    #[error("empty datagram")]
    Empty,
    #[error("first byte {0:#04x} starts no datagram")]
    Tag(u8),
    #[error("a forward packet needs 23 bytes, this has {0}")]
    ShortForward(usize),
    #[error("not a packet")]
    Packet(#[source] prost::DecodeError),
    #[error("packet without kind")]
    NoKind,
}

impl Datagram {
    pub fn decode(mut data: Bytes) -> Result<Self, BadDatagram> {
        let first = *data.first().ok_or(BadDatagram::Empty)?;
        match first >> 3 {
            _ if first & 0x80 != 0 => Err(BadDatagram::Tag(first)),
            0 => Err(BadDatagram::Tag(first)),
            1 => {
                if data.len() < FORWARD_HEADER_BYTES {
                    return Err(BadDatagram::ShortForward(data.len()));
                }
                data.advance(1);
                let mut session = [0; 16];
                data.copy_to_slice(&mut session);
                let slot = data.get_u32();
                let flags = Flags(data.get_u16());
                Ok(Self::Forward(Forward { session: session.into(), slot, flags, payload: data }))
            }
            _ => {
                let packet = Packet::decode(data).map_err(BadDatagram::Packet)?;
                if packet.kind.is_none() {
                    return Err(BadDatagram::NoKind);
                }
                Ok(Self::Packet(packet))
            }
        }
    }

    pub fn encode(&self) -> Bytes {
        match self {
            Self::Forward(forward) => forward.encode(),
            Self::Packet(packet) => packet.encode_to_vec().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_datagram_is_told() {
        for (hex, want) in [
            ("", BadDatagram::Empty),
            ("80", BadDatagram::Tag(0x80)),
            ("05", BadDatagram::Tag(5)),
            ("0a0102", BadDatagram::ShortForward(3)),
            ("1200", BadDatagram::NoKind),
        ] {
            let got = Datagram::decode(hex::decode(hex).unwrap().into());
            assert_eq!(got, Err(want), "{hex}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes: Vec<u8>) {
            if let Ok(datagram) = Datagram::decode(bytes.into()) {
                prop_assert_eq!(Datagram::decode(datagram.encode()), Ok(datagram));
            }
        }

        #[test]
        fn likely_bytes_never_panic(first in 8..0x80u8, rest: Vec<u8>) {
            let mut bytes = vec![first];
            bytes.extend(rest);
            let _ = Datagram::decode(bytes.into());
        }

        #[test]
        fn forward_round_trips(session: [u8; 16], slot: u32, flags: u16, payload: Vec<u8>) {
            let forward = Forward { session: session.into(), slot, flags: Flags(flags), payload: payload.into() };
            prop_assert_eq!(Datagram::decode(forward.encode()), Ok(Datagram::Forward(forward)));
        }
    }
}
