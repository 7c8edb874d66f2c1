//! What users of the facade can rely on, a module per behaviour.

mod entry;
mod macros;
