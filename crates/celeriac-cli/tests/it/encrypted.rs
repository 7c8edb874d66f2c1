//! Servers behind TLS, as the app's own settings say.

use std::fs;

use celeriac_testkit::peers::{EncryptedRabbitMq, RedisServer, certify};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{On, Project};

/// The same app, which trusts one authority.
const SECURE: &str = "
from proj import *
import ssl

trusted = os.environ['TRUSTED']
if ON_REDIS:
    app.conf.broker_use_ssl = {'ssl_cert_reqs': ssl.CERT_REQUIRED, 'ssl_ca_certs': trusted}
    app.conf.redis_backend_use_ssl = dict(app.conf.broker_use_ssl)
else:
    app.conf.broker_use_ssl = {'cert_reqs': ssl.CERT_REQUIRED, 'ca_certs': trusted}
";

/// Runs calls and their results through TLS only, and then starts a worker that trusts somebody else.
fn runs_over_tls(project: &mut Project, certificates: &TempDir, broker: &str, backend: &str) {
    fs::write(project.folder.path().join("secure.py"), SECURE).unwrap();
    let authority = certificates.path().join("ca.pem").display().to_string();
    for (name, value) in [
        ("BROKER", broker),
        ("BACKEND", backend),
        ("TRUSTED", &authority),
    ] {
        project.set(name, value);
    }
    let worker = project.start("-A secure worker -l INFO -c 1");
    worker.wait_for_line(" ready.");
    let answer = project.run_plain(
        "from secure import *\n\
         calls = [add.delay(i, i) for i in range(20)]\n\
         answer = sum(call.get(timeout=60) for call in calls)\n",
    );
    assert_eq!(answer, json!(380));
    drop(worker);
    let strangers = tempfile::tempdir().unwrap();
    certify(strangers.path());
    let authority = strangers.path().join("ca.pem").display().to_string();
    project.set("TRUSTED", &authority);
    // Whether it is tried again is the broker's affair.
    let worker = project.start("-A secure worker");
    worker.wait_for_line("certificate");
    assert!(!worker.printed().contains("Connected to"));
}

#[test]
fn messages_and_results_go_through_an_encrypted_redis() {
    let certificates = tempfile::tempdir().unwrap();
    certify(certificates.path());
    let server = RedisServer::start();
    let port = server.encrypt(certificates.path());
    let mut project = Project::new("plain", On::Redis);
    let at = |database: u8| format!("rediss://localhost:{port}/{database}");
    runs_over_tls(&mut project, &certificates, &at(0), &at(1));
}

#[test]
fn messages_and_results_go_through_an_encrypted_rabbitmq() {
    let certificates = tempfile::tempdir().unwrap();
    certify(certificates.path());
    let server = EncryptedRabbitMq::listen(certificates.path());
    let mut project = Project::new("plain", On::RabbitMqRpc);
    let plain = project.broker();
    let (who, place) = plain.trim_start_matches("amqp://").split_once('@').unwrap();
    let (_, host) = place.split_once('/').unwrap();
    let broker = format!("amqps://{who}@localhost:{}/{host}", server.port());
    runs_over_tls(&mut project, &certificates, &broker, "rpc://");
}
