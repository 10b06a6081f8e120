//! The sandbox of one run: arguments, standard streams and the volumes; nothing else.

use std::path::Path;

use golem_runtime_api::deploy::ContainerVolume;
use wasmtime::{Engine, Linker, Module, Store, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtxBuilder};

#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    #[error("cannot open volume `{path}`: {reason}")]
    Volume { path: String, reason: String },
    #[error("`{name}` cannot be started: {reason}")]
    Start { name: String, reason: String },
    #[error("Failed to run module: '{name}'; {reason}")]
    Trap { name: String, reason: String },
}

/// What a guest may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Limits {
    pub memory_bytes_max: Option<usize>,
}

/// Tables with more elements are refused; they live outside the linear memory.
const TABLE_ELEMENTS_MAX: usize = 10_000_000;

struct Guest {
    wasi: WasiP1Ctx,
    limits: StoreLimits,
}

/// Runs `_start` with the process's own standard streams; returns the exit code.
pub fn run(
    engine: &Engine,
    module: &Module,
    name: &str,
    args: &[String],
    work_dir: &Path,
    volumes: &[ContainerVolume],
    limits: Limits,
) -> Result<i32, GuestError> {
    let mut wasi = WasiCtxBuilder::new();
    wasi.inherit_stdio();
    for volume in volumes {
        let fail = |reason| GuestError::Volume { path: volume.path.clone(), reason };
        // Names were made by `deploy`, but stand in a file.
        if volume.name.contains('/') || volume.name.starts_with('.') {
            return Err(fail(format!("`{}` is not a name of a volume", volume.name)));
        }
        let opened = wasi.preopened_dir(work_dir.join(&volume.name), &volume.path, FsPerms::ReadWrite);
        opened.map_err(|error| fail(format!("{error:#}")))?;
    }
    execute(engine, module, name, args, wasi, limits)
}

/// Runs `_start` in the given context.
pub fn execute(
    engine: &Engine,
    module: &Module,
    name: &str,
    args: &[String],
    mut wasi: WasiCtxBuilder,
    limits: Limits,
) -> Result<i32, GuestError> {
    let start_error = |error: wasmtime::Error| GuestError::Start { name: name.into(), reason: format!("{error:#}") };
    wasi.arg(name).args(args);
    // One program and one thread: nothing else waits for this thread.
    wasi.allow_blocking_current_thread(true);

    let mut builder = StoreLimitsBuilder::new().table_elements(TABLE_ELEMENTS_MAX);
    if let Some(max) = limits.memory_bytes_max {
        builder = builder.memory_size(max);
    }
    let mut store = Store::new(engine, Guest { wasi: wasi.build_p1(), limits: builder.build() });
    store.limiter(|guest| &mut guest.limits);

    let mut linker = Linker::new(engine);
    p1::add_to_linker_sync(&mut linker, |guest: &mut Guest| &mut guest.wasi).map_err(start_error)?;
    wasmtime_wasi::p0::add_to_linker_sync(&mut linker, |guest: &mut Guest| &mut guest.wasi).map_err(start_error)?;
    let ended = |error: wasmtime::Error| match error.downcast_ref::<I32Exit>() {
        Some(exit) => Ok(exit.0),
        None => Err(GuestError::Trap { name: name.into(), reason: format!("{error:#}") }),
    };
    let instance = match linker.instantiate(&mut store, module) {
        Ok(instance) => instance,
        // A `start` section may exit or trap before `_start`.
        Err(error) if error.is::<I32Exit>() || error.is::<wasmtime::Trap>() => return ended(error),
        Err(error) => return Err(start_error(error)),
    };
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start").map_err(start_error)?;
    start.call(&mut store, ()).map_or_else(ended, |()| Ok(0))
}
