//! Titles as they come, and a page that never answers.

use std::time::Duration;

use celeriac_examples::server::Page;

use crate::support::{everywhere, run, serve};

everywhere! { titles_are_printed_as_they_come_and_a_silent_page_is_given_up:
    coroutines = "coroutines",
    threads = "threads=6",
    sqlite = "sqlite:jobs.db",
    redis = "redis",
    amqp = "amqp",
}

fn titles_are_printed_as_they_come_and_a_silent_page_is_given_up(place: &str) {
    let page =
        |title: &str| format!("<!doctype html><TITLE lang=en>{title}</TITLE><p>…").into_bytes();
    let (_runtime, server) = serve([
        ("/silent", Page::Silent),
        (
            "/slow",
            Page::Slow(page("The slow one"), Duration::from_millis(1500)),
        ),
        (
            "/quick",
            Page::Slow(page("Fish &amp;\n  &quot;chips&quot;"), Duration::ZERO),
        ),
        (
            "/chunked",
            Page::Chunked([vec![b' '; 5000], page("In chunks")].concat()),
        ),
        ("/bare", Page::Slow(b"<p>no title".to_vec(), Duration::ZERO)),
    ]);
    let urls = [
        "/silent", "/slow", "/quick", "/chunked", "/bare", "/missing",
    ]
    .map(|path| server.url(path));
    let mut arguments: Vec<_> = urls.iter().map(String::as_str).collect();
    arguments.push("--limit=4");
    let ended = run("titles", place, &arguments);
    assert_eq!(ended.code, 5, "{ended:?}");

    let [silent, slow, quick, chunked, bare, missing] = urls;
    let lines = ended.lines();
    let mut early = lines[..2].to_vec();
    early.sort_unstable();
    let mut expected = [
        format!("{quick} Fish & \"chips\""),
        format!("{chunked} In chunks"),
    ];
    expected.sort_unstable();
    assert_eq!(early, expected);
    assert_eq!(lines[2], format!("{slow} The slow one"));
    assert!(lines[3].starts_with("fetched 3 titles on "), "{ended:?}");

    let errors: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(errors.len(), 3, "{ended:?}");
    assert!(
        errors.contains(&&*format!("error: {bare}: it has no title")),
        "{ended:?}"
    );
    assert!(
        errors.contains(&&*format!(
            "error: {missing}: the server answered 404 Not Found"
        )),
        "{ended:?}"
    );
    // Given up last, and not before its own limit.
    assert_eq!(
        errors[2],
        format!("error: {silent}: the hard time limit of 4s ended it")
    );
    assert!((4.0..10.0).contains(&ended.seconds()), "{ended:?}");
}

#[test]
fn what_is_no_plain_url_fails_alone() {
    let ended = run("titles", "coroutines", &["https://localhost/"]);
    assert_eq!(ended.code, 5, "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("`https://localhost/` is no URL of the form http://"),
        "{ended:?}"
    );
}

#[test]
fn without_urls_it_serves_pages_itself() {
    let ended = run("titles", "coroutines", &[]).succeeded();
    assert!(ended.stdout.contains("/quick A quick page\n"), "{ended:?}");
    assert!(
        ended
            .stdout
            .contains("\nfetched 3 titles on coroutines in "),
        "{ended:?}"
    );
}
