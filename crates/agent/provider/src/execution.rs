//! Exe-units as child processes (spec 60 §8, 51 §2).
//!
//! Each running exe-unit has one task: started by [`Executor::spawn`] or, for one that outlived an earlier agent, by
//! [`Executor::attach`]. It ends when the process does, tells the agent, and stops the process when told to
//! ([`Executor::stop`]): SIGTERM, a while, SIGKILL. A process is never stopped because the agent ends.

mod environment;
mod process;
mod supervisor;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use golem_api_client::Client;
use golem_model::market::{Agreement, AgreementId};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::agent::Message;
use crate::config;
use crate::config::descriptor::Descriptor;
use crate::deal::{CloseState, Input};

pub(crate) use supervisor::{offer_template, self_test};

/// Folders below the data directory.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    pub(crate) work: PathBuf,
    pub(crate) cache: PathBuf,
}

impl Folders {
    pub(crate) fn of(data_dir: &Path) -> Self {
        let root = data_dir.join("exe-unit");
        Self { work: root.join("work"), cache: root.join("cache") }
    }

    pub(crate) fn create(&self) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.work)?;
        std::fs::create_dir_all(self.cache.join("tmp"))
    }

    pub(crate) fn agreement(&self, agreement: AgreementId) -> PathBuf {
        self.work.join(agreement.as_str())
    }

    pub(crate) fn agreement_file(&self, agreement: AgreementId) -> PathBuf {
        self.agreement(agreement).join("agreement.json")
    }

    /// Activity ids come from the daemon, but a folder is made of them: only plain ones.
    pub(crate) fn activity(&self, agreement: AgreementId, activity: &str) -> Option<PathBuf> {
        let plain = !activity.is_empty()
            && activity.len() <= 128
            && activity.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        plain.then(|| self.agreement(agreement).join(activity))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct ExecutorConfig {
    pub(crate) folders: Folders,
    /// Time between SIGTERM and SIGKILL.
    pub(crate) termination_timeout: Duration,
    /// Pause after an activity's end could not be reported.
    pub(crate) state_retry: Duration,
    pub(crate) cleanup_activity: bool,
    pub(crate) cleanup_agreement: bool,
}

#[derive(Debug)]
pub(crate) struct Executor {
    client: Client,
    config: ExecutorConfig,
    inbox: mpsc::Sender<Message>,
    tasks: TaskTracker,
    running: HashMap<String, CancellationToken>,
}

/// Which exe-unit a task looks after.
#[derive(Clone, Debug)]
struct Unit {
    agreement: AgreementId,
    activity: String,
}

impl Executor {
    pub(crate) fn new(
        client: Client,
        config: ExecutorConfig,
        inbox: mpsc::Sender<Message>,
        tasks: TaskTracker,
    ) -> Self {
        Self { client, config, inbox, tasks, running: HashMap::new() }
    }

    pub(crate) fn config(&self) -> &ExecutorConfig {
        &self.config
    }

    pub(crate) fn spawn(
        &mut self,
        agreement: AgreementId,
        activity: String,
        descriptor: Option<Descriptor>,
        requestor_pub_key: Option<String>,
    ) {
        let stop = CancellationToken::new();
        self.running.insert(activity.clone(), stop.clone());
        let (client, config, inbox) = (self.client.clone(), self.config.clone(), self.inbox.clone());
        let unit = Unit { agreement, activity };
        self.tasks.spawn(async move {
            let input = match process::run(&client, &config, &unit, descriptor, requestor_pub_key, stop).await {
                Ok(close) => Input::Exited { activity: unit.activity.clone(), close },
                Err(error) => {
                    warn!(activity = %unit.activity, error = format!("{error:#}"), "cannot start the exe-unit");
                    Input::SpawnFailed { activity: unit.activity.clone(), error: format!("{error:#}") }
                }
            };
            ended(&config, &unit, input, &inbox).await;
        });
    }

    /// Looks after an exe-unit that an earlier agent has started, if it still runs.
    pub(crate) fn attach(&mut self, agreement: AgreementId, activity: String, stop_it: bool) {
        let stop = CancellationToken::new();
        if stop_it {
            stop.cancel();
        }
        self.running.insert(activity.clone(), stop.clone());
        let (config, inbox) = (self.config.clone(), self.inbox.clone());
        let unit = Unit { agreement, activity };
        self.tasks.spawn(async move {
            let found = process::follow(&unit.activity, config.termination_timeout, stop).await;
            info!(activity = %unit.activity, found, "exe-unit of an earlier run has ended");
            let close = CloseState::lost(&unit.activity);
            ended(&config, &unit, Input::Exited { activity: unit.activity.clone(), close }, &inbox).await;
        });
    }

    pub(crate) fn stop(&self, activity: &str) {
        if let Some(stop) = self.running.get(activity) {
            stop.cancel();
        }
    }

    pub(crate) fn forget(&mut self, activity: &str) {
        self.running.remove(activity);
    }

    /// Tells the daemon that an activity is over, unless it knows (spec 60 §8.2).
    pub(crate) fn close_state(&self, agreement: AgreementId, close: CloseState) {
        /// Over an hour at the default pace.
        const TRIES_MAX: u32 = 400;
        let (client, pause, inbox) = (self.client.clone(), self.config.state_retry, self.inbox.clone());
        self.tasks.spawn(async move {
            for _ in 0..TRIES_MAX {
                match report_end(&client, &close).await {
                    Ok(()) => break,
                    Err(error) => warn!(activity = %close.activity, %error, "cannot report the end of the activity"),
                }
                tokio::select! {
                    () = inbox.closed() => return,
                    () = tokio::time::sleep(pause) => {}
                }
            }
            let input = Input::StateClosed { activity: close.activity };
            let _ = inbox.send(Message::Deal { agreement, input }).await;
        });
    }

    /// Removes the folder of an agreement that is over, if the operator wants that.
    pub(crate) fn clean_up(&self, agreement: AgreementId) {
        if self.config.cleanup_agreement {
            let folder = self.config.folders.agreement(agreement);
            self.tasks.spawn(async move { drop(tokio::fs::remove_dir_all(folder).await) });
        }
    }
}

async fn ended(config: &ExecutorConfig, unit: &Unit, input: Input, inbox: &mpsc::Sender<Message>) {
    let _ = inbox.send(Message::Deal { agreement: unit.agreement, input }).await;
    if config.cleanup_activity
        && let Some(folder) = config.folders.activity(unit.agreement, &unit.activity)
    {
        let _ = tokio::fs::remove_dir_all(folder).await;
    }
}

async fn report_end(client: &Client, close: &CloseState) -> Result<(), golem_api_client::RestError> {
    use golem_api_client::Class;
    let known = match client.activity_state(&close.activity).await {
        Ok(state) => !state.state.is_alive() && state.state.1.is_none(),
        Err(error) if error.class() == Class::Retry && error.status().is_none() => return Err(error),
        // The daemon cannot tell; setting the state settles it.
        Err(_) => false,
    };
    if known {
        return Ok(());
    }
    match client.set_activity_state(&close.activity, &close.state()).await {
        Err(error) if error.class() == Class::Retry => Err(error),
        // A daemon that does not know the activity has nothing to be told.
        Err(error) => {
            warn!(activity = %close.activity, %error, "the daemon refuses the end of the activity");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Writes `agreement.json` in the nested form that exe-units read (spec 60 §8.3).
pub(crate) fn write_agreement(folders: &Folders, agreement: &Agreement) -> anyhow::Result<()> {
    let mut body = serde_json::to_value(agreement)?;
    for side in ["demand", "offer"] {
        if let Some(properties) = body.pointer_mut(&format!("/{side}/properties")) {
            *properties = golem_properties::expand(properties)?;
        }
    }
    body.as_object_mut().into_iter().for_each(|body| drop(body.insert("state".to_owned(), Value::from("Approved"))));
    config::save(&folders.agreement_file(agreement.agreement_id), &body)?;
    Ok(())
}
