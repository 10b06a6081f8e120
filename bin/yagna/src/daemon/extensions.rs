//! Extensions that run beside the daemon (spec 22 §11): one task each, started again after a failure.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use golem_bus::BusUrl;
use golem_service::Context;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tracing::{info, warn};

use super::Config;
use crate::extension::{self, Extension};

/// Pause before an extension that failed is started again.
const AGAIN_AFTER: Duration = Duration::from_secs(3);

pub(crate) fn start(ctx: &Context, config: &Config, identity: &golem_identity::Handle, rest: SocketAddr, gsb: &BusUrl) {
    if !config.extensions {
        return;
    }
    let mut environment = vec![
        ("YAGNA_NODE_ID", identity.default_id().to_string()),
        ("YAGNA_API_URL", format!("http://{rest}")),
        ("YAGNA_GSB_URL", gsb.to_string()),
        ("YAGNA_DATA_DIR", config.data_dir.display().to_string()),
    ];
    environment.extend(identity.first_app_key().map(|key| ("YAGNA_APP_KEY", key)));
    for (_, found) in extension::all(Some(&config.data_dir)) {
        if found.conf.autostart {
            let (environment, ctx) = (environment.clone(), ctx.clone());
            ctx.tasks.clone().spawn(async move {
                let stop = ctx.stop.clone();
                stop.run_until_cancelled_owned(keep(found, environment, ctx)).await;
            });
        }
    }
}

async fn keep(extension: Extension, environment: Vec<(&'static str, String)>, ctx: Context) {
    loop {
        match once(&extension, &environment, &ctx).await {
            Ok(true) => break info!(extension = extension.name, "done"),
            Ok(false) => warn!(extension = extension.name, "failed, is started again"),
            Err(error) => warn!(extension = extension.name, %error, "cannot be started, is tried again"),
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

async fn once(extension: &Extension, environment: &[(&'static str, String)], ctx: &Context) -> std::io::Result<bool> {
    let mut child = Command::new(&extension.path)
        .args(&extension.conf.args)
        .envs(&extension.conf.env)
        .envs(environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(out) = child.stdout.take() {
        ctx.tasks.spawn(lines(extension.name.clone(), out));
    }
    if let Some(err) = child.stderr.take() {
        ctx.tasks.spawn(lines(extension.name.clone(), err));
    }
    Ok(child.wait().await?.success())
}

/// Ends with the child, because its end of the pipe closes.
async fn lines(name: String, pipe: impl AsyncRead + Unpin) {
    let mut lines = BufReader::new(pipe).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        info!("{name}: {line}");
    }
}
