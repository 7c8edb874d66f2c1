//! Messages as nobody should send them, and what is to become of each.

use celeriac_core::DeadReason;
use lapin::BasicProperties;
use lapin::types::AMQPValue;
use serde_json::Value;

use super::draft::{Draft, Fate, MALFORMED, SECRET, Shape};

/// It is a call, and not one of the task.
const UNFIT: Fate = Fate::Dead(DeadReason::BadArguments);

/// Every shape that is small.
pub(super) fn all() -> Vec<Shape> {
    let mut shapes = elements();
    shapes.extend(envelopes());
    shapes.extend(headers());
    shapes.extend(bodies());
    shapes.extend(tables());
    shapes
}

/// Elements of a list that are no envelopes.
fn elements() -> Vec<Shape> {
    let good = Draft::new("cut").shape(Fate::Runs).element.unwrap();
    let deep = |open: &str, close: &str| {
        format!("{}{SECRET}{}", open.repeat(100_000), close.repeat(100_000))
    };
    [
        (
            "element-no-json",
            format!("this is {SECRET} and no JSON").into_bytes(),
        ),
        ("element-array", format!("[1, {SECRET:?}]").into_bytes()),
        ("element-null", b"null".to_vec()),
        ("element-number", b"7".to_vec()),
        ("element-empty", Vec::new()),
        ("element-empty-object", b"{}".to_vec()),
        ("element-cut", good[..good.len() - 40].to_vec()),
        ("element-two", [&good[..], &good[..]].concat()),
        (
            "element-no-utf8",
            [b"\xff\xfe".as_slice(), SECRET.as_bytes()].concat(),
        ),
        ("element-nul", vec![0; 64]),
        ("element-deep-arrays", deep("[", "]").into()),
        ("element-deep-objects", deep(r#"{"a":"#, "}").into()),
    ]
    .map(|(name, element)| Shape::element(name, MALFORMED, element))
    .into()
}

/// Envelopes with a part that is missing or none.
fn envelopes() -> Vec<Shape> {
    let some = |text: &str| Some(text.to_owned());
    let plain = |name: &str| Draft::new(name);
    let mut shapes = Vec::new();
    let drop_part = |name: &str, part: &str| {
        let whole = plain(name).shape(Fate::Runs).element.unwrap();
        let mut whole: serde_json::Map<String, Value> = serde_json::from_slice(&whole).unwrap();
        whole.remove(part).unwrap();
        Shape::element(name, MALFORMED, serde_json::to_vec(&whole).unwrap())
    };
    shapes.extend([
        drop_part("no-body", "body"),
        drop_part("no-headers", "headers"),
        drop_part("no-properties", "properties"),
    ]);
    for (name, headers) in [
        ("headers-array", "[]"),
        ("headers-text", r#""task""#),
        ("headers-null", "null"),
        ("headers-number", "1e400"),
    ] {
        shapes.push(plain(name).redis(MALFORMED, |_| (some(headers), None, None)));
    }
    for (name, body) in [
        ("body-no-base64", format!(r#""!!{SECRET}!!""#)),
        ("body-number", "7".to_owned()),
        ("body-null", "null".to_owned()),
        ("body-object", format!(r#"{{"a": {SECRET:?}}}"#)),
    ] {
        shapes.push(plain(name).redis(MALFORMED, |_| (None, Some(body), None)));
    }
    let change = |from: &'static str, to: &'static str| {
        move |draft: &Draft| {
            let text = draft.properties();
            assert!(text.contains(from), "{text} has no {from}");
            (None, None, Some(text.replace(from, to)))
        }
    };
    shapes
        .push(plain("no-delivery-tag").redis(MALFORMED, change(r#""delivery_tag""#, r#""label""#)));
    shapes.push(plain("tag-number").redis(MALFORMED, change(r#""tag-tag-number""#, "7")));
    shapes.push(plain("no-exchange").redis(MALFORMED, change(r#""exchange": "", "#, "")));
    shapes.push(plain("no-delivery-info").redis(MALFORMED, change(r#""delivery_info""#, r#""x""#)));
    shapes.push(plain("priority-text").redis(
        MALFORMED,
        change(r#""priority": 0"#, r#""priority": "high""#),
    ));
    shapes.push(plain("plain-body").redis(Fate::Runs, |draft| {
        let body = String::from_utf8(draft.body.clone()).unwrap();
        let properties = draft.properties().replace(r#""base64""#, r#""utf-8""#);
        (None, Some(format!("{body:?}")), Some(properties))
    }));
    shapes
        .push(plain("body-encoding-unknown").redis(MALFORMED, change(r#""base64""#, r#""base7""#)));
    let mut torn = plain("tag-no-utf8").shape(MALFORMED).element.unwrap();
    let at = torn.windows(4).rposition(|part| part == b"tag-").unwrap();
    torn[at] = 0xff;
    shapes.push(Shape::element("tag-no-utf8", MALFORMED, torn));
    shapes
}

/// A name that looks like a line of the log, if it is logged as it is.
const FORGED: &str = r#""\u001b[31mred\n2026 ERROR forged""#;

/// Headers that are missing, or have values that are none.
fn headers() -> Vec<Shape> {
    let mut shapes = Vec::new();
    for (name, key, value, fate) in [
        ("id-number", "id", "7", Fate::Runs),
        ("id-null", "id", "null", MALFORMED),
        ("id-array", "id", r#"["x"]"#, MALFORMED),
        ("id-empty", "id", r#""""#, Fate::Runs),
        ("task-number", "task", "7", MALFORMED),
        ("task-null", "task", "null", MALFORMED),
        ("eta-number", "eta", "1795202908", MALFORMED),
        ("eta-text", "eta", r#""soon""#, MALFORMED),
        ("expires-text", "expires", r#""late""#, MALFORMED),
        ("expires-array", "expires", "[]", MALFORMED),
        ("retries-negative", "retries", "-1", MALFORMED),
        ("retries-text", "retries", r#""two""#, MALFORMED),
        ("retries-huge", "retries", "1e300", MALFORMED),
        ("timelimit-text", "timelimit", r#""long""#, MALFORMED),
        ("timelimit-three", "timelimit", "[1, 2, 3]", MALFORMED),
        ("timelimit-negative", "timelimit", "[-1, -1]", Fate::Runs),
        (
            "timelimit-endless",
            "timelimit",
            "[1e300, 1e300]",
            Fate::Runs,
        ),
        ("group-number", "group", "7", MALFORMED),
        ("surrogate-header", "x-note", r#""\ud800""#, MALFORMED),
        ("huge-header", "x-note", &"9".repeat(400), MALFORMED),
        ("nan-header", "x-note", "NaN", MALFORMED),
    ] {
        shapes.push(Draft::new(name).header(key, value).shape(fate));
    }
    let unknown = Fate::Dead(DeadReason::Unregistered);
    let long = format!("{:?}", "t".repeat(1_000_000));
    shapes.extend([
        Draft::new("no-id").without("id").shape(MALFORMED),
        Draft::new("task-unknown")
            .header("task", r#""shop.nowhere""#)
            .shape(unknown),
        Draft::new("task-empty")
            .header("task", r#""""#)
            .shape(unknown),
        Draft::new("task-long")
            .header("task", &long)
            .redis(unknown, |_| (None, None, None)),
        Draft::new("task-controls")
            .header("task", FORGED)
            .shape(unknown),
        Draft::new("id-controls")
            .header("id", FORGED)
            .header("task", r#""shop.nowhere""#)
            .shape(unknown),
        Draft::new("task-twice")
            .again("task", r#""shop.nowhere""#)
            .redis(unknown, |_| (None, None, None)),
        Draft::new("deep-header")
            .header(
                "x-note",
                &format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
            )
            .redis(MALFORMED, |_| (None, None, None)),
    ]);
    shapes
}

/// Bodies that are no arguments, or not of these tasks.
fn bodies() -> Vec<Shape> {
    let draft = |name: &str| Draft::new(name);
    let deep = |open: &str, close: &str| {
        format!(
            "[[{}1{}, {SECRET:?}], {{}}, {{}}]",
            open.repeat(100_000),
            close.repeat(100_000)
        )
    };
    let mut shapes = Vec::new();
    for (name, body, fate) in [
        ("body-no-json", "this is FILE", MALFORMED),
        ("body-empty", "", MALFORMED),
        ("body-scalar", "7", MALFORMED),
        ("body-text", r#""FILE""#, MALFORMED),
        ("body-cut", r#"[[0, "FILE"], {"#, MALFORMED),
        ("body-four", r#"[[0, "FILE"], {}, {}, {}]"#, UNFIT),
        ("args-object", r#"[{"a": "FILE"}, {}, {}]"#, UNFIT),
        ("args-wrong", r#"[["FILE", "FILE"], {}, {}]"#, UNFIT),
        ("args-few", r#"[["FILE"], {}, {}]"#, UNFIT),
        ("args-many", r#"[[0, "FILE", 2, 3], {}, {}]"#, UNFIT),
        ("kwargs-array", r#"[[0, "FILE"], ["FILE"], {}]"#, UNFIT),
        ("kwargs-unknown", r#"[[0, "FILE"], {"FILE": 1}, {}]"#, UNFIT),
        ("embed-text", r#"[[0, "FILE"], {}, "FILE"]"#, MALFORMED),
        (
            "chain-text",
            r#"[[0, "FILE"], {}, {"chain": "FILE"}]"#,
            MALFORMED,
        ),
        (
            "type-unknown",
            r#"[[0, {"__type__": "FILE", "__value__": 1}], {}, {}]"#,
            UNFIT,
        ),
        ("nan", r#"[[NaN, "FILE"], {}, {}]"#, UNFIT),
        ("infinity", r#"[[-Infinity, "FILE"], {}, {}]"#, UNFIT),
        // Python's text may hold half a pair, and Rust's may not.
        (
            "surrogate-\u{fffd}",
            &format!(r#"[[0, "{SECRET}-surrogate-\ud800"], {{}}, {{}}]"#),
            Fate::Runs,
        ),
        (
            "integer-huge",
            &format!(r#"[[1{}, "FILE"], {{}}, {{}}]"#, "0".repeat(400)),
            UNFIT,
        ),
        ("deep-arrays", &deep("[", "]"), UNFIT),
        ("deep-objects", &deep(r#"{"a":"#, "}"), UNFIT),
        ("body-two", r#"[[0, "FILE"], {}]"#, UNFIT),
        ("embed-null", r#"[[0, "FILE"], {}, null]"#, Fate::Runs),
        (
            "kwargs-twice",
            r#"[[], {"ms": 7, "ms": 0, "started": "FILE"}, {}]"#,
            UNFIT,
        ),
    ] {
        shapes.push(draft(name).text(body).shape(fate));
    }
    let latin = [
        br#"[[0, ""#.as_slice(),
        b"\xe4",
        SECRET.as_bytes(),
        br#""], {}, {}]"#,
    ]
    .concat();
    let pickle = [b"\x80\x04\x95".as_slice(), SECRET.as_bytes()].concat();
    let array = [b"\x93\xdd\xff\xff\xff\xff".as_slice(), SECRET.as_bytes()].concat();
    let binary = [
        b"\x93\x92\x00\xc6\x40\x00\x00\x00".as_slice(),
        SECRET.as_bytes(),
    ]
    .concat();
    let yaml = format!("!!python/object/apply:os.system ['touch {SECRET}']\n");
    shapes.extend([
        draft("body-no-utf8").body(latin).shape(UNFIT),
        draft("type-unheard")
            .kind("application/x-nobodys", "utf-8")
            .shape(UNFIT),
        draft("type-none").kind("", "").shape(MALFORMED),
        draft("encoding-unheard")
            .kind("application/json", "klingon")
            .shape(MALFORMED),
        draft("pickle")
            .kind("application/x-python-serialize", "binary")
            .body(pickle)
            .shape(UNFIT),
        draft("msgpack-endless")
            .kind("application/x-msgpack", "binary")
            .body(array)
            .shape(MALFORMED),
        draft("msgpack-1gb")
            .kind("application/x-msgpack", "binary")
            .body(binary)
            .shape(MALFORMED),
        draft("yaml-object")
            .kind("application/x-yaml", "utf-8")
            .body(yaml)
            .shape(MALFORMED),
        draft("compression-unheard")
            .compressed("application/x-nobodys")
            .shape(MALFORMED),
        draft("compression-number")
            .header("compression", "7")
            .shape(MALFORMED),
        draft("compression-damaged")
            .compressed("application/x-gzip")
            .shape(MALFORMED),
    ]);
    shapes.extend(first_protocol());
    shapes
}

/// Calls whose task is named in the body, as Celery sent them before its version 4.
fn first_protocol() -> Vec<Shape> {
    [
        (
            "one",
            r#"{"task": "shop.nap", "id": "one", "args": [0, "FILE"], "kwargs": {}}"#,
            Fate::Runs,
        ),
        (
            "one-no-id",
            r#"{"task": "shop.nap", "args": [0, "FILE"]}"#,
            MALFORMED,
        ),
        (
            "one-no-task",
            r#"{"id": "one-no-task", "args": [0, "FILE"]}"#,
            MALFORMED,
        ),
        (
            "one-task-number",
            r#"{"task": 7, "id": "x", "args": [0, "FILE"]}"#,
            MALFORMED,
        ),
        (
            "one-args-text",
            r#"{"task": "shop.nap", "id": "one-args-text", "args": "FILE"}"#,
            UNFIT,
        ),
        (
            "one-eta-text",
            r#"{"task": "shop.nap", "id": "x", "args": [0, "FILE"], "eta": "FILE"}"#,
            MALFORMED,
        ),
        ("one-array", r#"[[0, "FILE"], {}, {}]"#, MALFORMED),
        ("one-no-json", "this is FILE", MALFORMED),
    ]
    .map(|(name, body, fate)| Draft::new(name).headless().text(body).shape(fate))
    .into()
}

/// What only a table of AMQP's can hold.
fn tables() -> Vec<Shape> {
    let good = || Draft::new("table").amqp().unwrap();
    let body = |name: &str| Draft::new(name).body;
    let with = |name: &'static str, key: &str, value: AMQPValue| {
        let mut table = good().headers().clone().unwrap();
        table.insert("id".into(), AMQPValue::LongString(name.into()));
        table.insert(key.into(), value);
        (name, good().with_headers(table), body(name))
    };
    let bytes = AMQPValue::LongString(b"\xff\xfe"[..].into());
    let array = AMQPValue::ByteArray(vec![0xff; 8].into());
    let mut shapes: Vec<_> = [
        (MALFORMED, with("table-task-no-utf8", "task", bytes)),
        (
            Fate::Dead(DeadReason::Unregistered),
            with("table-task-bytes", "task", array),
        ),
        (
            MALFORMED,
            with("table-eta-time", "eta", AMQPValue::Timestamp(1_795_202_908)),
        ),
        (
            MALFORMED,
            with("table-retries-double", "retries", AMQPValue::Double(1.5)),
        ),
        (
            Fate::Runs,
            with("table-note-double", "x-note", AMQPValue::Double(1e300)),
        ),
    ]
    .into_iter()
    .map(|(fate, (name, properties, body))| Shape::published(name, fate, properties, body))
    .collect();
    let bare = format!("{SECRET} without properties").into_bytes();
    shapes.push(Shape::published(
        "no-properties-at-all",
        MALFORMED,
        BasicProperties::default(),
        bare,
    ));
    shapes.push(Shape::published(
        "nothing-at-all",
        MALFORMED,
        BasicProperties::default(),
        Vec::new(),
    ));
    shapes
}
