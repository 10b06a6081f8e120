//! Reads the recorded frames in `tests/vectors/gsb/*.hex`: `>` from a client to its router, `<` back, and before the arrow
//! the name of the connection when there are several.

use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use golem_bus::wire::{self, Kind};

/// One recorded frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Empty when there is one connection only.
    pub(crate) connection: String,
    pub(crate) to_router: bool,
    /// With its length.
    pub(crate) bytes: Bytes,
    pub(crate) kind: Kind,
}

pub(crate) fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/gsb"))
}

/// Frames of one file, for example `05-call-between-clients`.
pub(crate) fn frames(name: &str) -> Vec<Frame> {
    let text = std::fs::read_to_string(folder().join(format!("{name}.hex"))).unwrap();
    text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()).map(frame).collect()
}

/// Names of all recordings.
pub(crate) fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".hex")?.to_owned()))
        .collect();
    names.sort();
    names
}

/// Rows of a `.tsv` file, without comments.
pub(crate) fn rows(name: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(folder().join(name)).unwrap();
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}

fn frame(line: &str) -> Frame {
    let (head, hex) = line.split_once(' ').unwrap();
    let to_router = head.ends_with('>');
    let bytes = Bytes::from(hex::decode(hex.trim()).unwrap());
    let mut rest = BytesMut::from(&bytes[..]);
    let kind = wire::read_frame(&mut rest).unwrap().unwrap();
    assert!(rest.is_empty(), "one line, one frame");
    Frame { connection: head[..head.len() - 1].to_owned(), to_router, bytes, kind }
}
