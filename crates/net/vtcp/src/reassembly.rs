use std::collections::{BTreeMap, VecDeque};

use bytes::{Buf, Bytes};

/// Pieces that are kept out of order; with full segments the window ends before.
const PIECES_MAX: usize = 8192;

/// The incoming byte stream of a connection: what is in order waits for the reader, the rest for its predecessors.
///
/// Offsets count from the first data byte.
#[derive(Debug, Default)]
pub(crate) struct Reassembly {
    next: u64,
    ready: VecDeque<Bytes>,
    ready_bytes: u64,
    /// Do not overlap; all start after `next`.
    early: BTreeMap<u64, Bytes>,
    /// The merged ranges of `early`, the one that changed last in front.
    ranges: Vec<(u64, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Extended the stream.
    InOrder,
    /// Something before it is missing, or it filled a gap, or it was known: the sender wants to know at once.
    OutOfOrder,
    Known,
}

impl Reassembly {
    /// Offset of the first byte that is missing.
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// Bytes that wait for the reader.
    pub(crate) const fn unread(&self) -> u64 {
        self.ready_bytes
    }

    pub(crate) fn ranges(&self) -> &[(u64, u64)] {
        &self.ranges
    }

    pub(crate) fn has_gap(&self) -> bool {
        !self.early.is_empty()
    }

    pub(crate) fn read(&mut self) -> Option<Bytes> {
        let piece = self.ready.pop_front()?;
        self.ready_bytes = self.ready_bytes.saturating_sub(len(&piece));
        Some(piece)
    }

    /// Takes a piece of the stream; `end_max` is where the announced window ends.
    pub(crate) fn take(&mut self, mut start: u64, mut piece: Bytes, end_max: u64) -> Taken {
        if start < self.next {
            let known = (self.next - start).min(len(&piece));
            piece.advance(usize::try_from(known).unwrap_or(usize::MAX));
            start += known;
        }
        piece.truncate(usize::try_from(end_max.saturating_sub(start)).unwrap_or(usize::MAX));
        if piece.is_empty() {
            return Taken::Known;
        }
        if start > self.next {
            return self.keep(start, piece);
        }
        self.accept(piece);
        if self.early.is_empty() {
            return Taken::InOrder;
        }
        while let Some(entry) = self.early.first_entry().filter(|entry| *entry.key() <= self.next) {
            let (start, mut piece) = entry.remove_entry();
            let known = (self.next - start).min(len(&piece));
            piece.advance(usize::try_from(known).unwrap_or(usize::MAX));
            self.accept(piece);
        }
        let next = self.next;
        self.ranges.retain(|(_, end)| *end > next);
        Taken::OutOfOrder
    }

    fn accept(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.next += len(&piece);
            self.ready_bytes += len(&piece);
            self.ready.push_back(piece);
        }
    }

    fn keep(&mut self, mut start: u64, mut piece: Bytes) -> Taken {
        if let Some((before, known)) = self.early.range(..=start).next_back() {
            let known_to = before + len(known);
            if known_to > start {
                let overlap = (known_to - start).min(len(&piece));
                piece.advance(usize::try_from(overlap).unwrap_or(usize::MAX));
                start += overlap;
            }
        }
        if piece.is_empty() {
            return Taken::Known;
        }
        // What lies behind stays: the piece ends before it, and its rest comes after.
        if let Some((after, _)) = self.early.range(start..).next()
            && *after < start + len(&piece)
        {
            let after = *after;
            let rest = piece.split_off(usize::try_from(after - start).unwrap_or(usize::MAX));
            self.keep(after, rest);
        }
        if piece.is_empty() || self.early.len() >= PIECES_MAX {
            return Taken::OutOfOrder;
        }
        let end = start + len(&piece);
        self.early.insert(start, piece);
        let mut merged = (start, end);
        self.ranges.retain(|(from, to)| {
            let touches = *from <= merged.1 && *to >= merged.0;
            if touches {
                merged = (merged.0.min(*from), merged.1.max(*to));
            }
            !touches
        });
        self.ranges.insert(0, merged);
        Taken::OutOfOrder
    }
}

fn len(piece: &Bytes) -> u64 {
    u64::try_from(piece.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_order_and_any_overlap_give_the_stream(
            pieces in proptest::collection::vec((0..300usize, 1..60usize), 0..60),
        ) {
            let stream: Vec<u8> = (0..400u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let mut reassembly = Reassembly::default();
            let mut have = vec![false; 400];
            let mut got = Vec::new();
            for (start, count) in pieces {
                let end = (start + count).min(400);
                reassembly.take(start as u64, Bytes::copy_from_slice(&stream[start..end]), 400);
                have[start..end].fill(true);
                let next = have.iter().position(|had| !had).unwrap_or(400);
                prop_assert_eq!(reassembly.next(), next as u64);
                let mut expected: Vec<(u64, u64)> = Vec::new();
                for (at, had) in have.iter().enumerate().skip(next) {
                    if *had {
                        match expected.last_mut() {
                            Some((_, to)) if *to == at as u64 => *to += 1,
                            _ => expected.push((at as u64, at as u64 + 1)),
                        }
                    }
                }
                let mut ranges = reassembly.ranges().to_vec();
                ranges.sort_unstable();
                prop_assert_eq!(ranges, expected);
                while let Some(piece) = reassembly.read() {
                    got.extend(piece);
                }
            }
            prop_assert_eq!(&got[..], &stream[..got.len()]);
            prop_assert_eq!(got.len() as u64, reassembly.next());
            prop_assert_eq!(reassembly.unread(), 0);
        }
    }
}
