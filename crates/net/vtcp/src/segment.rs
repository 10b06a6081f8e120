use bytes::{BufMut, Bytes, BytesMut};

use crate::Address;

const IP_HEADER_BYTES: usize = 40;
const TCP_HEADER_BYTES: usize = 20;
const NEXT_HEADER_TCP: u8 = 6;
const HOP_LIMIT: u8 = 64;
/// SACK blocks that fit beside no other option.
pub(crate) const SACK_BLOCKS_MAX: usize = 4;

/// TCP control bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    pub const FIN: Self = Self(1);
    pub const SYN: Self = Self(2);
    pub const RST: Self = Self(4);
    pub const PSH: Self = Self(8);
    pub const ACK: Self = Self(16);

    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// One IPv6 packet with one TCP segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub source: Address,
    pub target: Address,
    pub source_port: u16,
    pub target_port: u16,
    pub seq: u32,
    pub ack: u32,
    pub flags: Flags,
    pub window: u16,
    /// In SYN segments.
    pub mss: Option<u16>,
    pub window_scale: Option<u8>,
    pub sack_permitted: bool,
    /// Sequence ranges that arrived beyond `ack`; at most four.
    pub sack: Vec<(u32, u32)>,
    pub payload: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSegment {
    #[error("packet is too short")]
    Short,
    #[error("not an IPv6 packet")]
    NotIpv6,
    #[error("not a TCP segment: next header {0}")]
    NotTcp(u8),
    #[error("lengths in the headers do not fit the packet")]
    Length,
    #[error("checksum is wrong")]
    Checksum,
}

impl Segment {
    /// Length in sequence numbers.
    pub fn sequence_len(&self) -> u32 {
        let control = u32::from(self.flags.has(Flags::SYN)) + u32::from(self.flags.has(Flags::FIN));
        u32::try_from(self.payload.len()).unwrap_or(u32::MAX).saturating_add(control)
    }

    pub fn decode(packet: &Bytes) -> Result<Self, BadSegment> {
        let (ip, rest) = packet.split_first_chunk::<IP_HEADER_BYTES>().ok_or(BadSegment::Short)?;
        let [version, _, _, _, len_high, len_low, next_header, _, addresses @ ..] = ip;
        if version >> 4 != 6 {
            return Err(BadSegment::NotIpv6);
        }
        if *next_header != NEXT_HEADER_TCP {
            return Err(BadSegment::NotTcp(*next_header));
        }
        let tcp_len = usize::from(u16::from_be_bytes([*len_high, *len_low]));
        let tcp_bytes = rest.get(..tcp_len).ok_or(BadSegment::Length)?;
        let (source, target) = addresses.split_first_chunk::<16>().ok_or(BadSegment::Short)?;
        let target = <[u8; 16]>::try_from(target).map_err(|_| BadSegment::Short)?;
        if checksum(source, &target, tcp_bytes) != 0 {
            return Err(BadSegment::Checksum);
        }
        let (tcp, _) = tcp_bytes.split_first_chunk::<TCP_HEADER_BYTES>().ok_or(BadSegment::Short)?;
        let [sp0, sp1, tp0, tp1, s0, s1, s2, s3, a0, a1, a2, a3, offset, flags, w0, w1, ..] = *tcp;
        let header_len = usize::from(offset >> 4) * 4;
        let options = tcp_bytes.get(TCP_HEADER_BYTES..header_len).ok_or(BadSegment::Length)?;
        let mut segment = Self {
            source: Address::from(*source),
            target: Address::from(target),
            source_port: u16::from_be_bytes([sp0, sp1]),
            target_port: u16::from_be_bytes([tp0, tp1]),
            seq: u32::from_be_bytes([s0, s1, s2, s3]),
            ack: u32::from_be_bytes([a0, a1, a2, a3]),
            flags: Flags(flags),
            window: u16::from_be_bytes([w0, w1]),
            mss: None,
            window_scale: None,
            sack_permitted: false,
            sack: Vec::new(),
            payload: packet.slice(IP_HEADER_BYTES + header_len..IP_HEADER_BYTES + tcp_len),
        };
        segment.read_options(options);
        Ok(segment)
    }

    /// Reads what it knows; a malformed option ends the list, as it does in other stacks.
    fn read_options(&mut self, mut options: &[u8]) {
        while let [kind, rest @ ..] = options {
            match kind {
                0 => return,
                1 => options = rest,
                _ => {
                    let Some(len) = rest.first().map(|len| usize::from(*len)).filter(|len| *len >= 2) else { return };
                    let Some((option, next)) = options.split_at_checked(len) else { return };
                    match option {
                        [2, 4, high, low] => self.mss = Some(u16::from_be_bytes([*high, *low])),
                        [3, 3, shift] => self.window_scale = Some((*shift).min(14)),
                        [4, 2] => self.sack_permitted = true,
                        [5, _, blocks @ ..] => {
                            self.sack = blocks
                                .chunks_exact(8)
                                .filter_map(|block| {
                                    let (start, end) = block.split_first_chunk::<4>()?;
                                    Some((u32::from_be_bytes(*start), u32::from_be_bytes(end.try_into().ok()?)))
                                })
                                .collect();
                        }
                        _ => {}
                    }
                    options = next;
                }
            }
        }
    }

