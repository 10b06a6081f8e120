//! The services of a node: started in the order in which they need one another, mounted at their paths.

use std::net::SocketAddr;

use anyhow::Result;
use axum::Router;
use golem_api_rest::Health;
use golem_model::net::{self, NEW_NEIGHBOUR, SendBroadcastMessage};
use golem_model::payment::local::PaymentDriverStatus;
use golem_model::{Caller, payment};
use golem_net_node::StartError as NetError;
use golem_service::Context;
use tracing::error;

use super::Config;

/// A check of the health of this node waits no longer.
const CHECK_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) routes: Router,
    pub(crate) net_address: Option<SocketAddr>,
}

pub(crate) async fn start(
    ctx: &Context,
    config: &Config,
    identity: &golem_identity::Handle,
    health: &Health,
) -> Result<Services> {
    watch_identity(identity, health);
    let (net_routes, net_address) = start_net(ctx, config, health).await?;
    let payment = golem_payment_service::start(ctx.clone(), config.payment.clone()).await?;
    golem_payment_erc20::start(ctx.clone(), config.erc20.clone()).await?;
    watch_payment(ctx, health);
    let routes = Router::new()
        .nest("/net-api/v2/net", net_routes)
        .nest("/payment-api/v1", golem_payment_service::routes(payment));
    Ok(Services { routes, net_address })
}

/// Tells other nodes that this one is here, so that they send what they know.
pub(crate) fn greet(ctx: &Context, identity: &golem_identity::Handle) {
    let greeting = SendBroadcastMessage::new(NEW_NEIGHBOUR, ());
    ctx.bus.push(net::ADDRESS, Caller::from(identity.default_id()), greeting);
}

/// A node whose relay is not found goes on without other nodes and says so.
async fn start_net(ctx: &Context, config: &Config, health: &Health) -> Result<(Router, Option<SocketAddr>)> {
    match golem_net_node::start(ctx.clone(), config.net.clone()).await {
        Ok(net) => {
            let watched = net.clone();
            health.register("net", move || {
                let net = watched.clone();
                async move {
                    match net.is_relay_up().await {
                        Ok(true) => Ok(()),
                        Ok(false) => Err("no session with the relay".to_owned()),
                        Err(stopped) => Err(stopped.to_string()),
                    }
                }
            });
            let address = net.listen_addr();
            Ok((golem_net_node::routes(net), Some(address)))
        }
        Err(problem @ (NetError::NoRelay | NetError::Resolve { .. } | NetError::NoAddress { .. })) => {
            error!(%problem, "this node runs without a network");
            let reason = problem.to_string();
            health.register("net", move || std::future::ready(Err(reason.clone())));
            Ok((Router::new(), None))
        }
        Err(problem) => Err(problem.into()),
    }
}

fn watch_identity(identity: &golem_identity::Handle, health: &Health) {
    let identity = identity.clone();
    health.register("identity", move || {
        let (id, can_sign) = (identity.default_id(), identity.can_sign(identity.default_id()));
        std::future::ready(if can_sign {
            Ok(())
        } else {
            Err(format!("the default identity {id} is locked; hint: `yagna id unlock`"))
        })
    });
}

fn watch_payment(ctx: &Context, health: &Health) {
    let bus = ctx.bus.clone();
    health.register("payment", move || {
        let bus = bus.clone();
        async move {
            let request = PaymentDriverStatus::default();
            let troubles = bus
                .call(payment::ADDRESS, Caller::local(), request, CHECK_TIME_MAX)
                .await
                .map_err(|error| error.to_string())?;
            match troubles.len() {
                0 => Ok(()),
                some => Err(format!("the payment driver has {some} troubles; hint: `yagna payment driver status`")),
            }
        }
    });
}
