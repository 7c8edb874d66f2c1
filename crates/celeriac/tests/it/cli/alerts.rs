//! Mails of what failed.

use celeriac_testkit::peers::MailServer;

use super::{Shop, Worker};

/// A worker that mails at most once a second.
fn mailing(shop: &Shop, url: &str) -> Worker {
    let flags = ["--alert-to", "ops@example.org", "--alert-every", "1"];
    shop.worker(&[&flags[..], &["--smtp", url, "-n", "w@shop.example"]].concat())
}

#[test]
fn a_failure_for_good_is_mailed_without_its_arguments() {
    let (server, shop) = (MailServer::start(), Shop::new());
    let worker = mailing(&shop, &server.url());
    shop.done(&["send", "add", "1", "2", "--wait"]);
    let id = shop.done(&["send", "fail", "out of stock"]);
    let mail = server.mail();
    assert_eq!(mail["from"], "celeriac@shop.example");
    assert_eq!(mail["to"], serde_json::json!(["ops@example.org"]));
    assert_eq!(
        mail["subject"],
        "[celeriac] 1 call failed on w@shop.example"
    );
    assert_eq!(mail["headers"]["auto-submitted"], "auto-generated");
    let text = mail["text"].as_str().unwrap();
    assert!(text.contains("\nfail: "), "{text}");
    assert!(text.contains(&id) && !text.contains("add"), "{text}");

    // What has failed since is mailed at the end at the latest.
    shop.run(&["send", "fail", "closed", "--wait"]);
    worker.signal("TERM");
    let log = worker.ended();
    assert_eq!(server.mail()["subject"], mail["subject"]);
    assert!(!log.contains(server.password()), "{log}");
}

#[test]
fn many_failures_are_one_mail_and_none_is_left_out_while_the_server_is_down() {
    let server = MailServer::start();
    let (url, server) = (server.url(), server.stop());
    let shop = Shop::new();
    let mut worker = mailing(&shop, &url);
    for n in 0..5 {
        shop.run(&["send", "fail", &n.to_string(), "--wait"]);
    }
    worker.logged("failures cannot be mailed, will try again");
    for n in 0..5 {
        shop.run(&["send", "fail", &n.to_string(), "--wait"]);
    }
    let server = server.start();
    let mail = server.mail();
    assert_eq!(
        mail["subject"],
        "[celeriac] 10 calls failed on w@shop.example"
    );
    worker.logged("failures are mailed again");
    let told = worker.log().matches("failures cannot be mailed").count();
    assert_eq!(told, 1, "{}", worker.log());
}

#[test]
fn a_url_that_makes_no_sense_is_refused_without_its_password() {
    let shop = Shop::new();
    let words = ["worker", "--alert-to", "ops@example.org", "--smtp"];
    let ran = shop.run(&[&words[..], &["gopher://me:secret@box"]].concat());
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(ran.err.contains("the URL of --smtp cannot be used"));
    assert!(!ran.err.contains("secret"), "{}", ran.err);
    let ran = shop.run(&words[..3]);
    assert!(ran.code == 2 && ran.err.contains("--smtp"), "{}", ran.err);
}
