//! `run` and `self-test`: the agent put together.
//!
//! One task prepares offers and prepares them again when settings change; the actor ([`crate::agent`]) does the rest.
//! SIGINT and SIGTERM end it in order, a second one at once; SIGHUP leaves agreements as they are for the next start.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::TimeDelta;
use golem_api_client::{Class, Client, Endpoints, Me, RestError};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use crate::agent::{Agent, Ending, Handle, Setup, Timing, Wanted};
use crate::cli::{Global, RunArgs, print};
use crate::clock::Clock;
use crate::config::descriptor::{self, Descriptor};
use crate::config::globals::{DEFAULT_SUBNET, Globals};
use crate::config::hardware::{Caps, Profiles};
use crate::config::machine;
use crate::config::preset::{Preset, Presets};
use crate::deal::Manners;
use crate::execution::{ExecutorConfig, Folders, offer_template, self_test as test_runtime};
use crate::journal::Journal;
use crate::lock::Lock;
use crate::negotiation::{Policy, Range};
use crate::offer::{self, Node};
use crate::watch::{Watch, stamps};
use crate::{log, platform};

/// The daemon may start at the same time as the agent.
const DAEMON_AWAITED_FOR: Duration = Duration::from_secs(60);
const DAEMON_ASKED_EVERY: Duration = Duration::from_millis(100);

pub(crate) fn run(global: &Global, args: RunArgs) -> anyhow::Result<()> {
    log::init(&global.log_dir()?, args.debug);
    runtime()?.block_on(work(global, args))
}

pub(crate) fn self_test(global: &Global, _args: &RunArgs) -> anyhow::Result<()> {
    let (descriptors, folders) = (global.descriptors()?, Folders::of(&global.data_dir()?));
    folders.create().context("cannot create the folders of exe-units")?;
    runtime()?.block_on(async {
        let mut broken = Vec::new();
        for descriptor in &descriptors {
            match test_runtime(descriptor, &folders.work).await {
                Ok(()) => print(format_args!("{} {}: ok", descriptor.name, descriptor.version)),
                Err(error) => {
                    print(format_args!("{} {}: {:#}", descriptor.name, descriptor.version, anyhow::Error::new(error)));
                    broken.push(descriptor.name.clone());
                }
            }
        }
        if broken.is_empty() { Ok(()) } else { bail!("these runtimes do not work: {}", broken.join(", ")) }
    })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the async runtime")
}

async fn work(global: &Global, args: RunArgs) -> anyhow::Result<()> {
    let data_dir = global.data_dir()?;
    let _lock = Lock::take(&data_dir)?;
    let mut globals = Globals::load(&data_dir)?;
    globals.update(args.node.globals());
    globals.save(&data_dir)?;
    let folders = Folders::of(&data_dir);
    folders.create().context("cannot create the folders of exe-units")?;
    let descriptors = global.descriptors()?;
    let platforms =
        args.node.payment_network.iter().map(|text| platform::parse(text)).collect::<Result<Vec<_>, _>>()?;

    let client = Client::new(endpoints(&args), args.app_key.clone())?;
    let me = await_daemon(&client).await?;
    let is_public = client.net_status().await.is_ok_and(|status| status.public_ip.is_some());
    let node = Node {
        name: globals.node_name.clone(),
        subnet: globals.subnet.clone().unwrap_or_else(|| DEFAULT_SUBNET.to_owned()),
        is_public,
        account: globals.account.unwrap_or(me.identity),
        platforms,
    };
    info!(node = %me.identity, account = %node.account, subnet = %node.subnet, data_dir = %data_dir.display(), "starting");

    let policy = policy(&args)?;
    let name = args.node.node_name.as_deref().unwrap_or("ya-provider");
    let shop = Shop {
        data_dir: data_dir.clone(),
        folders: folders.clone(),
        caps: global.caps(),
        descriptors: descriptors.clone(),
        node: node.clone(),
        policy: policy.clone(),
    };
    let agent = Agent::new(Setup {
        client,
        journal: Journal::open(&data_dir)?,
        clock: Clock,
        node,
        policy,
        manners: Manners {
            idle: delta(args.idle_agreement_timeout),
            invoice_retry: delta(args.invoice_reissue_interval),
        },
        timing: timing(&args),
        descriptors,
        executor: ExecutorConfig {
            folders,
            termination_timeout: args.process_termination_timeout,
            state_retry: args.exeunit_state_retry_interval,
            cleanup_activity: args.auto_cleanup_activity,
            cleanup_agreement: args.auto_cleanup_agreement,
        },
        session: format!("{name}-{}", std::process::id()),
    })
    .await?;
    let handle = agent.handle();
    tokio::select! {
        outcome = agent.work() => Ok(outcome?),
        error = shop.keep(&handle) => Err(error),
        error = signals(&handle) => Err(error),
    }
}

