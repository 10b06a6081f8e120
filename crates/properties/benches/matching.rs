//! Evaluation of compiled constraints, and one demand against 100,000 offers.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use golem_properties::{Artifact, Index};
use serde_json::json;

const OFFERS: u32 = 100_000;

fn offer(n: u32) -> Artifact {
    let subnet = if n.is_multiple_of(20) { "devnet" } else { "public" };
    let runtime = ["vm", "wasmtime", "vm-nvidia", "http-auth"].get(n as usize % 4).unwrap();
    let network = ["erc20-polygon-glm", "erc20-holesky-tglm"].get(n as usize % 2).unwrap();
    let mut properties = json!({
        "golem.activity.caps.deploy.report-progress": true,
        "golem.activity.caps.transfer.protocol": ["https", "gftp", "http"],
        "golem.com.payment.debit-notes.accept-timeout?": 240,
        "golem.com.payment.protocol.version": 3,
        "golem.com.pricing.model": "linear",
        "golem.com.pricing.model.linear.coeffs": [0.0001, 0.00005, 0.0],
        "golem.com.scheme": "payu",
        "golem.com.usage.vector": ["golem.usage.cpu_sec", "golem.usage.duration_sec"],
        "golem.inf.cpu.architecture": "x86_64",
        "golem.inf.cpu.cores": n % 32,
        "golem.inf.cpu.threads": n % 64,
        "golem.inf.mem.gib": f64::from(n % 128) / 2.0,
        "golem.inf.storage.gib": f64::from(n % 500),
        "golem.node.debug.subnet": subnet,
        "golem.node.id.name": format!("provider-{n}"),
        "golem.runtime.capabilities": ["inet", "vpn", "manifest-support"],
        "golem.runtime.name": runtime,
        "golem.runtime.version": "0.5.3",
        "golem.srv.caps.multi-activity": true,
    });
    properties[format!("golem.com.payment.platform.{network}.address")] = json!(format!("0x{n:040x}"));
    let constraints =
        format!("(&\n  (golem.srv.comp.expiration>1705586871777)\n  (golem.node.debug.subnet={subnet})\n)");
    Artifact::compile(&properties.to_string(), &constraints).unwrap()
}

fn demand() -> Artifact {
    let properties = json!({
        "golem.com.payment.protocol.version": "3",
        "golem.node.debug.subnet": "public",
        "golem.srv.caps.multi-activity": true,
        "golem.srv.comp.expiration": 1_900_000_000_000_u64,
        "golem.srv.comp.task_package": "hash:sha3:aa:http://host/image.gvmi",
    });
    let constraints = "(&(golem.com.pricing.model=linear)
        (golem.node.debug.subnet=public)
        (golem.inf.mem.gib>=60)
        (golem.inf.storage.gib>=2)
        (golem.inf.cpu.threads>=1)
        (golem.runtime.name=vm)
        (golem.com.payment.platform.erc20-polygon-glm.address=*)
        (golem.com.payment.protocol.version>1))";
    Artifact::compile(&properties.to_string(), constraints).unwrap()
}

fn matching(c: &mut Criterion) {
    let demand = demand();
    let fitting = (0..OFFERS).map(offer).find(|offer| offer.matches(&demand)).unwrap();

    let mut group = c.benchmark_group("evaluate");
    group.throughput(Throughput::Elements(1));
    group.bench_function("constraints of 8 terms, all true", |b| {
        b.iter(|| black_box(&demand).constraints.evaluate(black_box(&fitting.properties)));
    });
    group.finish();

    let mut index = Index::new();
    (0..OFFERS).for_each(|n| index.insert(n, Arc::new(offer(n))));
    let found = index.matches(&demand);
    c.bench_function(
        &format!("demand against {OFFERS} offers ({} examined, {} found)", found.examined, found.ids.len()),
        |b| b.iter(|| index.matches(black_box(&demand))),
    );
}

criterion_group!(benches, matching);
criterion_main!(benches);
