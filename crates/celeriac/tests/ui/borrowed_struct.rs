struct Order<'a>(&'a str);

#[celeriac::task]
fn charge(order: Order<'_>) -> usize {
    order.0.len()
}

#[celeriac::task]
fn lent(order: &Order<'_>) -> usize {
    order.0.len()
}

fn main() {}
