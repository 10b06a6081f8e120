//! Options of `run` (spec 60 §1.3). Environment names are the option names unless something else stands there.

use std::time::Duration;

use clap::Args;
use golem_model::NodeId;

use crate::config::globals::Globals;

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct NodeArgs {
    /// Name of the node
    #[arg(long, env = "NODE_NAME")]
    pub(crate) node_name: Option<String>,
    /// Only demands of the same subnet are served
    #[arg(long, env = "SUBNET")]
    pub(crate) subnet: Option<String>,
    /// Address that payments go to [default: the identity of the app key]
    #[arg(long, env = "YA_ACCOUNT")]
    pub(crate) account: Option<NodeId>,
    /// Networks (or platforms `driver-network-token`) that payments are taken on
    #[arg(long, env = "YA_PAYMENT_NETWORK", num_args = 1.., value_delimiter = ',', default_value = "mainnet")]
    pub(crate) payment_network: Vec<String>,
}

impl NodeArgs {
    pub(crate) fn globals(&self) -> Globals {
        Globals { node_name: self.node_name.clone(), subnet: self.subnet.clone(), account: self.account }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it as `5s`, `2min` or `24h`"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "write a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Key of the daemon's REST interface
    #[arg(long, env = "YAGNA_APPKEY", hide_env_values = true)]
    pub(crate) app_key: String,
    /// Address of the daemon
    #[arg(long, env = "YAGNA_API_URL", default_value = golem_api_client::DEFAULT_API_URL)]
    pub(crate) api_url: String,
    #[arg(long, env = "YAGNA_MARKET_URL")]
    pub(crate) market_url: Option<String>,
    #[arg(long, env = "YAGNA_ACTIVITY_URL")]
    pub(crate) activity_url: Option<String>,
    #[arg(long, env = "YAGNA_PAYMENT_URL")]
    pub(crate) payment_url: Option<String>,
    #[arg(long, env = "YAGNA_NET_URL")]
    pub(crate) net_url: Option<String>,
    #[arg(long, env = "YAGNA_IDENTITY_URL")]
    pub(crate) identity_url: Option<String>,
    #[command(flatten)]
    pub(crate) node: NodeArgs,

    /// Time that an exe-unit has to end before it is killed
    #[arg(long, env, default_value = "5s", value_parser = duration)]
    pub(crate) process_termination_timeout: Duration,
    /// Pause after the end of an activity could not be reported
    #[arg(long, env, default_value = "10s", value_parser = duration)]
    pub(crate) exeunit_state_retry_interval: Duration,
    /// Remove the folder of an activity when it is over
    #[arg(long, env, default_value_t = false, action = clap::ArgAction::Set)]
    pub(crate) auto_cleanup_activity: bool,
    /// Remove the folder of an agreement when it is over
    #[arg(long, env, default_value_t = false, action = clap::ArgAction::Set)]
    pub(crate) auto_cleanup_agreement: bool,

    /// Seconds of one long poll for agreement events
    #[arg(long, env, default_value = "20.0", value_parser = seconds)]
    pub(crate) agreement_events_interval: Duration,
    /// Seconds of one long poll for proposals
    #[arg(long, env, default_value = "20.0", value_parser = seconds)]
    pub(crate) negotiation_events_interval: Duration,
    /// Seconds that an approval may take
    #[arg(long, env, default_value = "10.0", value_parser = seconds)]
    pub(crate) agreement_approve_timeout: Duration,
    /// `Composite`; anything else accepts every demand as it is
    #[arg(long, env, default_value = "Composite")]
    pub(crate) negotiator_type: String,
    /// JSON pointers that a demand must have
    #[arg(long, env, num_args = 1.., value_delimiter = ',', default_value = "/golem/com/payment/chosen-platform")]
    pub(crate) required_fields: Vec<String>,
    /// Agreements that are served at once; the offered hardware is divided among them
    #[arg(long, env, default_value_t = 1)]
    pub(crate) max_simultaneous_agreements: u32,
    #[arg(long, env, default_value = "5min", value_parser = duration)]
    pub(crate) min_agreement_expiration: Duration,
    #[arg(long, env, default_value = "100years", value_parser = duration)]
    pub(crate) max_agreement_expiration: Duration,
    #[arg(long, env, default_value = "30min", value_parser = duration)]
    pub(crate) max_agreement_expiration_without_deadline: Duration,
    /// Time that a requestor has to accept a debit note
    #[arg(long, env, default_value = "4min", value_parser = duration)]
    pub(crate) debit_note_acceptance_deadline: Duration,
    #[arg(long, env, default_value = "1s", value_parser = duration)]
    pub(crate) min_debit_note_interval: Duration,
    #[arg(long, env, default_value = "24h", value_parser = duration)]
    pub(crate) max_debit_note_interval: Duration,
    #[arg(long, env, default_value = "2min", value_parser = duration)]
    pub(crate) debit_note_interval: Duration,
    #[arg(long, env, default_value = "1s", value_parser = duration)]
    pub(crate) min_payment_timeout: Duration,
    #[arg(long, env, default_value = "24h", value_parser = duration)]
    pub(crate) max_payment_timeout: Duration,
    #[arg(long, env, default_value = "2min", value_parser = duration)]
    pub(crate) payment_timeout: Duration,
    /// Demands that run at least this long must pay in between
    #[arg(long, env, default_value = "10h", value_parser = duration)]
    pub(crate) payment_timeout_required_duration: Duration,

    /// Time of one long poll for activities
    #[arg(long, env, default_value = "20s", value_parser = duration)]
    pub(crate) process_market_events_timeout: Duration,
    /// Time of one long poll for payment events
    #[arg(env = "PAYMENT_EVENTS_TIMEOUT", default_value = "50s", value_parser = duration)]
    pub(crate) payment_events_timeout: Duration,
    /// Pause after an error of that poll
    #[arg(default_value = "5s", value_parser = duration)]
    pub(crate) payment_events_pause: Duration,
    /// Pause after an invoice could not be issued
    #[arg(long, env, default_value = "5s", value_parser = duration)]
    pub(crate) invoice_reissue_interval: Duration,
    /// An agreement without an activity ends after this long
    #[arg(long, env, default_value = "90s", value_parser = duration)]
    pub(crate) idle_agreement_timeout: Duration,
    /// Log more
    #[arg(long)]
    pub(crate) debug: bool,
}