fn endpoints(args: &RunArgs) -> Endpoints {
    Endpoints {
        api: Some(args.api_url.clone()),
        market: args.market_url.clone(),
        activity: args.activity_url.clone(),
        payment: args.payment_url.clone(),
        net: args.net_url.clone(),
        identity: args.identity_url.clone(),
    }
}

/// Asks the daemon who we are, until it answers.
async fn await_daemon(client: &Client) -> anyhow::Result<Me> {
    let started = tokio::time::Instant::now();
    let mut told = false;
    loop {
        let error = match client.me().await {
            Ok(me) => return Ok(me),
            Err(error) => error,
        };
        match error.class() {
            Class::Key => {
                let hint = "hint: `--app-key` (or YAGNA_APPKEY) must be a key of this daemon: `yagna app-key list`";
                return Err(
                    anyhow::Error::new(error).context(format!("the daemon does not accept the app key\n{hint}"))
                );
            }
            Class::Retry if started.elapsed() < DAEMON_AWAITED_FOR => {}
            _ => return Err(unreachable(error)),
        }
        if !told {
            info!(%error, "waiting for the daemon");
            told = true;
        }
        tokio::time::sleep(DAEMON_ASKED_EVERY).await;
    }
}

fn unreachable(error: RestError) -> anyhow::Error {
    let hint = "hint: start it with `yagna service run`, or name it by `--api-url` (or YAGNA_API_URL)";
    anyhow::Error::new(error).context(format!("no daemon answers\n{hint}"))
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::days(365 * 100))
}

fn timing(args: &RunArgs) -> Timing {
    Timing {
        negotiation_poll: args.negotiation_events_interval,
        agreement_poll: args.agreement_events_interval,
        activity_poll: args.process_market_events_timeout,
        payment_poll: args.payment_events_timeout,
        payment_pause: args.payment_events_pause,
        approve: args.agreement_approve_timeout,
        ..Timing::default()
    }
}

fn policy(args: &RunArgs) -> anyhow::Result<Policy> {
    let seconds = |what: &str, duration: Duration| {
        u32::try_from(duration.as_secs()).with_context(|| format!("`{what}` is longer than 136 years"))
    };
    let range = |what: &str, min, max, own| -> anyhow::Result<Range> {
        Ok(Range { min: seconds(what, min)?, max: seconds(what, max)?, own: seconds(what, own)? })
    };
    Ok(Policy {
        required_fields: args.required_fields.clone(),
        agreements_max: usize::try_from(args.max_simultaneous_agreements.max(1))?,
        expiration_min: delta(args.min_agreement_expiration),
        expiration_max: delta(args.max_agreement_expiration),
        expiration_max_without_deadline: delta(args.max_agreement_expiration_without_deadline),
        accept_timeout: seconds("--debit-note-acceptance-deadline", args.debit_note_acceptance_deadline)?,
        debit_note_interval: range(
            "--debit-note-interval",
            args.min_debit_note_interval,
            args.max_debit_note_interval,
            args.debit_note_interval,
        )?,
        payment_timeout: range(
            "--payment-timeout",
            args.min_payment_timeout,
            args.max_payment_timeout,
            args.payment_timeout,
        )?,
        payment_timeout_required: delta(args.payment_timeout_required_duration),
        accept_all: args.negotiator_type != "Composite",
    })
}

