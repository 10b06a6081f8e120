//! The commands.

use std::path::PathBuf;
use std::sync::Arc;

use golem_model::exe_unit::{Command, Deploy, State, StatePair, Transfer};
use golem_runtime_transfer::{Location, Options, Place, Plain, Progress, TransferError, images};

use super::{Turn, Unit};
use crate::batch::{Batch, CommandOutput};
use crate::runtime::Failure;

impl Unit {
    pub(super) async fn execute(
        &self,
        batch: &Arc<Batch>,
        index: usize,
        command: &Command,
        output: &CommandOutput,
    ) -> Result<(), Failure> {
        let turn = match command {
            Command::Sign(_) => {
                return Err(Failure::Text("signing not supported: binary built without the 'sgx' feature".into()));
            }
            Command::Terminate(_) => {
                self.terminate(&batch.id).await;
                return Ok(());
            }
            command => self.begin(command)?,
        };
        let progress = command.progress().map_or_else(Progress::silent, |args| {
            let batch = Arc::clone(batch);
            Progress::new(args, move |event| batch.progress(index, event))
        });
        let done = match command {
            Command::Deploy(deploy) => self.deploy(deploy, progress, output, batch).await,
            Command::Start(start) => self.0.runtime.start(&start.args, output, &batch.stop).await,
            Command::Run(run) => self.0.runtime.run(&run.entry_point, &run.args, output, &batch.stop).await,
            Command::Transfer(transfer) => self.transfer(transfer, progress, batch).await,
            Command::Sign(_) | Command::Terminate(_) => Ok(()),
        };
        self.finish(turn, done.is_ok());
        done
    }

    /// Gives the floor to a command, if the state allows it.
    fn begin(&self, command: &Command) -> Result<Turn, Failure> {
        let mut activity = self.lock();
        let StatePair(state, pending) = activity.pair;
        let refused = |text: String| Err(Failure::Text(format!("Local service error: State error: {text}")));
        if let Some(pending) = pending {
            return refused(format!("Busy: StatePair({}, Some({}))", state.name(), pending.name()));
        }
        // A deploy or start that fails leaves the state as it was, so that it may be tried again.
        let (then, otherwise) = match (state, command) {
            (State::Initialized, Command::Deploy(_)) => (State::Deployed, State::Initialized),
            (State::Deployed, Command::Start(_)) => (State::Ready, State::Deployed),
            (State::Ready, Command::Run(_) | Command::Transfer(_)) => (State::Ready, State::Ready),
            (State::Initialized, _) => {
                return refused("Activity is initialized - deploy() command is expected now".into());
            }
            (State::Deployed, _) => return refused("Activity is deployed - start() command is expected now".into()),
            (State::Ready, _) => return refused("Cannot send command after a successful start()".into()),
            (state, _) => return refused(format!("Activity is {}", state.name())),
        };
        let turn = Turn { life: activity.life, then, otherwise };
        self.change(&mut activity, StatePair(state, Some(then)), None);
        Ok(turn)
    }

    fn finish(&self, turn: Turn, ok: bool) {
        let mut activity = self.lock();
        if activity.life == turn.life {
            let state = if ok { turn.then } else { turn.otherwise };
            self.change(&mut activity, state.into(), None);
        }
    }

    async fn terminate(&self, own_batch: &str) {
        self.lock().life += 1;
        self.stop_work(Some(own_batch)).await;
        self.0.transfers.volumes.replace(Vec::new());
        let mut activity = self.lock();
        // Unless the whole activity ended meanwhile.
        if activity.pair.is_alive() {
            self.change(&mut activity, State::Initialized.into(), None);
        }
    }

    async fn deploy(
        &self,
        deploy: &Deploy,
        progress: Progress,
        output: &CommandOutput,
        batch: &Batch,
    ) -> Result<(), Failure> {
        if !deploy.net.is_empty() && self.agreement().capabilities.iter().any(|capability| capability == "vpn") {
            return Err(Failure::Text("Net error: this exe-unit has no virtual networks".into()));
        }
        let image = if self.0.options.runtime_managed_image { None } else { Some(self.image(&progress, batch).await?) };
        self.0.usage.set_image(image.clone());
        let volumes = deploy.volumes.as_ref().map(|volumes| serde_json::to_string(&volumes.mounts())).transpose();
        let volumes = volumes.map_err(|error| Failure::Text(format!("Deserialization failed: {error}")))?;
        let hostname = deploy.hostname.as_deref();
        let result = self.0.runtime.deploy(image, volumes.as_deref(), hostname, output, &batch.stop).await?;
        self.0.transfers.volumes.replace(result.vols);
        Ok(())
    }

    async fn image(&self, progress: &Progress, batch: &Batch) -> Result<PathBuf, Failure> {
        let package = self.agreement().task_package.as_deref();
        let package = package.ok_or_else(|| {
            Failure::Text("ExeScript command error: task package (image) path was not provided".into())
        })?;
        let location = Location::parse(package, Plain::File).map_err(transfer_error)?;
        let fetching = images::fetch(&self.0.transfers, &self.0.options.cache_dir, &location, progress);
        tokio::select! {
            biased;
            () = batch.stop.cancelled() => Err(Failure::interrupted()),
            image = fetching => image.map_err(transfer_error),
        }
    }

    async fn transfer(&self, transfer: &Transfer, progress: Progress, batch: &Batch) -> Result<(), Failure> {
        let from = Location::parse(&transfer.from, Plain::Container).map_err(transfer_error)?;
        let to = Location::parse(&transfer.to, Plain::Container).map_err(transfer_error)?;
        let format = transfer.format.clone();
        let archived = format.is_some() && [&from, &to].iter().any(|l| matches!(l.place, Place::Container(_)));
        let options = Options {
            format: format.filter(|_| archived),
            depth: transfer.depth,
            fileset: transfer.fileset.clone(),
            progress,
        };
        self.0.transfers.transfer(&from, &to, options, &batch.stop).await.map_err(transfer_error)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is a conversion")]
fn transfer_error(error: TransferError) -> Failure {
    Failure::Text(format!("Local service error: Transfer error: {error}"))
}
