//! Slots over restarts: `slots.state`, 20 bytes per slot in slot order, slot 0 all zeros (spec 10 §13.4).

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use golem_model::NodeId;

const FILE: &str = "slots.state";

pub(crate) fn load_slots(dir: &Path) -> io::Result<Vec<NodeId>> {
    let bytes = match fs::read(dir.join(FILE)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    Ok(bytes.chunks_exact(20).filter_map(|id| NodeId::try_from(id).ok()).collect())
}

/// Replaces the file at once, so that a crash leaves the old or the new one.
pub(crate) fn save_slots(dir: &Path, slots: &[NodeId]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let (path, new) = (dir.join(FILE), dir.join(format!("{FILE}.new")));
    let mut file = io::BufWriter::new(fs::File::create(&new)?);
    for slot in slots {
        file.write_all(slot.as_bytes())?;
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(new, path)
}