/// Ends the agent when the operator says so; stays after that.
async fn signals(handle: &Handle) -> anyhow::Error {
    let watch = |kind| signal(kind).context("cannot watch signals");
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) =
        (watch(SignalKind::interrupt()), watch(SignalKind::terminate()), watch(SignalKind::hangup()))
    else {
        return anyhow::anyhow!("cannot watch signals");
    };
    loop {
        let ending = tokio::select! {
            _ = interrupt.recv() => Ending::Farewell,
            _ = terminate.recv() => Ending::Farewell,
            _ = hangup.recv() => Ending::Detach,
        };
        info!(?ending, "told to stop");
        handle.end(ending).await;
    }
}

/// What offers are made of.
struct Shop {
    data_dir: PathBuf,
    folders: Folders,
    caps: Caps,
    descriptors: Vec<Descriptor>,
    node: Node,
    policy: Policy,
}

impl Shop {
    /// Offers what is to be offered, again after each change of the settings. Ends only by an error.
    async fn keep(&self, handle: &Handle) -> anyhow::Error {
        let watch = Watch::on(&self.data_dir);
        let mut seen = stamps(&self.data_dir);
        match self.offers().await {
            Ok(offers) if offers.is_empty() => {
                return anyhow::anyhow!(
                    "nothing can be offered\nhint: `ya-provider preset list` and `ya-provider exe-unit list` show why"
                );
            }
            Ok(offers) => handle.offer(offers).await,
            Err(error) => return error,
        }
        // The first start writes the files.
        if seen.is_empty() {
            seen = stamps(&self.data_dir);
        }
        let watch = match watch {
            Ok(watch) => watch,
            Err(error) => {
                warn!(%error, "changed settings will be seen only after a restart");
                return std::future::pending().await;
            }
        };
        loop {
            if let Err(error) = watch.changed().await {
                warn!(%error, "changed settings will be seen only after a restart");
                return std::future::pending().await;
            }
            let now = stamps(&self.data_dir);
            if now == seen {
                continue;
            }
            seen = now;
            match self.offers().await {
                Ok(offers) => {
                    info!(offers = offers.len(), "settings changed");
                    handle.offer(offers).await;
                }
                Err(error) => error!("settings changed, but the offers stay as they are: {error:#}"),
            }
        }
    }

    /// The offers of all active presets. A runtime that does not work takes only its own presets away.
    async fn offers(&self) -> anyhow::Result<Vec<Wanted>> {
        let machine = machine::detect(&self.data_dir);
        let profiles = Profiles::load_or_create(&self.data_dir, &machine)?;
        let agreements = u32::try_from(self.policy.agreements_max).unwrap_or(u32::MAX);
        let resources = profiles.offered(&machine, self.caps)?.share(agreements);
        let presets = load_presets(&self.data_dir)?;
        let mut wanted = Vec::new();
        for preset in presets.offered() {
            match self.offer(preset, &machine, resources).await {
                Ok(offer) => wanted.push(Wanted { preset: preset.name.clone(), offer }),
                Err(error) => error!(preset = %preset.name, "preset is not offered: {error:#}"),
            }
        }
        Ok(wanted)
    }

    async fn offer(
        &self,
        preset: &Preset,
        machine: &crate::config::hardware::Machine,
        resources: crate::config::hardware::Resources,
    ) -> anyhow::Result<offer::Draft> {
        preset.check()?;
        let descriptor = descriptor::by_name(&self.descriptors, &preset.exe_unit_name)
            .with_context(|| format!("no runtime `{}` is installed", preset.exe_unit_name))?;
        descriptor.check()?;
        let (tested, template) =
            tokio::join!(test_runtime(descriptor, &self.folders.work), offer_template(descriptor, &self.folders.work));
        tested?;
        Ok(offer::build(&self.node, machine, resources, descriptor, &template?, preset, &self.policy)?)
    }
}

/// The presets of the folder; those of a fresh installation are written.
fn load_presets(data_dir: &Path) -> anyhow::Result<Presets> {
    let presets = Presets::load(data_dir)?;
    if !data_dir.join(crate::config::preset::FILE).exists() {
        presets.save(data_dir)?;
    }
    Ok(presets)
}
