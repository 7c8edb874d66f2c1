//! The counts of a small corpus, one file of which cannot be read.

use std::fs;

use crate::support::{everywhere, run, run_in};

everywhere!(words_are_counted_and_what_is_no_text_is_skipped);

fn words_are_counted_and_what_is_no_text_is_skipped(place: &str) {
    let folder = tempfile::tempdir().unwrap();
    let texts = folder.path().join("texts");
    fs::create_dir_all(texts.join("a folder in it")).unwrap();
    fs::write(
        texts.join("one.txt"),
        "The cat and the dog.\nThe 'end' of Übermut",
    )
    .unwrap();
    fs::write(texts.join("two.txt"), "the cat, don't; ÜBERMUT").unwrap();
    fs::write(texts.join("empty.txt"), "").unwrap();
    fs::write(texts.join("latin1.txt"), b"caf\xe9 the the the").unwrap();

    let ended = run_in(folder.path(), "wordcount", place, &["texts", "--top", "4"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let lines = ended.lines();
    assert_eq!(
        lines[..4],
        [
            "       4 the",
            "       2 cat",
            "       2 übermut",
            "       1 and"
        ]
    );
    let summary = "counted 13 words, 8 different, in 3 files, 1 skipped, on ";
    assert!(lines[4].starts_with(summary), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert!(
        ended.stderr.contains("skipped ") && ended.stderr.contains("latin1.txt: "),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("UTF-8"), "{ended:?}");
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let ended = run("wordcount", "inline", &["nowhere"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{ended:?}");
    assert!(
        ended.stderr.starts_with("error: nowhere: No such file"),
        "{ended:?}"
    );
}
