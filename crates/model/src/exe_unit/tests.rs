use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn vectors() -> Vec<Value> {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/exe/gsb-flexbuffers.json"));
    serde_json::from_str(text).unwrap()
}

/// Decodes the JSON face of a vector, encodes it again and compares.
fn survives<T: Serialize + for<'de> Deserialize<'de>>(name: &str, json: &Value) {
    let value: T = serde_json::from_value(json.clone()).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(serde_json::to_value(&value).unwrap(), *json, "{name}");
}

#[test]
fn vectors_survive_decoding_and_encoding() {
    let mut seen = 0;
    for vector in vectors() {
        let (name, json) = (vector["name"].as_str().unwrap(), &vector["json"]);
        match name {
            // Their sizes are text in JSON, which reads back as the same number but is written as one.
            "command-deploy-1" => {
                let command: Command = serde_json::from_value(json.clone()).unwrap();
                let Command::Deploy(deploy) = &command else { panic!("not a deploy") };
                let mounts = deploy.volumes.as_ref().unwrap().mounts();
                assert_eq!(mounts["/tmpx"], VolumeMount::Ram { size: ByteSize(67_100_000) });
                assert_eq!(serde_json::to_value(&command).unwrap()["deploy"]["net"], json["deploy"]["net"]);
            }
            "exec" => drop(serde_json::from_value::<Exec>(json.clone()).unwrap()),
            "exec-min" => survives::<Exec>(name, json),
            _ if name.starts_with("command-") => survives::<Command>(name, json),
            "get-state" => survives::<GetActivityState>(name, json),
            "get-state-ok" => survives::<Result<ActivityState, ActivityError>>(name, json),
            "get-usage-ok" => survives::<Result<ActivityUsage, ActivityError>>(name, json),
            "set-state" | "set-state-terminated" => survives::<SetActivityState>(name, json),
            "set-usage" => survives::<SetActivityUsage>(name, json),
            "create-err" | "err-timeout" => survives::<Result<(), ActivityError>>(name, json),
            "get-batch" | "get-batch-idx" => survives::<GetExecBatchResults>(name, json),
            "get-batch-ok" => survives::<Result<Vec<CommandResult>, ActivityError>>(name, json),
            "stream-batch" => survives::<StreamExecBatchResults>(name, json),
            "get-running-command" => survives::<GetRunningCommand>(name, json),
            _ if name.starts_with("event-") => survives::<Result<RuntimeEvent, ActivityError>>(name, json),
            _ => continue,
        }
        seen += 1;
    }
    assert!(seen >= 27, "only {seen} vectors were looked at");
}

#[test]
fn captured_calls_and_events_are_understood() {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/exe/capture-exec.json"));
    let capture: Value = serde_json::from_str(text).unwrap();
    for call in capture["calls"].as_array().unwrap() {
        if call["message"] == "Exec" {
            serde_json::from_value::<Exec>(call["request"].clone()).unwrap();
        }
        if call["message"] == "GetExecBatchResults" {
            survives::<Result<Vec<CommandResult>, ActivityError>>("results", &call["reply"]);
        }
    }
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/exe/capture-stream.json"));
    let capture: Value = serde_json::from_str(text).unwrap();
    for part in capture["parts"].as_array().unwrap().iter().filter(|part| part.is_object()) {
        survives::<RuntimeEvent>("event", part);
    }
}

#[test]
fn scripts_of_known_clients_are_read_and_others_refused() {
    let reads = |json: Value| serde_json::from_value::<Command>(json);
    for good in [
        json!({"deploy": {}}),
        json!({"deploy": {"hostname": null, "volumes": ["/a"], "unknown": 1}}),
        json!({"start": {}}),
        json!({"run": {"entry_point": "x", "capture": null}}),
        json!({"terminate": {}}),
    ] {
        reads(good.clone()).unwrap_or_else(|e| panic!("{good}: {e}"));
    }
    for bad in [
        json!({"start": {"args": null}}),
        json!({"run": {"entryPoint": "x"}}),
        json!({"terminate": null}),
        json!("terminate"),
        json!({"dance": {}}),
        json!({"deploy": {"net": null}}),
        json!({"start": {}, "run": {"entry_point": "x"}}),
        json!({"deploy": {"volumes": {"/a": {"ram": {"size": "much"}}}}}),
        json!([]),
        json!(null),
    ] {
        assert!(reads(bad.clone()).is_err(), "{bad}");
    }
    let nested = json!({"run": {"entry_point": "x", "capture": {"stdout": {"atEnd": {"part": {"head": 3}}}}}});
    let Command::Run(run) = reads(nested).unwrap() else { panic!("not a run") };
    let part = Some(CapturePart::Head(3));
    assert_eq!(run.capture.unwrap().stdout, Some(CaptureMode::AtEnd(AtEnd { part, format: None })));
    let nested = json!({"transfer": {"from": "a", "to": "b", "args": {"format": "zip", "depth": 2}}});
    let Command::Transfer(transfer) = reads(nested).unwrap() else { panic!("not a transfer") };
    assert_eq!((transfer.format.as_deref(), transfer.depth), (Some("zip"), Some(2)));
}

#[test]
fn sizes_are_read_in_every_form() {
    for (text, bytes) in [
        ("123", 123),
        ("10g", 10_000_000_000),
        ("10gi", 10 << 30),
        ("10 GiB", 10 << 30),
        ("1.5GiB", 3 << 29),
        ("7000m", 7_000_000_000),
        (".5k", 500),
        ("0", 0),
    ] {
        assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
    }
    for bad in ["", "g", "-1", "1.2.3", "1e3", "99999999999999999999", "20000000 TiB", "１k"] {
        assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn any_text_as_a_script_does_no_harm(text in ".{0,200}") {
        drop(serde_json::from_str::<Vec<Command>>(&text));
        drop(text.parse::<ByteSize>());
    }

    #[test]
    fn a_size_survives_print_and_parse(bytes: u64) {
        prop_assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
    }
}
