//! Celery's own tracer, in the children that it will have at work.

use std::fs;
use std::path::Path;
use std::time::Duration;

use celeriac_core::Limits;
use celeriac_core::outcome::{ErrorKind, TaskError};
use celeriac_core::runtime::End;
use celeriac_python::{ImportRequest, Interpreter, PoolKind, PoolSettings, PythonApp, StartError};
use celeriac_testkit::peers::CeleryVersion;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::stage::{Said, Stage, count};

const APP: &str = r#"
import asyncio, os, signal, time
from celery import Celery, signals
app = Celery("tasks", broker="memory://", backend="redis://127.0.0.1:1/0")

@app.task
def add(x, y):
    return x + y

@app.task(bind=True)
def progress(self):
    self.update_state(state="PROGRESS", meta={"done": 1})
    return self.request.id

@app.task
def fail():
    raise ValueError("no")

@app.task
def die():
    os.kill(os.getpid(), signal.SIGKILL)

@app.task
def sleep(seconds):
    time.sleep(seconds)

@app.task
async def nap(seconds):
    await asyncio.sleep(seconds)
    return "slept"

@app.task
def leave():
    os._exit(3)
"#;

async fn import(folder: &Path, version: CeleryVersion) -> Result<PythonApp, StartError> {
    let python = version.python();
    let interpreter = Interpreter::find(Some(Path::new(&python))).unwrap();
    let request = ImportRequest {
        version: 1,
        app: "tasks".to_owned(),
        workdir: Some(folder.to_str().unwrap().to_owned()),
        node: "celery@test".to_owned(),
        ..ImportRequest::default()
    };
    PythonApp::import(&interpreter, request).await
}

async fn stage(version: CeleryVersion, settings: PoolSettings) -> (Stage, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tasks.py"), APP).unwrap();
    let app = import(folder.path(), version).await.unwrap();
    assert!(
        app.report()
            .tasks
            .iter()
            .any(|task| task.name == "tasks.add")
    );
    let stage = Stage::of(app, settings);
    stage.pool.ready().await.unwrap();
    (stage, folder)
}

fn stored(results: &[celeriac_core::runtime::EncodedResult]) -> Vec<(String, Value)> {
    let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap()["result"].clone();
    let results = results.iter();
    results
        .map(|result| (result.state.clone(), read(&result.payload.bytes)))
        .collect()
}

async fn runs_tasks(version: CeleryVersion) {
    let (mut stage, _folder) = stage(version, PoolSettings::prefork(count(2))).await;
    let (tag, _) = stage.send("tasks.add", json!([2, 3]), Limits::NONE);
    let (ended, conclusion) = stage.ended().await;
    let conclusion = conclusion.unwrap();
    assert_eq!((ended, conclusion.end), (tag, End::Succeeded));
    assert_eq!(
        stored(&conclusion.results),
        [("SUCCESS".to_owned(), json!(5))]
    );
    assert_eq!(conclusion.told.text.as_deref(), Some("5"));

    let (tag, _) = stage.send("tasks.fail", json!([]), Limits::NONE);
    let (ended, conclusion) = stage.ended().await;
    let conclusion = conclusion.unwrap();
    assert_eq!((ended, conclusion.end), (tag, End::Failed));
    let results = stored(&conclusion.results);
    assert_eq!(results[0].1["exc_type"], "ValueError");
    assert!(conclusion.told.traceback.unwrap().contains("tasks.py"));

    for (task, words) in [
        ("tasks.die", "signal 9 (SIGKILL)"),
        ("tasks.leave", "exitcode 3"),
    ] {
        stage.send(task, json!([]), Limits::NONE);
        let error = stage.ended().await.1.unwrap_err();
        assert!(error.message().contains(words), "{error}");
    }
    let tag = stage.conclude("tasks.add", TaskError::lost("Worker exited prematurely"));
    let (ended, conclusion) = stage.ended().await;
    let results = stored(&conclusion.unwrap().results);
    assert_eq!((ended, &*results[0].0), (tag, "FAILURE"));
    assert_eq!(results[0].1["exc_type"], "WorkerLostError");
    stage.pool.lifecycle("ready", Map::new()).await.unwrap();
    stage.pool.close().await;
}

#[tokio::test]
async fn celery_5_7_runs_tasks() {
    runs_tasks(CeleryVersion::V57).await;
}

#[tokio::test]
async fn celery_5_5_runs_tasks() {
    runs_tasks(CeleryVersion::V55).await;
}

#[tokio::test]
async fn celery_5_4_runs_tasks() {
    runs_tasks(CeleryVersion::V54).await;
}

#[tokio::test]
async fn limits_hold_in_prefork() {
    let (mut stage, _folder) = stage(CeleryVersion::V57, PoolSettings::prefork(count(1))).await;
    let soft = Limits {
        soft: Some(Duration::from_millis(100)),
        hard: None,
    };
    stage.send("tasks.sleep", json!([60]), soft);
    let conclusion = stage.ended().await.1.unwrap();
    let results = stored(&conclusion.results);
    assert_eq!(results[0].1["exc_type"], "SoftTimeLimitExceeded");
    let hard = Limits {
        soft: None,
        hard: Some(Duration::from_millis(100)),
    };
    stage.send("tasks.sleep", json!([60]), hard);
    let error = stage.ended().await.1.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimeLimit);
    let tag = stage.conclude("tasks.sleep", error);
    let (ended, conclusion) = stage.ended().await;
    let results = stored(&conclusion.unwrap().results);
    assert_eq!(ended, tag);
    assert_eq!(results[0].1["exc_type"], "TimeLimitExceeded");
}

#[tokio::test]
async fn coroutines_run_at_once() {
    let settings = PoolSettings {
        kind: PoolKind::Coroutines,
        slots: count(100),
        ..PoolSettings::prefork(count(1))
    };
    let (mut stage, _folder) = stage(CeleryVersion::V57, settings).await;
    let begun = std::time::Instant::now();
    for _ in 0..100 {
        stage.send("tasks.nap", json!([1]), Limits::NONE);
    }
    for _ in 0..100 {
        let conclusion = stage.ended().await.1.unwrap();
        assert_eq!(stored(&conclusion.results)[0].1, "slept");
    }
    let took = begun.elapsed();
    assert!(
        took < Duration::from_secs(50),
        "one after another: {took:?}"
    );
}

#[tokio::test]
async fn an_app_that_is_missing_is_told_with_pythons_own_traceback() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tasks.py"), "import no_such_module\n").unwrap();
    match import(folder.path(), CeleryVersion::V57).await {
        Err(StartError::App { why, traceback, .. }) => {
            assert_eq!(why, "import");
            assert!(traceback.contains("no_such_module"), "{traceback}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn threads_run_at_once_in_one_child() {
    let settings = PoolSettings {
        kind: PoolKind::Threads,
        slots: count(10),
        ..PoolSettings::prefork(count(1))
    };
    let (mut stage, _folder) = stage(CeleryVersion::V57, settings).await;
    for _ in 0..10 {
        stage.send("tasks.sleep", json!([0.5]), Limits::NONE);
    }
    // All have begun before the first has ended.
    for _ in 0..10 {
        assert!(matches!(stage.next().await.1, Said::Started));
    }
    for _ in 0..10 {
        assert_eq!(stage.ended().await.1.unwrap().end, End::Succeeded);
    }
}
