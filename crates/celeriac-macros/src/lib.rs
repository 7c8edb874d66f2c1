//! The attributes of celeriac.
