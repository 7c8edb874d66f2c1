//! What a task takes, and how it travels.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use celeriac::core::{ContentType, ErrorKind, Task};

use super::{context, finish, functions, run, run_json, times};

#[test]
fn what_is_lent_travels_owned_and_is_taken_in_any_form() {
    let map = BTreeMap::from([("k".to_owned(), 1)]);
    let signature = functions::lent::call("text", vec![1, 2], "/a/b", map);
    let args: &(String, Vec<u8>, PathBuf, BTreeMap<String, u8>) = &signature.args;
    assert_eq!(args.2, Path::new("/a/b"));
    assert_eq!(run(signature).unwrap(), r#"text [1, 2] /a/b {"k": 1}"#);

    let later = functions::lent_later::call("text".to_owned(), [1, 2], PathBuf::from("/a"));
    assert_eq!(run(later).unwrap(), "text [1, 2] /a");

    let cows = functions::cows::call("ab", "cde".to_owned(), &b"x"[..]);
    assert_eq!(run(cows), Ok(6));
}

#[test]
fn a_context_may_stand_anywhere_and_does_not_travel() {
    assert_eq!(run(functions::first_context::call(4)), Ok(7));
    assert_eq!(run(functions::owned_context::call(4)), Ok(7));
    assert_eq!(run(functions::context_later::call(4, 5)), Ok(12));
    assert_eq!(run(functions::owned_context_later::call()), Ok(3));
    for (wants, definition) in [
        (true, functions::first_context::DEFINITION),
        (true, functions::owned_context::DEFINITION),
        (true, functions::owned_context_later::DEFINITION),
        (false, functions::is_prime::DEFINITION),
    ] {
        assert_eq!(definition.wants_context, wants, "{definition:?}");
    }
    assert_eq!(functions::context_later::DEFINITION.parameters, ["n", "m"]);
}

#[test]
fn sixteen_arguments_and_a_context_are_taken() {
    let signature = functions::many::call(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1);
    assert_eq!(run(signature), Ok(19));
}

#[test]
fn the_input_is_the_argument_itself_if_there_is_one_and_else_a_tuple() {
    fn args<T: Task>(input: T::Input) -> T::Args {
        T::args(input)
    }
    assert_eq!(args::<functions::is_prime>(7), (7,));
    assert_eq!(args::<functions::pair>((1, 2)), ((1, 2),));
    assert_eq!(args::<times>((1, 2)), (1, 2));
    args::<functions::nothing>(());
}

#[test]
fn arguments_come_by_position_and_by_name() {
    for body in [
        r"[[4,5],{},{}]",
        r#"[[4],{"m":5},{}]"#,
        r#"[[],{"m":5,"n":4},{"chain":null}]"#,
    ] {
        assert_eq!(
            run_json::<functions::context_later>(body).unwrap(),
            "12",
            "{body}"
        );
    }
    let lent = r#"[["t"],{"path":"/p","bytes":[1],"map":{"k":2}},null]"#;
    assert_eq!(
        run_json::<functions::lent>(lent).unwrap(),
        r#""t [1] /p {\"k\": 2}""#
    );
    assert_eq!(
        run_json::<functions::pair>(r"[[[1,2]],{},{}]").unwrap(),
        "3"
    );
    assert_eq!(
        run_json::<functions::r#match>(r#"[[],{"type":1},{}]"#).unwrap(),
        "1"
    );
    assert_eq!(
        run_json::<functions::nothing>(r"[[],{},{}]").unwrap(),
        "null"
    );
}

#[test]
fn no_arguments_travel_as_an_empty_list_in_both_content_types() {
    let args = functions::nothing::call().args;
    let body = celeriac::core::task::encode_body(ContentType::Json, &args).unwrap();
    assert!(body.bytes.starts_with(b"[[],{},"), "{body:?}");
    for content_type in [ContentType::Json, ContentType::Msgpack] {
        let body = celeriac::core::task::encode_body(content_type, &args).unwrap();
        let call = functions::nothing::DEFINITION.call;
        assert!(finish(call(content_type, &body.bytes, &context())).is_ok());
    }
}

#[test]
fn arguments_that_do_not_fit_are_refused_with_the_signature() {
    let error = run_json::<functions::context_later>(r"[[1],{},{}]").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadArguments);
    assert_eq!(
        error.message(),
        "the arguments do not fit context_later(n: u32, m: u32) -> u32: `m` is missing; it takes 2 \
         arguments"
    );
}
