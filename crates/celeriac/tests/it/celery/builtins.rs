//! The tasks that every worker of Celery's has, sent as messages: ours carries them out as Celery's does.

use serde_json::json;

use super::fleet::Fleet;
use super::in_fleets;

in_fleets! { built_in_tasks_do_what_celerys_do:
    builtins_redis_celery_5_7 = Redis, V57;
}

async fn built_in_tasks_do_what_celerys_do(fleet: &Fleet) {
    let script = include_str!("builtins.py");
    let theirs = {
        let _python = fleet.python.worker(&["-Q", "celery"]);
        fleet.python.run(script)
    };
    let _rust = fleet.rust_worker("celery", 1).await;
    let ours = fleet.python.run(script);
    assert_eq!(ours, theirs);
    assert_eq!(ours["chunks"], json!([[2, 4], [6]]));
    assert_eq!(ours["group"], json!([11, 12]));
    assert_eq!(ours["chord"], json!(23));
    assert_eq!(ours["chain"]["error"], "NotImplementedError");
}
