//! The activity on the bus (spec 51 §7). Only the requestor of the agreement may call; the net has proved who it is.

use std::time::Duration;

use futures::{StreamExt, stream};
use golem_bus::Bus;
use golem_model::exe_unit::{
    ActivityError, Exec, GetActivityState, GetActivityUsage, GetExecBatchResults, GetRunningCommand,
    StreamExecBatchResults, address,
};
use golem_model::{Caller, NodeId};
use tracing::warn;

use crate::Unit;

/// Longest wait for results; who wants to wait longer asks again.
const RESULTS_TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// Binds the address of the activity.
pub fn bind(bus: &Bus, unit: &Unit) {
    if unit.agreement().requestor.is_none() {
        warn!("the agreement file names no requestor, so anybody may give orders");
    }
    let service = address(unit.activity_id());
    let own = unit.clone();
    bus.bind(&service, move |caller, call: GetActivityState| {
        let answer = allowed(&own, &caller, &call.activity_id).map(|()| own.state());
        async { answer }
    });
    let own = unit.clone();
    bus.bind(&service, move |caller, call: GetActivityUsage| {
        let own = own.clone();
        async move {
            allowed(&own, &caller, &call.activity_id)?;
            Ok(own.usage().await)
        }
    });
    let own = unit.clone();
    bus.bind(&service, move |caller, call: Exec| {
        let answer = allowed(&own, &caller, &call.activity_id).and_then(|()| own.exec(&call.batch_id, call.exe_script));
        async { answer }
    });
    let own = unit.clone();
    bus.bind(&service, move |caller, call: GetExecBatchResults| {
        let own = own.clone();
        async move {
            allowed(&own, &caller, &call.activity_id)?;
            let not_found = || ActivityError::NotFound(format!("batch_id = {}", call.batch_id));
            let batch = own.batch(&call.batch_id).ok_or_else(not_found)?;
            batch.results(call.command_index, wait(call.timeout)).await
        }
    });
    let own = unit.clone();
    bus.bind(&service, move |caller, call: GetRunningCommand| {
        let answer = allowed(&own, &caller, &call.activity_id).and_then(|()| {
            let running = own.running();
            let none = || ActivityError::NotFound(format!("No running command within activity: {}", own.activity_id()));
            if running.is_empty() { Err(none()) } else { Ok(running) }
        });
        async { answer }
    });
    let own = unit.clone();
    bus.bind_stream(&service, move |caller, call: StreamExecBatchResults| {
        let batch = allowed(&own, &caller, &call.activity_id).and_then(|()| {
            let unknown = || ActivityError::BadRequest(format!("Unknown batch: {}", call.batch_id));
            own.batch(&call.batch_id).ok_or_else(unknown)
        });
        match batch {
            Ok(batch) => batch.events().map(Ok).left_stream(),
            Err(error) => stream::iter([Err(error)]).right_stream(),
        }
    });
}

/// An absent time means no wait at all.
fn wait(seconds: Option<f32>) -> Duration {
    let seconds = Duration::try_from_secs_f32(seconds.unwrap_or_default().max(0.0));
    seconds.map_or(RESULTS_TIMEOUT_MAX, |wait| wait.min(RESULTS_TIMEOUT_MAX))
}

fn allowed(unit: &Unit, caller: &Caller, activity_id: &str) -> Result<(), ActivityError> {
    let requestor = unit.agreement().requestor;
    // A program on this node is not the requestor, even if it names an identity.
    let caller_id: Option<NodeId> = caller.as_str().parse().ok();
    if !unit.any_caller() && requestor.is_some() && caller_id != requestor {
        return Err(ActivityError::Forbidden(format!("{caller} is not the requestor of this activity")));
    }
    if activity_id != unit.activity_id() {
        let shown: String = activity_id.chars().take(100).collect();
        return Err(ActivityError::Service(format!("Forbidden! Invalid activity id: {shown}")));
    }
    Ok(())
}
