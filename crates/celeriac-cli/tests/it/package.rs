//! The Python package brings the program into a virtual environment.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use celeriac_testkit::peers::{CeleryVersion, OwnedChild};
use serde_json::json;

use crate::support::{On, Project};

const PACKAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../python");

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
}

/// Makes the wheel, as far as this build has not made its parts.
fn wheel(folder: &Path) -> PathBuf {
    run(Command::new(CeleryVersion::V57.python())
        .args(["-m", "maturin", "build", "--locked", "--out"])
        .arg(folder)
        .current_dir(PACKAGE));
    let mut files = fs::read_dir(folder).unwrap();
    files.next().unwrap().unwrap().path()
}

/// A virtual environment with the wheel, and the Celery of our own.
fn environment(folder: &Path, wheel: &Path) -> PathBuf {
    let celery = CeleryVersion::V57.python();
    let venv = folder.join("venv");
    run(Command::new(&celery).args(["-m", "venv"]).arg(&venv));
    let site = "import sysconfig; print(sysconfig.get_path('purelib'))";
    let site = |python: &Path| {
        let output = Command::new(python).args(["-c", site]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let python = venv.join("bin/python");
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--no-index"])
        .arg(wheel));
    // Nothing is fetched: the packages stand in another environment already.
    let link = Path::new(&site(&python)).join("celery.pth");
    fs::write(link, site(Path::new(&celery))).unwrap();
    venv
}

/// Starts the program of the environment by its path alone, as unit files do.
fn worker(project: &Project, venv: &Path, words: &str) -> OwnedChild {
    let program = venv.join("bin/celeriac");
    let program = program.to_str().unwrap();
    let worker = OwnedChild::start("celeriac", program, words.split(' '), |command| {
        project.configure(command);
        command.env_remove("CELERIAC_PYTHON");
    });
    worker.wait_for_line(" ready.");
    worker
}

#[test]
fn the_wheel_runs_a_plain_app_and_a_django_project() {
    let folder = tempfile::tempdir().unwrap();
    let venv = environment(folder.path(), &wheel(&folder.path().join("dist")));
    let plain = Project::new("plain", On::Redis);
    let _one = worker(&plain, &venv, "-A proj worker -l INFO -c 1");
    assert_eq!(
        plain.run("answer = add.delay(1, 2).get(timeout=30)"),
        json!(3)
    );
    let django = Project::new("django_shop", On::Redis);
    django.run_plain(
        "from sends import *\ncall_command('migrate', run_syncdb=True, verbosity=0)\nanswer = 0",
    );
    let _other = worker(&django, &venv, "-A shop_site worker -l INFO -c 1");
    let answer = django.run_plain(
        "from sends import *\nanswer = ship.delay(Order.objects.create(item='book').pk).get(timeout=60)",
    );
    assert_eq!(answer, json!("book"));
}
