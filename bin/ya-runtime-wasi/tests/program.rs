//! The runtime as supervisors call it (spec 52 §2, §6).
#![expect(clippy::unwrap_used, reason = "test code")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/exe/tiny-wasi.zip");

/// A work dir and a cache of their own.
struct Activity {
    dir: TempDir,
    package: String,
}

impl Activity {
    fn new(package: &str) -> Self {
        Self { dir: TempDir::new().unwrap(), package: package.into() }
    }

    fn work_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("w")
    }

    fn call(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ya-runtime-wasi"));
        command.env("YA_RUNTIME_WASI_CACHE", self.dir.path().join("cache")).arg("--workdir").arg(self.work_dir());
        command.args(["--task-package", &self.package]).args(args).output().unwrap()
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.call(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn fails(&self, args: &[&str]) -> String {
        let output = self.call(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    }
}

#[test]
fn the_official_example_deploys_starts_and_runs() {
    let activity = Activity::new(TINY);
    let printed = activity.ok(&["deploy", "--"]);
    assert!(printed.ends_with("\n\n"));
    let result: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&result["valid"], &result["startMode"]), (&json!({"Ok": ""}), &json!("empty")));
    let vols = result["vols"].as_array().unwrap();
    assert_eq!(vols.iter().map(|vol| vol["path"].as_str().unwrap()).collect::<Vec<_>>(), ["/in", "/out"]);
    for vol in vols {
        assert!(activity.work_dir().join(vol["name"].as_str().unwrap()).is_dir());
    }
    assert_eq!(activity.ok(&["start", "--"]), "");
    assert_eq!(activity.ok(&["run", "--entrypoint", "hello", "--"]), "hello wasi\n");
    assert_eq!(activity.ok(&["run", "--entrypoint", "ok", "--", "--flag", "x"]), "");
    assert_eq!(activity.call(&["run", "--entrypoint", "exit3", "--"]).status.code(), Some(3));
    assert!(activity.fails(&["run", "--entrypoint", "nope", "--"]).contains("Entrypoint nope not found."));

    std::fs::remove_dir_all(activity.dir.path().join("cache")).unwrap();
    assert_eq!(activity.ok(&["run", "--entrypoint", "hello", "--"]), "hello wasi\n", "a lost cache is made again");
    for file in std::fs::read_dir(activity.dir.path().join("cache")).unwrap() {
        std::fs::write(file.unwrap().path(), b"rubbish").unwrap();
    }
    assert_eq!(activity.ok(&["run", "--entrypoint", "hello", "--"]), "hello wasi\n", "a broken cache as well");
}

#[test]
fn offers_and_self_test_are_printed() {
    let activity = Activity::new("/nonexistent");
    let template: Value = serde_json::from_str(&activity.ok(&["offer-template"])).unwrap();
    assert!(template["properties"].is_object());
    assert_eq!(activity.ok(&["test"]), "ok\n");
    assert_eq!(activity.call(&["--help"]).status.code(), Some(0));
    assert_eq!(activity.call(&["dance"]).status.code(), Some(2));
}

#[test]
fn extra_volumes_are_made_when_this_runtime_has_their_kind() {
    let activity = Activity::new(TINY);
    let printed = activity.ok(&["--volume-override", r#"{"/more/data":{"host":{}}}"#, "deploy", "--"]);
    let result: Value = serde_json::from_str(&printed).unwrap();
    assert!(result["vols"].as_array().unwrap().iter().any(|vol| vol["path"] == "/more/data"));
    let ram = r#"{"/x":{"ram":{"size":1}}}"#;
    assert!(activity.fails(&["--volume-override", ram, "deploy", "--"]).contains("only `host` volumes"));
    assert!(activity.fails(&["--volume-override", "{", "deploy", "--"]).contains("invalid"));
}

fn package(dir: &Path, manifest: &Value, modules: &[(&str, &[u8])]) -> String {
    let path = dir.join("package.zip");
    let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file("manifest.json", options).unwrap();
    zip.write_all(manifest.to_string().as_bytes()).unwrap();
    for (name, content) in modules {
        zip.start_file(*name, options).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap();
    path.into_os_string().into_string().unwrap()
}

#[test]
fn bad_packages_are_refused_at_deploy_with_a_reason() {
    let dir = TempDir::new().unwrap();
    let entry = |path: &str| json!({"id": "a", "name": "a", "entry-points": [{"id": "x", "wasm-path": path}]});
    let empty_module = b"\0asm\x01\0\0\0";
    for (manifest, modules, reason) in [
        (entry("x.wasm"), vec![], "has no `x.wasm`"),
        (entry("x.wasm"), vec![("x.wasm", &b"(module)"[..])], "not a valid WASM module"),
        (entry("x.wasm"), vec![("x.wasm", &b"\0asm\x01\0\0\0\xff"[..])], "not a valid WASM module"),
        (entry("../../etc/passwd"), vec![("x.wasm", &empty_module[..])], "has no `../../etc/passwd`"),
        (json!({"id": "a", "name": "a", "mount-points": [{"rw": "../up"}]}), vec![], "`..`"),
    ] {
        let activity = Activity::new(&package(dir.path(), &manifest, &modules));
        let stderr = activity.fails(&["deploy", "--"]);
        assert!(stderr.starts_with("Error: ") && stderr.contains(reason), "{manifest}: {stderr}");
    }
    let text = dir.path().join("text.zip");
    std::fs::write(&text, "no zip").unwrap();
    assert!(Activity::new(text.to_str().unwrap()).fails(&["deploy", "--"]).contains("not a zip archive"));
    assert!(Activity::new("/nonexistent").fails(&["deploy", "--"]).contains("cannot read package `/nonexistent`"));
    assert!(Activity::new(dir.path().to_str().unwrap()).fails(&["deploy", "--"]).contains("not a regular file"));
    assert!(Activity::new(TINY).fails(&["start", "--"]).contains("`deploy` comes first"));

    let activity = Activity::new(&package(dir.path(), &entry("x.wasm"), &[("x.wasm", empty_module)]));
    activity.ok(&["deploy", "--"]);
    assert!(activity.fails(&["run", "-e", "x", "--"]).contains("`x.wasm` cannot be started"), "it has no `_start`");
}
