//! A browser, and the program that drives it.

use super::Variables;
use super::packages::on_path;
use crate::Result;

/// Tells tests where both are.
pub(crate) fn found() -> Result<Variables> {
    Ok(vec![
        ("CELERIAC_TEST_CHROMIUM", program()?),
        ("CELERIAC_TEST_CHROMEDRIVER", driver()?),
    ])
}

/// The browser.
pub(crate) fn program() -> Result<String> {
    found_as("chromium")
}

/// What drives it, of the same version.
pub(crate) fn driver() -> Result<String> {
    found_as("chromedriver")
}

fn found_as(name: &str) -> Result<String> {
    let path = on_path(name).ok_or_else(|| format!("there is no {name}"))?;
    Ok(path.display().to_string())
}
