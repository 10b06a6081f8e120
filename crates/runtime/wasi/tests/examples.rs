//! The committed example is what its source says, and draws what it should.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::path::{Path, PathBuf};
use std::process::Command;

use golem_runtime_image::wasi::{Manifest, pack};
use golem_runtime_wasi::cache::Cache;
use golem_runtime_wasi::deployment::Deployment;
use golem_runtime_wasi::guest::{Limits, execute};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

const TARGET: &str = "wasm32-wasip1";
/// Set to write the built files into the tree.
const UPDATE: &str = "GOLEM_UPDATE_EXAMPLES";

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../examples/mandelbrot")
}

/// Compiles the source; nothing when the compiler cannot.
fn build() -> Option<Vec<u8>> {
    let installed = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output().unwrap();
    let dir = PathBuf::from(String::from_utf8(installed.stdout).unwrap().trim());
    if !dir.is_dir() {
        assert!(std::env::var_os("CI").is_none(), "the target {TARGET} is missing; `rustup target add {TARGET}`");
        println!("skipped: the target {TARGET} is missing; `rustup target add {TARGET}` installs it");
        return None;
    }
    let source = example().canonicalize().unwrap();
    let target_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples");
    let cargo_home =
        std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{}/.cargo", std::env::var("HOME").unwrap()));
    // No path of this machine goes into the module.
    let flags = format!("--remap-path-prefix={}=. --remap-path-prefix={cargo_home}=cargo", source.display());
    let built = Command::new("cargo")
        .args(["build", "--release", "--quiet", "--target", TARGET, "--target-dir"])
        .arg(&target_dir)
        .current_dir(&source)
        .env("RUSTFLAGS", flags)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Some(std::fs::read(target_dir.join(TARGET).join("release/mandelbrot.wasm")).unwrap())
}

fn package(wasm: &[u8]) -> Vec<u8> {
    let manifest: Manifest = serde_json::from_slice(&std::fs::read(example().join("manifest.json")).unwrap()).unwrap();
    pack(&manifest, &[("mandelbrot.wasm", wasm)]).unwrap()
}

/// Draws one slice of a small picture; returns its characters and its pixels.
fn draw(package: &[u8], slice: usize, slices: usize) -> (String, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("package.zip");
    std::fs::write(&path, package).unwrap();
    let cache = Cache::open(&dir.path().join("cache")).unwrap();
    Deployment::create(dir.path(), &path, None, &cache).unwrap();
    let deployment = Deployment::load(dir.path()).unwrap();
    let entry = deployment.entry_point("mandelbrot").unwrap();
    let module = deployment.module(entry, &cache).unwrap();
    let folder = |at: &str| dir.path().join(&deployment.vols.iter().find(|vol| vol.path == at).unwrap().name);
    std::fs::write(folder("/in").join("scene.txt"), "width 96\nheight 60\niterations 200\n").unwrap();
    let output = MemoryOutputPipe::new(1 << 20);
    let mut wasi = WasiCtxBuilder::new();
    wasi.stdout(output.clone());
    for at in ["/in", "/out"] {
        wasi.preopened_dir(folder(at), at, FsPerms::ReadWrite).unwrap();
    }
    let args = [slice.to_string(), slices.to_string()];
    let code = execute(cache.engine(), &module, "mandelbrot", &args, wasi, Limits::default()).unwrap();
    assert_eq!(code, 0);
    let pixels = std::fs::read(folder("/out").join(format!("slice-{slice}.ppm"))).unwrap();
    (String::from_utf8(output.contents().to_vec()).unwrap(), pixels)
}

#[test]
fn slices_make_the_picture() {
    let package = std::fs::read(example().join("mandelbrot.zip")).unwrap();
    let (whole, pixels) = draw(&package, 0, 1);
    assert_eq!(whole.lines().count(), 30);
    assert!(pixels.starts_with(b"P6\n96 60\n255\n") && pixels.len() == 13 + 96 * 60 * 3);
    let slices: String = (0..3).map(|slice| draw(&package, slice, 3).0).collect();
    assert_eq!(slices, whole);
}

#[test]
fn the_committed_module_is_built_from_its_source() {
    let Some(wasm) = build() else { return };
    let package = package(&wasm);
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(example().join("mandelbrot.wasm"), &wasm).unwrap();
        std::fs::write(example().join("mandelbrot.zip"), &package).unwrap();
    }
    let committed = std::fs::read(example().join("mandelbrot.wasm")).unwrap();
    assert!(
        std::fs::read(example().join("mandelbrot.zip")).unwrap() == self::package(&committed),
        "the package is another"
    );
    // Another compiler makes another module, which must draw the same.
    let same = draw(&package, 1, 4) == draw(&self::package(&committed), 1, 4);
    assert!(same, "the committed module draws another picture; `{UPDATE}=1` with this test renews it");
}

#[test]
fn a_program_gets_no_more_memory_than_granted() {
    let package = std::fs::read(example().join("mandelbrot.zip")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("package.zip");
    std::fs::write(&path, package).unwrap();
    let cache = Cache::open(&dir.path().join("cache")).unwrap();
    Deployment::create(dir.path(), &path, None, &cache).unwrap();
    let deployment = Deployment::load(dir.path()).unwrap();
    let module = deployment.module(deployment.entry_point("mandelbrot").unwrap(), &cache).unwrap();
    let limits = Limits { memory_bytes_max: Some(64 * 1024) };
    let refused = execute(cache.engine(), &module, "mandelbrot", &[], WasiCtxBuilder::new(), limits).unwrap_err();
    assert!(refused.to_string().contains("memory"), "{refused}");
}
