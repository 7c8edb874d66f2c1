//! Without an app the `celeriac` command has no task: it sends for others and serves nobody.

use assert_cmd::Command;
use tempfile::TempDir;

fn celeriac(shop: &TempDir, words: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("celeriac"));
    command
        .args(words)
        .current_dir(shop.path())
        .env("CELERIAC_ON", "sqlite:jobs.db");
    command.assert()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it prints text")
}

#[test]
fn a_worker_without_tasks_is_refused_with_the_remedy() {
    let shop = TempDir::new().unwrap();
    let refused = celeriac(&shop, &["worker"]).code(3);
    let error = text(&refused.get_output().stderr);
    assert!(
        error.starts_with("error: no task is registered; mark a function with"),
        "{error}"
    );
    assert!(!shop.path().join("jobs.db").exists());
}

#[test]
fn it_sends_calls_of_any_task() {
    let shop = TempDir::new().unwrap();
    celeriac(
        &shop,
        &["send", "shop.charge", "42", "--kwarg", "note=a gift"],
    )
    .success();
    let listed = celeriac(&shop, &["queues"]).success();
    assert!(text(&listed.get_output().stdout).contains("celery      1"));
}

#[test]
fn its_completions_bear_its_name() {
    let shop = TempDir::new().unwrap();
    let script = celeriac(&shop, &["completions", "bash"]).success();
    assert!(text(&script.get_output().stdout).contains("complete -F _celeriac"));
}
