//! Typed handlers as raw services.

use std::marker::PhantomData;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use golem_model::{Call, Caller, StreamCall};

use crate::{Payload, RawChunk, RawError, RawReply, RawRequest, RawService};

/// Answers one typed message at its exact address.
pub(crate) struct Single<C, F> {
    pub(crate) address: String,
    pub(crate) handler: Arc<F>,
    pub(crate) call: PhantomData<fn(C)>,
}

pub(crate) struct Streaming<C, F> {
    pub(crate) address: String,
    pub(crate) handler: Arc<F>,
    pub(crate) call: PhantomData<fn(C)>,
}

impl<C, F, Fut> RawService for Single<C, F>
where
    C: Call,
    F: Fn(Caller, C) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<C::Item, C::Error>> + Send + 'static,
{
    fn call(&self, request: RawRequest) -> RawReply {
        match opened::<C>(&self.address, request) {
            Ok((caller, call)) => {
                let reply = (self.handler)(caller, call);
                RawReply::future(async move { Ok(Payload::value(reply.await)) })
            }
            Err(error) => RawReply::error(error),
        }
    }
}

impl<C, F, S> RawService for Streaming<C, F>
where
    C: StreamCall,
    F: Fn(Caller, C) -> S + Send + Sync + 'static,
    S: Stream<Item = Result<C::Item, C::Error>> + Send + 'static,
{
    fn call(&self, request: RawRequest) -> RawReply {
        match opened::<C>(&self.address, request) {
            Ok((caller, call)) => {
                let items = (self.handler)(caller, call);
                RawReply::stream(items.map(|item| Ok(RawChunk::Partial(Payload::value(item)))))
            }
            Err(error) => RawReply::error(error),
        }
    }
}

fn opened<C: serde::de::DeserializeOwned + 'static>(
    address: &str,
    request: RawRequest,
) -> Result<(Caller, C), RawError> {
    if request.address != address {
        return Err(RawError::failure(format!("No such endpoint `{}`", request.address)));
    }
    let call = request.data.take().map_err(|error| RawError::failure(error.to_string()))?;
    Ok((request.caller, call))
}
