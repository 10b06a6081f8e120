//! Output of the official command line, compared with ours command by command (spec 22b, vectors/cli/outputs.txt).
#![expect(clippy::unwrap_used, reason = "test code")]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use regex::{Captures, Regex};
use yagna::daemon::{Config, Daemon, Stop};

/// Commands whose answer depends on other nodes or a chain; they are compared where those are there.
const ELSEWHERE: [&str; 11] = [
    "net ",
    "market ",
    "activity ",
    "payment process",
    "payment status",
    "payment accounts --json   ",
    "payment init",
    "payment driver status",
    "payment driver rpc",
    "service shutdown",
    "extension list --json   ",
];

struct Step {
    command: String,
    stdout: String,
    code: i32,
}

fn steps() -> Vec<Step> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/cli/outputs.txt");
    let text = std::fs::read_to_string(path).unwrap();
    let mut steps = Vec::new();
    for block in text.split("$ yagna ").skip(1) {
        let (command, rest) = block.split_once('\n').unwrap();
        let (stdout, code) = rest.rsplit_once("[rc=").unwrap();
        let code = code.split(']').next().unwrap().parse().unwrap();
        steps.push(Step { command: command.to_owned(), stdout: stdout.to_owned(), code });
    }
    steps
}

/// Replaces what differs from run to run; the same id gets the same word.
struct Mask {
    rules: Vec<(Regex, &'static str)>,
    seen: HashMap<String, usize>,
}

impl Mask {
    fn new() -> Self {
        let rule = |pattern: &str, word| (Regex::new(pattern).unwrap(), word);
        let rules = vec![
            rule(r"\b0x[0-9a-f]{40}\b", "id"),
            rule(r"\b[0-9a-f]{128,130}\b", "long"),
            rule(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "uuid"),
            rule(r"\b[0-9a-f]{64}\b", "bytes32"),
            rule(r"\b[0-9a-f]{40}\b", "bytes20"),
            rule(r"\b[0-9a-f]{32}\b", "bytes16"),
            rule(r"\d{4}-\d\d-\d\dT[\d:.]+", "time"),
            rule(r"released \d{4}-\d\d-\d\d", "day"),
            rule(r"(golem [\d.]+ )?\([0-9a-f]{7,9} \d{4}-\d\d-\d\d\)", "build"),
        ];
        Self { rules, seen: HashMap::new() }
    }

    fn apply(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (regex, word) in &self.rules {
            let seen = &mut self.seen;
            let named = |found: &Captures<'_>| {
                let found = found.get(0).unwrap().as_str();
                // Ids of several runs are compared by the order of their first appearance.
                let next = seen.len();
                let number = *seen.entry(found.to_owned()).or_insert(next);
                if *word == "id" { format!("<{word}{number:<38}>") } else { format!("<{word}>") }
            };
            text = regex.replace_all(&text, named).into_owned();
        }
        text
    }
}

fn yagna(dir: &Path, gsb: &str, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_yagna"))
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("HOME", dir)
        .env("YAGNA_DATADIR", dir)
        .env("GSB_URL", gsb)
        .env("YAGNA_EXTENSIONS_DIR", dir)
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_print_what_programs_parse() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(Config::new(dir.path().to_owned())).await.unwrap();
    let gsb = daemon.gsb_url().to_string();
    std::fs::write(dir.path().join("FILE"), "content").unwrap();
    let (mut ours, mut theirs) = (Mask::new(), Mask::new());
    let mut differences = String::new();
    let mut compared = 0;
    for Step { command, stdout, code } in steps() {
        if ELSEWHERE.iter().any(|start| command.starts_with(start)) || command.starts_with("payment accounts") {
            continue;
        }
        let args: Vec<String> = command.split_whitespace().map(|arg| arg.replace("<FILE>", "exported")).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = yagna(dir.path(), &gsb, &args);
        let got = String::from_utf8(output.stdout).unwrap().replace(&dir.path().display().to_string(), "<DATADIR>");
        let (got, expected) = (ours.apply(&got), theirs.apply(&stdout.replace("<FILE>", "exported")));
        // A panic of the official program is an error of ours; trailing empty rows of its tables are no matter.
        let code = code.min(1);
        let rows = |text: &str| {
            let kept = text.lines().filter(|line| !line.starts_with("│   ") || line.contains(char::is_alphanumeric));
            kept.map(|line| line.trim_end().to_owned() + "\n").collect::<String>()
        };
        compared += 1;
        if output.status.code() != Some(code) || rows(&got) != rows(&expected) {
            let stderr = String::from_utf8_lossy(&output.stderr);
            let _ = writeln!(differences, "$ {command}\n--- theirs [{code}]\n{expected}--- ours\n{got}{stderr}");
        }
    }
    daemon.stop(Stop::Now).await;
    assert!(differences.is_empty(), "{differences}");
    assert!(compared > 60, "{compared}");
}

