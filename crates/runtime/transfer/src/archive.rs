//! Archives of folders in a volume (spec 53 §2.4).
//!
//! Only regular files and folders go in and come out. Names that are absolute, have `..` or would go through a link are
//! refused by the same rules as every path of a volume.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use golem_model::exe_unit::{FileSet, FileSets, OneOrMany};
use nix::dir::{Dir, Type};
use regex::Regex;
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use crate::volume::Inside;
use crate::{OpenMode, TransferError, glob};

/// Entries that go in or come out.
const ENTRIES_MAX: usize = 1_000_000;
/// Bytes that may come out of one archive.
const UNPACKED_BYTES_MAX: u64 = 1 << 40;
/// A packed byte may become so many: more only comes from archives made to do harm.
const RATIO_MAX: u64 = 2000;
/// Small archives may grow to this without a look at the ratio.
const RATIO_FREE_BYTES: u64 = 256 << 20;
const DEPTH_MAX: u64 = 48;
const PATTERNS_MAX: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Tar,
    TarGz,
    Zip,
    ZipStored,
}

impl FromStr for Format {
    type Err = TransferError;

    fn from_str(text: &str) -> Result<Self, TransferError> {
        match text {
            "tar" => Ok(Self::Tar),
            "tar.gz" => Ok(Self::TarGz),
            "zip" => Ok(Self::Zip),
            "zip.0" => Ok(Self::ZipStored),
            other => Err(TransferError::Format(format!(
                "{}; hint: this node has tar, tar.gz, zip and zip.0",
                other.chars().take(32).collect::<String>()
            ))),
        }
    }
}

/// Which files of a folder.
#[derive(Debug)]
pub(crate) struct Selection {
    sets: Vec<(Vec<Regex>, Vec<Regex>)>,
    depth: u64,
}

impl Selection {
    pub(crate) fn new(sets: Option<&FileSets>, depth: Option<u64>) -> Result<Self, TransferError> {
        let one = |pattern: &String| FileSet { includes: Some(OneOrMany::One(pattern.clone())), ..FileSet::default() };
        let sets = match sets {
            None => vec![FileSet::default()],
            Some(FileSets::Pattern(pattern)) => vec![one(pattern)],
            Some(FileSets::Patterns(patterns)) => patterns.iter().map(one).collect(),
            Some(FileSets::Set(set)) => vec![set.clone()],
            Some(FileSets::Sets(sets)) => sets.clone(),
        };
        let count = |patterns: &Option<OneOrMany>| patterns.as_ref().map_or(1, |patterns| patterns.as_slice().len());
        if sets.iter().map(|set| count(&set.includes) + count(&set.excludes)).sum::<usize>() > 2 * PATTERNS_MAX {
            return Err(TransferError::Glob(format!("more than {PATTERNS_MAX} patterns")));
        }
        let compile =
            |patterns: &[String]| patterns.iter().map(|pattern| glob::compile(pattern)).collect::<Result<Vec<_>, _>>();
        let sets = sets.iter().map(|set| {
            let includes = set.includes.as_ref().map_or(Ok(Vec::new()), |patterns| compile(patterns.as_slice()))?;
            let excludes = set.excludes.as_ref().map_or(Ok(Vec::new()), |patterns| compile(patterns.as_slice()))?;
            Ok((includes, excludes))
        });
        Ok(Self { sets: sets.collect::<Result<_, TransferError>>()?, depth: depth.unwrap_or(DEPTH_MAX).min(DEPTH_MAX) })
    }

    fn takes(&self, path: &str) -> bool {
        let any = |patterns: &[Regex]| patterns.iter().any(|pattern| pattern.is_match(path));
        self.sets.iter().any(|(includes, excludes)| !any(excludes) && (includes.is_empty() || any(includes)))
    }
}

/// Paths of the selected files, relative to the folder. Links are not followed and not taken.
fn walk(folder: &Inside, selection: &Selection) -> Result<Vec<String>, TransferError> {
    let mut found = Vec::new();
    let mut waiting = vec![(String::new(), 0)];
    while let Some((path, depth)) = waiting.pop() {
        let mut entries = Dir::from_fd(folder.join(&path)?.directory()?).map_err(io::Error::from)?;
        let mut names = Vec::new();
        for entry in entries.iter() {
            let entry = entry.map_err(io::Error::from)?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if !matches!(name, "." | "..") {
                names.push((name.to_owned(), entry.file_type()));
            }
            if found.len() + names.len() + waiting.len() > ENTRIES_MAX {
                return Err(TransferError::io(format!("more than {ENTRIES_MAX} files")));
            }
        }
        names.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (name, kind) in names {
            let path = if path.is_empty() { name } else { format!("{path}/{name}") };
            match kind {
                Some(Type::Directory) if depth < selection.depth => waiting.push((path, depth + 1)),
                Some(Type::File) if selection.takes(&path) => found.push(path),
                _ => {}
            }
        }
    }
    if found.is_empty() {
        return Err(TransferError::Glob("no file was selected".into()));
    }
    Ok(found)
}

