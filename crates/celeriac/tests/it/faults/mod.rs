//! What goes wrong outside of a worker, and what it then does.

mod bad_control;
mod bad_input;
mod bad_results;
mod clients;
mod cuts;
mod draft;
mod error_lines;
mod ground;
mod namesakes;
mod outages;
mod oversized;
mod shapes;
