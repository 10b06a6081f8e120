//! Transfers against a web server and against files published on a bus (spec 53 §8).
#![expect(clippy::unwrap_used, reason = "test code")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get};
use golem_bus::{Bus, RawReply, RawRequest, RawService};
use golem_model::exe_unit::{CommandProgress, ProgressArgs};
use golem_model::{NodeId, gftp as messages, identity};
use golem_runtime_api::deploy::ContainerVolume;
use golem_runtime_transfer::gftp::Publisher;
use golem_runtime_transfer::{Location, Options, Plain, Progress, TransferError, Transfers, Volumes, images};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

/// A bus whose only node talks to itself through the net's addresses.
fn bus() -> (Bus, NodeId) {
    let (bus, node) = (Bus::new(), NodeId::from([0x11; 20]));
    bus.bind(identity::ADDRESS, move |_, _: identity::Get| async move {
        let info =
            identity::IdentityInfo { alias: None, node_id: node, is_locked: false, is_default: true, deleted: false };
        Ok(Some(info))
    });
    struct Net(Bus, String);
    impl RawService for Net {
        fn call(&self, request: RawRequest) -> RawReply {
            let address = request.address.replacen(&self.1, "/public", 1);
            self.0.call_raw(RawRequest { address, ..request })
        }
    }
    for channel in ["", "/transfer"] {
        let prefix = format!("{channel}/net/{node}");
        bus.bind_raw(&prefix.clone(), Arc::new(Net(bus.clone(), prefix)));
    }
    (bus, node)
}

struct Setup {
    dir: tempfile::TempDir,
    transfers: Transfers,
    bus: Bus,
}

impl Setup {
    fn new() -> Self {
        Transfers::install_tls();
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("v")).unwrap();
        let volumes = Volumes::new(dir.path());
        volumes.replace(vec![ContainerVolume { name: "v".into(), path: "/v".into() }]);
        let (bus, _) = bus();
        let transfers = Transfers::new(volumes, Some(bus.clone())).unwrap();
        Self { dir, transfers, bus }
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("v").join(name)
    }

    async fn transfer(&self, from: &str, to: &str) -> Result<(), TransferError> {
        self.transfer_with(from, to, Options::default()).await
    }

    async fn transfer_with(&self, from: &str, to: &str, options: Options) -> Result<(), TransferError> {
        let (from, to) = (Location::parse(from, Plain::Container)?, Location::parse(to, Plain::Container)?);
        self.transfers.transfer(&from, &to, options, &CancellationToken::new()).await
    }
}

#[derive(Clone, Default)]
struct Web {
    stored: Arc<std::sync::Mutex<Vec<u8>>>,
    attempts: Arc<AtomicUsize>,
}

async fn web() -> (String, Web) {
    let web = Web::default();
    let router = Router::new()
        .route("/hello", get(|| async { "hello" }))
        .route("/moved", get(|| async { Redirect::temporary("hello") }))
        .route("/loop", get(|| async { Redirect::temporary("/loop") }))
        .route("/flaky", get(flaky))
        .route("/store", any(store))
        .with_state(web.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    #[expect(clippy::disallowed_methods, reason = "ends with the test")]
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, web)
}

