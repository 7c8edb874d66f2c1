//! Mails of what failed in an app of Celery's.

use celeriac_testkit::peers::MailServer;

use crate::support::{On, Project};

#[test]
fn what_fails_for_good_is_mailed_on_redis() {
    failures_are_mailed(On::Redis);
}

#[test]
fn what_fails_for_good_is_mailed_on_rabbitmq() {
    failures_are_mailed(On::RabbitMq);
}

/// What is tried again is not.
fn failures_are_mailed(on: On) {
    let (server, mut project) = (MailServer::start(), Project::new("plain", on));
    project.set("CELERIAC_SMTP", &server.url());
    project.set(
        "CELERIAC_ALERT_TO",
        "ops@example.org,Shop <shop@example.org>",
    );
    let _worker = project.worker("-c 1 -n w@shop.example --alert-every 1");
    let id = project.run(
        "stubborn.delay(2).get(timeout=60)\n\
         failed = fail.delay('out of stock')\n\
         failed.get(timeout=60, propagate=False)\n\
         answer = failed.id",
    );
    let mail = server.mail();
    assert_eq!(mail["from"], "celeriac@shop.example", "{on:?}");
    let to = serde_json::json!(["ops@example.org", "shop@example.org"]);
    assert_eq!(mail["to"], to);
    assert_eq!(
        mail["subject"],
        "[celeriac] 1 call failed on w@shop.example"
    );
    let text = mail["text"].as_str().unwrap();
    assert!(
        text.contains("\nproj.fail: ValueError, 1 call\n  ValueError('out of stock')\n"),
        "{text}"
    );
    assert!(text.contains(id.as_str().unwrap()), "{text}");

    // A child that dies, and a message that its task does not want.
    let id = project.run("answer = deadly.delay().id");
    let text = server.mail()["text"].to_string();
    assert!(
        text.contains("proj.deadly: ") && text.contains(id.as_str().unwrap()),
        "{text}"
    );
    let id = project.run("answer = rejected.delay().id");
    let text = server.mail()["text"].to_string();
    assert!(
        text.contains("proj.rejected: ") && text.contains(id.as_str().unwrap()),
        "{text}"
    );
}
