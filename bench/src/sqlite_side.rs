//! SQLite as the broker, with a worker in a process of its own.

use std::error::Error;

use celeriac::TaskError;
use celeriac::blocking::App;

use crate::latency;
use crate::repetitions::Report;
use crate::tasks::empty;
use crate::worker::Worker;

const TASKS: u32 = 20_000;

/// Sent in one call, in so many batches that filling the first and storing the last do not count.
const IN_BULK: u32 = 100_000;

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// Runs what `measure` names, if it is about SQLite.
pub(crate) fn run(measure: &str) -> Result<Option<Report>> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}", folder.path().join("q.db").display());
    let app = App::on(&*url)?;
    Ok(Some(match measure {
        "sqlite-enqueue" => enqueue(&app)?,
        "sqlite-cycle" => {
            let _worker = Worker::start(&url, "threads=2")?;
            cycle(&app)?
        }
        "sqlite-latency" => {
            let _worker = Worker::start(&url, "threads=2")?;
            latency::measure(&app)?
        }
        _ => return Ok(None),
    }))
}

fn enqueue(app: &App) -> Result<Report> {
    Ok(Report::of(IN_BULK, || -> celeriac::Result<()> {
        let handles = app.send_many((0..IN_BULK).map(empty::call))?;
        assert_eq!(handles.len(), IN_BULK as usize);
        Ok(())
    })?)
}

fn cycle(app: &App) -> Result<Report> {
    Ok(Report::of(TASKS, || -> Result<(), TaskError> {
        let results: Vec<()> = app
            .map_unordered::<empty>(0..TASKS)
            .collect::<Result<_, TaskError>>()?;
        assert_eq!(results.len(), TASKS as usize);
        Ok(())
    })?)
}
