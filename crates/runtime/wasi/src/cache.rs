//! Compiled modules on disk, keyed by the module and the compiler.
//!
//! A file of this cache is machine code that the next run executes. It therefore lies in a folder that only the owner may
//! enter, outside everything that a guest or a transfer can reach, and is only read when it belongs to this user.
#![expect(unsafe_code, reason = "mapping compiled modules is what makes a run start in milliseconds")]

use std::fs;
use std::hash::{Hash, Hasher};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use tracing::{debug, warn};
use wasmtime::{Config, Engine, Module};

/// Space that the cache may take; the modules that were not used for longest go first.
const CACHE_BYTES_MAX: u64 = 2 << 30;
/// Modules that are kept at most.
const CACHE_FILES_MAX: usize = 512;

#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error("cannot set up the WASM compiler")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("`{name}` is not a valid WASM module: {reason}")]
    Compile { name: String, reason: String },
    #[error("cannot use the cache of compiled modules at `{path}`")]
    Dir {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Compiles modules and remembers the result.
#[derive(Debug)]
pub struct Cache {
    engine: Engine,
    dir: PathBuf,
}

impl Cache {
    /// Opens the cache in `dir`, which is made if need be.
    pub fn open(dir: &Path) -> Result<Self, CacheError> {
        let mut config = Config::new();
        config.wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable);
        let engine = Engine::new(&config).map_err(|error| CacheError::Engine(error.into()))?;
        let fail = |source| CacheError::Dir { path: dir.into(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(fail)?;
        let owner = fs::metadata(dir).map_err(fail)?;
        if owner.uid() != nix::unistd::geteuid().as_raw() || owner.mode() & 0o022 != 0 {
            return Err(fail(io::Error::other("the folder belongs to, or may be written by, somebody else")));
        }
        Ok(Self { engine, dir: dir.into() })
    }

    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Sees to it that the module is in the cache; returns its key.
    pub fn prepare(&self, wasm: &[u8], name: &str) -> Result<String, CacheError> {
        let key = self.key(wasm);
        let path = self.path(&key);
        if is_ours(&path) {
            touch(&path);
        } else {
            let compiled = self.compile_bytes(wasm, name)?;
            self.store(&path, &compiled);
        }
        Ok(key)
    }

    /// The module with this key, if it is there and was compiled by this very compiler.
    pub fn load(&self, key: &str) -> Option<Module> {
        let path = self.path(key);
        if !is_ours(&path) {
            return None;
        }
        // SAFETY: the file was written by `store` below into a folder that only this user may write to (checked in `open`
        // and `is_ours`) and is never changed afterwards, only replaced or removed as a whole; guests and transfers cannot
        // reach the folder. The call itself refuses files of another version or configuration of the compiler.
        match unsafe { Module::deserialize_file(&self.engine, &path) } {
            Ok(module) => Some(module),
            Err(error) => {
                warn!(path = %path.display(), %error, "a compiled module is unusable; compiling again");
                None
            }
        }
    }

    /// Compiles without asking the cache, and fills it.
    pub fn compile(&self, wasm: &[u8], name: &str) -> Result<Module, CacheError> {
        let compiled = self.compile_bytes(wasm, name)?;
        let key = self.key(wasm);
        self.store(&self.path(&key), &compiled);
        if let Some(module) = self.load(&key) {
            return Ok(module);
        }
        // The disk did not take it.
        Module::new(&self.engine, wasm).map_err(|error| invalid(name, &error))
    }

    fn compile_bytes(&self, wasm: &[u8], name: &str) -> Result<Vec<u8>, CacheError> {
        // Text form is for people; a package holds binaries.
        if !wasm.starts_with(b"\0asm") {
            return Err(CacheError::Compile { name: name.into(), reason: "it does not start as one".into() });
        }
        self.engine.precompile_module(wasm).map_err(|error| invalid(name, &error))
    }

    /// Hash of the module and of everything that decides about its machine code.
    fn key(&self, wasm: &[u8]) -> String {
        struct Sink(Sha256);
        impl Hasher for Sink {
            fn finish(&self) -> u64 {
                0
            }
            fn write(&mut self, bytes: &[u8]) {
                self.0.update(bytes);
            }
        }
        let mut sink = Sink(Sha256::new_with_prefix(wasm));
        self.engine.precompile_compatibility_hash().hash(&mut sink);
        hex::encode(sink.0.finalize())
    }

    fn path(&self, key: &str) -> PathBuf {
        // A key comes from a file in the work dir; it must not lead elsewhere.
        let digits: String = key.chars().filter(char::is_ascii_hexdigit).take(64).collect();
        self.dir.join(digits).with_extension("cwasm")
    }

    /// Writes beside and renames, so that readers see all or nothing. A full disk only costs time.
    fn store(&self, path: &Path, compiled: &[u8]) {
        self.make_room(compiled.len());
        let temporary = self.dir.join(format!("{}.new", uuid::Uuid::new_v4()));
        let write = || {
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            io::Write::write_all(&mut file, compiled)?;
            drop(file);
            fs::rename(&temporary, path)
        };
        if let Err(error) = write() {
            warn!(path = %path.display(), %error, "cannot keep a compiled module");
            let _ = fs::remove_file(&temporary);
        }
    }

    fn make_room(&self, bytes: usize) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
            .flatten()
            .filter_map(|entry| {
                let metadata = entry.metadata().ok()?;
                Some((metadata.modified().ok()?, metadata.len(), entry.path()))
            })
            .collect();
        files.sort();
        let mut total = files.iter().map(|(_, len, _)| len).sum::<u64>() + u64::try_from(bytes).unwrap_or(u64::MAX);
        let mut count = files.len() + 1;
        for (_, len, path) in files {
            if total <= CACHE_BYTES_MAX && count <= CACHE_FILES_MAX {
                break;
            }
            debug!(path = %path.display(), "dropping a compiled module that was not used for long");
            let _ = fs::remove_file(path);
            (total, count) = (total - len, count - 1);
        }
    }
}

fn invalid(name: &str, error: &wasmtime::Error) -> CacheError {
    CacheError::Compile { name: name.into(), reason: format!("{error:#}") }
}

fn is_ours(path: &Path) -> bool {
    let own = nix::unistd::geteuid().as_raw();
    fs::symlink_metadata(path).is_ok_and(|m| m.is_file() && m.uid() == own && m.mode() & 0o022 == 0)
}

/// Marks a module as used just now.
fn touch(path: &Path) {
    #[expect(clippy::disallowed_methods, reason = "the time stamp of a file is wall time")]
    let now = SystemTime::now();
    if let Ok(file) = fs::File::options().append(true).open(path) {
        let _ = file.set_modified(now);
    }
}
