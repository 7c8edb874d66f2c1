//! What Python sends, a worker in Rust runs; what becomes of it, Python understands.

use serde_json::{Value, json};

use super::fleet::{Fleet, Kind};
use super::in_fleets;

const TEXT: &str = "žluťoučký kůň \u{1} \\ \" 馬 🐎";

in_fleets! { what_python_asks_rust_answers:
    redis_celery_5_7 = Redis, V57;
    redis_celery_5_5 = Redis, V55;
    redis_celery_5_4 = Redis, V54;
    amqp_celery_5_7 = Amqp, V57;
    amqp_celery_5_5 = Amqp, V55;
    amqp_celery_5_4 = Amqp, V54;
}

async fn what_python_asks_rust_answers(fleet: &Fleet) {
    let script = fleet.python.script(include_str!("python_to_rust.py"));
    script.wait_for_line("SENT");
    let _worker = fleet.rust_worker("to_rust", 1).await;

    let answer = script.answer();

    let value = |value: Value| json!({ "value": value });
    let echoed = value(json!({"text": TEXT, "n": -7}));
    let mut expected = vec![
        ("plain", value(json!(5))),
        ("by name", value(json!(5))),
        ("protocol 1", value(json!(5))),
        (
            "values",
            value(json!([null, true, 1.5, TEXT, {"a": {"b": []}}])),
        ),
        ("json", echoed.clone()),
        ("msgpack", echoed.clone()),
        ("yaml", echoed),
        ("retries", value(json!(3))),
    ];
    expected.extend(
        ["zlib", "bzip2", "lzma", "brotli", "zstd", "wide"].map(|sort| (sort, json!(true))),
    );
    expected.retain(|(case, expected)| answer[case] != *expected);
    assert_eq!(expected, [], "{answer:#}");
    let mut errors = vec![
        ("failure", "CardRefused", "card refused for order 7"),
        ("panic", "Panic", "out of cheese"),
        ("unknown", "NotRegistered", "rust.nothing"),
        ("misfit", "TypeError", "`a`: expected i64"),
        ("too few", "TypeError", "`b` is missing"),
        ("revoked", "TaskRevokedError", "revoked"),
    ];
    if fleet.kind == Kind::Redis {
        errors.push(("expired", "TaskRevokedError", "expired"));
    }
    errors.retain(|(case, error, words)| {
        let found = &answer[case];
        let says = found["says"].as_str().unwrap_or_default();
        found["error"] != *error || !says.contains(words)
    });
    assert_eq!(errors, [], "{answer:#}");
    let after = answer["due after"].as_f64().unwrap();
    assert!((1.0..6.0).contains(&after), "{after}");
    assert_eq!(
        answer["order"],
        json!(fleet.most_urgent_first([0, 3, 6, 9]))
    );
}
