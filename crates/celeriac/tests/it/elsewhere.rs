//! A task without a body is called here and lives in another program.

use celeriac::{App, ErrorKind, Registry, Task};

/// In another program.
#[celeriac::task(name = "elsewhere.add", queue = "far away")]
fn add(a: u64, b: u64) -> u64;

/// So that the program has a task of its own.
#[celeriac::task(name = "elsewhere.here")]
fn here() {}

#[test]
fn it_has_a_definition_and_is_not_served() {
    assert_eq!(add::DEFINITION.name, "elsewhere.add");
    assert_eq!(add::DEFINITION.parameters, ["a", "b"]);
    let registry = Registry::collect().unwrap();
    assert!(registry.get("elsewhere.here").is_ok());
    assert!(registry.get("elsewhere.add").is_err());
}

#[test]
fn a_pool_says_that_it_lives_elsewhere() {
    celeriac_testkit::block_on(async {
        let app = App::on("threads=1").await.unwrap();
        let error = app
            .send(add::call(1, 2))
            .await
            .unwrap()
            .get()
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Panicked);
        assert!(error.to_string().contains("another program"), "{error}");
        let chain = app
            .send(here::call().then(add::call(3, 4)))
            .await
            .unwrap()
            .get()
            .await;
        assert!(chain.is_err());
    });
}
