//! Digests that others computed, and what happens to what cannot be digested.

use std::fs;

use crate::support::{everywhere, run, run_in};

everywhere!(digests_are_those_that_are_known);

const KNOWN: [(&str, [&str; 3]); 4] = [
    (
        "md5",
        [
            "d41d8cd98f00b204e9800998ecf8427e",
            "900150983cd24fb0d6963f7d28e17f72",
            "7707d6ae4e027c70eea2a935c2296f21",
        ],
    ),
    (
        "sha1",
        [
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "a9993e364706816aba3e25717850c26c9cd0d89d",
            "34aa973cd4c4daa4f61eeb2bdbad27316534016f",
        ],
    ),
    (
        "sha256",
        [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
        ],
    ),
    (
        "blake3",
        [
            "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
            "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
            "616f575a1b58d4c9797d4217b9730ae5e6eb319d76edef6549b46f4efe31ff8b",
        ],
    ),
];

fn digests_are_those_that_are_known(place: &str) {
    let folder = tempfile::tempdir().unwrap();
    let files = ["empty", "abc", "million"];
    fs::write(folder.path().join("empty"), "").unwrap();
    fs::write(folder.path().join("abc"), "abc").unwrap();
    fs::write(folder.path().join("million"), "a".repeat(1_000_000)).unwrap();
    for (algorithm, digests) in KNOWN {
        let mut arguments = vec!["--algorithm", algorithm];
        arguments.extend(files);
        let ended = run_in(folder.path(), "hasher", place, &arguments).succeeded();
        for ((file, digest), line) in files.into_iter().zip(digests).zip(ended.lines()) {
            assert_eq!(line, format!("{digest}  {file}"), "{algorithm}");
        }
        assert!(
            ended.lines()[3].starts_with("digested 3 files on "),
            "{ended:?}"
        );
    }
}

#[test]
fn an_unknown_algorithm_is_refused_with_those_there_are() {
    let ended = run("hasher", "inline", &["--algorithm", "sha7"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{ended:?}");
    assert!(ended.stderr.contains("invalid value 'sha7'"), "{ended:?}");
    assert!(
        ended.stderr.contains("md5, sha1, sha256, blake3"),
        "{ended:?}"
    );
}

mod unreadable {
    use super::{everywhere, fs, run_in};

    everywhere!(a_file_that_cannot_be_read_fails_alone);

    fn a_file_that_cannot_be_read_fails_alone(place: &str) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("abc"), "abc").unwrap();
        fs::create_dir(folder.path().join("folder")).unwrap();
        let files = ["--algorithm=md5", "missing", "folder", "abc"];
        let ended = run_in(folder.path(), "hasher", place, &files);
        assert_eq!(ended.code, 5, "{ended:?}");
        assert_eq!(ended.lines()[0], "900150983cd24fb0d6963f7d28e17f72  abc");
        let errors: Vec<_> = ended.stderr.lines().collect();
        assert_eq!(errors.len(), 2, "{ended:?}");
        assert!(
            errors[0].starts_with("error: ") && errors[0].contains("/missing: No such file"),
            "{ended:?}"
        );
        assert!(errors[1].contains("/folder: Is a directory"), "{ended:?}");
    }
}
