//! Short calls of a supervisor: its offer template and its self test (spec 60 §4, §5).

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

use super::environment;
use crate::config::descriptor::{Descriptor, DescriptorError};
use crate::offer::{OfferError, Template};

/// A self test may boot a virtual machine.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Part of its error text that is shown.
const ERROR_TEXT_MAX: usize = 1000;

/// Why a runtime cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SupervisorError {
    #[error(transparent)]
    Descriptor(#[from] DescriptorError),
    #[error("cannot run `{program} {verb}`")]
    Run { program: String, verb: &'static str, source: std::io::Error },
    #[error("`{program} {verb}` did not end within {CALL_TIMEOUT:?}")]
    Slow { program: String, verb: &'static str },
    #[error("`{program} {verb}` failed with {status}: {text}")]
    Failed { program: String, verb: &'static str, status: std::process::ExitStatus, text: String },
    #[error(transparent)]
    Template(#[from] OfferError),
}

/// Asks the exe-unit what it offers.
pub(crate) async fn offer_template(descriptor: &Descriptor, folder: &Path) -> Result<Template, SupervisorError> {
    let output = call(descriptor, "offer-template", folder).await?;
    Ok(Template::parse(&descriptor.name, &output.stdout)?)
}

/// Lets the exe-unit test its runtime. The WASM runtimes of old know no test.
pub(crate) async fn self_test(descriptor: &Descriptor, folder: &Path) -> Result<(), SupervisorError> {
    descriptor.check()?;
    let verb = if descriptor.name == "wasmtime" { "--help" } else { "test" };
    call(descriptor, verb, folder).await.map(drop)
}

async fn call(descriptor: &Descriptor, verb: &'static str, folder: &Path) -> Result<Output, SupervisorError> {
    let program = || descriptor.supervisor_path.display().to_string();
    let run = Command::new(&descriptor.supervisor_path)
        .args(descriptor.leading_args())
        .arg(verb)
        .current_dir(folder)
        .env_clear()
        .envs(environment::inherited())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(CALL_TIMEOUT, run)
        .await
        .map_err(|_| SupervisorError::Slow { program: program(), verb })?
        .map_err(|source| SupervisorError::Run { program: program(), verb, source })?;
    if output.status.success() {
        return Ok(output);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let skipped = text.chars().count().saturating_sub(ERROR_TEXT_MAX);
    let text = text.chars().skip(skipped).collect::<String>().trim().to_owned();
    Err(SupervisorError::Failed { program: program(), verb, status: output.status, text })
}
