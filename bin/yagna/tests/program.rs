//! The daemon as a program: start, ready signal, lock, signals, locked identity (spec 22 §1, §2, §10, 21 §3.2).
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const TIMEOUT: Duration = Duration::from_secs(30);

struct Yagna {
    child: Child,
    dir: PathBuf,
    lines: std::io::Lines<BufReader<std::process::ChildStderr>>,
    ready: UnixDatagram,
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_yagna"));
    command
        .current_dir(dir)
        .env_clear()
        .env("HOME", dir)
        .env("YAGNA_DATADIR", dir)
        .env("GSB_URL", format!("unix:{}", dir.join("s").display()))
        .env("YAGNA_AUTOCONF_APPKEY", "key")
        .env("YA_NET_BIND_URL", "udp://127.0.0.1:0");
    command
}

impl Yagna {
    fn spawn(dir: &Path, ready: &str) -> Self {
        let ready_path = dir.join(ready);
        let ready = UnixDatagram::bind(&ready_path).unwrap();
        ready.set_read_timeout(Some(TIMEOUT)).unwrap();
        let mut child = command(dir)
            .args(["service", "run", "--api-url", "http://127.0.0.1:0"])
            .env("NOTIFY_SOCKET", ready_path)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, dir: dir.to_owned(), lines, ready }
    }

    fn line_with(&mut self, words: &str) -> String {
        self.lines.by_ref().map(Result::unwrap).find(|line| line.contains(words)).expect(words)
    }

    fn wait_ready(&self) {
        let mut buffer = [0; 32];
        let length = self.ready.recv(&mut buffer).unwrap();
        assert_eq!(buffer.get(..length).unwrap(), b"READY=1");
    }

    fn rest(&mut self) -> String {
        let line = self.line_with("yagna is ready");
        line.split("rest=").nth(1).unwrap().split(' ').next().unwrap().to_owned()
    }

    fn end(mut self, signal: Signal) {
        assert!(self.dir.join("yagna.lock").exists());
        let pid = std::fs::read_to_string(self.dir.join("yagna.pid")).unwrap();
        assert_eq!(pid, self.child.id().to_string());
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        for file in ["yagna.lock", "yagna.pid", "s"] {
            assert!(!self.dir.join(file).exists(), "{file}");
        }
    }
}

fn get(rest: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(rest).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer key\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_daemon_tells_when_it_is_ready_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut yagna = Yagna::spawn(dir.path(), "ready");
    yagna.wait_ready();
    let rest = yagna.rest();
    assert!(get(&rest, "/me").starts_with("HTTP/1.1 200 "));
    assert!(get(&rest, "/version/get").contains("\"version\":\"0.17.6\""));
    assert!(get(&rest, "/metrics-api/v1/filtered/yagna_").contains("\nyagna_service_up 1\n"));
    assert!(get(&rest, "/nothing").starts_with("HTTP/1.1 404 "));
    // A second one does not touch the first one's files.
    let log = std::fs::read_dir(dir.path()).unwrap().count();
    let second = command(dir.path()).args(["service", "run"]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("yagna is already running"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), log);
    yagna.end(Signal::SIGINT);
    assert!(dir.path().join("yagna_rCURRENT.log").exists());
}

#[test]
fn the_command_line_ends_the_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let mut yagna = Yagna::spawn(dir.path(), "ready");
    yagna.wait_ready();
    let output = command(dir.path()).args(["service", "shutdown", "--gracefully", "--json"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "{\n  \"Ok\": null\n}\n");
    assert_eq!(yagna.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_locked_default_identity_holds_the_start_until_it_is_unlocked() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| command(dir.path()).args(args).output().unwrap();
    let yagna = Yagna::spawn(dir.path(), "ready1");
    yagna.wait_ready();
    assert!(run(&["id", "create", "safe", "--password", "secret", "--set-default"]).status.success());
    yagna.end(Signal::SIGTERM);

    let mut yagna = Yagna::spawn(dir.path(), "ready2");
    yagna.line_with("default account is locked");
    let refused = run(&["app-key", "list"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Bad request: endpoint address not found"));
    assert!(run(&["id", "unlock", "--password", "wrong"]).status.success());
    assert!(run(&["id", "unlock", "--password", "secret"]).status.success());
    yagna.wait_ready();
    assert!(get(&yagna.rest(), "/me").starts_with("HTTP/1.1 200 "));
    yagna.end(Signal::SIGTERM);

    let mut yagna = Yagna::spawn(dir.path(), "ready3");
    yagna.line_with("default account is locked");
    kill(Pid::from_raw(yagna.child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(yagna.child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_dotenv_file_adds_to_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".env"), "YA_CONSENT_STATS=allow\nYAGNA_DATADIR=/nowhere\n").unwrap();
    let output = command(dir.path()).args(["consent", "show", "--json"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("\"consent\": \"allow\"") && text.contains("\"source\": \"Env\""), "{text}");
    let output = command(dir.path()).args(["consent", "path"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains(&dir.path().display().to_string()));
}
