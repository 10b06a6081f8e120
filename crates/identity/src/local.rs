//! Messages of this node's programs (spec 21 §3, §4).

use std::sync::Arc;

use golem_bus::Bus;
use golem_model::app_key::{self, Error as KeyError};
use golem_model::identity::{
    self, Ack, CreateGenerated, DropId, Get, GetKeyFile, GetPubKey, List, Lock, Sign, Unlock, Update,
};

use crate::app_keys::KeyRing;
use crate::events::Kind;
use crate::service::Service;

pub(crate) fn bind_identity(bus: &Bus, service: &Arc<Service>) {
    const AT: &str = identity::ADDRESS;
    let of = || Arc::clone(service);

    let s = of();
    bus.bind(AT, move |_, List {}| std::future::ready(Ok(s.list())));
    let s = of();
    bus.bind(AT, move |_, get: Get| std::future::ready(Ok(s.get(&get))));
    let s = of();
    bus.bind(AT, move |_, sign: Sign| std::future::ready(s.sign(sign.node_id, &sign.payload)));
    let s = of();
    bus.bind(AT, move |_, GetPubKey(id)| std::future::ready(s.public_key(id)));
    let s = of();
    bus.bind(AT, move |_, GetKeyFile(id)| std::future::ready(s.key_file(id)));
    let s = of();
    bus.bind(AT, move |_, create: CreateGenerated| {
        let s = Arc::clone(&s);
        async move { s.create(create).await }
    });
    let s = of();
    bus.bind(AT, move |_, update: Update| {
        let s = Arc::clone(&s);
        async move { s.update(update).await }
    });
    let s = of();
    bus.bind(AT, move |_, lock: Lock| {
        let s = Arc::clone(&s);
        async move { s.lock(lock).await }
    });
    let s = of();
    bus.bind(AT, move |_, unlock: Unlock| {
        let s = Arc::clone(&s);
        async move { s.unlock(unlock).await }
    });
    let s = of();
    bus.bind(AT, move |_, drop: DropId| {
        let s = Arc::clone(&s);
        async move { s.drop_id(drop.node_id).await }
    });
    let s = of();
    bus.bind(AT, move |_, subscribe: identity::Subscribe| {
        s.events.add(Kind::Identity, subscribe.endpoint);
        std::future::ready(Ok(Ack {}))
    });
    let s = of();
    bus.bind(AT, move |_, unsubscribe: identity::Unsubscribe| {
        s.events.remove(Kind::Identity, &unsubscribe.endpoint);
        std::future::ready(Ok(Ack {}))
    });
}

pub(crate) fn bind_app_keys(bus: &Bus, ring: &Arc<KeyRing>, service: &Arc<Service>) {
    const AT: &str = app_key::ADDRESS;
    let of = || Arc::clone(ring);

    let (r, s) = (of(), Arc::clone(service));
    bus.bind(AT, move |_, create: app_key::Create| {
        let (r, s) = (Arc::clone(&r), Arc::clone(&s));
        async move {
            if !s.exists(create.identity) {
                return Err(KeyError::new(400, format!("no identity {}", create.identity)));
            }
            r.create(create).await
        }
    });
    let r = of();
    bus.bind(AT, move |_, get: app_key::Get| std::future::ready(r.get(|key| key.key == get.key)));
    let r = of();
    bus.bind(AT, move |_, get: app_key::GetByName| std::future::ready(r.get(|key| key.name == get.name)));
    let r = of();
    bus.bind(AT, move |_, list: app_key::List| std::future::ready(Ok(r.list(&list))));
    let r = of();
    bus.bind(AT, move |_, remove: app_key::Remove| {
        let r = Arc::clone(&r);
        async move { r.remove(&remove.name, remove.identity.as_deref()).await }
    });
    let r = of();
    bus.bind(AT, move |_, subscribe: app_key::Subscribe| std::future::ready(Ok(r.subscribe(subscribe.endpoint))));
}
