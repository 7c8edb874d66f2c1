//! A small HTTP server to fetch from.
