//! What kombu puts into Redis is read, and written the same.

use celeriac_wire::Envelope;
use serde_json::Value;

use crate::captures;

#[test]
fn every_captured_envelope_is_written_as_it_was_read() {
    let mut count = 0;
    for (file, found) in captures::all() {
        for bytes in &found.envelopes {
            let envelope = Envelope::decode(bytes).unwrap_or_else(|e| panic!("{file}: {e}"));
            let written: Value = serde_json::from_slice(&envelope.encode()).unwrap();
            let read: Value = serde_json::from_slice(bytes).unwrap();
            assert_eq!(written, read, "{file}");
            count += 1;
        }
    }
    assert!(count > 100, "{count} envelopes");
}
