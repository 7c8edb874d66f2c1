struct NoError;

#[celeriac::task]
fn fail() -> Result<(), NoError> {
    Err(NoError)
}

mod own {
    pub struct Result;
}

#[celeriac::task]
fn odd() -> own::Result {
    own::Result
}

fn main() {}
