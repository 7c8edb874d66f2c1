//! What a server refuses a client is told to those who wait, and work goes on by itself when it is
//! allowed.

use std::time::{Duration, Instant};

use celeriac::canvas::{Step, remote};
use celeriac::report::Report as _;
use celeriac::{App, Error, ErrorKind};
use celeriac_testkit::block_on;
use celeriac_testkit::peers::{RedisServer, VirtualHost};

use super::error_lines::{User, end_connections};
use super::ground::{Ground, Kind, QUEUE};
use crate::support::in_time;

/// How long a result is waited for that may not be read, on a machine that does other things too.
const LONGEST: Duration = Duration::from_secs(30);

fn add(a: i64, b: i64) -> Step<i64> {
    remote::<(i64, i64), i64>("add").call((a, b)).queue(QUEUE)
}

/// Asks for a sum and waits for it.
async fn ask(app: &App) -> Result<Result<i64, (ErrorKind, String)>, Error> {
    let mut handle = app.send(add(20, 22)).await?;
    let told = handle.get().await;
    Ok(told.map_err(|error| (error.kind(), error.to_string())))
}

/// Asks for a sum of which the result may not be read; what is said of that.
async fn cannot_read(app: &App) -> String {
    let begun = Instant::now();
    let (kind, says) = in_time(ask(app)).await.unwrap().unwrap_err();
    assert!(begun.elapsed() < LONGEST, "{:?}", begun.elapsed());
    assert_eq!(kind, ErrorKind::Unavailable, "{says}");
    says
}

#[test]
fn who_may_not_read_results_on_redis_is_told() {
    block_on(async {
        let server = RedisServer::start();
        let permit = |rules: &[&str]| {
            let all = [&["ACL", "SETUSER", "guest", "reset", "on", ">right"], rules].concat();
            assert_eq!(server.ask(&all), "OK");
        };
        let ground = Ground::at(Kind::Redis, server.url()).await;
        let worker = ground.worker("threads=2");

        permit(&["~*", "&*", "+@all", "-subscribe"]);
        let url = server.url().replace("//", "//guest:right@");
        let app = App::on(url.as_str()).await.unwrap();
        for _ in 0..2 {
            let says = cannot_read(&app).await;
            assert!(says.contains("NOPERM"), "{says}");
        }

        permit(&["~*", "&*", "+@all"]);
        assert_eq!(in_time(ask(&app)).await.unwrap(), Ok(42));

        permit(&["~other:*", "&*", "+@all"]);
        let refused = in_time(ask(&app)).await.unwrap_err();
        assert!(matches!(refused, Error::Unsent { .. }), "{refused:?}");
        let help = refused.help().unwrap();
        assert!(help.contains("ACL SETUSER"), "{help}");

        permit(&["~*", "&*", "+@all"]);
        assert_eq!(in_time(ask(&app)).await.unwrap(), Ok(42));
        // The worker had all it needs.
        assert!(!worker.printed().contains("NOPERM"));
    });
}

#[test]
fn who_may_not_send_or_read_results_on_amqp_is_told() {
    block_on(async {
        let host = VirtualHost::create();
        let user = User::create();
        let permit = |may: &str| user.permit(&host, may);
        // It is another user who works.
        let ground = Ground::at(Kind::Amqp, host.url()).await;
        let _worker = ground.worker("threads=2");

        permit("");
        let app = App::on(user.url(&host)).await.unwrap();
        let refused = in_time(ask(&app)).await.unwrap_err();
        let help = refused.help().unwrap();
        assert!(help.contains("rabbitmqctl set_permissions"), "{help}");

        permit(".*");
        end_connections(&host);
        until_asked(&app).await;

        // Nobody works here, so its result is still to come when the client is forbidden.
        let mut waiting = app.send(add(1, 1).queue("nobodys")).await.unwrap();
        permit("");
        end_connections(&host);
        let begun = Instant::now();
        let error = in_time(waiting.get()).await.unwrap_err();
        assert!(begun.elapsed() < LONGEST, "{:?}", begun.elapsed());
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("access to"), "{error}");

        permit(".*");
        end_connections(&host);
        until_asked(&app).await;
    });
}

/// Asks until the connections that were ended are made anew.
async fn until_asked(app: &App) {
    in_time(async {
        loop {
            match ask(app).await {
                Ok(Ok(sum)) => return assert_eq!(sum, 42),
                Ok(Err((kind, says))) => assert_eq!(kind, ErrorKind::Unavailable, "{says}"),
                Err(_) => {}
            }
        }
    })
    .await;
}
