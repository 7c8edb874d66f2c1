//! What `#[task]` makes of a function.
#![allow(
    clippy::needless_pass_by_value,
    reason = "a task may take any argument by value, and here each form is tried"
)]

mod arguments;
mod definitions;
mod functions;
mod options;
mod results;

use celeriac::core::task::call_typed;
use celeriac::core::{ContentType, Context, Control, Outcome, Run, Signature, Task, TaskId};

fn context() -> Context {
    Context::new(TaskId::new(), 3, None, Control::new())
}

fn block_on<V>(future: impl Future<Output = V>) -> V {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

fn finish<V>(run: Run<V>) -> V {
    match run {
        Run::Ready(value) => value,
        Run::Pending(future) => block_on(future),
    }
}

/// Runs a signature here and now.
fn run<T: Task>(signature: Signature<T>) -> Outcome<T::Output> {
    finish(call_typed::<T>(signature.args, &context()))
}

/// Runs the task with a body as a broker brings it.
fn run_json<T: Task>(body: &str) -> Outcome<String> {
    let call = T::DEFINITION.call;
    finish(call(ContentType::Json, body.as_bytes(), &context()))
        .map(|bytes| String::from_utf8(bytes).unwrap())
}

macro_rules! doubles {
    ($name:ident, $ty:ty, $retries:literal) => {
        #[celeriac::task(retries = $retries)]
        fn $name(value: $ty, by: &$ty) -> $ty {
            value * by
        }
    };
}

doubles!(times, u32, 4);

#[test]
fn what_must_not_compile_says_why() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