#[test]
fn wrong_usage_and_a_missing_daemon_are_errors_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let gsb = format!("unix:{}", dir.path().join("none.sock").display());
    let check = |args: &[&str], code: i32, words: &str| {
        let output = yagna(dir.path(), &gsb, args);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?} {stderr}");
        assert!(stderr.contains(words), "{args:?}: {stderr}");
        assert!(code == 0 || output.stdout.is_empty(), "{args:?}");
    };
    check(&["id", "list", "--json"], 1, "Called service `/local/identity/List` is unavailable");
    check(&["id", "frob"], 1, "unrecognized subcommand");
    check(&["id", "create", "--password", "x", "--no-password"], 1, "cannot be used with");
    check(&["id", "create", "--from-private-key", "zz", "--no-password"], 1, "plain hex string");
    check(&["app-key", "create", "a", "--id", "0x12"], 1, "NodeId `0x12` parsing error");
    check(&["app-key", "list", "--page", "-1"], 1, "error:");
    check(&["net", "find", "xyz"], 1, "expected length is 42 chars");
    check(&["net", "list-neighbors", "many"], 1, "invalid digit");
    check(&["payment", "init", "--network", "moon"], 1, "invalid value 'moon'");
    check(&["payment", "transfer", "--to-address", "0x1", "--amount", "1"], 1, "invalid value '0x1'");
    check(&["payment", "transfer", "--amount", "1"], 1, "--to-address");
    check(&["payment", "status", "--last", "soon"], 1, "invalid value 'soon'");
    check(&["market", "agreements", "list", "--state", "Sleeping"], 1, "unknown variant");
    check(&["market", "agreements", "get", "--id", "x"], 1, "--role");
    check(&["--gsb-url", "http://x", "id", "list"], 1, "unimplemented protocol");
    check(&["service", "run", "--api-url", "nonsense"], 1, "is no http URL");
    check(&["service", "run", "--max-rest-timeout", "-1"], 1, "error:");
    check(&["--version"], 0, "");
    check(&["--help"], 0, "");
}

#[test]
fn extensions_run_in_the_place_of_a_command() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("yagna-foo");
    std::fs::write(&path, "#!/bin/sh\necho \"$@ $YAGNA_JSON_OUTPUT\"\nexit 7\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let run = |args: &[&str]| yagna(dir.path(), "unix:/none", args);
    let output = run(&["--json", "foo", "a", "--json"]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(7), b"a --json true\n".as_slice()));
    assert!(run(&["extension", "register", "foo", "x", "y"]).status.success());
    let list = String::from_utf8(run(&["extension", "list", "--json"]).stdout).unwrap();
    let steps = steps();
    let expected = &steps.iter().find(|step| step.command.contains("extension register")).expect("in the file").stdout;
    assert_eq!(list, expected.replace("<EXT_DIR>", &dir.path().display().to_string()));
    assert!(run(&["extension", "unregister", "foo"]).status.success());
    assert!(String::from_utf8(run(&["extension", "list", "--json"]).stdout).unwrap().contains("\"autostart\": false"));
    assert!(!run(&["extension", "register", "bar"]).status.success());
}
