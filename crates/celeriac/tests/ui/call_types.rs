#[celeriac::task]
fn charge(order: u64, note: &str) -> u64 {
    order + note.len() as u64
}

fn main() {
    charge::call("42", "gift");
    charge::call(42);
}
