//! A runtime in one file: it runs its commands as processes of this machine and stays after `start`.
//!
//! For tests, and to read by who writes a runtime. Never offer it: it shuts nobody in.
//! It notes what it was told in `runtime.log` of its work dir, a JSON value a line.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "an example for tests")]

use std::collections::HashMap;
use std::io::Write;
use std::process::Stdio;
use std::sync::Mutex;

use golem_runtime_api::proto::{
    CreateNetwork, Endpoint, ErrorCode, ErrorReply, KillProcess, ProcessStatus, RunProcess,
};
use golem_runtime_api::{Events, Service, serve};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::task::TaskTracker;

fn note(value: &Value) {
    let mut log = std::fs::File::options().append(true).create(true).open("runtime.log").unwrap();
    writeln!(log, "{value}").unwrap();
}

struct Shell {
    events: Events,
    tasks: TaskTracker,
    /// Process ids of the machine by those of the protocol.
    running: Mutex<HashMap<u64, u32>>,
}

impl Service for Shell {
    async fn hello(&self, version: String) -> Result<String, ErrorReply> {
        note(&json!({"hello": version}));
        Ok(env!("CARGO_PKG_VERSION").into())
    }

    async fn run(&self, run: RunProcess) -> Result<u64, ErrorReply> {
        note(&json!({"run": run.bin, "args": run.args}));
        let mut command = tokio::process::Command::new(&run.bin);
        command.args(run.args.iter().skip(1)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| ErrorReply::new(ErrorCode::NotFound, error.to_string()))?;
        let machine_pid = child.id().unwrap_or_default();
        let pid = u64::from(machine_pid);
        self.running.lock().unwrap().insert(pid, machine_pid);
        let (stdout, stderr, events) =
            (child.stdout.take().unwrap(), child.stderr.take().unwrap(), self.events.clone());
        self.tasks.spawn(async move {
            let status = |pid| ProcessStatus { pid, running: true, ..ProcessStatus::default() };
            tokio::join!(
                pump(stdout, &events, |bytes| ProcessStatus { stdout: bytes, ..status(pid) }),
                pump(stderr, &events, |bytes| ProcessStatus { stderr: bytes, ..status(pid) }),
            );
            let ended = child.wait().await.unwrap();
            events.counter("my.counter", 42.5).await.unwrap();
            let return_code = ended.code().unwrap_or(-1);
            events.status(ProcessStatus { running: false, return_code, ..status(pid) }).await.unwrap();
        });
        Ok(pid)
    }

    async fn kill(&self, kill: KillProcess) -> Result<(), ErrorReply> {
        let pid = self.running.lock().unwrap().remove(&kill.pid);
        let pid = pid.ok_or_else(|| ErrorReply::new(ErrorCode::NotFound, "no such process"))?;
        let pid = nix::unistd::Pid::from_raw(pid.try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)
            .map_err(|error| ErrorReply::new(ErrorCode::Internal, error.to_string()))
    }

    async fn create_network(&self, _: CreateNetwork) -> Result<Endpoint, ErrorReply> {
        Err(ErrorReply::new(ErrorCode::BadRequest, "this runtime has no networks"))
    }

    async fn shutdown(&self) -> Result<(), ErrorReply> {
        note(&json!("shutdown"));
        Ok(())
    }
}

async fn pump(mut stream: impl AsyncRead + Unpin, events: &Events, status: impl Fn(bytes::Bytes) -> ProcessStatus) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        let bytes = bytes::Bytes::copy_from_slice(buffer.get(..read).unwrap_or_default());
        events.status(status(bytes)).await.unwrap();
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    note(&json!({"argv": args}));
    let is = |verb: &str| args.iter().any(|arg| arg == verb);
    if is("deploy") {
        std::fs::create_dir_all("vol-a").unwrap();
        println!("some noise on stdout first");
        let vols = json!([{"name": "vol-a", "path": "/golem/work"}]);
        println!("{}", json!({"startMode": "blocking", "valid": {"Ok": ""}, "vols": vols}));
    } else if is("start") {
        let events = Events::new(tokio::io::stdout());
        let shell = Shell { events: events.clone(), tasks: TaskTracker::new(), running: Mutex::default() };
        if is("--noisy-start") {
            let started = ProcessStatus { running: true, stdout: "started".into(), ..ProcessStatus::default() };
            events.status(started).await.unwrap();
        }
        serve(tokio::io::stdin(), &events, &shell).await.unwrap();
    } else if is("offer-template") {
        println!("{} and more", json!({"properties": {"golem.runtime.capabilities": []}, "constraints": "(a=b)"}));
    }
}
