//! The supervisor as a process between a daemon's bus and a runtime (spec 51; recorded exchanges of the official one).
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::items_after_statements, reason = "test code")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use golem_bus::{Bus, BusUrl, CallError};
use golem_model::exe_unit::{
    ActivityError, Command, CommandResult, Exec, GetActivityState, GetActivityUsage, GetExecBatchResults,
    GetRunningCommand, RuntimeEvent, SetActivityState, SetActivityUsage, StreamExecBatchResults, address,
};
use golem_model::{Call, Caller, NodeId};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const ACTIVITY: &str = "0123456789abcdef0123456789abcd05";
const WAIT: Duration = Duration::from_secs(20);

fn vector(name: &str) -> Value {
    let path = format!("{}/../../tests/vectors/exe/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn shell_runtime() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_exe-unit")).with_file_name("examples").join("shell-runtime")
}

/// A daemon as far as an exe-unit sees it: a router that takes reports.
struct Daemon {
    bus: Bus,
    tasks: TaskTracker,
    stop: CancellationToken,
    states: watch::Receiver<Vec<Value>>,
    usages: watch::Receiver<Vec<Vec<f64>>>,
}

impl Daemon {
    async fn start(socket: &Path) -> Self {
        let (bus, tasks, stop) = (Bus::new(), TaskTracker::new(), CancellationToken::new());
        bus.listen(&BusUrl::from(socket), &tasks, stop.clone()).await.unwrap();
        let (told, states) = watch::channel(Vec::new());
        bus.bind("/local/activity", move |_, report: SetActivityState| {
            told.send_modify(|states| states.push(serde_json::to_value(&report.state).unwrap()));
            async { Ok(()) }
        });
        let (told, usages) = watch::channel(Vec::new());
        bus.bind("/local/activity", move |_, report: SetActivityUsage| {
            told.send_modify(|usages| usages.push(report.usage.current_usage.unwrap()));
            async { Ok(()) }
        });
        Self { bus, tasks, stop, states, usages }
    }

    /// Waits until a state with this pair was reported.
    async fn pair(&mut self, pair: Value) {
        let reported = self.states.wait_for(|states| states.iter().any(|state| state["state"] == pair));
        tokio::time::timeout(WAIT, reported).await.unwrap_or_else(|_| panic!("no {pair}")).unwrap();
    }

    async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

struct Activity {
    dir: tempfile::TempDir,
    child: tokio::process::Child,
    requestor: NodeId,
}

impl Activity {
    /// Starts the supervisor; the agreement is the recorded one with the changes of `edit`.
    fn start(dir: tempfile::TempDir, runtime: &Path, options: &[&str], edit: impl FnOnce(&mut Value)) -> Self {
        let mut agreement = vector("capture-exec.json")["agreement_file"].clone();
        edit(&mut agreement);
        std::fs::write(dir.path().join("agreement.json"), agreement.to_string()).unwrap();
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_exe-unit"));
        command.arg("-b").arg(runtime).args(options).args(["service-bus", ACTIVITY, "/local/activity"]);
        for (option, path) in [("-a", "agreement.json"), ("-w", "w"), ("-c", "c")] {
            command.arg(option).arg(dir.path().join(path));
        }
        command.current_dir(dir.path()).env("GSB_URL", format!("unix:{}", dir.path().join("bus").display()));
        let child = command.env("PROCESS_KILL_TIMEOUT_SECONDS", "1").kill_on_drop(true).spawn().unwrap();
        Self { dir, child, requestor: "0x1111111111111111111111111111111111111111".parse().unwrap() }
    }

    async fn with_daemon(runtime: &Path, options: &[&str], edit: impl FnOnce(&mut Value)) -> (Daemon, Self) {
        let dir = tempfile::tempdir().unwrap();
        let mut daemon = Daemon::start(&dir.path().join("bus")).await;
        let activity = Self::start(dir, runtime, options, edit);
        daemon.pair(json!(["Initialized", null])).await;
        (daemon, activity)
    }

    async fn call<C: Call>(&self, daemon: &Daemon, call: C) -> Result<C::Item, CallError<C::Error>> {
        daemon.bus.call(&address(ACTIVITY), Caller::from(self.requestor), call, WAIT).await
    }

