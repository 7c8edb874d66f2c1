//! Canvases that are cancelled or shut down.

use celeriac::{App, ErrorKind, ShutdownMode, group};

use super::{add, get, napping, note, note_number, patient, read};
use crate::support::Site;

pub(super) async fn a_cancelled_chain_stops_the_step_that_runs(site: Site) {
    if !site.runs_elsewhere() {
        return;
    }
    let marks = tempfile::tempdir().unwrap();
    let (mark, after) = (marks.path().join("mark"), marks.path().join("after"));
    let chain = patient::call(mark.clone())
        .then(add::partial(1))
        .then(note_number::partial(after.clone()));
    let mut handle = site.app().send(chain).await.unwrap();
    read(&mark).await;
    handle.cancel().await.unwrap();
    assert_eq!(handle.get().await.unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(!after.exists());

    let mark = marks.path().join("group");
    let header = group([patient::call(mark.clone())]);
    let mut handle = site.app().send(header).await.unwrap();
    read(&mark).await;
    handle.cancel().await.unwrap();
    assert_eq!(handle.get().await.unwrap_err().kind(), ErrorKind::Cancelled);
}

pub(super) async fn shutdown_waits_for_a_chain_to_its_end(site: Site) {
    if site.is_broker() {
        return;
    }
    let app = site.app();
    let chain = napping::call(20)
        .then(add::partial(1))
        .then(add::partial(1));
    let mut handle = app.send(chain).await.unwrap();
    app.shutdown(ShutdownMode::Wait).await;
    assert!(handle.is_finished());
    assert_eq!(handle.get().await.unwrap(), 22);
    let error = get(app.send(add::call(1, 1).then(add::partial(1))).await).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Shutdown);
}

pub(super) async fn shutdown_can_refuse_the_rest_of_a_chain(site: Site) {
    if !site.runs_elsewhere() || site.is_broker() {
        return;
    }
    for mode in [ShutdownMode::CancelQueued, ShutdownMode::Kill] {
        let app = App::on(&site.app().place().to_string()).await.unwrap();
        let marks = tempfile::tempdir().unwrap();
        let (mark, after) = (marks.path().join("mark"), marks.path().join("after"));
        let first = note::call("", mark.clone());
        let chain = first
            .then(napping::call(50))
            .then(note_number::partial(after.clone()));
        let mut handle = app.send(chain).await.unwrap();
        read(&mark).await;
        app.shutdown(mode).await;
        assert!(handle.is_finished());
        let error = handle.get().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Shutdown);
        assert!(!after.exists());
    }
}
