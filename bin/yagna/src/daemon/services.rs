//! The services of a node: started in the order in which they need one another, mounted at their paths.

use std::net::SocketAddr;

use anyhow::Result;
use axum::Router;
use golem_api_rest::Health;
use golem_service::Context;

use super::Config;

#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) routes: Router,
    pub(crate) net_address: Option<SocketAddr>,
}

pub(crate) async fn start(
    _ctx: &Context,
    _config: &Config,
    identity: &golem_identity::Handle,
    health: &Health,
) -> Result<Services> {
    let default = identity.clone();
    health.register("identity", move || {
        let (id, can_sign) = (default.default_id(), default.can_sign(default.default_id()));
        std::future::ready(if can_sign {
            Ok(())
        } else {
            Err(format!("the default identity {id} is locked; hint: `yagna id unlock`"))
        })
    });
    Ok(Services { routes: Router::new(), net_address: None })
}
