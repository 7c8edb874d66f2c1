#[celeriac::main]
async fn main(words: Vec<String>) {}
