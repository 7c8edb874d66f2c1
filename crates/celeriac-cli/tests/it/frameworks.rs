//! Projects of Django, Flask and asyncio, as their documentation has them.

use std::time::Instant;

use serde_json::json;

use crate::support::{On, Project};

#[test]
fn a_django_project_runs_with_its_orm_and_its_own_result_backend() {
    let project = Project::new("django_shop", On::Redis);
    project.run_plain(
        "from sends import *\ncall_command('migrate', run_syncdb=True, verbosity=0)\nanswer = 0",
    );
    let worker = project.start("-A shop_site worker -l INFO -c 2");
    worker.wait_for_line(" ready.");
    let answer = project.run_plain(
        "
from sends import *
from django_celery_results.models import TaskResult
with transaction.atomic():
    order = Order.objects.create(item='book')
    ship.delay_on_commit(order.pk)
    rolled_back = 0
try:
    with transaction.atomic():
        lost = Order.objects.create(item='never')
        ship.delay_on_commit(lost.pk)
        raise RuntimeError()
except RuntimeError:
    pass
calls = [ship.delay(Order.objects.create(item=f'n{n}').pk) for n in range(20)]
names = [call.get(timeout=60) for call in calls]
missing = ship.delay(10_000)
missing.get(timeout=60, propagate=False)
order.refresh_from_db()
answer = [order.shipped, names == [f'n{n}' for n in range(20)], missing.state,
    Order.objects.filter(shipped=True).count(),
    TaskResult.objects.filter(status='SUCCESS', task_name='shop.tasks.ship').count(),
    TaskResult.objects.filter(status='FAILURE').count()]
",
    );
    assert_eq!(answer, json!([true, true, "FAILURE", 21, 21, 1]));
}

#[test]
fn a_flask_app_of_a_factory_runs_in_its_context() {
    for app in ["make_celery", "make_celery:celery_app"] {
        let project = Project::new("flask_shop", On::Redis);
        let worker = project.start(&format!("-A {app} worker -l INFO -c 1"));
        worker.wait_for_line(" ready.");
        let answer = project.run_plain(
            "from make_celery import *\nfrom proj import price\nanswer = price.delay(5).get(timeout=30)",
        );
        assert_eq!(answer, json!("5 EUR"));
    }
}

#[test]
fn coroutines_run_in_every_pool() {
    for pool in ["prefork -c 2", "solo", "threads -c 4", "coroutines -c 100"] {
        let project = Project::new("aio", On::Redis);
        let _worker = project.worker(&format!("-P {pool}"));
        let answer = project.run(
            "
answer = [plain.delay(4).get(timeout=60), stubborn.delay().get(timeout=60)]
call = who.delay(0.01)
answer.append(call.get(timeout=60) == [call.id, call.id])
failed = fails.delay()
failed.get(timeout=60, propagate=False)
answer.append(failed.state)
",
        );
        assert_eq!(answer, json!([8, 1, true, "FAILURE"]), "{pool}");
    }
}

#[test]
fn hundreds_of_coroutines_wait_at_once() {
    let project = Project::new("aio", On::Redis);
    let _worker = project.worker("-P coroutines -c 300");
    let begun = Instant::now();
    let answer = project.run(
        "
calls = [who.delay(1) for _ in range(300)]
answer = [all(call.get(timeout=60) == [call.id, call.id] for call in calls), soft.delay().get(timeout=60)]
",
    );
    assert_eq!(answer, json!([true, "cleaned up"]));
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
}
