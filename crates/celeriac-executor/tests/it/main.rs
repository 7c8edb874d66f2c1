//! Tests of the places where tasks run.

mod processes;