    async fn exec(&self, daemon: &Daemon, batch: &str, script: Value) -> Result<String, CallError<ActivityError>> {
        let exe_script: Vec<Command> = serde_json::from_value(script).unwrap();
        let call = Exec { activity_id: ACTIVITY.into(), batch_id: batch.into(), exe_script, timeout: None };
        self.call(daemon, call).await
    }

    async fn results(&self, daemon: &Daemon, batch: &str) -> Vec<CommandResult> {
        let (activity_id, batch_id) = (ACTIVITY.to_owned(), batch.to_owned());
        let call = GetExecBatchResults { activity_id, batch_id, timeout: Some(15.0), command_index: None };
        self.call(daemon, call).await.unwrap()
    }

    /// Runs a script to its end; returns code-less triples of (ok, message, stdout).
    async fn script(&self, daemon: &Daemon, batch: &str, script: Value) -> Vec<(Option<String>, Option<String>)> {
        self.exec(daemon, batch, script).await.unwrap();
        let text = |output: Option<golem_model::exe_unit::Output>| {
            output.map(|o| String::from_utf8_lossy(o.as_bytes()).into_owned())
        };
        self.results(daemon, batch).await.into_iter().map(|result| (result.message, text(result.stdout))).collect()
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
    }

    async fn exit_code(&mut self) -> Option<i32> {
        tokio::time::timeout(WAIT, self.child.wait()).await.unwrap().unwrap().code()
    }

