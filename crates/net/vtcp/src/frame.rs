use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

/// Longest bus message that is taken from a peer. 0.17.6 has no limit; 3 MB occur between real nodes.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// Bytes of the two length prefixes.
const PREFIX_BYTES: usize = 8;

/// The two length prefixes of a message of `len` bytes; the outer one counts the inner (spec 11 §3.1).
pub fn frame_header(len: usize) -> Result<[u8; PREFIX_BYTES], BadFrame> {
    let inner = u32::try_from(len).ok().filter(|_| len <= FRAME_BYTES_MAX).ok_or(BadFrame::Long(len))?;
    let mut header = [0; PREFIX_BYTES];
    let (outer, rest) = header.split_at_mut(4);
    outer.copy_from_slice(&(inner + 4).to_be_bytes());
    rest.copy_from_slice(&inner.to_be_bytes());
    Ok(header)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    #[error("a frame of {0} bytes is longer than {FRAME_BYTES_MAX}")]
    Long(usize),
    #[error("the two lengths of a frame, {outer} and {inner}, do not agree")]
    Lengths { outer: u32, inner: u32 },
}

/// Cuts one byte stream into messages. One per connection: a broken stream must not spoil the next one.
///
/// Memory is taken as bytes arrive, never ahead for a length that a peer only claims.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    pieces: VecDeque<Bytes>,
    buffered: usize,
    /// Length of the message whose prefixes have been read.
    wanted: Option<usize>,
}

impl FrameDecoder {
    pub fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.buffered += piece.len();
            self.pieces.push_back(piece);
        }
    }

    /// The next whole message. After an error the stream is out of step: drop the connection.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, BadFrame> {
        let wanted = match self.wanted {
            Some(wanted) => wanted,
            None => {
                if self.buffered < PREFIX_BYTES {
                    return Ok(None);
                }
                let mut prefix = self.take(PREFIX_BYTES);
                let (outer, inner) = (prefix.get_u32(), prefix.get_u32());
                if outer.checked_sub(4) != Some(inner) {
                    return Err(BadFrame::Lengths { outer, inner });
                }
                let wanted = usize::try_from(inner).unwrap_or(usize::MAX);
                if wanted > FRAME_BYTES_MAX {
                    return Err(BadFrame::Long(wanted));
                }
                self.wanted = Some(wanted);
                wanted
            }
        };
        if self.buffered < wanted {
            return Ok(None);
        }
        self.wanted = None;
        Ok(Some(self.take(wanted)))
    }

    /// Whether the stream stops inside a frame.
    pub const fn is_inside(&self) -> bool {
        self.wanted.is_some() || self.buffered > 0
    }

    fn take(&mut self, len: usize) -> Bytes {
        self.buffered = self.buffered.saturating_sub(len);
        if let Some(first) = self.pieces.front_mut()
            && first.len() >= len
        {
            let taken = first.split_to(len);
            if first.is_empty() {
                self.pieces.pop_front();
            }
            return taken;
        }
        let mut out = BytesMut::with_capacity(len);
        while out.len() < len {
            let Some(mut piece) = self.pieces.pop_front() else { break };
            let rest = piece.split_off(piece.len().min(len - out.len()));
            out.extend_from_slice(&piece);
            if !rest.is_empty() {
                self.pieces.push_front(rest);
            }
        }
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_survive_any_cut(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..6),
            cuts in proptest::collection::vec(1..20usize, 1..80),
        ) {
            let mut stream = Vec::new();
            for message in &messages {
                stream.extend(frame_header(message.len()).unwrap());
                stream.extend(message);
            }
            let (mut decoder, mut got, mut rest) = (FrameDecoder::default(), Vec::new(), Bytes::from(stream));
            for cut in cuts.iter().cycle() {
                while let Some(frame) = decoder.next_frame().unwrap() {
                    got.push(frame.to_vec());
                }
                if rest.is_empty() {
                    break;
                }
                decoder.push(rest.split_to((*cut).min(rest.len())));
            }
            prop_assert_eq!(got, messages);
            prop_assert!(!decoder.is_inside());
        }

        #[test]
        fn any_bytes_never_panic(pieces: Vec<Vec<u8>>) {
            let mut decoder = FrameDecoder::default();
            for piece in pieces {
                decoder.push(piece.into());
                while let Ok(Some(_)) = decoder.next_frame() {}
            }
        }
    }

    #[test]
    fn wrong_lengths_are_told() {
        let check = |bytes: [u8; 8], want| {
            let mut decoder = FrameDecoder::default();
            decoder.push(Bytes::copy_from_slice(&bytes));
            assert_eq!(decoder.next_frame(), Err(want));
        };
        check([0, 0, 0, 9, 0, 0, 0, 9], BadFrame::Lengths { outer: 9, inner: 9 });
        check([0, 0, 0, 3, 0, 0, 0, 0], BadFrame::Lengths { outer: 3, inner: 0 });
        check([0x80, 0, 0, 4, 0x80, 0, 0, 0], BadFrame::Long(0x8000_0000));
    }
}
