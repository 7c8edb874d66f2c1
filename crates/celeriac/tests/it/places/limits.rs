//! What ends a call early: a limit of time, or whoever sent it.

use std::time::Duration;

use celeriac::ErrorKind;
use celeriac::prelude::*;

use super::double;
use crate::support::{Site, nap};

/// Says that it runs, then works until somebody stops it, or for a minute.
#[celeriac::task]
fn patient(context: &Context) -> Result<u32, TaskError> {
    context.progress(1, 2);
    for _ in 0..60_000 {
        context.check().map_err(TaskError::from_error)?;
        nap();
    }
    Ok(1)
}

#[celeriac::task]
async fn patient_later(context: Context) -> u32 {
    context.progress(1, 2);
    tokio::time::sleep(Duration::from_secs(60)).await;
    1
}

#[celeriac::task(soft_time_limit = "50ms")]
fn softly_limited(context: &Context) -> Result<u32, TaskError> {
    for _ in 0..60_000 {
        context.check().map_err(TaskError::from_error)?;
        nap();
    }
    Ok(1)
}

/// Stops at its hard limit where it can be stopped, and by itself where it cannot.
#[celeriac::task(time_limit = "100ms")]
fn hardly_limited(naps: u32) -> u32 {
    (0..naps).for_each(|_| nap());
    naps
}

pub(crate) async fn a_soft_time_limit_interrupts_the_context(site: Site) {
    let mut handle = site.app().send(softly_limited::call()).await.unwrap();
    assert_eq!(handle.get().await.unwrap_err().kind(), ErrorKind::TimeLimit);
}

pub(crate) async fn a_hard_time_limit_ends_the_call(site: Site) {
    let mut slow = site.app().send(hardly_limited::call(400)).await.unwrap();
    let mut fast = site.app().send(hardly_limited::call(0)).await.unwrap();
    let error = slow.get().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimeLimit);
    assert!(error.message().contains("100ms"), "{error}");
    assert_eq!(fast.get().await.unwrap(), 0);
    // A limit of the call wins over the task's.
    let generous = hardly_limited::call(200).time_limit(Duration::from_secs(30));
    assert_eq!(
        site.app()
            .send(generous)
            .await
            .unwrap()
            .get()
            .await
            .unwrap(),
        200
    );
}

pub(crate) async fn a_running_call_can_be_cancelled(site: Site) {
    if !site.runs_elsewhere() {
        return;
    }
    let mut handle = site.app().send(patient::call()).await.unwrap();
    assert_eq!(handle.next_progress().await.unwrap().done, 1);
    handle.cancel().await.unwrap();
    assert_eq!(handle.get().await.unwrap_err().kind(), ErrorKind::Cancelled);

    let mut handle = site.app().send(patient_later::call()).await.unwrap();
    assert_eq!(handle.next_progress().await.unwrap().done, 1);
    handle.cancel().await.unwrap();
    assert_eq!(handle.get().await.unwrap_err().kind(), ErrorKind::Cancelled);
}

pub(crate) async fn a_call_that_waits_can_be_cancelled(site: Site) {
    let mut handle = site
        .app()
        .send(double::call(1).countdown(Duration::from_secs(3600)))
        .await
        .unwrap();
    handle.cancel().await.unwrap();
    assert_eq!(handle.get().await.unwrap_err().kind(), ErrorKind::Cancelled);
}
