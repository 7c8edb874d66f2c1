//! How a task is known: its name, its parameters, its place in the registry.

use celeriac::core::registry::TASKS;
use celeriac::core::{QueueName, Registry, Task};

use super::{functions, options, results, run, times};

#[test]
fn a_task_is_named_by_its_path_with_dots() {
    #[celeriac::task]
    fn inner() {}

    assert_eq!(
        functions::is_prime::DEFINITION.name,
        "it.macros.functions.is_prime"
    );
    assert_eq!(
        functions::r#match::DEFINITION.name,
        "it.macros.functions.match"
    );
    assert_eq!(times::DEFINITION.name, "it.macros.times");
    assert_eq!(inner::DEFINITION.name, "it.macros.definitions.inner");
    assert_eq!(run(inner::call()), Ok(()));
}

#[test]
fn parameters_have_names_and_made_up_ones_are_not_taken_twice() {
    assert_eq!(
        functions::patterns::DEFINITION.parameters,
        ["first", "arg2", "arg4", "arg4_", "_unused"]
    );
    assert_eq!(functions::r#match::DEFINITION.parameters, ["type"]);
    assert_eq!(run(functions::patterns::call(1, 2, 3, 4, "")), Ok(6));
}

#[test]
fn signatures_read_as_written() {
    for (definition, text) in [
        (functions::is_prime::DEFINITION, "is_prime(n: u64) -> bool"),
        (functions::nothing::DEFINITION, "nothing()"),
        (
            functions::lent::DEFINITION,
            "lent(text: &str, bytes: &[u8], path: &Path, map: &BTreeMap<String, u8>) -> String",
        ),
        (
            functions::cows::DEFINITION,
            "cows(a: Cow<'_, str>, b: Cow<str>, c: Cow<'static, [u8]>) -> usize",
        ),
        (functions::r#match::DEFINITION, "match(type: u8) -> u8"),
        (results::charge::DEFINITION, "charge(order: u64) -> Receipt"),
        (results::by_alias::DEFINITION, "by_alias(text: &str) -> u32"),
        (results::boxed::DEFINITION, "boxed(ask: bool)"),
        (times::DEFINITION, "times(value: u32, by: &u32) -> u32"),
    ] {
        assert_eq!(definition.signature, text);
    }
}

#[test]
fn async_tasks_are_known_as_such() {
    assert!(results::charge::DEFINITION.is_async);
    assert!(!functions::is_prime::DEFINITION.is_async);
}

#[test]
fn every_task_is_registered_once() {
    let registry = Registry::collect().unwrap();
    let task = registry.get("shop.charge").unwrap();
    assert!(std::ptr::eq(task, options::everything::DEFINITION));
    let names = registry.names();
    for name in [
        "it.macros.functions.is_prime",
        "it.macros.options.elsewhere",
        "it.macros.times",
    ] {
        assert!(
            names.iter().any(|other| other == name),
            "{name} is not among {names:?}"
        );
    }
    assert!(
        !names.iter().any(|name| name.contains("absent")),
        "{names:?}"
    );
    assert_eq!(TASKS.len(), names.len());
}

#[test]
fn a_queue_the_attribute_took_is_a_queue_name() {
    for task in TASKS {
        if let Some(queue) = task.options.queue {
            assert_eq!(QueueName::new(queue).unwrap().as_str(), queue);
        }
    }
}
