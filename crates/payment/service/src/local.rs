//! `/local/payment`: programs and drivers of this node (spec 40 §11).

use std::sync::Arc;

use golem_model::driver::ValidateAllocationResult;
use golem_model::payment::local::{
    GenericError, GetAccounts, GetDrivers, GetInvoiceStats, GetRpcEndpoints, GetStatus, NotifyPayment,
    PaymentAbandoned, PaymentDriverStatus, PaymentDriverStatusChange, ProcessBatchCycleInfo, ProcessBatchCycleSet,
    ProcessPaymentsNow, RegisterAccount, RegisterDriver, ReleaseAllocations, ShutDown, UnregisterAccount,
    UnregisterDriver, ValidateAllocation,
};
use golem_model::payment::{ADDRESS, Ack};
use tracing::{info, warn};

use crate::error::OpError;
use crate::service::Service;
use crate::service::allocate::{AllocationProblem, Wish};

pub(crate) fn bind(service: &Arc<Service>) {
    macro_rules! answer {
        ($message:ty, |$service:ident, $call:ident| $body:expr) => {{
            let shared = Arc::clone(service);
            service.bus.bind::<$message, _, _>(ADDRESS, move |_, $call| {
                let $service = Arc::clone(&shared);
                async move { $body }
            });
        }};
    }
    answer!(RegisterDriver, |service, call| {
        info!(driver = call.driver_name, "driver registered");
        service.registry.register_driver(call).map(|()| Ack {})
    });
    answer!(UnregisterDriver, |service, call| {
        service.registry.unregister_driver(&call.0);
        Ok(Ack {})
    });
    answer!(RegisterAccount, |service, call| service.registry.register_account(&call).map(|()| Ack {}));
    answer!(UnregisterAccount, |service, call| {
        service.registry.unregister_account(&call.platform, &call.address);
        Ok(Ack {})
    });
    answer!(NotifyPayment, |service, call| {
        let id = call.payment_id.clone();
        service.transfer_confirmed(call).await.map(|()| Ack {}).map_err(|error| {
            warn!(payment = id, %error, "a confirmed transfer is not booked");
            GenericError::new(error)
        })
    });
    answer!(PaymentAbandoned, |service, call| {
        service.transfer_abandoned(call).await.map(|()| Ack {}).map_err(GenericError::new)
    });
    answer!(GetStatus, |service, call| service.status(call).await);
    answer!(GetInvoiceStats, |service, call| service.invoice_stats(call).await);
    answer!(GetRpcEndpoints, |service, call| service.rpc_endpoints(call).await);
    answer!(GetAccounts, |service, _call| Ok(service.registry.accounts()));
    answer!(GetDrivers, |service, call| Ok(service.drivers(call.ignore_legacy_networks)));
    answer!(PaymentDriverStatus, |service, call| service.driver_status(call).await);
    // Troubles are asked of the driver when somebody wants to know, so they are never older than the question.
    answer!(PaymentDriverStatusChange, |_service, call| {
        call.properties.iter().for_each(|trouble| info!(?trouble, "a driver reports a trouble"));
        Ok(Ack {})
    });
    answer!(ValidateAllocation, |service, call| validate(&service, call).await);
    answer!(ReleaseAllocations, |service, _call| service.release_all().await.map_err(GenericError::new));
    answer!(ProcessBatchCycleInfo, |service, call| service.cycle_info(call).await);
    answer!(ProcessBatchCycleSet, |service, call| service.set_cycle(call).await);
    answer!(ProcessPaymentsNow, |service, call| service.process_now(call).await);
    answer!(ShutDown, |service, call| {
        service.shut_down(call.timeout).await;
        Ok(Ack {})
    });
}

async fn validate(service: &Service, call: ValidateAllocation) -> Result<ValidateAllocationResult, GenericError> {
    let ValidateAllocation { platform, address, amount, timeout, deposit, new_allocation } = call;
    let wish = Wish { address, platform, amount, timeout, deposit, is_new: new_allocation, amended: None };
    service.validate(&wish).await.map_err(|error| match error {
        OpError::Allocation(problem) => match *problem {
            AllocationProblem::Internal { cause, .. } => GenericError::new(cause),
            problem => GenericError::new(problem),
        },
        error => GenericError::new(error),
    })
}
