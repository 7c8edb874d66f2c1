//! What goes wrong outside of a worker, and what it then does.

mod bad_control;
mod bad_input;
mod bad_results;
mod broadcaster;
mod clients;
mod cuts;
mod draft;
mod error_lines;
mod floods;
mod ground;
mod namesakes;
mod operator;
mod outages;
mod oversized;
mod restarts;
mod shapes;
