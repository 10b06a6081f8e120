//! What the methods do.

use std::path::{Path, PathBuf};
use std::time::Duration;

use golem_bus::{Bus, BusError, BusUrl};
use golem_model::exe_unit::ProgressArgs;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tracing::info;

use super::VERSION;
use super::rpc::{Method, RpcError};
use crate::gftp::{Publisher, Remote};
use crate::{Location, Place, Plain, Progress, TransferError, Transfers, Volumes};

const BUS_NAME: &str = "gftp";
/// Time for answers that are on their way when the program ends.
const CLOSE_DEADLINE: Duration = Duration::from_millis(300);

/// Connects to the bus when a method first needs it.
pub(super) struct Worker {
    url: BusUrl,
    bus: OnceCell<Bus>,
    publisher: OnceCell<Publisher>,
}

impl Worker {
    pub(super) fn new(url: BusUrl) -> Self {
        Self { url, bus: OnceCell::new(), publisher: OnceCell::new() }
    }

    pub(super) async fn perform(&self, method: Method) -> Result<Value, RpcError> {
        match method {
            Method::Version => Ok(json!(VERSION)),
            // A server ends before it comes here.
            Method::Shutdown => Ok(json!("ok")),
            Method::Publish { files } => {
                let publisher = self.publisher().await?;
                let mut published = Vec::with_capacity(files.len());
                for file in files {
                    let url = publisher.publish(&file).await.map_err(|e| RpcError::failed(e.to_string()))?;
                    published.push(json!({"file": file, "url": url}));
                }
                Ok(Value::Array(published))
            }
            Method::Close { urls } => {
                let publisher = self.publisher().await?;
                Ok(urls.iter().map(|url| if publisher.close(url) { "ok" } else { "error" }).collect())
            }
            Method::Receive { output_file } => {
                let publisher = self.publisher().await?;
                let url = publisher.receive(&output_file).await.map_err(|e| RpcError::failed(e.to_string()))?;
                Ok(json!({"file": output_file, "url": url}))
            }
            Method::Download { url, output_file } => {
                self.download(&url, &output_file).await?;
                Ok(json!({"file": output_file, "url": url}))
            }
            Method::Upload { url, file } => {
                self.upload(&url, &file).await?;
                Ok(json!({"file": file, "url": url}))
            }
        }
    }

    async fn download(&self, url: &str, output: &Path) -> Result<(), RpcError> {
        let from = parse(url)?;
        let transfers = Transfers::new(Volumes::default(), Some(self.bus().await?)).map_err(failed)?;
        if let Some(parent) = output.parent() {
            std::fs::create_dir_all(parent).map_err(|error| cannot_open(output, &error))?;
        }
        let file = std::fs::File::create(output).map_err(|error| cannot_open(output, &error))?;
        let shown = output.to_owned();
        let progress = Progress::new(&ProgressArgs::default(), move |progress| {
            info!(file = %shown.display(), bytes = progress.progress.0, "downloading");
        });
        transfers.download(&from, file, &progress).await.map(drop).map_err(failed)
    }

    async fn upload(&self, url: &str, path: &Path) -> Result<(), RpcError> {
        let Place::Gftp { node, name } = parse(url)?.place else {
            return Err(failed(TransferError::Url(url.chars().take(200).collect())));
        };
        let file = tokio::fs::File::open(path).await.map_err(|error| cannot_open(path, &error))?;
        let remote = Remote::new(self.bus().await?, node, &name);
        remote.upload_file(file).await.map_err(failed)
    }

    async fn bus(&self) -> Result<Bus, RpcError> {
        let connect = || async { Bus::connect(&self.url, BUS_NAME).await };
        let bus = self.bus.get_or_try_init(connect).await;
        bus.cloned().map_err(|error| RpcError::failed(format!("GSB failure: {error}")))
    }

    async fn publisher(&self) -> Result<&Publisher, RpcError> {
        let bus = self.bus().await?;
        let publisher = self.publisher.get_or_try_init(|| Publisher::new(bus)).await;
        publisher.map_err(|error| RpcError::failed(error.to_string()))
    }

    pub(super) async fn close(&self) {
        if let Some(bus) = self.bus.get() {
            bus.close(CLOSE_DEADLINE).await;
        }
    }
}

fn parse(url: &str) -> Result<Location, RpcError> {
    Location::parse(url, Plain::File).map_err(failed)
}

fn cannot_open(path: &Path, error: &std::io::Error) -> RpcError {
    RpcError::failed(format!("Can't open file {}.: {error}", PathBuf::from(path).display()))
}

fn failed(error: TransferError) -> RpcError {
    RpcError::failed(match error {
        // Its text begins so already.
        TransferError::Bus(error @ BusError::Failure(_)) => error.to_string(),
        TransferError::Bus(error) => format!("GSB failure: {error}"),
        error => error.to_string(),
    })
}
