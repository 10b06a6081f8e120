//! What becomes of the output of a command (spec 51 §6.3).

use std::collections::VecDeque;

use golem_model::exe_unit::{CaptureFormat, CaptureMode, CapturePart, Output};

/// Output of one stream that is kept when the command names no limit; the rest is dropped.
pub const OUTPUT_BYTES_MAX: usize = 16 << 20;

/// One stream of one command.
#[derive(Debug)]
pub struct Capture {
    mode: Option<CaptureMode>,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    /// Of `head` and `tail`.
    max: (usize, usize),
    /// The beginning of a character whose rest has not come yet.
    held: Vec<u8>,
}

impl Capture {
    /// Without a mode everything is discarded.
    pub fn new(mode: Option<CaptureMode>) -> Self {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(OUTPUT_BYTES_MAX).min(OUTPUT_BYTES_MAX);
        let max = match &mode {
            None => (0, 0),
            Some(CaptureMode::Stream(stream)) => (stream.limit.map_or(OUTPUT_BYTES_MAX, size), 0),
            Some(CaptureMode::AtEnd(at_end)) => match at_end.part {
                None => (OUTPUT_BYTES_MAX, 0),
                Some(CapturePart::Head(n)) => (size(n), 0),
                Some(CapturePart::Tail(n)) => (0, size(n)),
                // The odd byte belongs to the head.
                Some(CapturePart::HeadTail(n)) => (size(n).div_ceil(2), size(n) / 2),
            },
        };
        Self { mode, head: Vec::new(), tail: VecDeque::new(), max, held: Vec::new() }
    }

    /// Takes output; returns what is to be told at once.
    pub fn push(&mut self, bytes: &[u8]) -> Option<Output> {
        let room = self.max.0.saturating_sub(self.head.len()).min(bytes.len());
        let (first, rest) = bytes.split_at(room);
        self.head.extend_from_slice(first);
        if self.max.1 > 0 {
            let skip = rest.len().saturating_sub(self.max.1);
            let rest = rest.get(skip..).unwrap_or_default();
            let surplus = (self.tail.len() + rest.len()).saturating_sub(self.max.1);
            self.tail.drain(..surplus.min(self.tail.len()));
            self.tail.extend(rest);
        }
        let Some(CaptureMode::Stream(stream)) = &self.mode else { return None };
        match stream.format.unwrap_or_default() {
            CaptureFormat::Bin => (!first.is_empty()).then(|| Output::Bytes(first.to_vec())),
            CaptureFormat::Str => {
                self.held.extend_from_slice(first);
                let whole = self.held.len() - incomplete_tail(&self.held);
                let text: Vec<u8> = self.held.drain(..whole).collect();
                (!text.is_empty()).then(|| Output::Text(String::from_utf8_lossy(&text).into_owned()))
            }
        }
    }

    /// The end of the stream: a last event, if something was held back, and the result.
    pub fn finish(&mut self) -> (Option<Output>, Option<Output>) {
        let held = std::mem::take(&mut self.held);
        let event = (!held.is_empty()).then(|| Output::Text(String::from_utf8_lossy(&held).into_owned()));
        let mut bytes = std::mem::take(&mut self.head);
        bytes.extend(std::mem::take(&mut self.tail));
        let result = match &self.mode {
            Some(mode) if !bytes.is_empty() => Some(match mode.format() {
                CaptureFormat::Bin => Output::Bytes(bytes),
                CaptureFormat::Str => Output::Text(match String::from_utf8(bytes) {
                    Ok(text) => text,
                    Err(error) => error.into_bytes().into_iter().map(char::from).collect(),
                }),
            }),
            _ => None,
        };
        (event, result)
    }
}