/// Packs a folder into `file`, which is returned rewound.
pub(crate) fn pack(folder: &Inside, format: Format, selection: &Selection, file: File) -> Result<File, TransferError> {
    let paths = walk(folder, selection)?;
    let out = BufWriter::new(file);
    let out = match format {
        Format::Tar => tar(folder, &paths, out)?,
        Format::TarGz => tar(folder, &paths, GzEncoder::new(out, Compression::default()))?.finish()?,
        Format::Zip => zip(folder, &paths, out, CompressionMethod::Deflated)?,
        Format::ZipStored => zip(folder, &paths, out, CompressionMethod::Stored)?,
    };
    let mut file = out.into_inner().map_err(|error| TransferError::Io(error.into_error()))?;
    file.rewind()?;
    Ok(file)
}

fn tar<W: Write>(folder: &Inside, paths: &[String], out: W) -> Result<W, TransferError> {
    let mut builder = tar::Builder::new(out);
    for path in paths {
        let file = folder.join(path)?.open(OpenMode::Read)?;
        let metadata = file.metadata()?;
        let mut header = tar::Header::new_gnu();
        header.set_size(metadata.len());
        header.set_mode(metadata.mode() & 0o777);
        header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or_default());
        // A file that grows meanwhile must not spoil the archive.
        builder.append_data(&mut header, path, file.take(metadata.len()))?;
    }
    Ok(builder.into_inner()?)
}

fn zip<W: Write + Seek>(
    folder: &Inside,
    paths: &[String],
    out: W,
    method: CompressionMethod,
) -> Result<W, TransferError> {
    let mut writer = zip::ZipWriter::new(out);
    for path in paths {
        let mut file = folder.join(path)?.open(OpenMode::Read)?;
        let metadata = file.metadata()?;
        let options = SimpleFileOptions::default()
            .compression_method(method)
            .large_file(metadata.len() > u64::from(u32::MAX))
            .unix_permissions(metadata.mode() & 0o777);
        writer.start_file(path.as_str(), options).map_err(io::Error::from)?;
        io::copy(&mut file, &mut writer)?;
    }
    Ok(writer.finish().map_err(io::Error::from)?)
}

/// Unpacks an archive into a folder, which is made.
pub(crate) fn unpack(mut file: File, format: Format, folder: &Inside) -> Result<(), TransferError> {
    file.rewind()?;
    let packed = file.metadata()?.len();
    let mut budget =
        Budget { bytes: UNPACKED_BYTES_MAX.min((packed * RATIO_MAX).max(RATIO_FREE_BYTES)), entries: ENTRIES_MAX };
    folder.make_dir()?;
    match format {
        Format::Tar => untar(BufReader::new(file), folder, &mut budget),
        Format::TarGz => untar(GzDecoder::new(BufReader::new(file)), folder, &mut budget),
        Format::Zip | Format::ZipStored => unzip(file, folder, &mut budget),
    }
}

struct Budget {
    bytes: u64,
    entries: usize,
}

impl Budget {
    fn entry(&mut self) -> Result<(), TransferError> {
        self.entries =
            self.entries.checked_sub(1).ok_or_else(|| TransferError::io("the archive has too many entries"))?;
        Ok(())
    }

    fn copy(&mut self, from: impl Read, to: &mut File) -> Result<(), TransferError> {
        let copied = io::copy(&mut from.take(self.bytes + 1), to)?;
        let rest = self.bytes.checked_sub(copied);
        self.bytes = rest.ok_or_else(|| TransferError::io("the archive unpacks to more than it may"))?;
        Ok(())
    }
}

/// A relative path of plain names.
fn checked(name: &str) -> Result<&str, TransferError> {
    let trimmed = name.strip_prefix("./").unwrap_or(name).trim_end_matches('/');
    if trimmed.starts_with('/') || trimmed.contains('\0') || trimmed.split('/').any(|part| part == "..") {
        return Err(TransferError::io(format!("the archive names `{}`", name.chars().take(100).collect::<String>())));
    }
    Ok(trimmed)
}

fn untar(reader: impl Read, folder: &Inside, budget: &mut Budget) -> Result<(), TransferError> {
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries()? {
        let mut entry = entry?;
        budget.entry()?;
        let path = entry
            .path()?
            .to_str()
            .ok_or_else(|| TransferError::io("the archive names a file not in UTF-8"))?
            .to_owned();
        let path = checked(&path)?;
        match entry.header().entry_type() {
            tar::EntryType::Directory => folder.join(path)?.make_dir()?,
            tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
                let mut file = folder.join(path)?.open(OpenMode::Write)?;
                budget.copy(&mut entry, &mut file)?;
            }
            tar::EntryType::XGlobalHeader => {}
            kind => return Err(TransferError::io(format!("the archive has a {kind:?} `{path}`"))),
        }
    }
    Ok(())
}

