//! What the drivers promise, tested on the stores themselves.

mod conformance;
