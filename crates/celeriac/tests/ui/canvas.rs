#[celeriac::task]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[celeriac::task]
fn shout(text: &str) -> String {
    text.to_uppercase()
}

#[celeriac::task]
fn sum(values: &[u64]) -> Result<u64, String> {
    Ok(values.iter().sum())
}

#[celeriac::task]
fn tick() {}

fn main() {
    // A step takes what the one before it returns.
    let _ = add::call(2, 2).then(shout::partial());
    let _ = add::call(2, 2).then(add::partial(1)).then(sum::partial());

    // What follows a group takes the list of its values.
    let numbers = celeriac::group([add::call(1, 1), add::call(2, 2)]);
    let _ = numbers.then(add::partial(1));
    let words = celeriac::group([shout::call("a")]);
    let _ = celeriac::chord(words, sum::partial());

    // What follows a failure takes an id.
    let _ = add::call(2, 2).link_error(sum::partial());

    // A task without parameters takes nothing.
    let _ = add::call(2, 2).then(tick::partial());
}

async fn send(app: celeriac::App) {
    // What waits for a value cannot be sent.
    let _ = app.send(add::partial(2)).await;
}