fn unzip(file: File, folder: &Inside, budget: &mut Budget) -> Result<(), TransferError> {
    let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(io::Error::from)?;
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(io::Error::from)?;
        budget.entry()?;
        let path = entry.name().to_owned();
        let path = checked(&path)?;
        if entry.is_symlink() {
            return Err(TransferError::io(format!("the archive has a link `{path}`")));
        }
        if entry.is_dir() {
            folder.join(path)?.make_dir()?;
        } else {
            let mut file = folder.join(path)?.open(OpenMode::Write)?;
            budget.copy(entry, &mut file)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use golem_runtime_api::deploy::ContainerVolume;
    use proptest::prelude::*;

    use super::*;
    use crate::Volumes;

    fn volumes() -> (tempfile::TempDir, Volumes) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("v")).unwrap();
        let volumes = Volumes::new(dir.path());
        volumes.replace(vec![ContainerVolume { name: "v".into(), path: "/v".into() }]);
        (dir, volumes)
    }

    fn temporary(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn a_folder_survives_packing_and_unpacking() {
        let (dir, volumes) = volumes();
        for (name, content) in [("a.txt", "a"), ("sub/b.txt", "b"), ("sub/deep/c.o", "c"), ("skip.tmp", "x")] {
            let path = dir.path().join("v/from").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("v/from/link")).unwrap();
        let sets = FileSets::Set(FileSet { excludes: Some(OneOrMany::One("*.tmp".into())), ..FileSet::default() });
        for name in ["tar", "tar.gz", "zip", "zip.0"] {
            let format: Format = name.parse().unwrap();
            let from = volumes.locate("/v/from").unwrap();
            let packed = pack(&from, format, &Selection::new(Some(&sets), None).unwrap(), temporary(b"")).unwrap();
            let to = volumes.locate(&format!("/v/to-{name}")).unwrap();
            unpack(packed, format, &to).unwrap();
            let files = walk(&to, &Selection::new(None, None).unwrap()).unwrap();
            assert_eq!(files, ["a.txt", "sub/b.txt", "sub/deep/c.o"], "{name}");
            assert_eq!(std::fs::read(dir.path().join(format!("v/to-{name}/sub/b.txt"))).unwrap(), b"b");

            let shallow = Selection::new(None, Some(0)).unwrap();
            assert_eq!(walk(&from, &shallow).unwrap(), ["a.txt", "skip.tmp"]);
            let none = Selection::new(Some(&FileSets::Pattern("*.nope".into())), None).unwrap();
            assert!(pack(&from, format, &none, temporary(b"")).is_err());
        }
    }

    #[test]
    fn hostile_archives_are_refused() {
        let (dir, volumes) = volumes();
        let to = volumes.locate("/v/to").unwrap();
        let tar_with = |name: &str, kind: tar::EntryType| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(0);
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            if kind == tar::EntryType::Symlink {
                header.set_link_name("/etc").unwrap();
            }
            header.set_cksum();
            let mut builder = tar::Builder::new(Vec::new());
            builder.append(&header, io::empty()).unwrap();
            builder.into_inner().unwrap()
        };
        for (name, kind) in [
            ("../up", tar::EntryType::Regular),
            ("/absolute", tar::EntryType::Regular),
            ("a/../../b", tar::EntryType::Regular),
            ("link", tar::EntryType::Symlink),
            ("hard", tar::EntryType::Link),
            ("device", tar::EntryType::Char),
            ("fifo", tar::EntryType::Fifo),
        ] {
            assert!(unpack(temporary(&tar_with(name, kind)), Format::Tar, &to).is_err(), "{name}");
        }
        assert!(!dir.path().join("up").exists() && !dir.path().join("v/up").exists());

        let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        writer.start_file("../up", SimpleFileOptions::default()).unwrap();
        let up = writer.finish().unwrap().into_inner();
        assert!(unpack(temporary(&up), Format::Zip, &to).is_err());
        for bad in ["tar.bz2", "rar", ""] {
            assert!(bad.parse::<Format>().is_err());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_bytes_are_unpacked_or_refused(bytes: Vec<u8>) {
            let (_dir, volumes) = volumes();
            for format in [Format::Tar, Format::TarGz, Format::Zip] {
                drop(unpack(temporary(&bytes), format, &volumes.locate("/v/to").unwrap()));
            }
        }
    }
}