    fn runtime_log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.dir.path().join("w/runtime.log")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

async fn image_server() -> String {
    let image = std::fs::read(format!("{}/../../tests/vectors/exe/tiny.gvmi", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let router = axum::Router::new().route("/tiny.gvmi", axum::routing::get(move || async move { image }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    #[expect(clippy::disallowed_methods, reason = "ends with the test")]
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

/// What differs from run to run, or on purpose.
fn comparable(reply: &Value) -> Value {
    let mut reply = reply.clone();
    for result in reply["Ok"].as_array_mut().into_iter().flatten() {
        if let Some(result) = result.as_object_mut() {
            result.remove("eventDate");
            // Another order of keys in the JSON of the runtime.
            if result.get("stdout").and_then(Value::as_str).is_some_and(|text| text.contains("startMode")) {
                result.insert("stdout".into(), json!("deployed"));
            }
        }
    }
    reply
}

#[tokio::test]
async fn recorded_calls_get_the_recorded_replies() {
    let images = image_server().await;
    let own = |value: &Value| {
        serde_json::from_str::<Value>(&value.to_string().replace("http://images.example.org", &images)).unwrap()
    };
    let (mut daemon, mut activity) =
        Activity::with_daemon(&shell_runtime(), &[], |agreement| *agreement = own(agreement)).await;
    let capture = vector("capture-exec.json");
    let mut events = None;
    for call in capture["calls"].as_array().unwrap() {
        let (step, request) = (call["step"].as_str().unwrap(), own(&call["request"]));
        let mut request = request;
        if step == "all results" {
            request["timeout"] = json!(15.0);
        }
        fn reply<T: serde::Serialize, E: serde::Serialize + std::fmt::Debug>(result: Result<T, CallError<E>>) -> Value {
            let result = result.map_err(|error| error.service().unwrap());
            serde_json::to_value(result).unwrap()
        }
        if step == "running command" || step.starts_with("second batch") {
            // The recorded caller came while the third command slept.
            let running = |states: &Vec<Value>| states.iter().any(|state| state["state"] == json!(["Ready", "Ready"]));
            daemon.states.wait_for(running).await.unwrap();
        }
        let got = match call["message"].as_str().unwrap() {
            "Exec" => reply(activity.call(&daemon, serde_json::from_value::<Exec>(request.clone()).unwrap()).await),
            "GetExecBatchResults" => {
                reply(activity.call(&daemon, serde_json::from_value::<GetExecBatchResults>(request).unwrap()).await)
            }
            "GetRunningCommand" => {
                reply(activity.call(&daemon, serde_json::from_value::<GetRunningCommand>(request).unwrap()).await)
            }
            "GetActivityState" => {
                reply(activity.call(&daemon, serde_json::from_value::<GetActivityState>(request).unwrap()).await)
            }
            "GetActivityUsage" => {
                reply(activity.call(&daemon, serde_json::from_value::<GetActivityUsage>(request).unwrap()).await)
            }
            other => panic!("{other}"),
        };
        match step {
            "usage" => {
                let usage = got["Ok"]["currentUsage"].as_array().unwrap();
                assert!(usage.len() == 3 && usage[0].as_f64() > Some(1.0) && usage[2] == json!(42.5), "{got}");
            }
            // A batch that has ended is answered at once with what there is.
            "commandIndex beyond end" | "commandIndex after the failed one" => {
                assert_eq!(got["Ok"].as_array().unwrap().last().unwrap()["result"], "Error", "{step}");
            }
            _ => assert_eq!(comparable(&got), comparable(&call["reply"]), "{step}"),
        }
        if step == "exec whole script" {
            let stream = StreamExecBatchResults { activity_id: ACTIVITY.into(), batch_id: "b2".into() };
            events = Some(daemon.bus.call_stream(&address(ACTIVITY), Caller::from(activity.requestor), stream));
        }
    }
    let events: Vec<RuntimeEvent> = events.unwrap().try_collect().await.unwrap();
    compare_events(&events, &vector("capture-stream.json"), &images);

    activity.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(activity.exit_code().await, Some(0));
    daemon.pair(json!(["Terminated", null])).await;
    compare_reports(&daemon.states.borrow());
    compare_runtime_side(&activity, &capture);
}

/// Kinds in their order; the recorded subscriber missed the first event.
fn compare_events(events: &[RuntimeEvent], recorded: &Value, images: &str) {
    let all: Vec<Value> = events.iter().map(|event| serde_json::to_value(event).unwrap()).collect();
    let kinds = |events: &[Value]| -> Vec<(Value, Value)> {
        let mut kinds: Vec<(Value, Value)> = Vec::new();
        for event in events.iter().filter(|event| event.is_object()) {
            let kind =
                serde_json::from_str(&event["kind"].to_string().replace(images, "http://images.example.org")).unwrap();
            let kind: Value = kind;
            // How output is cut into pieces, and when progress is told, is not fixed.
            if kind.get("progress").is_some() || event["index"] == 0 && kind.get("stdout").is_some() {
                continue;
            }
            kinds.push((event["index"].clone(), kind));
        }
        kinds
    };
    assert!(all[0]["kind"]["started"]["command"]["deploy"].is_object());
    assert!(all.iter().any(|event| event["kind"]["progress"]["step"] == json!([1, 1])), "progress ends");
    assert_eq!(kinds(&all[1..]), kinds(recorded["parts"].as_array().unwrap()));
}

fn compare_reports(states: &[Value]) {
    let capture = vector("capture-reports.json");
    let recorded = capture["reports"].as_array().unwrap().iter().filter(|r| r["message"] == "SetActivityState");
    let recorded: Vec<Value> = recorded.map(|report| report["payload"]["state"].clone()).collect();
    assert_eq!(states, recorded);
}

fn compare_runtime_side(activity: &Activity, capture: &Value) {
    let log = activity.runtime_log();
    let hello = vector("capture-runtime-side.json");
    assert!(hello["events"].as_array().unwrap().len() > 2);
    let work_dir = activity.dir.path().canonicalize().unwrap().join("w");
    let image = format!("tiny_{}.gvmi", "3a76c87955366dad8f23fb1da5740399aba536041bdbd2d28cf8981b");
    let image = activity.dir.path().canonicalize().unwrap().join("c").join(image);
    let prefix = ["--workdir", work_dir.to_str().unwrap(), "--task-package", image.to_str().unwrap()];
    let argv = |rest: &[&str]| {
        let argv = [&prefix[..], rest].concat();
        json!({"argv": argv})
    };
    assert_eq!(log[0], argv(&["deploy", "--"]));
    assert_eq!(log[1], argv(&["start"]));
    assert_eq!(log[2], json!({"hello": "0.1.0"}));
    let runs = capture["calls"].as_array().unwrap().iter().find(|call| call["step"] == "exec whole script").unwrap();
    assert_eq!(log[3]["run"], "/bin/sh");
    assert_eq!(log[3]["args"][0], "sh", "the first argument is the name of the program");
    assert_eq!(log[3]["args"][2], runs["request"]["exeScript"][2]["run"]["args"][1]);
    assert_eq!(log.last().unwrap(), "shutdown");
}

/// A runtime that runs one process for each command.
fn script_runtime(dir: &Path, body: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join("runtime.sh");
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

const PLAIN_RUNTIME: &str = r#"
while [ "$1" != deploy ] && [ "$1" != start ] && [ "$1" != run ]; do shift; done
verb=$1; shift
case $verb in
  deploy) mkdir -p vol; echo '{"valid":{"Ok":""},"vols":[{"name":"vol","path":"/data"}]}' ;;
  start) shift; echo "start $*"; [ "$1" != fail ] || exit 4 ;;
  run) shift; entry=$1; shift 2; cd vol; exec "$entry" "$@" ;;
esac"#;

fn no_image(agreement: &mut Value) {
    agreement["offer"]["properties"]["golem.runtime.capabilities"] = json!([]);
}

async fn plain() -> (Daemon, Activity, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = script_runtime(dir.path(), PLAIN_RUNTIME);
    let (daemon, activity) = Activity::with_daemon(&runtime, &["--runtime-managed-image"], no_image).await;
    (daemon, activity, dir)
}

fn sh(script: &str) -> Value {
    json!({"run": {"entry_point": "/bin/sh", "args": ["-c", script], "capture": {"stdout": {"atEnd": {}}, "stderr": {"stream": {}}}}})
}

#[tokio::test]
async fn one_process_for_each_command_works_as_well() {
    let (daemon, activity, _runtime) = plain().await;
    let script = json!([{"deploy": {}}, {"start": {"args": ["a", "b"]}}, sh("echo out; seq 40000"), sh("kill -9 $$"), sh("never")]);
    let results = activity.script(&daemon, "b", script).await;
    assert_eq!(results.len(), 4);
    assert_eq!(results[1].1.as_deref(), Some("start a b\n"));
    let long = results[2].1.as_ref().unwrap();
    assert!(long.starts_with("out\n1\n") && long.ends_with("\n40000\n"), "nothing is lost");
    assert_eq!(results[3].0.as_deref(), Some("ExeScript command exited with code -1"));

    let again = activity.script(&daemon, "c", json!([sh("exit 300"), sh("x")])).await;
    assert_eq!(again, [(Some("ExeScript command exited with code 44".into()), None)]);
    let refused = activity.script(&daemon, "d", json!([{"deploy": {}}])).await;
    assert_eq!(
        refused[0].0.as_deref().unwrap(),
        "Local service error: State error: Cannot send command after a successful start()"
    );
    let escape = activity
        .script(
            &daemon,
            "e",
            json!([{"transfer": {"from": "container:/data/..%2F..%2Fagreement.json", "to": "container:/data/x"}}]),
        )
        .await;
    assert!(
        escape[0].0.as_deref().unwrap().starts_with("Local service error: Transfer error: Invalid url"),
        "{escape:?}"
    );
    let link = activity
        .script(
            &daemon,
            "f",
            json!([sh("ln -s ../../agreement.json leak"), {"transfer": {"from": "/data/leak", "to": "/data/x"}}]),
        )
        .await;
    assert!(link[1].0.as_deref().unwrap().starts_with("Local service error: Transfer error: IO error"), "{link:?}");
}

#[tokio::test]
async fn a_failed_deploy_or_start_may_be_tried_again() {
    let (daemon, activity, runtime) = plain().await;
    let start = |arg: &str| json!([{"start": {"args": [arg]}}]);
    script_runtime(runtime.path(), "echo no; exit 3");
    let failed = activity.script(&daemon, "a", json!([{"deploy": {}}])).await;
    assert_eq!(failed, [(Some("ExeScript command exited with code 3".into()), Some("no\n".into()))]);
    script_runtime(runtime.path(), r#"echo '{"valid":{"Err":"no room"}}'"#);
    let failed = activity.script(&daemon, "b", json!([{"deploy": {}}])).await;
    assert_eq!(failed[0].0.as_deref(), Some("ExeScript command error: no room"));
    script_runtime(runtime.path(), PLAIN_RUNTIME);
    assert_eq!(activity.script(&daemon, "c", json!([{"deploy": {}}])).await[0].0, None);
    assert!(activity.script(&daemon, "d", start("fail")).await[0].0.as_deref().unwrap().contains("code 4"));
    assert_eq!(activity.script(&daemon, "e", start("ok")).await[0].0, None);
}

#[tokio::test]
async fn terminate_stops_what_runs_and_begins_anew() {
    let (mut daemon, activity, _runtime) = plain().await;
    activity.script(&daemon, "a", json!([{"deploy": {}}, {"start": {}}])).await;
    activity.exec(&daemon, "long", json!([sh("sleep 1000 & echo $!; wait"), sh("never")])).await.unwrap();
    daemon.pair(json!(["Ready", "Ready"])).await;
    assert_eq!(activity.script(&daemon, "t", json!([{"terminate": {}}])).await, [(None, None)]);
    let long = activity.results(&daemon, "long").await;
    assert_eq!(long.len(), 1);
    assert_eq!(long[0].message.as_deref(), Some("IO error: operation interrupted"));
    assert_eq!(
        activity.script(&daemon, "again", json!([{"deploy": {}}, {"start": {}}, sh("echo hi")])).await[2].1.as_deref(),
        Some("hi\n")
    );
}

#[tokio::test]
async fn only_the_requestor_gives_orders() {
    let (daemon, activity, _runtime) = plain().await;
    let ask = GetActivityState { activity_id: ACTIVITY.into(), timeout: None };
    let stranger = NodeId::from([9; 20]);
    for caller in
        [Caller::local(), Caller::from(stranger), Caller::from(format!("/local/{}", activity.requestor).as_str())]
    {
        let refused = daemon.bus.call(&address(ACTIVITY), caller.clone(), ask.clone(), WAIT).await;
        assert!(matches!(refused.unwrap_err().service(), Some(ActivityError::Forbidden(_))), "{caller}");
        let stream = StreamExecBatchResults { activity_id: ACTIVITY.into(), batch_id: "b".into() };
        let first = daemon.bus.call_stream(&address(ACTIVITY), caller, stream).next().await.unwrap();
        assert!(matches!(first.unwrap_err().service(), Some(ActivityError::Forbidden(_))));
    }
    assert!(activity.call(&daemon, ask).await.is_ok());
    let stream = StreamExecBatchResults { activity_id: ACTIVITY.into(), batch_id: "none".into() };
    let first =
        daemon.bus.call_stream(&address(ACTIVITY), Caller::from(activity.requestor), stream).next().await.unwrap();
    assert_eq!(first.unwrap_err().service(), Some(ActivityError::BadRequest("Unknown batch: none".into())));
}

#[tokio::test]
async fn the_activity_outlives_a_restart_of_its_daemon() {
    let (daemon, mut activity, _runtime) = plain().await;
    activity.script(&daemon, "a", json!([{"deploy": {}}, {"start": {}}])).await;
    activity.exec(&daemon, "b", json!([sh("sleep 3; echo done")])).await.unwrap();
    daemon.end().await;
    let mut daemon = Daemon::start(&activity.dir.path().join("bus")).await;
    daemon.usages.wait_for(|usages| !usages.is_empty()).await.unwrap();
    daemon.pair(json!(["Ready", null])).await;
    let result = &activity.results(&daemon, "b").await[0];
    assert_eq!((result.message.clone(), result.index), (None, 0));
    assert_eq!(activity.child.try_wait().unwrap(), None);
    activity.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(activity.exit_code().await, Some(0));
    let last = daemon.states.borrow().last().unwrap().clone();
    assert_eq!(
        last["reason"],
        "Interrupted by signal: 2: {\"batches_done\":2,\"batches_pending\":0,\"cmds_done\":3,\"cmds_pending\":0}"
    );
}

#[tokio::test]
async fn a_runtime_does_not_outlive_its_supervisor() {
    let (mut daemon, mut activity, _runtime) = plain().await;
    activity.script(&daemon, "a", json!([{"deploy": {}}, {"start": {}}])).await;
    activity.exec(&daemon, "b", json!([sh("exec sleep 1000")])).await.unwrap();
    daemon.pair(json!(["Ready", "Ready"])).await;
    let tasks = format!("/proc/{}/task", activity.child.id().unwrap());
    let started = async {
        loop {
            let child = std::fs::read_dir(&tasks).unwrap().flatten().find_map(|task| {
                let children = std::fs::read_to_string(task.path().join("children")).ok()?;
                children.split_whitespace().next().map(String::from)
            });
            match child {
                Some(pid) => return pid,
                None => tokio::task::yield_now().await,
            }
        }
    };
    let runtime = tokio::time::timeout(WAIT, started).await.expect("the runtime does not start");
    activity.signal(nix::sys::signal::Signal::SIGKILL);
    activity.exit_code().await;
    let gone = async {
        while std::fs::read_to_string(format!("/proc/{runtime}/stat")).is_ok_and(|stat| !stat.contains(") Z")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WAIT, gone).await.expect("the runtime still runs");
}

#[tokio::test]
async fn broken_agreements_and_a_missing_bus_end_the_start() {
    let check = |edit: fn(&mut Value), listening: bool| async move {
        let dir = tempfile::tempdir().unwrap();
        let _daemon = if listening { Some(Daemon::start(&dir.path().join("bus")).await) } else { None };
        Activity::start(dir, &shell_runtime(), &[], edit).exit_code().await
    };
    assert_eq!(check(|_| {}, false).await, Some(1));
    assert_eq!(check(|agreement| *agreement = json!({}), true).await, Some(1));
    assert_eq!(check(|agreement| *agreement = json!([1, 2]), true).await, Some(1));
}

#[tokio::test]
async fn too_much_memory_ends_the_activity() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = script_runtime(dir.path(), PLAIN_RUNTIME);
    let little = |agreement: &mut Value| {
        no_image(agreement);
        agreement["offer"]["properties"]["golem.inf.mem.gib"] = json!(0.000_001);
    };
    let (mut daemon, mut activity) = Activity::with_daemon(&runtime, &["--runtime-managed-image"], little).await;
    daemon.pair(json!(["Terminated", null])).await;
    assert_eq!(activity.exit_code().await, Some(0));
    let reason = daemon.states.borrow().last().unwrap()["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("Usage limit exceeded: golem.usage.gib"), "{reason}");
}

#[tokio::test]
async fn offers_tests_and_files_work_from_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let output = |args: Vec<String>| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_exe-unit"));
        command.current_dir(dir.path()).args(args).output()
    };
    let args = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
    let runtime = shell_runtime().display().to_string();
    let template = output(args(&format!("-b {runtime} --cap-handoff offer-template"))).await.unwrap();
    let template: Value = serde_json::from_slice(&template.stdout).unwrap();
    assert_eq!(template["constraints"], "(a=b)");
    assert_eq!(template["properties"]["golem.runtime.capabilities"], json!([]));
    assert_eq!(template["properties"]["golem.com.usage.vector"].as_array().unwrap().len(), 4);
    assert_eq!(output(args(&format!("-b {runtime} test"))).await.unwrap().status.code(), Some(0));
    assert_eq!(output(args("-b /nonexistent/runtime test")).await.unwrap().status.code(), Some(1));
    assert_eq!(output(args("-b x --help")).await.unwrap().status.code(), Some(0));
    assert_eq!(output(args("offer-template --runtime-arg --foo")).await.unwrap().status.code(), Some(2));

    let plain = script_runtime(dir.path(), PLAIN_RUNTIME).display().to_string();
    let agreement = vector("capture-exec.json")["agreement_file"].to_string();
    std::fs::write(dir.path().join("a.json"), agreement).unwrap();
    for (script, lines, code) in [
        (json!([{"deploy": {}}, {"start": {}}, sh("echo hi")]), 3, 0),
        (json!([{"deploy": {}}, {"run": {"entry_point": "x"}}, {"start": {}}]), 2, 1),
        (json!([{"dance": {}}]), 0, 1),
        (json!({}), 0, 1),
    ] {
        std::fs::write(dir.path().join("s.json"), script.to_string()).unwrap();
        let ran = output(args(&format!("-b {plain} --runtime-managed-image from-file s.json -a a.json -w w -c c")))
            .await
            .unwrap();
        let printed = String::from_utf8(ran.stdout).unwrap();
        assert_eq!((printed.lines().count(), ran.status.code()), (lines, Some(code)), "{script}");
    }
}
