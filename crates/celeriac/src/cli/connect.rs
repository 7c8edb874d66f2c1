//! The broker that a command speaks to.

use std::sync::Arc;

use celeriac_core::{Broker, BrokerError, BrokerUrl, Place, ResultBackend, Routes};
use celeriac_drivers::DriverOptions;

use super::GlobalArgs;
use super::exit::{Exit, Failure};

/// Opens the broker that `--on` names, or makes it if it is a file that is not there.
pub(super) async fn open_or_create(global: &GlobalArgs) -> Result<Arc<dyn Broker>, Failure> {
    open_with(global, true).await
}

/// Opens the broker that `--on` names, which must be there.
pub(super) async fn open(global: &GlobalArgs) -> Result<Arc<dyn Broker>, Failure> {
    open_with(global, false).await
}

/// Opens the broker at `url`, which must be there.
pub(super) async fn open_existing(url: &BrokerUrl) -> Result<Arc<dyn Broker>, Failure> {
    Ok(celeriac_drivers::open(url, &options(false)).await?)
}

async fn open_with(global: &GlobalArgs, create: bool) -> Result<Arc<dyn Broker>, Failure> {
    let results = global.results.as_deref().map(str::parse).transpose()?;
    let url = url(global)?;
    let options = DriverOptions {
        topology: global.topology.clone(),
        ..options(create)
    };
    Ok(celeriac_drivers::open_with_results(&url, results.as_ref(), &options).await?)
}

fn options(create: bool) -> DriverOptions {
    DriverOptions {
        create,
        ..DriverOptions::default()
    }
}

/// The broker that `--on` names.
pub(super) fn url(global: &GlobalArgs) -> Result<BrokerUrl, Failure> {
    let help = "name it with `--on sqlite:jobs.db`, or in the environment as CELERIAC_ON";
    let Some(on) = &global.on else {
        return Err(Failure::new(Exit::Usage, "this command needs a broker").help(help));
    };
    match on.parse()? {
        Place::Broker(url) => Ok(url),
        place => {
            let message = format!("`{place}` is a pool of this process, and no broker");
            Err(Failure::new(Exit::Usage, message).help(help))
        }
    }
}

/// The results kept in `broker`.
pub(super) fn results(broker: &dyn Broker) -> Result<Arc<dyn ResultBackend>, Failure> {
    broker.results().ok_or_else(|| {
        BrokerError::Unsupported {
            address: "`--on`".to_owned(),
            what: "keep results".to_owned(),
        }
        .into()
    })
}

/// The routes that `--route` and `--default-queue` make.
pub(super) fn routes(global: &GlobalArgs) -> Result<Routes, Failure> {
    let routes = Routes::new()
        .default_queue(global.default_queue.clone())
        .through(global.topology.clone());
    let mut rules = global.routes.iter();
    rules
        .try_fold(routes, |routes, rule| routes.with(rule))
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))
}