/// Length of a character at the end that is not complete yet.
fn incomplete_tail(bytes: &[u8]) -> usize {
    // A character has at most four bytes, so at most three of one that is not whole.
    let Some(back) = bytes.iter().rev().take(3).position(|byte| byte & 0xc0 != 0x80) else { return 0 };
    let tail = bytes.get(bytes.len() - back - 1..).unwrap_or_default();
    let waits = std::str::from_utf8(tail).is_err_and(|error| error.error_len().is_none());
    if waits { tail.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use golem_model::exe_unit::{AtEnd, Stream};
    use proptest::prelude::*;

    use super::*;

    fn at_end(part: Option<CapturePart>, format: CaptureFormat) -> Option<CaptureMode> {
        Some(CaptureMode::AtEnd(AtEnd { part, format: Some(format) }))
    }

    fn stream(limit: Option<u64>, format: CaptureFormat) -> Option<CaptureMode> {
        Some(CaptureMode::Stream(Stream { limit, format: Some(format) }))
    }

    /// Events and result of output that comes in pieces.
    fn capture(mode: Option<CaptureMode>, pieces: &[&[u8]]) -> (Vec<Output>, Option<Output>) {
        let mut capture = Capture::new(mode);
        let mut events: Vec<Output> = pieces.iter().filter_map(|piece| capture.push(piece)).collect();
        let (last, result) = capture.finish();
        events.extend(last);
        (events, result)
    }

    fn text(text: &str) -> Option<Output> {
        Some(Output::Text(text.into()))
    }

    #[test]
    fn parts_are_those_of_the_official_supervisor() {
        use CaptureFormat::{Bin, Str};
        let digits: &[&[u8]] = &[b"01234", b"56789"];
        for (mode, expected) in [
            (at_end(Some(CapturePart::HeadTail(5)), Str), text("01289")),
            (at_end(Some(CapturePart::Head(3)), Str), text("012")),
            (at_end(Some(CapturePart::Tail(3)), Str), text("789")),
            (at_end(Some(CapturePart::Tail(30)), Str), text("0123456789")),
            (at_end(Some(CapturePart::Head(0)), Str), None),
            (at_end(None, Bin), Some(Output::Bytes(b"0123456789".to_vec()))),
            (None, None),
        ] {
            assert_eq!(capture(mode.clone(), digits), (vec![], expected), "{mode:?}");
        }
        assert_eq!(capture(stream(Some(1), Str), &[b"x\n", b"y"]), (vec![Output::Text("x".into())], text("x")));
        assert_eq!(capture(at_end(None, Str), &[]), (vec![], None), "no output is null");
        assert_eq!(
            capture(at_end(None, Str), &[b"\xff\x01ab"]).1,
            text("\u{ff}\u{1}ab"),
            "what is not UTF-8 is Latin-1"
        );
    }

    #[test]
    fn a_character_that_comes_in_two_pieces_stays_whole() {
        let euro = "a€b".as_bytes();
        let pieces: Vec<&[u8]> = euro.chunks(1).collect();
        let (events, result) = capture(stream(None, CaptureFormat::Str), &pieces);
        let expected = ["a", "€", "b"].map(|text| Output::Text(text.into()));
        assert_eq!((events.as_slice(), result), (&expected[..], text("a€b")));
        let (events, _) = capture(stream(None, CaptureFormat::Str), &[b"a\xe2", b"\x82"]);
        assert_eq!(events.len(), 2, "what stays incomplete comes at the end");
    }

    proptest! {
        #[test]
        fn streams_lose_nothing(pieces: Vec<Vec<u8>>) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let all = pieces.concat();
            let (events, result) = capture(stream(None, CaptureFormat::Bin), &pieces);
            let joined: Vec<u8> = events.iter().flat_map(|event| event.as_bytes().to_vec()).collect();
            prop_assert_eq!(&joined, &all);
            prop_assert_eq!(result, (!all.is_empty()).then_some(Output::Bytes(all.clone())));
            let (events, _) = capture(stream(None, CaptureFormat::Str), &pieces);
            let joined: String = events.iter().map(|e| String::from_utf8(e.as_bytes().to_vec()).unwrap()).collect();
            if let Ok(text) = String::from_utf8(all) {
                prop_assert_eq!(joined, text);
            }
        }
    }
}