    pub fn encode(&self) -> Bytes {
        let mut options = [0; 40];
        let options = self.write_options(&mut options);
        let tcp_len = TCP_HEADER_BYTES + options.len() + self.payload.len();
        let mut out = BytesMut::with_capacity(IP_HEADER_BYTES + tcp_len);
        out.put_slice(&[0x60, 0, 0, 0]);
        out.put_u16(u16::try_from(tcp_len).unwrap_or(u16::MAX));
        out.put_slice(&[NEXT_HEADER_TCP, HOP_LIMIT]);
        out.put_slice(self.source.as_bytes());
        out.put_slice(self.target.as_bytes());
        out.put_u16(self.source_port);
        out.put_u16(self.target_port);
        out.put_u32(self.seq);
        out.put_u32(self.ack);
        let words = u8::try_from((TCP_HEADER_BYTES + options.len()) / 4).unwrap_or(15);
        out.put_u8(words << 4);
        out.put_u8(self.flags.0);
        out.put_u16(self.window);
        out.put_u32(0);
        out.put_slice(options);
        out.put_slice(&self.payload);
        let sum =
            out.get(IP_HEADER_BYTES..).map_or(0, |tcp| checksum(self.source.as_bytes(), self.target.as_bytes(), tcp));
        if let Some(field) = out.get_mut(IP_HEADER_BYTES + 16..IP_HEADER_BYTES + 18) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
        out.freeze()
    }

    /// In the order and with the padding that peers use: MSS, window scale, SACK permitted, zeros (spec 11 §2.2).
    fn write_options<'a>(&self, space: &'a mut [u8; 40]) -> &'a [u8] {
        let capacity = space.len();
        let mut rest = &mut space[..];
        if let Some(mss) = self.mss {
            rest.put_slice(&[2, 4]);
            rest.put_u16(mss);
        }
        if let Some(shift) = self.window_scale {
            rest.put_slice(&[3, 3, shift]);
        }
        if self.sack_permitted {
            rest.put_slice(&[4, 2]);
        }
        if !self.sack.is_empty() {
            let count = self.sack.len().min(rest.len().saturating_sub(4) / 8).min(SACK_BLOCKS_MAX);
            rest.put_slice(&[1, 1, 5, u8::try_from(2 + 8 * count).unwrap_or(2)]);
            for (start, end) in self.sack.iter().take(count) {
                rest.put_u32(*start);
                rest.put_u32(*end);
            }
        }
        let used = (capacity - rest.len()).next_multiple_of(4);
        space.get(..used).unwrap_or_default()
    }
}

/// Internet checksum over the pseudo header and `tcp`; zero when a checksum inside is right.
fn checksum(source: &[u8; 16], target: &[u8; 16], tcp: &[u8]) -> u16 {
    let mut sum = add(add(0, source), target);
    sum += u64::try_from(tcp.len()).unwrap_or_default() + u64::from(NEXT_HEADER_TCP);
    sum = add(sum, tcp);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

/// Adds 32-bit words; folding them later gives the same as adding 16-bit words.
fn add(mut sum: u64, bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        sum += u64::from(u32::from_be_bytes(word.try_into().unwrap_or_default()));
    }
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(words.remainder()) {
        *to = *from;
    }
    sum + u64::from(u32::from_be_bytes(last))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(payload: Vec<u8>) -> Segment {
        Segment {
            source: [1; 16].into(),
            target: [2; 16].into(),
            source_port: 4848,
            target_port: 1,
            seq: 7,
            ack: 9,
            flags: Flags::ACK,
            window: 100,
            mss: None,
            window_scale: None,
            sack_permitted: false,
            sack: Vec::new(),
            payload: payload.into(),
        }
    }

    proptest! {
        #[test]
        fn segments_round_trip(
            payload: Vec<u8>, seq: u32, ack: u32, window: u16, flags in 0..32u8,
            mss: Option<u16>, scale in proptest::option::of(0..15u8), permitted: bool,
            sack in proptest::collection::vec(any::<(u32, u32)>(), 0..3),
        ) {
            let before = Segment {
                seq, ack, window, flags: Flags(flags), mss, window_scale: scale, sack_permitted: permitted, sack,
                ..segment(payload)
            };
            prop_assert_eq!(Segment::decode(&before.encode()), Ok(before));
        }

        #[test]
        fn any_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Segment::decode(&bytes.into());
        }

        #[test]
        fn changed_packets_never_panic(payload: Vec<u8>, at: usize, to: u8) {
            let mut bytes = segment(payload).encode().to_vec();
            let at = at % bytes.len();
            bytes[at] = to;
            let _ = Segment::decode(&bytes.into());
        }

        #[test]
        fn any_options_never_panic(options: Vec<u8>) {
            segment(Vec::new()).read_options(&options);
        }
    }
}