async fn flaky(State(web): State<Web>) -> Response {
    if web.attempts.fetch_add(1, Ordering::SeqCst) == 0 {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    "at last".into_response()
}

/// Breaks off in the middle, and goes on where it is asked to.
async fn breaking_web() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    #[expect(clippy::disallowed_methods, reason = "ends with the test")]
    tokio::spawn(async move {
        for (range, answer) in [
            ("", "HTTP/1.1 200 OK\r\naccept-ranges: bytes\r\ncontent-length: 12\r\n\r\nfirst "),
            ("bytes=6-", "HTTP/1.1 206 Partial Content\r\ncontent-length: 6\r\n\r\nsecond"),
        ] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            assert!(String::from_utf8(request).unwrap().contains(range));
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    url
}

async fn store(State(web): State<Web>, body: Bytes) {
    *web.stored.lock().unwrap() = body.to_vec();
}

#[tokio::test]
async fn files_come_from_and_go_to_web_servers() {
    let (setup, (url, web)) = (Setup::new(), web().await);
    setup.transfer(&format!("{url}/hello"), "/v/a/b").await.unwrap();
    assert_eq!(std::fs::read(setup.file("a/b")).unwrap(), b"hello");
    setup.transfer(&format!("{url}/moved"), "container:/v/moved").await.unwrap();
    assert_eq!(std::fs::read(setup.file("moved")).unwrap(), b"hello");
    setup.transfer("container:/v/a/b", &format!("{url}/store")).await.unwrap();
    assert_eq!(*web.stored.lock().unwrap(), b"hello");

    let sha3_256 = "3338be694f50c5f338814986cdf0686453a888b84f424d792af4b9202398f392";
    setup.transfer(&format!("hash:sha3:{sha3_256}:{url}/hello"), "/v/checked").await.unwrap();
    let wrong = sha3_256.replace('3', "4");
    let error = setup.transfer(&format!("hash:sha3:{wrong}:{url}/hello"), "/v/wrong").await.unwrap_err();
    assert!(error.to_string().contains(sha3_256) && error.to_string().contains(&wrong), "{error}");

    let error = setup.transfer(&format!("{url}/nothing"), "/v/nothing").await.unwrap_err();
    assert!(error.to_string().starts_with("HTTP error: 404"), "{error}");
    let error = setup.transfer(&format!("{url}/loop"), "/v/loop").await.unwrap_err();
    assert!(error.to_string().starts_with("HTTP error: "), "{error}");
    let error = setup.transfer("http://127.0.0.1:1/x", "/v/refused").await.unwrap_err();
    assert!(error.to_string().contains("refused") && !error.is_retriable(), "{error}");
    for (from, to) in [("/v/a", "/v/x"), ("/v/none", "/v/x"), ("/nowhere/x", "/v/x"), ("/v/a/b", "/v/a")] {
        assert!(setup.transfer(from, to).await.unwrap_err().to_string().starts_with("IO error: "), "{from}");
    }
}

#[tokio::test]
async fn servers_get_a_second_chance_and_downloads_go_on_where_they_stopped() {
    let flaky = format!("{}/flaky", web().await.0);
    let breaking = breaking_web().await;
    for (url, content, told) in [(flaky, "at last", "503"), (breaking, "first second", "Retry in 2s")] {
        let setup = Setup::new();
        let events = Arc::new(std::sync::Mutex::new(Vec::<CommandProgress>::new()));
        let seen = Arc::clone(&events);
        let progress = Progress::new(&ProgressArgs::default(), move |event| seen.lock().unwrap().push(event));
        let options = Options { progress, ..Options::default() };
        setup.transfer_with(&url, "/v/x", options).await.unwrap();
        assert_eq!(std::fs::read_to_string(setup.file("x")).unwrap(), content);
        let events = events.lock().unwrap();
        assert!(events.iter().any(|e| e.message.as_ref().is_some_and(|text| text.contains(told))), "{events:?}");
        let last = events.last().unwrap();
        let len = u64::try_from(content.len()).unwrap();
        assert_eq!((last.step, last.progress), ((1, 1), (len, Some(len))));
    }
}

async fn published(setup: &Setup, content: &[u8]) -> String {
    let path = setup.dir.path().join(format!("published-{}", content.len()));
    std::fs::write(&path, content).unwrap();
    Publisher::new(setup.bus.clone()).await.unwrap().publish(&path).await.unwrap()
}

#[tokio::test]
async fn files_come_from_and_go_to_other_nodes() {
    let setup = Setup::new();
    let publisher = Publisher::new(setup.bus.clone()).await.unwrap();
    for len in [0, 1, 40_960, 40_961, 3_000_000] {
        let content: Vec<u8> = (0..len).map(|i: u32| i.to_le_bytes()[i as usize % 3]).collect();
        let url = published(&setup, &content).await;
        setup.transfer(&url, "/v/got").await.unwrap();
        assert!(std::fs::read(setup.file("got")).unwrap() == content, "{len}");
        let target = setup.dir.path().join("received/file");
        let slot = publisher.receive(&target).await.unwrap();
        assert_eq!(slot.rsplit('/').next().unwrap().len(), 65);
        setup.transfer("/v/got", &slot).await.unwrap();
        assert!(std::fs::read(&target).unwrap() == content, "{len}");
    }
}

#[tokio::test]
async fn a_slot_that_keeps_the_order_of_arrival_gets_one_piece_at_a_time() {
    let setup = Setup::new();
    let service = messages::address("golem-js-slot");
    let got = Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = Arc::clone(&got);
    setup.bus.bind(&service, move |_, call: messages::UploadChunk| {
        sink.lock().unwrap().extend(call.chunk.content);
        async { Ok(()) }
    });
    setup.bus.bind(&service, |_, call: messages::UploadFinished| async move {
        if call.hash.is_some_and(|hash| hash.len() == 64) { Ok(()) } else { Err(messages::GftpError::IntegrityError) }
    });
    let content: Vec<u8> = (0..2_000_000u32).map(|i| i.to_le_bytes()[1]).collect();
    std::fs::write(setup.file("big"), &content).unwrap();
    setup.transfer("/v/big", "gftp://0x1111111111111111111111111111111111111111/golem-js-slot").await.unwrap();
    assert!(*got.lock().unwrap() == content);
}

#[tokio::test]
async fn what_is_not_its_name_or_lies_about_its_length_is_refused() {
    let setup = Setup::new();
    let name = "ab".repeat(32);
    let url = format!("gftp://0x1111111111111111111111111111111111111111/{name}");
    let service = messages::address(&name);
    setup.bus.bind(&service, |_, messages::GetMetadata| async { Ok(messages::Metadata { file_size: 3 }) });
    setup.bus.bind(&service, |_, call: messages::GetChunk| async move {
        Ok(messages::Chunk { offset: call.offset, content: b"abc".to_vec() })
    });
    let error = setup.transfer(&url, "/v/x").await.unwrap_err();
    assert!(matches!(error, TransferError::Mismatch { .. }), "{error}");
    for (offset, len) in [(1, 3), (0, 2), (0, 4), (0, 0)] {
        setup.bus.bind(&service, move |_, _: messages::GetChunk| async move {
            Ok(messages::Chunk { offset, content: vec![0; len] })
        });
        let error = setup.transfer(&url, "/v/x").await.unwrap_err();
        assert!(matches!(error, TransferError::Gftp(_)), "{error}");
    }
}

#[tokio::test]
async fn published_files_are_counted_and_reads_bounded() {
    let setup = Setup::new();
    let path = setup.dir.path().join("twice");
    std::fs::write(&path, vec![7; 3 << 20]).unwrap();
    let publisher = Publisher::new(setup.bus.clone()).await.unwrap();
    let url = publisher.publish(&path).await.unwrap();
    assert_eq!(publisher.publish(&path).await.unwrap(), url);
    let service = messages::address(url.rsplit('/').next().unwrap());
    let ask = |offset, size| {
        let (bus, service) = (setup.bus.clone(), service.clone());
        async move {
            bus.call(
                &service,
                golem_model::Caller::local(),
                messages::GetChunk { offset, size },
                std::time::Duration::from_secs(5),
            )
            .await
        }
    };
    assert_eq!(ask(0, u64::MAX).await.unwrap().content.len(), 1 << 20);
    assert_eq!(ask((3 << 20) - 1, 10).await.unwrap().content.len(), 1);
    assert_eq!(ask(3 << 20, 10).await.unwrap().content.len(), 0);
    assert!(matches!(ask(u64::MAX, 1).await.unwrap_err().service(), Some(messages::GftpError::ReadError(_))));
    assert!(publisher.close(&url));
    assert!(ask(0, 1).await.is_ok(), "the other publication stays");
    assert!(publisher.close(&url));
    assert!(ask(0, 1).await.is_err());
    assert!(!publisher.close(&url) && !publisher.close("rubbish"));
    assert!(
        publisher
            .publish(Path::new("/nonexistent"))
            .await
            .unwrap_err()
            .to_string()
            .starts_with("Can't open file /nonexistent.: No such")
    );
}

#[tokio::test]
async fn images_are_fetched_once_and_checked() {
    let (setup, (url, _)) = (Setup::new(), web().await);
    let cache = setup.dir.path().join("cache");
    let digest = "a87f88c72702fff1748e58b87e9141a42c0dbedc29a78cb0d4a5cd81";
    let location = |text: String| Location::parse(&text, Plain::File).unwrap();
    let wrong = location(format!("hash:sha3:{digest}:{url}/hello"));
    let error = images::fetch(&setup.transfers, &cache, &wrong, &Progress::silent()).await.unwrap_err();
    assert!(matches!(error, TransferError::Mismatch { .. }), "{error}");
    assert!(std::fs::read_dir(&cache).unwrap().all(|entry| entry.unwrap().file_name() == "tmp"), "nothing bad is kept");

    let sha3_256 = "3338be694f50c5f338814986cdf0686453a888b84f424d792af4b9202398f392";
    let image = location(format!("hash:sha3:{sha3_256}:{url}/hello"));
    let silent = Progress::silent();
    let fetch = || images::fetch(&setup.transfers, &cache, &image, &silent);
    let (first, second) = tokio::join!(fetch(), fetch());
    let path = cache.join(format!("hello_{sha3_256}"));
    assert_eq!((first.unwrap(), second.unwrap()), (path.clone(), path));
    let no_hash = location(format!("{url}/hello"));
    let error = images::fetch(&setup.transfers, &cache, &no_hash, &Progress::silent()).await.unwrap_err();
    assert_eq!(error.to_string(), "Invalid url: Missing hash");
}

#[tokio::test]
async fn a_transfer_stops_when_told() {
    let setup = Setup::new();
    let stop = CancellationToken::new();
    stop.cancel();
    let parse = |text| Location::parse(text, Plain::Container).unwrap();
    let stopped = setup.transfers.transfer(&parse("/v/a"), &parse("/v/b"), Options::default(), &stop).await;
    assert_eq!(stopped.unwrap_err().to_string(), "IO error: operation interrupted");
}
