#[celeriac::task]
async fn local(n: u64) -> u64 {
    let shared = std::rc::Rc::new(n);
    std::future::ready(()).await;
    *shared
}

fn main() {}
