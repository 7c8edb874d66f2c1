//! `shm`: what processes share by name.

use std::process;

use celeriac::sync::SyncError;
use celeriac::sync::process as memory;

use super::Shop;

#[test]
fn what_processes_share_by_name_is_listed_and_stays_while_it_is_used() -> Result<(), SyncError> {
    let shop = Shop::new();
    let name = format!("till-{}", process::id());
    let of_that_name = || {
        let all = shop.document(&["shm", "list"]);
        let mut all = all.as_array().unwrap().iter();
        all.find(|one| one["name"] == *name).cloned()
    };
    let till = memory::named(&name, memory::Lock::new)?;
    let listed = of_that_name().unwrap();
    assert_eq!(listed["type"], "Lock");
    assert_eq!(listed["users"], serde_json::json!([process::id()]));
    assert!(shop.done(&["shm", "list"]).contains(&name));

    let removed = shop.document(&["shm", "clean"])["removed"].clone();
    assert!(!removed.as_array().unwrap().iter().any(|it| *it == *name));
    assert!(of_that_name().is_some());
    drop(till);
    assert_eq!(of_that_name(), None);
    Ok(())
}
